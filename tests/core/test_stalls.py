"""Stalls: how long the loop itself stood still within a span."""

import pytest

from hadirector.core.stalls import Stalls


def test_stalls_are_what_a_tick_was_late_within_the_span_asked_for() -> None:
    stalls = Stalls(0.0)
    stalls.tick(0.052)  # jitter, no stall
    stalls.tick(0.402)  # due at 0.102: 0.3 s lost
    stalls.tick(0.452)

    assert stalls.within(0.0, 0.452) == pytest.approx(0.3)
    assert stalls.within(0.3, 0.452) == pytest.approx(0.102)
    assert stalls.within(0.41, 0.452) == 0.0


def test_a_stall_going_on_is_counted_before_its_tick_comes() -> None:
    stalls = Stalls(0.0)

    assert stalls.within(0.0, 0.054) == 0.0
    assert stalls.within(0.0, 0.25) == pytest.approx(0.2)
    assert stalls.within(0.15, 0.25) == pytest.approx(0.1)


def test_only_so_many_stalls_are_kept() -> None:
    stalls = Stalls(0.0)
    for turn in range(1, 2 * Stalls.KEPT + 1):
        stalls.tick(turn * 0.1)

    end = 2 * Stalls.KEPT * 0.1
    assert stalls.within(0.0, end) == pytest.approx(Stalls.KEPT * 0.05)
