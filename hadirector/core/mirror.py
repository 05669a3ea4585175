"""The mirror: what a node's connection table holds, as far as it was seen.

Two sources are merged into it: the kernel's sync stream, which repeats each connection that lives
(sync_threshold "0 1"), and readings of /proc/net/ip_vs_conn, which are slow where the table is
large. A million connections are kept as bytes, in `BUCKETS` dictionaries by a hash of the client's
address and port, so that whoever walks through it can do so bucket by bucket and never holds the
loop up for long. The hash depends on the cluster's name, which whoever forges clients' addresses
does not know: nobody can fill one bucket with connections of his choice.

    key    protocol, client port, virtual port, client, virtual        what is looked up by
    value  first seen, heard last (tenths of a second), standing, record

Rules of what is believed:
 - a record heard is there until its time is up (the kernel's own timer runs as long);
 - one that a reading did not show although it was there before it began is gone, if only the
   stream told of it; one that a former reading showed is gone when the next does not show it
   either, since the reading of a changing table leaves some out;
 - what came while the kernel dropped datagrams is forgotten (`doubt`): it may be there or not, and
   a comparison that misses it costs a repair, not a connection.
"""

import struct
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from hadirector.core.ipvs_sync import INACTIVE, TEMPLATE, is_template, timeout_of

BUCKETS = 4096
GRACE = 20  # tenths of a second a record outlives its time: the kernel's buffer holds it up to 2 s
_STAMPS = struct.Struct("!IIB")
_HEAD = _STAMPS.size
# Standing: by the stream alone; read; left out of one reading; read for the first time just now,
# when a former reading had not shown it and the stream had not told of it.
_HEARD, _READ, _MISSED, _ANEW = 0, 1, 2, 3
_INACTIVE = INACTIVE >> 8  # in a record's byte of flags
_KEPT = (INACTIVE | TEMPLATE) >> 8
_KERNEL_TIMEOUTS = {6: 900, 17: 300}  # of a record without a time of its own, in seconds
_DEFAULT_TIMEOUT = 900
_ALL = slice(None)
OLD = 0  # first seen before anybody looked

Tables = list[list[int]]


class Mirror:
    """One node's. Instants are seconds of CLOCK_BOOTTIME."""

    def __init__(self, cluster: str = "") -> None:
        self.buckets: list[dict[bytes, bytes]] = [{} for _ in range(BUCKETS)]
        self._secret = blake2b(cluster.encode()).digest()
        self._mix = _tables(self._secret)
        self._reading_from = 0
        self._first_of_reading = OLD

    def __len__(self) -> int:
        return sum(map(len, self.buckets))

    def get(self, key: bytes) -> bytes | None:
        """The entry of a key."""
        return self.buckets[self._place(key)].get(key)

    def hear(self, records: Iterable[bytes], now: float, own: bool = True) -> None:
        """Records of the stream, as `ipvs_sync.split` gives them. What our own kernel says is so;
        of what comes to it, it keeps some connections to other servers (core/making_way)."""
        stamp = int(now * 10).to_bytes(4, "big")
        fresh = stamp + stamp + b"\0"
        buckets = self.buckets
        a, b, c, d, e, f = self._mix
        for raw in records:
            if len(raw) == 36:
                key = raw[1:2] + raw[10:14] + raw[24:32]
                place = a[raw[24]] ^ b[raw[25]] ^ c[raw[26]] ^ d[raw[27]] ^ e[raw[10]] ^ f[raw[11]]
            else:
                key = _key(raw)
                place = self._place(key)
            bucket = buckets[place]
            before = bucket.get(key)
            if before is None:
                bucket[key] = fresh + raw
                continue
            if not own and raw[6] & _KEPT:
                kept = _as_kept(before, raw, now)
                if kept is None:
                    continue
                raw = kept
            bucket[key] = before[:4] + stamp + before[8:9] + raw

    # Readings

    def begin_reading(self, now: float, previous: float | None) -> None:
        """A reading begins; what it shows anew came after `previous` began, or before anybody
        looked if that is None."""
        self._reading_from = int(now * 10)
        self._first_of_reading = OLD if previous is None else int(previous * 10)

    def read(self, records: Iterable[bytes], now: float) -> None:
        """Some of what the table holds. Forwarding and firewall mark of a record that was heard
        are better than those a reading can know."""
        stamp = int(now * 10).to_bytes(4, "big")
        anew = b"\1" if self._first_of_reading == OLD else b"\3"
        fresh = self._first_of_reading.to_bytes(4, "big") + stamp + anew
        for raw in records:
            key = _key(raw)
            bucket = self.buckets[self._place(key)]
            before = bucket.get(key)
            if before is None:
                bucket[key] = fresh + raw
                continue
            old = before[_HEAD:]
            if _server(old) == _server(raw):
                timeout = old[20:24] if is_template(old) else raw[20:24]
                activity = old[6] & ~_INACTIVE | raw[6] & _INACTIVE
                kept = old[:6] + bytes((activity,)) + old[7:8]
                raw = kept + raw[8:10] + old[10:20] + timeout + old[24:]
            bucket[key] = before[:4] + stamp + b"\1" + raw

    def end_reading(self) -> Iterator[int]:
        """Forget what was not shown, bucket by bucket; how many went from each."""
        for bucket in self.buckets:
            gone = []
            for key, value in bucket.items():
                _, heard, standing = _STAMPS.unpack_from(value)
                if heard >= self._reading_from:
                    continue
                if standing in (_READ, _ANEW):
                    bucket[key] = value[:8] + b"\2" + value[_HEAD:]
                else:
                    gone.append(key)
            for key in gone:
                del bucket[key]
            yield len(gone)

    # What ends

    def expire(self, now: float, part: slice = _ALL) -> Iterator[int]:
        """Forget whose time is up, bucket by bucket, in a part of them; how many went from each."""
        for bucket in self.buckets[part]:
            limit = int(now * 10) - GRACE
            gone = [key for key, value in bucket.items() if _ends(value) < limit]
            for key in gone:
                del bucket[key]
            yield len(gone)

    def doubt(self, since: float, until: float) -> Iterator[int]:
        """Forget what was heard meanwhile, bucket by bucket; how many went from each."""
        first, last = int(since * 10), int(until * 10) + 1
        for bucket in self.buckets:
            gone = [
                key
                for key, value in bucket.items()
                if first <= int.from_bytes(value[4:8], "big") <= last
            ]
            for key in gone:
                del bucket[key]
            yield len(gone)

    def clear(self) -> None:
        """Nothing is known any more."""
        for bucket in self.buckets:
            bucket.clear()

    def belong_to(self, cluster: str) -> None:
        """Buckets are this cluster's; nothing is known any more where they were another one's."""
        secret = blake2b(cluster.encode()).digest()
        if secret != self._secret:
            self._secret, self._mix = secret, _tables(secret)
            self.clear()

    def _place(self, key: bytes) -> int:
        """The bucket of a key: simple tabulation hashing of the client's address and port."""
        a, b, c, d, e, f = self._mix
        place = e[key[1]] ^ f[key[2]]
        if len(key) == 13:
            return place ^ a[key[5]] ^ b[key[6]] ^ c[key[7]] ^ d[key[8]]
        client = blake2b(key[5:21], digest_size=4, key=self._secret).digest()
        return place ^ a[client[0]] ^ b[client[1]] ^ c[client[2]] ^ d[client[3]]


def item(value: bytes) -> bytes:
    """What two nodes compare: the connection and its server, without state and time."""
    if len(value) == _HEAD + 36:
        return value[10:11] + value[19:25] + value[33:45]
    raw = value[_HEAD:]
    return raw[1:2] + raw[10:16] + (raw[24:36] if raw[:1] == b"\0" else raw[24:72])


def virtual_of(value: bytes) -> bytes:
    """The virtual address of an entry, 4 or 16 bytes; of a mark's template the mark."""
    raw = value[_HEAD:]
    return raw[28:32] if raw[:1] == b"\0" else raw[40:56]


def is_old(value: bytes, before: float) -> bool:
    """Whether it was seen first before then."""
    return int.from_bytes(value[:4], "big") < int(before * 10)


def is_anew(value: bytes) -> bool:
    """Whether the last reading showed it for the first time, and nobody told of it before: it may
    be as old as the reading before, and is most often on its way in the kernel's buffer."""
    return value[8] == _ANEW


def record(value: bytes, now: float) -> bytes:
    """The record to send now: with the time it has left, so that the standby's timer runs in step.
    A template keeps its whole time: nothing would ever lengthen it again."""
    raw = value[_HEAD:]
    if is_template(raw):
        return raw
    left = max(1, (_ends(value) - int(now * 10)) // 10)
    return raw[:20] + left.to_bytes(4, "big") + raw[24:]


def _as_kept(before: bytes, raw: bytes, now: float) -> bytes | None:
    """What a kernel that has the entry `before` makes of this record of an inactive connection or a
    template, if that has another server; None: nothing."""
    had = before[_HEAD:]
    if _server(had) == _server(raw) or _ends(before) <= int(now * 10):
        return raw
    return had[:20] + raw[20:24] + had[24:] if is_template(raw) else None


def _key(raw: bytes) -> bytes:
    """Key of a record of either family."""
    return raw[1:2] + raw[10:14] + (raw[24:32] if raw[:1] == b"\0" else raw[24:56])


def _tables(secret: bytes) -> Tables:
    """A bucket's number for each value of each of six bytes, as good as random."""
    return [
        [
            int.from_bytes(blake2b(bytes((byte, value)), digest_size=2, key=secret).digest(), "big")
            % BUCKETS
            for value in range(256)
        ]
        for byte in range(6)
    ]


def _server(raw: bytes) -> bytes:
    return raw[14:16] + (raw[32:36] if raw[:1] == b"\0" else raw[56:72])


def _ends(value: bytes) -> int:
    """When its time is up, in tenths of a second."""
    seconds = timeout_of(value[_HEAD:]) or _KERNEL_TIMEOUTS.get(value[_HEAD + 1], _DEFAULT_TIMEOUT)
    return int.from_bytes(value[4:8], "big") + 10 * seconds
