"""shell/wall_clock: told at first, and when somebody sets the clock."""

import time

import pytest

from hadirector.shell.wall_clock import WallClock


def test_the_time_of_day_is_told_once_and_again_when_it_was_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = WallClock()
    offset = clock.moved()
    assert offset is not None
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert abs(now + offset - time.time()) < 1.0
    assert clock.moved() is None

    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() - 3600)

    later = clock.moved()
    assert later is not None
    assert abs(later - offset + 3600) < 1.0
    assert clock.moved() is None
