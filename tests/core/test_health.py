"""Rise and fall: every state with every kind of probe."""

import pytest

from hadirector.core import health
from hadirector.core.health import Down, Falling, Rising, Unknown, Up
from hadirector.core.messages import Health
from hadirector.core.settings.checks import Check, CheckType

THEN, NOW = 100.0, 200.0


def check(rise: int = 3, fall: int = 3) -> Check:
    return Check(
        name="page",
        type=CheckType.TCP,
        interval=1.0,
        fast_interval=0.2,
        timeout=0.5,
        rise=rise,
        fall=fall,
        held=False,
    )


@pytest.mark.parametrize(
    ("state", "good", "expected"),
    [
        (Unknown(THEN), True, Up(NOW)),
        (Unknown(THEN), False, Down(NOW)),
        (Up(THEN), True, Up(THEN)),
        (Up(THEN), False, Falling(NOW, 1)),
        (Falling(THEN, 1), True, Up(NOW)),
        (Falling(THEN, 1), False, Falling(THEN, 2)),
        (Falling(THEN, 2), False, Down(NOW)),
        (Down(THEN), False, Down(THEN)),
        (Down(THEN), True, Rising(NOW, 1)),
        (Rising(THEN, 1), False, Down(NOW)),
        (Rising(THEN, 1), True, Rising(THEN, 2)),
        (Rising(THEN, 2), True, Up(NOW)),
    ],
    ids=str,
)
def test_each_state_takes_each_probe(
    state: health.State, good: bool, expected: health.State
) -> None:
    assert health.handle(state, good, check(), NOW) == expected


def test_with_rise_and_fall_of_one_there_is_no_doubt() -> None:
    once = check(rise=1, fall=1)

    assert health.handle(Up(THEN), False, once, NOW) == Down(NOW)
    assert health.handle(Down(THEN), True, once, NOW) == Up(NOW)


def test_a_fall_lowered_by_a_reload_below_what_is_counted_still_ends_in_down() -> None:
    assert health.handle(Falling(THEN, 4), False, check(fall=2), NOW) == Down(NOW)
    assert health.handle(Rising(THEN, 4), True, check(rise=2), NOW) == Up(NOW)


@pytest.mark.parametrize(
    ("state", "word", "period"),
    [
        (Unknown(THEN), Health.UNKNOWN, 1.0),
        (Up(THEN), Health.UP, 1.0),
        (Falling(THEN, 1), Health.FALLING, 0.2),
        (Down(THEN), Health.DOWN, 1.0),
        (Rising(THEN, 1), Health.RISING, 0.2),
    ],
    ids=str,
)
def test_doubt_is_probed_fast_and_every_state_has_its_word(
    state: health.State, word: Health, period: float
) -> None:
    assert health.verdict(state) is word
    assert health.period(state, check()) == period
