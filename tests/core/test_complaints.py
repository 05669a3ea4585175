"""core/complaints: once for each sender and fault, bounded whatever is sent."""

from hadirector.core.address import Address
from hadirector.core.complaints import FORGET_AFTER, KEPT, LINE_EVERY, LINES, Complaints
from hadirector.core.messages import Complaint

ONE, TWO = Address("198.51.100.1"), Address("198.51.100.2")


def sender(number: int) -> Address:
    return Address(f"198.51.{number // 250}.{number % 250}")


def test_each_sender_s_fault_is_told_once_and_counted() -> None:
    complaints = Complaints()

    told = [complaints.add(*one, "why", at) for at, one in enumerate(((ONE, "a"), (ONE, "b")) * 3)]

    assert told == [True, True, False, False, False, False]
    assert complaints.since(0.0) == (
        Complaint(ONE, "a", "why", 3, 4),
        Complaint(ONE, "b", "why", 3, 5),
    )


def test_it_is_told_again_when_it_comes_back_after_a_while() -> None:
    complaints = Complaints()
    complaints.add(ONE, "a", "why", 0.0)

    assert not complaints.add(ONE, "a", "why", FORGET_AFTER)
    assert complaints.add(ONE, "a", "why", 2 * FORGET_AFTER + 1)
    assert complaints.since(0.0)[0].count == 1


def test_what_goes_on_is_told_again_each_hour_and_when_it_becomes_another_thing() -> None:
    complaints = Complaints()
    texts = ["why"] * 90 + ["how"] * 60  # one a minute

    told = [n for n, text in enumerate(texts) if complaints.add(ONE, "a", text, n * 60.0)]

    assert told == [0, 60, 90]


def test_a_text_that_changes_all_the_time_is_told_at_most_each_minute() -> None:
    complaints = Complaints()

    told = sum(complaints.add(ONE, "a", f"{n % 2}", n / 10) for n in range(1300))

    assert told == 3


def test_what_was_long_ago_is_not_present() -> None:
    complaints = Complaints()
    complaints.add(ONE, "a", "why", 10.0)
    complaints.add(TWO, "a", "why", 20.0)

    assert [c.source for c in complaints.since(15.0)] == [TWO]


def test_a_flood_from_made_up_senders_fills_neither_memory_nor_journal() -> None:
    complaints = Complaints()

    told = [complaints.add(sender(n), "a", "why", n / 1000) for n in range(10_000)]

    assert sum(told) == LINES
    assert len(complaints.since(0.0)) == KEPT
    assert complaints.add(TWO, "a", "why", 10.0 + LINE_EVERY)
    assert not complaints.add(ONE, "a", "why", 10.0 + LINE_EVERY)
