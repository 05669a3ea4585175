"""The kernels' counters of active connections, server by server, as two nodes compare them.

A mirror knows what the stream told and a reading showed; the counters know of every connection that
has a server, and cost no walk of the table. Where tables are not read they speak against a standby
that its master's mirror calls complete. Servers are told apart by groups, so that the answer has
one size: up to some hundred servers nearly each has one of its own.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

from hadirector.core.address import Endpoint
from hadirector.core.ipvs import ServiceKey

GROUPS = 512
FEW = 50  # connections: they come and go while both kernels count, and wait in their buffers
TOLERANCE = 0.005  # of all, for the same reason
SERVERS_TOLERANCE = 0.05  # of a group's, which change faster

Counters = tuple[int, ...]
"""Active connections by group, `GROUPS` of them."""


def grouped(uses: Iterable[tuple[ServiceKey, Endpoint, int]]) -> Counters:
    """The counters of these servers; each has the same group on both nodes."""
    found = [0] * GROUPS
    for key, endpoint, active in uses:
        if active:
            found[_group(key, endpoint)] += active
    return tuple(found)


def short(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """How many fewer the other node has than may come and go: of all, or of those servers of which
    it has too few. What it has of others does not make up for them."""
    fewer = sum(ours) - sum(theirs)
    of_all = fewer if fewer > max(FEW, TOLERANCE * sum(ours)) else 0
    of_some = sum(
        here - there
        for here, there in zip(ours, theirs, strict=True)
        if here - there > max(FEW, SERVERS_TOLERANCE * here)
    )
    return max(of_all, of_some)


@lru_cache(1 << 16)
def _group(key: ServiceKey, endpoint: Endpoint) -> int:
    name = f"{key.family} {key.protocol} {key.address} {key.port} {key.fwmark} {endpoint}"
    return int.from_bytes(blake2b(name.encode(), digest_size=2).digest(), "big") % GROUPS
