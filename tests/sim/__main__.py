"""`python -m tests.sim --seed N`: run seeds, print what broke and how to see it again."""

import argparse
import sys
import time
import traceback

from tests.sim.invariants import Violation
from tests.sim.story import Story

SHOWN = 60  # lines of the trace printed with a violation


def main(arguments: list[str]) -> int:
    """Exit status 1 when a seed found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to run")
    parser.add_argument("--episodes", type=int, default=4, help="episodes of each seed")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    parser.add_argument("--keep-going", action="store_true", help="run on after a violation")
    options = parser.parse_args(arguments)

    began, failed, episodes, steps, virtual = time.monotonic(), 0, 0, 0, 0.0
    for seed in range(options.seed, options.seed + options.seeds):
        story = Story(seed, print if options.trace else lambda _: None)
        try:
            story.run(options.episodes)
        except Violation as violation:
            failed += 1
            _report(seed, options.episodes, story, violation, options.trace)
            if not options.keep_going:
                break
        episodes += story.episodes
        steps += story.world.agenda.steps
        virtual += story.world.agenda.now
    took = time.monotonic() - began
    print(
        f"{episodes} episodes, {steps} events, {virtual:.0f} virtual s in {took:.1f} s: "
        f"{episodes / took:.1f} episodes/s, {steps / took:.0f} events/s; {failed} seeds failed"
    )
    return 1 if failed else 0


def _report(seed: int, episodes: int, story: Story, violation: Violation, traced: bool) -> None:
    if not traced:
        print("\n".join(list(story.world.trace)[-SHOWN:]))
    if violation.__cause__ is not None:
        traceback.print_exception(violation.__cause__, file=sys.stdout)
    print(f"seed {seed}, {story.world.agenda.now:.6f} s: {violation}")
    print(f"  {story.scenario}")
    print(f"  again: python -m tests.sim --seed {seed} --episodes {episodes} --trace")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
