"""`python -m tests.sim --seed N`: run seeds, print what broke and how to see it again.

A long run is cut into chunks of seeds, which `--jobs` processes share; with `--progress FILE` each
finished chunk is noted there, and the same command goes on where an interrupted one stopped.
"""

import argparse
import gc
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

from tests.sim.invariants import Violation
from tests.sim.story import Story

SHOWN = 60  # lines of the trace printed with a violation
CHUNK = 25  # seeds


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some seeds and what came of them; `failed` are those that broke an invariant."""

    first: int
    seeds: int
    episodes: int = 0
    events: int = 0
    virtual: float = 0.0
    cpu: float = 0.0
    failed: str = ""

    def line(self) -> str:
        """As the progress file has it."""
        return " ".join(str(field) for field in astuple(self)) + "\n"


def main(arguments: list[str]) -> int:
    """Exit status 1 when a seed found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to run")
    parser.add_argument("--episodes", type=int, default=8, help="episodes of each seed")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    parser.add_argument("--keep-going", action="store_true", help="run on after a violation")
    parser.add_argument("--jobs", type=int, default=1, help="processes to share the seeds")
    parser.add_argument("--progress", type=Path, help="note finished chunks; go on from there")
    options = parser.parse_args(arguments)

    began = time.monotonic()
    done = _noted(options.progress)
    chunks = [
        Chunk(first, min(CHUNK, options.seed + options.seeds - first))
        for first in range(options.seed, options.seed + options.seeds, CHUNK)
    ]
    finished = [done[chunk.first] for chunk in chunks if chunk.first in done]
    left = [chunk for chunk in chunks if chunk.first not in done]
    for chunk in _run(left, options):
        finished.append(chunk)
        if options.progress is not None:
            with options.progress.open("a") as file:
                file.write(chunk.line())
        if chunk.failed and not options.keep_going:
            break
    _sum_up(finished, time.monotonic() - began)
    return 1 if any(chunk.failed for chunk in finished) else 0


def _noted(progress: Path | None) -> dict[int, Chunk]:
    """The chunks an earlier run finished, by their first seed."""
    if progress is None or not progress.exists():
        return {}
    found = {}
    for line in progress.read_text().splitlines():
        fields = line.split(" ")
        if len(fields) == 7:
            first, seeds, episodes, events = (int(one) for one in fields[:4])
            virtual, cpu = float(fields[4]), float(fields[5])
            found[first] = Chunk(first, seeds, episodes, events, virtual, cpu, fields[6])
    return found


def _run(chunks: list[Chunk], options: argparse.Namespace) -> Iterator[Chunk]:
    """Chunk by chunk, in order."""
    if options.jobs == 1:
        for chunk in chunks:
            yield _play(chunk, options.episodes, options.trace, options.keep_going)
        return
    with ProcessPoolExecutor(options.jobs) as pool:
        try:
            played = [pool.submit(_play, c, options.episodes, False, True) for c in chunks]
            for one in played:
                yield one.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _play(chunk: Chunk, episodes: int, traced: bool, keep_going: bool) -> Chunk:
    """Run the seeds of a chunk."""
    began, count, events, virtual = time.process_time(), 0, 0, 0.0
    failed: list[str] = []
    gc.disable()  # next to nothing goes in circles; what does is collected with its chunk
    gc.freeze()
    for seed in range(chunk.first, chunk.first + chunk.seeds):
        story = Story(seed, print if traced else None)
        try:
            story.run(episodes)
        except Violation as violation:
            failed.append(str(seed))
            _report(seed, episodes, violation, traced)
        count += story.episodes
        events += story.world.agenda.steps
        virtual += story.world.agenda.now
        if failed and not keep_going:
            break
    gc.collect()
    gc.enable()
    cpu = time.process_time() - began
    return Chunk(chunk.first, chunk.seeds, count, events, virtual, cpu, ",".join(failed))


def _report(seed: int, episodes: int, violation: Violation, traced: bool) -> None:
    """What broke, and the last of what happened before it."""
    if not traced:
        lines: list[str] = []
        story = Story(seed, lines.append)
        try:
            story.run(episodes)
        except Violation as again:
            violation = again
        print("\n".join(lines[-SHOWN:]))
        print(f"  {story.scenario}")
    if violation.__cause__ is not None:
        traceback.print_exception(violation.__cause__, file=sys.stdout)
    print(f"seed {seed}: {violation}")
    print(f"  again: python -m tests.sim --seed {seed} --episodes {episodes} --trace", flush=True)


def _sum_up(chunks: list[Chunk], took: float) -> None:
    episodes, events = sum(c.episodes for c in chunks), sum(c.events for c in chunks)
    virtual, cpu = sum(c.virtual for c in chunks), sum(c.cpu for c in chunks) or 1e-9
    failed = [seed for c in chunks for seed in c.failed.split(",") if seed]
    print(
        f"{episodes} episodes, {events} events, {virtual:.0f} virtual s; {took:.1f} s, "
        f"{cpu:.1f} s of CPU: {episodes / cpu:.1f} episodes and {events / cpu:.0f} events each; "
        f"{len(failed)} seeds failed{': ' + ', '.join(failed[:20]) if failed else ''}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
