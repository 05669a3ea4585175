"""The instants at which a target is to be probed.

A target has a slot each `interval` (`fast_interval` while in doubt), counted from its slot
before, not from when its probe ended: no drift. The first slot of a target lies within a
second of its arrival, at a place given by a hash of its id, so that 10,000 targets neither
start in one instant nor shift when one of them is added. After that first probe it takes its own
place in the whole interval, by the same hash: a thousand programs each 30 s do not start within
one second of them.
"""

import hashlib
import math

from hadirector.core.settings.checks import Target

SPREAD = 1.0  # seconds over which new targets start, if their interval is not shorter


def next_slot(slot: float, period: float, now: float) -> tuple[float, int]:
    """The first slot after `now` on the grid through `slot`, and how many were missed."""
    steps = max(1, math.floor((now - slot) / period) + 1)
    return slot + steps * period, steps - 1


def own_place(target: Target, first: float) -> float:
    """A grid for a target whose first slot that was: its next slot is within an interval of it."""
    interval = target.check.interval
    if interval <= SPREAD:
        return first
    digest = hashlib.blake2b(target.id.encode(), digest_size=8).digest()
    return first - int.from_bytes(digest[4:]) / 2**32 * interval


def first_slot(target: Target, now: float) -> float:
    """Where a new target's grid begins: always the same place for the same id."""
    digest = hashlib.blake2b(target.id.encode(), digest_size=4).digest()
    return now + int.from_bytes(digest) / 2**32 * min(target.check.interval, SPREAD)
