"""Who is due when, with instants that change before they are reached."""

from hadirector.core.deadlines import Deadlines


def test_the_soonest_is_the_one_that_counts_now_not_one_set_before() -> None:
    deadlines = Deadlines[str]()
    deadlines.set("a", 1.0)
    deadlines.set("b", 2.0)
    deadlines.set("a", 3.0)

    assert deadlines.soonest() == 2.0
    deadlines.set("b", None)
    assert deadlines.soonest() == 3.0
    deadlines.set("a", None)
    assert deadlines.soonest() is None


def test_what_is_due_is_taken_once_and_by_time_then_by_order_of_setting() -> None:
    deadlines = Deadlines[str]()
    for who, at in (("late", 9.0), ("second", 2.0), ("third", 2.0), ("first", 1.0)):
        deadlines.set(who, at)
    deadlines.set("second", 2.0)

    assert deadlines.take_due(2.0) == ["first", "second", "third"]
    assert deadlines.take_due(2.0) == []
    assert deadlines.soonest() == 9.0


def test_an_instant_set_again_after_it_changed_counts_once() -> None:
    deadlines = Deadlines[str]()
    for at in (1.0, 2.0, 1.0):
        deadlines.set("a", at)

    assert deadlines.take_due(5.0) == ["a"]
    assert deadlines.soonest() is None
