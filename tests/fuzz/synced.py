"""One fuzzed datagram of the kernel's sync stream: any bytes, or any behind a header that fits.

Whoever can send to the sync network's group can say anything to the mirror.
"""

from contextlib import suppress

from hadirector.core import comparison, ipvs_sync, mirror
from hadirector.core.ipvs_sync import SyncError
from hadirector.core.mirror import Mirror

SYNC_ID = 51
# Behind a header that fits: IPv4, IPv6, sequence data, a persistence engine, two of unlike kinds.
_V4 = bytes.fromhex("0006002400000000000190400050")
_V4 += bytes.fromhex("1f900000000000000384c0000264c000020a0a00010b")
_V6 = _V4[:2].replace(b"\0", b"\1") + b"\0\x48" + _V4[4:24] + 3 * (b"\x20\1\r\xb8" + bytes(12))
_SEQUENCES = _V4[:3] + b"\x3e" + _V4[4:] + b"\1\x18" + bytes(24)
_ENGINE = _V4[:3] + b"\x2f" + _V4[4:] + b"\2\4call" + b"\3\3sip"
EXAMPLES = tuple(
    bytes((0x80, len(records))) + b"".join(records)
    for records in ((_V4,), (_V6,), (_SEQUENCES,), (_ENGINE,), (_V6, _V4), (_V4, _V4))
)


def run(data: bytes) -> list[bytes]:
    """Hear the datagram that these bytes stand for; its records, if it was taken. AssertionError,
    or any other exception, is a finding."""
    data = data.ljust(2, b"\0")
    payload = data[2:]
    if data[:1] > b"\x7f":
        head = (0, SYNC_ID, ipvs_sync.HEADER.size + len(payload), data[1], 1, 0)
        payload = ipvs_sync.HEADER.pack(*head) + payload if len(payload) < 65_000 else b""
    with suppress(SyncError):
        ipvs_sync.decode(payload)
    try:
        records = ipvs_sync.split(payload, SYNC_ID)
    except SyncError:
        return []
    assert len(records) == payload[4], "records lost or made up"
    again = list(ipvs_sync.pack(records, SYNC_ID, 65_535))
    assert [one for raw, _ in again for one in ipvs_sync.split(raw, SYNC_ID)] == records, "packed"
    known = Mirror()
    known.hear(records, 1000.0)
    known.hear(records, 1000.0, own=False)
    assert len(known) <= len(records), "more than was said"
    for bucket in known.buckets:
        for key, value in bucket.items():
            assert known.get(key) == value, "not found by its key"
            comparison.is_compared(value, frozenset())
            assert len(mirror.record(value, 1001.0)) == len(value) - 9, "a record of another size"
        comparison.digest(bucket.values(), None, bytes(16))
    return records
