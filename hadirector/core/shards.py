"""How many processes probe, and which of them probes what.

One process has one CPU, and Python spends 40 to 70 us of it on a tcp probe. Where the configured
probes would take more than SHARE of a CPU, they are divided among several; each server belongs to
one of them whole. They are never more than the CPUs there are, and their number does not go up and
down with every reload. When it does change, only those move that a new one gets or one that is gone
had (rendezvous hashing).
"""

import hashlib
import math
import struct
from collections.abc import Iterable
from dataclasses import replace

from hadirector.core.checker_messages import Targets
from hadirector.core.settings.checks import CheckType, Target

SHARE = 0.35  # of a CPU for the probes of one process: half is left for bursts and neighbours
MOST = 8
_SCORES = struct.Struct(f">{MOST}Q")
FEWER_FROM = 0.6  # of the load that asked for so many: below, there are fewer again

_COSTS = {  # seconds of CPU a probe; measured, of this order on any machine
    CheckType.TCP: 55e-6,
    CheckType.HTTP: 110e-6,
    CheckType.HTTPS: 1100e-6,
    CheckType.TLS: 1000e-6,
    CheckType.PING: 40e-6,
    CheckType.UDP: 60e-6,
    CheckType.EXTERNAL: 15e-6,
}
_COST = 120e-6  # of any other type


def load(targets: Iterable[Target]) -> float:
    """The CPUs that these probes take, about."""
    return sum(_COSTS.get(t.check.type, _COST) / t.check.interval for t in targets)


def count(wanted: float, cpus: int, before: int) -> int:
    """How many processes are to share this load; 1: this one alone."""
    most = max(1, min(MOST, cpus))
    needed = max(1, min(most, math.ceil(wanted / SHARE)))
    if 1 < before <= most and needed < before and wanted > FEWER_FROM * SHARE * (before - 1):
        return before
    return needed


def shard_of(target: Target, shards: int) -> int:
    """Which of so many processes probes it."""
    digest = hashlib.blake2b(target.at.address.encode(), digest_size=8 * MOST).digest()
    scores = _SCORES.unpack(digest)[:shards]
    return scores.index(max(scores))


def divide(targets: Targets, shards: int) -> tuple[Targets, ...]:
    """What each of so many processes is to probe."""
    parts: list[list[Target]] = [[] for _ in range(shards)]
    for target in targets.targets:
        parts[shard_of(target, shards)].append(target)
    return tuple(replace(targets, targets=tuple(part)) for part in parts)
