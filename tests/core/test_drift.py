"""What is told of drift, and how often."""

from dataclasses import replace

from hadirector.core import plan
from hadirector.core.drift import AT_ONCE, EVERY, DriftNews
from tests.core import farm
from tests.core.farm import KEY, ONE, TWO

SERVERS = farm.entry(3, 1).destinations
LOST = [plan.AddDestination(KEY, SERVERS[ONE])]


def test_a_services_first_drift_is_told_with_what_was_wrong() -> None:
    both = [plan.AddDestination(KEY, SERVERS[endpoint]) for endpoint in (ONE, TWO)]

    assert DriftNews().tell(both, 0.0) == [
        (str(KEY), f"repaired: {plan.describe(both[0])}, and 1 more")
    ]


def test_drift_in_a_loop_is_one_line_a_minute_with_a_count() -> None:
    news = DriftNews()

    told = [news.tell(LOST, 0.5 * turn) for turn in range(int(3 * EVERY / 0.5))]

    lines = [line for lines in told for line in lines]
    assert lines == [
        (str(KEY), f"repaired: {plan.describe(LOST[0])}"),
        (str(KEY), "repaired 119 more times within 60 s"),
        (str(KEY), "repaired 120 more times within 60 s"),
    ]


def test_what_was_counted_is_told_although_the_drift_has_ended() -> None:
    news = DriftNews()
    news.tell(LOST, 0.0)
    news.tell(LOST, 1.0)

    told = [news.tell([], at) for at in (2.0, EVERY, 2 * EVERY, 3 * EVERY)]

    assert told == [[], [(str(KEY), "repaired 1 more times within 60 s")], [], []]


def test_a_service_that_drifts_again_after_a_quiet_minute_is_told_at_once() -> None:
    news = DriftNews()
    news.tell(LOST, 0.0)
    news.tell([], EVERY)

    assert news.tell(LOST, EVERY + 1) == [(str(KEY), f"repaired: {plan.describe(LOST[0])}")]


def test_an_emptied_table_is_a_few_lines() -> None:
    keys = [replace(KEY, port=port) for port in range(100, 1100)]

    lines = DriftNews().tell([plan.AddDestination(k, SERVERS[ONE]) for k in keys], 0.0)

    assert len(lines) == AT_ONCE + 1
    assert lines[-1] == ("ipvs", f"{1000 - AT_ONCE} more services repaired")
