"""Dates of events beside a clock that is set."""

from hadirector.core.journal import KEPT
from hadirector.core.messages import Event
from hadirector.shell.wall_times import WallTimes


def event(number: int) -> Event:
    return Event(number, 5.0, "master", "front", "won")


def test_an_event_keeps_the_date_it_had_when_the_clock_is_set() -> None:
    walls = WallTimes([event(1)], 1000.0)

    walls.note(event(2), 1000.0)
    walls.note(event(3), 9000.0)

    assert [walls.of(event(number)) for number in (1, 2, 3)] == [1000.0, 1000.0, 9000.0]


def test_only_what_the_journal_keeps_is_remembered() -> None:
    walls = WallTimes((), 0.0)
    for number in range(1, KEPT + 10):
        walls.note(event(number), float(number))

    assert walls.of(event(KEPT)) == KEPT
    assert len(walls._offsets) == KEPT
