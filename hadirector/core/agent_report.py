"""What an agent on a real server says of it: one line of HAProxy's agent-check protocol.

    ready up 73% #cpu 27% busy            it serves, and can take so much of its weight
    drain up 73% #kernel update           its operator wants no new connections
    maint up 73% #disk replaced           its operator wants it out

A share is what is free, so that a server that is twice as busy gets fewer connections, not none:
0 % would be a drain to HAProxy, so an agent never says less than 1 %. The lowest of all sources
counts. One that cannot be read says nothing; where none can be read no share is told, and the
director goes back to the configured weight. Source: HAProxy's configuration manual, "agent-check".
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hadirector.core.checker_messages import Wish

LEAST = 1  # percent
LONGEST = 100  # characters of a reason


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """All time of all CPUs since boot, and what of it was idle, in any one unit."""

    whole: int
    idle: int


@dataclass(frozen=True, slots=True)
class Load:
    """What one source says: the share of the server that is free, and that in a few words."""

    free: float
    words: str


def cpu_times(stat: str) -> CpuTimes:
    """From /proc/stat; ValueError. Waiting for a disk is idle, time of guests is counted as user
    time already (proc(5))."""
    words = stat.split("\n", 1)[0].split()
    if not words or words[0] != "cpu" or len(words) < 6:
        raise ValueError("no CPU times")
    numbers = [int(word) for word in words[1:9]]
    return CpuTimes(sum(numbers), numbers[3] + numbers[4])


def of_cpu(before: CpuTimes, after: CpuTimes) -> Load:
    """How busy the CPUs were from one instant to the other."""
    whole = after.whole - before.whole
    free = 1.0 if whole <= 0 else max(0.0, min(1.0, (after.idle - before.idle) / whole))
    return Load(free, f"cpu {1 - free:.0%} busy")


def of_run_queue(loadavg: str, cpus: int) -> Load:
    """From /proc/loadavg, whose first word is the mean length of the run queue over a minute: a
    server with one process for each CPU is half free; ValueError."""
    words = loadavg.split()
    load = float(words[0]) if words else -1.0
    if not 0 <= load < float("inf"):
        raise ValueError("no load")
    return Load(1 / (1 + load / max(1, cpus)), f"load {load:g} on {cpus} CPUs")


def of_number(text: str, name: str) -> Load:
    """Percent that are free, from a file or a program; ValueError."""
    words = text.replace("%", " ").split()
    percent = float(words[0]) if words else -1.0
    if not 0 <= percent < float("inf"):
        raise ValueError(f"{name} has no number from 0 to 100")
    return Load(min(1.0, percent / 100), f"{name} {percent:g}% free")


def line(loads: Mapping[str, Load], wish: Wish, reason: str) -> bytes:
    """What is answered now; the lowest share, and why."""
    words = [wish.value or "ready", "up"]
    lowest = min(loads.values(), key=lambda load: load.free, default=None)
    if lowest is not None:
        words.append(f"{max(LEAST, round(100 * lowest.free))}%")
    told = reason if wish is not Wish.NONE else lowest.words if lowest else "no load is known"
    clean = "".join(c for c in " ".join(told.split()) if c.isprintable() and c.isascii())
    return f"{' '.join(words)} #{clean[:LONGEST]}\n".encode()
