"""Comparing what two nodes hold without sending it: digests by bucket, then lists of hashes.

    master                                   standby
      Compare(scope, salt)      --->
                                <---         Digests: one of 8 bytes for each bucket
      List(buckets that differ) --->
                                <---         Listing: a hash of 8 bytes for each connection
      records of what is missing, to the kernel of the standby

What a bucket's digest covers is sorted, so it does not depend on who heard what when. States and
times are not compared, they differ at any moment; neither are connections whose loss nobody would
notice (being opened, closed, or in TIME_WAIT), and those that no record can carry (changed
sequence numbers). The salt is new each time: nobody can prepare connections that collide.

A standby may hold more than its master, its own of before, say. That makes buckets differ and is
left alone: repair flows from master to standby only, and what is over ends by its own timer.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b

from hadirector.core.ipvs_sync import IN_SEQUENCE, OUT_SEQUENCE, TEMPLATE
from hadirector.core.mirror import item, virtual_of

HASH = 8  # bytes
NOTHING = bytes(HASH)  # the digest of an empty bucket
_WORTH_TCP = frozenset({1, 4, 7})  # ESTABLISHED, FIN_WAIT, CLOSE_WAIT
_WORTH_SCTP = frozenset({8, 9, 10, 11})
_STATE, _PROTOCOL, _FLAGS = 18, 10, 15  # of an entry's bytes
_DELTAS = (IN_SEQUENCE | OUT_SEQUENCE) >> 8

Scope = frozenset[bytes] | None
"""The virtual addresses whose connections are compared, packed; None: all."""


def is_compared(value: bytes, scope: Scope) -> bool:
    """Whether an entry of the mirror is of those that a standby is to have."""
    flags = value[_FLAGS]
    if flags & _DELTAS:
        return False
    protocol = value[_PROTOCOL]
    if scope is not None and protocol and virtual_of(value) not in scope:
        return False
    if flags & TEMPLATE >> 8 or protocol not in (6, 132):
        return True
    return value[_STATE] in (_WORTH_TCP if protocol == 6 else _WORTH_SCTP)


def is_kept_out(value: bytes) -> bool:
    """Whether it cannot be given to anybody: a helper changed its sequence numbers (FTP through
    NAT). The kernel (6.1) sends other deltas than it has, and a record without them takes away
    those that are there."""
    return bool(value[_FLAGS] & _DELTAS)


def digest(bucket: Iterable[bytes], scope: Scope, salt: bytes) -> tuple[bytes, int]:
    """The digest of a bucket's entries, and how many it covers."""
    items = sorted(item(value) for value in bucket if is_compared(value, scope))
    if not items:
        return NOTHING, 0
    return blake2b(b"".join(items), digest_size=HASH, key=salt).digest(), len(items)


def hashes(
    bucket: Iterable[tuple[bytes, bytes]], scope: Scope, salt: bytes
) -> Iterator[tuple[bytes, bytes]]:
    """(hash, key) of each entry of a bucket that is compared."""
    for key, value in bucket:
        if is_compared(value, scope):
            yield blake2b(item(value), digest_size=HASH, key=salt).digest(), key


def differing(ours: bytes, theirs: bytes) -> list[int]:
    """The buckets that differ, of those where we have anything at all. Both of whole digests."""
    return [
        at // HASH
        for at in range(0, len(ours), HASH)
        if ours[at : at + HASH] != theirs[at : at + HASH] and ours[at : at + HASH] != NOTHING
    ]


def split_hashes(raw: bytes) -> set[bytes]:
    """A bucket's hashes, as they are sent: one after the other."""
    return {raw[at : at + HASH] for at in range(0, len(raw), HASH)}
