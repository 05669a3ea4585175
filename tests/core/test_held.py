"""Held connections: whose end asks for a probe, what is learned of servers that close idle ones."""

from collections.abc import Iterable

import pytest

from hadirector.core import held
from hadirector.core.address import Address, Endpoint, canonical
from hadirector.core.held import Broken, End, Hold, Holds, News, Release, Stands

WEB = Endpoint(canonical("10.0.1.11"), 80)
PAGE = ("page@10.0.1.11:80", WEB)
PORT = ("port@10.0.1.11:80", WEB)


def endpoint(number: int) -> Endpoint:
    return Endpoint(canonical(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"), 80)


def from_anywhere(
    targets: Iterable[tuple[str, Endpoint]],
) -> list[tuple[str, Endpoint, Address | None]]:
    return [(target, at, None) for target, at in targets]


def holding(*targets: tuple[str, Endpoint], room: int = 10) -> Holds:
    holds = Holds(room)
    assert holds.follow(from_anywhere(targets)) == []
    return holds


def stand(holds: Holds, now: float, at: Endpoint = WEB) -> int:
    """Open the connection of an endpoint; its number."""
    (action,) = holds.good(at, now)
    assert isinstance(action, Hold)
    assert action.endpoint == at
    holds.handle(Stands(action.number), now)
    return action.number


def live(holds: Holds, began: float, lived: float, end: End = End.CLOSED) -> News | None:
    """A connection that stands at `began` and ends so much later."""
    return holds.handle(Broken(stand(holds, began), end), began + lived)


def test_a_good_probe_opens_one_connection_and_no_second() -> None:
    holds = holding(PAGE, PORT)

    assert holds.good(WEB, 1.0) == [Hold(1, WEB)]
    assert holds.good(WEB, 2.0) == []
    assert len(holds) == 1


def test_what_is_not_to_be_held_is_not() -> None:
    assert holding(PAGE).good(endpoint(1), 1.0) == []


def test_the_end_of_a_connection_asks_for_a_probe_of_all_its_targets_that_is_a_verdict() -> None:
    holds = holding(PAGE, PORT)

    news = live(holds, 1.0, 100.0)

    sentence = "its held connection was closed after 100s"
    assert news == News((PAGE[0], PORT[0]), True, sentence)


def test_a_reset_is_told_as_such() -> None:
    news = live(holding(PAGE), 1.0, 0.04, End.RESET)

    assert news == News((PAGE[0],), True, "its held connection was reset after 40ms")


@pytest.mark.parametrize("end", [End.FAILED, End.CLOSED, End.RESET])
def test_a_connection_that_never_stood_asks_for_a_probe_and_is_tried_again_later(end: End) -> None:
    holds = holding(PAGE)
    (hold,) = holds.good(WEB, 1.0)
    assert isinstance(hold, Hold)

    news = holds.handle(Broken(hold.number, end), 1.1)

    assert news == News((PAGE[0],), False, "no connection to it could be held")
    assert holds.good(WEB, 1.2) == []
    assert holds.good(WEB, 1.2 + held.FIRST_PAUSE) == [Hold(2, WEB)]


def test_what_we_could_not_keep_for_our_own_reasons_is_no_news() -> None:
    assert live(holding(PAGE), 1.0, 5.0, End.OURS) is None


def test_two_lives_alike_teach_how_long_the_server_lets_us_idle() -> None:
    holds = holding(PAGE)
    assert live(holds, 0.0, 60.0) is not None
    assert live(holds, 61.0, 60.2) is not None

    stand(holds, 122.0)

    due = holds.next_at()
    assert due is not None
    assert 122.0 + 0.7 * 60 <= due <= 122.0 + 0.8 * 60
    assert holds.due(due) == [Release(3), Hold(4, WEB)]


def test_an_end_that_was_to_be_expected_is_no_verdict() -> None:
    holds = holding(PAGE)
    live(holds, 0.0, 60.0)
    live(holds, 61.0, 60.0)

    news = live(holds, 122.0, 55.0)

    assert news is not None
    assert not news.verdict


def test_an_end_long_before_the_learned_time_is_a_verdict() -> None:
    holds = holding(PAGE)
    live(holds, 0.0, 60.0)
    live(holds, 61.0, 60.0)

    news = live(holds, 122.0, 10.0)

    assert news is not None
    assert news.verdict


def test_lives_of_unlike_length_are_chance_and_teach_nothing() -> None:
    holds = holding(PAGE)
    for began, lived in ((0.0, 30.0), (100.0, 400.0), (600.0, 50.0)):
        news = live(holds, began, lived)
        assert news is not None
        assert news.verdict

    stand(holds, 1000.0)

    assert holds.next_at() is None


def test_a_server_that_closes_at_once_is_left_alone() -> None:
    holds = holding(PAGE)
    live(holds, 0.0, 1.0)
    assert holds.good(WEB, 1.0) == []
    live(holds, 2.5, 1.0)

    assert holds.good(WEB, 3.5) == []
    assert holds.good(WEB, 3.4 + held.LEFT_ALONE) == []
    assert holds.good(WEB, 10.1 + held.LEFT_ALONE) == [Hold(3, WEB)]


def test_early_ends_make_growing_pauses() -> None:
    holds, now, opened = holding(PAGE), 0.0, []
    lives = (1.0, 5.0, 1.0, 5.0, 1.0, 5.0, 1.0, 5.0)
    for lived in lives:
        while not (hold := holds.good(WEB, now)):
            now += 0.5
        opened.append(now)
        assert isinstance(hold[0], Hold)
        holds.handle(Stands(hold[0].number), now)
        now += lived
        holds.handle(Broken(hold[0].number, End.CLOSED), now)

    gaps = [b - a - lived for a, b, lived in zip(opened, opened[1:], lives, strict=False)]
    assert gaps == sorted(gaps)
    assert gaps[0] == 1.0
    assert gaps[-1] == held.LONGEST_PAUSE


def test_the_death_of_a_server_teaches_nothing_of_its_habits() -> None:
    holds, now = holding(PAGE), 0.0
    for _ in range(4):
        assert live(holds, now, 2.0) is not None
        assert holds.down(WEB, silent=False) == []
        now += 10

    stand(holds, now)

    assert holds.next_at() is None


def test_what_stands_to_a_silent_server_is_let_go() -> None:
    holds = holding(PAGE)
    number = stand(holds, 0.0)

    assert holds.down(WEB, silent=False) == []
    assert holds.down(WEB, silent=True) == [Release(number)]
    assert holds.handle(Broken(number, End.RESET), 1.0) is None


def test_a_server_that_talks_all_the_time_is_left_alone() -> None:
    holds = holding(PAGE)

    assert live(holds, 0.0, 1.0, End.CHATTY) is None
    assert holds.good(WEB, 2.0) == []


def test_no_more_are_held_than_there_is_room_for() -> None:
    holds = holding(*((str(n), endpoint(n)) for n in range(5)), room=3)

    opened = [bool(holds.good(endpoint(n), 1.0)) for n in range(5)]

    assert opened == [True, True, True, False, False]
    assert holds.refused == 2


def test_connections_are_opened_at_a_bounded_rate() -> None:
    count = 3 * held.OPENINGS
    holds = holding(*((str(n), endpoint(n)) for n in range(count)), room=count)

    at_once = sum(bool(holds.good(endpoint(n), 10.0)) for n in range(count))
    later = sum(bool(holds.good(endpoint(n), 11.0)) for n in range(count))

    assert (at_once, later) == (held.OPENINGS, held.OPENINGS)


def test_a_reload_lets_go_what_is_no_longer_held_and_nothing_else() -> None:
    other = ("page@10.0.0.1:80", endpoint(1))
    holds = holding(PAGE, other)
    stand(holds, 0.0)
    stand(holds, 0.0, endpoint(1))

    assert holds.follow(from_anywhere([PORT])) == [Release(2)]
    news = holds.handle(Broken(1, End.CLOSED), 30.0)
    assert news is not None
    assert news.targets == (PORT[0],)


def test_another_source_address_lets_go_what_came_from_the_former_one() -> None:
    source = canonical("10.0.1.1")
    holds = holding(PAGE)
    stand(holds, 0.0)

    assert holds.follow([(*PAGE, source)]) == [Release(1)]
    assert holds.good(WEB, 1.0) == [Hold(2, WEB, source)]


def test_renewals_of_many_are_spread() -> None:
    holds = holding(*((str(n), endpoint(n)) for n in range(100)), room=100)
    for began in (0.0, 61.0):
        for n in range(100):
            live_at(holds, n, began)
    for n in range(100):
        stand(holds, 122.0, endpoint(n))

    assert len(holds.due(122.0 + 45)) < 200
    assert holds.due(122.0 + 60)


def live_at(holds: Holds, number: int, began: float) -> None:
    holds.handle(Broken(stand(holds, began, endpoint(number)), End.CLOSED), began + 60)
