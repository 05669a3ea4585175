"""How much of an mh service's table another set of servers moves.

The kernel fills its table by Maglev's rule: the servers take turns, each the next free slot of its
own permutation, as often in a round as its weight. The permutations here are by another hash than
the kernel's: the share of slots that move is the same on average, which slots is not.
"""

import hashlib
from collections.abc import Mapping
from math import gcd

from hadirector.core.address import Endpoint

SLOTS = 4093  # CONFIG_IP_VS_MH_TAB_INDEX 12, the kernel's default


def moved(before: Mapping[Endpoint, int], after: Mapping[Endpoint, int]) -> float:
    """The share of slots that lead to another server, of servers with their weights; 1.0 where
    there is none before or after."""
    old, new = table(before), table(after)
    if not old or not new:
        return 0.0 if old == new else 1.0
    return sum(one != other for one, other in zip(old, new, strict=True)) / SLOTS


def table(weights: Mapping[Endpoint, int]) -> list[Endpoint]:
    """The server of each slot; empty where no server has weight."""
    servers = sorted((server, weight) for server, weight in weights.items() if weight > 0)
    if not servers:
        return []
    common = gcd(*(weight for _, weight in servers))
    turns = [min(weight // common, SLOTS) for _, weight in servers]
    offsets, skips = zip(*(_permutation(server) for server, _ in servers), strict=True)
    slots: list[Endpoint | None] = [None] * SLOTS
    steps = [0] * len(servers)
    filled = 0
    while filled < SLOTS:
        for number, (server, _) in enumerate(servers):
            for _ in range(turns[number]):
                place = (offsets[number] + steps[number] * skips[number]) % SLOTS
                while slots[place] is not None:
                    steps[number] += 1
                    place = (offsets[number] + steps[number] * skips[number]) % SLOTS
                slots[place] = server
                steps[number] += 1
                filled += 1
                if filled == SLOTS:
                    return [slot for slot in slots if slot is not None]
    return []


def _permutation(server: Endpoint) -> tuple[int, int]:
    digest = hashlib.blake2b(str(server).encode(), digest_size=16).digest()
    offset = int.from_bytes(digest[:8], "big") % SLOTS
    return offset, int.from_bytes(digest[8:], "big") % (SLOTS - 1) + 1
