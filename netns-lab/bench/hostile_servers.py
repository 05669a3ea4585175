"""A checker among hostile servers: `python netns-lab/bench/hostile_servers.py [--seconds N]`.

The same honest targets are probed twice: alone, and beside servers that drip, flood, lie and stall,
a few of each way (labkit/hostile.py). Figures: how late the honest probes start and how long they
take, how far the loop lags and what it spends in one turn, what the checker's memory does, and of
each way the verdict and how long it took against its deadline. On a machine that others use as
well, run it with `nice -n -10`: lags are wall-clock.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from checks import server

from hadirector import checker
from hadirector.core import messages
from hadirector.core.address import Endpoint, canonical
from hadirector.core.settings.checks import Check, CheckType, Target, target_id
from hadirector.core.settings.questions import Dialogue, JsonWanted, Preset, Step, Tls

HONEST = 400  # targets each 0.25 s
EACH = 4  # hostile targets of each way
TIMEOUT = 0.5
FLAT = 16  # MiB of growth that pass for flat
LAG = 0.1  # seconds that a deadline may be late
BUSY = 0.08  # seconds of our own CPU that a turn may take: four evil texts are half of it
BEAT = 0.01  # seconds

BASE = Check(
    name="honest",
    type=CheckType.HTTP,
    interval=0.25,
    fast_interval=0.25,
    timeout=2.0,
    rise=2,
    fall=2,
    held=False,
    path="/healthz",
    body="status OK",
)
HTTP = replace(BASE, name="http", timeout=TIMEOUT)
LINES = replace(
    HTTP, name="steps", type=CheckType.EXPECT, dialogue=Dialogue(steps=(Step(expect="^220 "),))
)
BARE = Tls(verify=False)
ASKED = {
    "drip": HTTP,
    "endless head": HTTP,
    "huge body": HTTP,
    "chunked body": HTTP,
    "gzip bomb": HTTP,
    "deep json": replace(HTTP, body=None, json=(JsonWanted("status", '"ok"'),)),
    "evil text": replace(HTTP, body="(a+)+b"),
    "banner": LINES,
    "lines": replace(LINES, dialogue=Dialogue(preset=Preset.FTP)),
    "dropped lines": LINES,
    "tls garbage": replace(HTTP, type=CheckType.HTTPS, tls=BARE),
    "tls alerts": replace(HTTP, type=CheckType.HTTPS, tls=BARE),
    "tls chain": replace(HTTP, type=CheckType.HTTPS, tls=Tls(name="hostile")),
    "tls body": replace(HTTP, type=CheckType.HTTPS, tls=BARE),
    "tls drops": replace(HTTP, type=CheckType.HTTPS, tls=BARE),
    "silence": HTTP,
}


@dataclass(slots=True)
class Seen:
    """Of one run: milliseconds of the honest probes, lags of the loop in seconds, what it spent of
    our own CPU time meanwhile, and of each way what was said and the longest probe in
    milliseconds."""

    took: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)
    failed: int = 0
    verdicts: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    longest: dict[str, float] = field(default_factory=lambda: defaultdict(float))


@contextmanager
def hostile() -> Iterator[dict[str, int]]:
    """The hostile servers; their ports by way."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            # Nice: what their floods cost on one machine is not what they do to the checker.
            ["nice", "-n", "19", sys.executable, "-m", "labkit.hostile", folder],
            cwd=Path(__file__).resolve().parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.kill()
            process.wait()


def honest(port: int, count: int) -> list[Target]:
    endpoints = [
        Endpoint(canonical(f"127.1.{n >> 8}.{n & 255}"), port) for n in range(1, count + 1)
    ]
    return [Target(target_id("honest", one), BASE, one) for one in endpoints]


def harmful(ports: dict[str, int]) -> list[Target]:
    found = []
    for way, check in ASKED.items():
        for n in range(1, EACH + 1):
            endpoint = Endpoint(canonical(f"127.2.0.{n}"), ports[way])
            named = replace(check, name=way, interval=2 * TIMEOUT, fast_interval=2 * TIMEOUT)
            found.append(Target(target_id(way, endpoint), named, endpoint))
    return found


async def run(targets: list[Target], seconds: float) -> tuple[Seen, checker.Checker]:
    """Probe these for a while."""
    seen = Seen()
    loop = asyncio.get_running_loop()

    def send(message: messages.Message) -> None:
        if not isinstance(message, messages.Verdicts):
            return
        for verdict in message.verdicts:
            if verdict.last is None:
                continue
            name = verdict.target.partition("@")[0]
            if name == "honest":
                seen.took.append(verdict.last.ms)
                seen.failed += not verdict.last.ok
            else:
                seen.verdicts[name].add(verdict.last.detail)
                seen.longest[name] = max(seen.longest[name], verdict.last.ms)

    async def watch() -> None:
        while True:
            due, spent = loop.time() + BEAT, time.process_time()
            await asyncio.sleep(BEAT)
            seen.lags.append(loop.time() - due)
            seen.spent.append(time.process_time() - spent)

    one = checker.Checker(send, checker.engines())
    one.receive(messages.Targets(tuple(targets)))
    watching = asyncio.create_task(watch())
    await asyncio.sleep(seconds)
    watching.cancel()
    one.close()
    return seen, one


def rss() -> float:
    """MiB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)


def at(share: float, values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(name: str, seen: Seen, one: checker.Checker) -> None:
    counts = one.counts
    print(
        f"{name:<8} honest and others: {counts.done} of {counts.due} probes done, "
        f"{counts.missed} missed, {counts.late} started 100 ms late, {counts.void} void\n"
        f"         honest probes failed {seen.failed}; took p50 {at(0.5, seen.took):.1f} ms, "
        f"p99 {at(0.99, seen.took):.1f} ms, max {max(seen.took):.1f} ms\n"
        f"         loop lag p99 {at(0.99, seen.lags) * 1000:.1f} ms, "
        f"max {max(seen.lags) * 1000:.1f} ms; CPU of one turn p99 "
        f"{at(0.99, seen.spent) * 1000:.1f} ms, max {max(seen.spent) * 1000:.1f} ms"
    )


def main() -> int:
    """Both runs, and whether the goals are met."""
    parser = argparse.ArgumentParser(description="a checker among hostile servers")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    parser.add_argument("--honest", type=int, default=HONEST, help="targets, each 0.25 s")
    options = parser.parse_args()
    with server() as port, hostile() as ports:
        began = time.monotonic()
        few = honest(port, options.honest)
        alone, first = asyncio.run(run(few, options.seconds))
        before = rss()
        beside, second = asyncio.run(run(few + harmful(ports), options.seconds))
        middle = rss()
        again, third = asyncio.run(run(few + harmful(ports), options.seconds))
        after = rss()
        took = time.monotonic() - began
    show("alone", alone, first)
    show("beside", beside, second)
    show("again", again, third)
    worst = 0.0
    print(f"\nway             longest of {TIMEOUT * 1000:.0f} ms   verdict")
    for way in ASKED:
        worst = max(worst, beside.longest[way], again.longest[way])
        text = "; ".join(sorted(beside.verdicts[way] | again.verdicts[way]))
        print(f"{way:<16} {max(beside.longest[way], again.longest[way]):>9.0f} ms   {text[:110]}")
    print(
        f"\nmemory: {before:.1f} MiB alone, {middle:.1f} beside, {after:.1f} again ({took:.0f} s)"
    )
    goals = {
        f"deadlines hold within {LAG * 1000:.0f} ms": worst < (TIMEOUT + LAG) * 1000,
        f"memory grows by less than {FLAT} MiB": after - before < FLAT,
        "no honest probe fails": not (beside.failed or again.failed),
        f"no turn of the loop takes {BUSY * 1000:.0f} ms of CPU": max(beside.spent + again.spent)
        < BUSY,
        "no more start late, or are missed, than alone and 1 in 1000": all(
            one.counts.late + one.counts.missed
            <= first.counts.late + first.counts.missed + one.counts.due / 1000
            for one in (second, third)
        ),
    }
    for goal, met in goals.items():
        print(f"{'ok ' if met else 'NOT MET'} {goal}")
    return 0 if all(goals.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
