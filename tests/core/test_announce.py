"""core/announce: when gratuitous ARPs go out, and how many."""

import pytest

from hadirector.core.announce import Announcer
from hadirector.core.priority import Contest
from hadirector.core.settings.instances import Garp


def taken(announcer: Announcer, until: float) -> list[tuple[float, int]]:
    """All it gives if it is asked exactly when it wants to be."""
    given = []
    while announcer.deadline is not None and announcer.deadline <= until:
        at = announcer.deadline
        given.append((round(at, 6), announcer.take(at)))
    return given


def test_a_new_master_announces_at_once_after_the_delay_and_at_each_refresh() -> None:
    announcer = Announcer(Garp(repeat=5, delay=5.0, refresh=60.0))

    announcer.start(100.0)

    assert taken(announcer, 230.0) == [(100.0, 5), (105.0, 5), (165.0, 1), (225.0, 1)]


def test_without_refresh_and_delay_there_is_one_burst() -> None:
    announcer = Announcer(Garp(repeat=3, delay=0.0, refresh=0.0))

    announcer.start(100.0)

    assert taken(announcer, 1e6) == [(100.0, 3)]
    assert announcer.deadline is None


def test_after_a_duel_the_burst_is_repeated_until_the_rival_has_surely_gone() -> None:
    announcer = Announcer(Garp())
    announcer.start(100.0)
    assert announcer.take(100.0) == 5

    announcer.duel(103.0)

    assert taken(announcer, 110.0) == [(103.0, 5), (103.1, 5), (104.0, 5), (108.0, 5)]


def test_an_endless_duel_never_announces_more_than_ten_times_a_second() -> None:
    announcer = Announcer(Garp())
    bursts = 0
    for millisecond in range(1000):
        now = 100.0 + millisecond / 1000
        announcer.duel(now)
        bursts += announcer.take(now) > 0

    assert 9 <= bursts <= 11


def test_one_that_is_no_master_any_more_is_quiet() -> None:
    announcer = Announcer(Garp())
    announcer.start(100.0)

    announcer.stop()

    assert announcer.deadline is None
    assert announcer.take(200.0) == 0


@pytest.mark.parametrize(("now", "count"), [(104.9, 0), (105.0, 5), (300.0, 5)])
def test_a_late_wake_up_gets_one_burst_for_all_it_missed(now: float, count: int) -> None:
    announcer = Announcer(Garp())
    announcer.start(100.0)
    announcer.take(100.0)

    assert announcer.take(now) == count
    assert announcer.take(now) == 0


def test_of_two_that_do_not_hear_each_other_the_better_announces_often_and_the_other_never() -> (
    None
):
    better, other = Announcer(Garp(refresh=60.0)), Announcer(Garp(refresh=60.0))
    for announcer in (better, other):
        announcer.start(100.0)
        taken(announcer, 110.0)

    better.contest(Contest.WINS, 110.0)
    other.contest(Contest.LOSES, 110.0)

    assert taken(better, 126.0) == [(115.0, 1), (120.0, 1), (125.0, 1)]
    assert taken(other, 1e6) == []
    for announcer in (better, other):
        announcer.contest(Contest.NONE, 130.0)
        assert taken(announcer, 200.0) == [(190.0, 1)]


def test_a_contest_leaves_the_announcements_of_a_takeover_alone() -> None:
    announcer = Announcer(Garp())
    announcer.start(100.0)
    announcer.take(100.0)

    announcer.contest(Contest.LOSES, 100.1)

    assert taken(announcer, 1e6) == [(105.0, 5)]


def test_a_winner_without_refresh_of_its_own_announces_all_the_same() -> None:
    announcer = Announcer(Garp(refresh=0.0))
    announcer.start(100.0)
    taken(announcer, 110.0)

    announcer.contest(Contest.WINS, 110.0)

    assert taken(announcer, 116.0) == [(115.0, 1)]
