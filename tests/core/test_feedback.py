"""The damped controller: what it does with reports that change, are noisy, or cease."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import feedback
from hadirector.core.settings.services import Feedback

SETTINGS = Feedback(checks=("load",))


def follow(reports: list[float], settings: Feedback = SETTINGS) -> list[float]:
    """The applied share after each report, one a second."""
    damper = feedback.begin(reports[0], 0.0, settings, 0.0)
    applied = [damper.applied]
    for second, reported in enumerate(reports[1:], 1):
        damper = feedback.report(damper, reported, float(second), settings, float(second))
        applied.append(damper.applied)
    return applied


def turns(applied: list[float]) -> int:
    """How often it changed direction."""
    moves = [b - a for a, b in pairwise(applied) if a != b]
    return sum((a > 0) != (b > 0) for a, b in pairwise(moves))


@pytest.mark.parametrize("seed", range(20))
def test_noisy_reports_around_one_load_change_nothing(seed: int) -> None:
    noise = random.Random(seed)  # the noise is to be the same in every run

    applied = follow([0.6] + [0.6 + noise.uniform(-0.2, 0.2) for _ in range(600)])

    assert set(applied) == {0.6}


@pytest.mark.parametrize("seed", range(20))
def test_a_step_under_noise_is_followed_once_and_does_not_swing(seed: int) -> None:
    noise = random.Random(seed)
    loads = [0.9] * 100 + [0.4] * 300

    applied = follow([load + noise.uniform(-0.1, 0.1) for load in loads])

    assert turns(applied) <= 2  # the first noisy report is taken at once, and may be mended
    assert abs(applied[-1] - 0.4) < SETTINGS.deadband + 0.05


def test_the_share_moves_by_so_much_a_second_at_most() -> None:
    applied = follow([1.0] * 5 + [0.1] * 200)

    steps = [abs(b - a) for a, b in pairwise(applied)]
    assert 0 < max(steps) <= SETTINGS.change + 1e-9
    assert applied[-1] == pytest.approx(0.1, abs=0.01)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=50))
def test_load_alone_never_takes_a_server_out(reports: list[float]) -> None:
    assert all(SETTINGS.least <= share <= 1 for share in follow(reports))


def test_two_servers_that_share_one_load_settle_instead_of_swinging() -> None:
    """The loop closed: the load a server reports is what its weight brought it a moment ago."""
    dampers = [feedback.begin(share, 0.0, SETTINGS, 0.0) for share in (0.9, 0.9)]
    strength = (1.0, 0.4)  # the second one is weaker
    shares: list[list[float]] = [[], []]
    for second in range(1, 600):
        total = sum(d.applied for d in dampers)
        for place, damper in enumerate(dampers):
            load = damper.applied / total / strength[place]
            reported = max(0.0, 1 - load / 2)
            dampers[place] = feedback.report(
                damper, reported, float(second), SETTINGS, float(second)
            )
            shares[place].append(dampers[place].applied)

    assert max(turns(applied) for applied in shares) <= 2
    late = [applied[300:] for applied in shares]
    assert all(max(one) - min(one) < 0.02 for one in late)
    assert late[0][-1] > late[1][-1]


def test_a_server_that_reports_no_more_gets_its_whole_weight_back_slowly() -> None:
    damper = feedback.begin(0.4, 0.0, SETTINGS, 0.0)
    seen = []
    for second in range(1, 120):
        damper = feedback.step(damper, SETTINGS, float(second))
        seen.append(damper.applied)

    assert set(seen[:9]) == {0.4}
    assert seen[12] < 0.6
    assert seen[-1] == pytest.approx(1.0, abs=0.01)
