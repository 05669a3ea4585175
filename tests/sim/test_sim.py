"""The simulator itself, with a few seeds: the long runs are `python -m tests.sim --seeds 1000`."""

import os
import subprocess
import sys

import pytest

from tests.sim.faults import FAULTS
from tests.sim.invariants import Promise, Violation
from tests.sim.scenario import draw
from tests.sim.story import Story

EPISODES = 3


@pytest.mark.parametrize("seed", range(16))
def test_a_seed_breaks_no_invariant(seed: int) -> None:
    story = Story(seed)

    story.run(EPISODES)

    assert story.episodes == EPISODES


def test_one_seed_is_one_trace_whatever_the_hash_seed() -> None:
    program = (
        "from tests.sim.story import Story\n"
        "story = Story(9, lambda _: None)\n"
        "story.run(4)\n"
        "print(story.world.digest())\n"
    )

    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }

    assert len(digests) == 1


def test_another_seed_is_another_trace() -> None:
    one, other = Story(0, lambda _: None), Story(1, lambda _: None)

    one.run(1)
    other.run(1)

    assert one.world.digest() != other.world.digest()


def test_a_seed_leaves_some_faults_out_and_all_seeds_together_none() -> None:
    kinds = [set(draw(seed, tuple(FAULTS)).kinds) for seed in range(50)]

    assert all(chosen < set(FAULTS) for chosen in kinds)
    assert set().union(*kinds) == set(FAULTS)


def test_a_promise_that_is_not_kept_in_time_is_a_violation() -> None:
    story = Story(0)
    story.run(0)
    invariants = story.world.invariants
    until = story.world.agenda.now + 0.5
    invariants.promises.append(Promise("promise", "never", lambda: False, until, eventually=True))

    with pytest.raises(Violation, match="promise: never"):
        story.world.run(5.0)


def test_a_promise_broken_once_is_a_violation() -> None:
    story = Story(0)
    story.run(0)
    invariants = story.world.invariants
    until = story.world.agenda.now + 0.5
    invariants.promises.append(Promise("promise", "always", lambda: False, until, eventually=False))

    with pytest.raises(Violation, match="promise: always"):
        story.world.run(5.0)
