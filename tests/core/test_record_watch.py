"""core/record_watch: what is shown of the stream, and how much."""

from hadirector.core import ipvs_sync
from hadirector.core.address import Address
from hadirector.core.ipvs_sync import Record
from hadirector.core.record_watch import PER_SECOND, RecordWatch, SeenRecord

T0 = 100.0
WEB = Record(
    protocol=6,
    client=Address("198.51.100.7"),
    client_port=40112,
    virtual=Address("192.0.2.10"),
    virtual_port=80,
    server=Address("10.0.1.11"),
    server_port=8080,
    state=1,
    flags=0,
    timeout=900,
)
TEMPLATE = Record(
    protocol=0,
    client=Address("2001:db8::7"),
    client_port=0,
    virtual=Address("::7"),
    virtual_port=0,
    server=Address("2001:db8:1::11"),
    server_port=0,
    state=1,
    flags=ipvs_sync.TEMPLATE | ipvs_sync.INACTIVE | 3,
    timeout=300,
    fwmark=7,
)


def datagram(*records: Record) -> bytes:
    """One of the kernel's."""
    (payload, _), *more = ipvs_sync.pack(map(ipvs_sync.encode, records), 51, 9000)
    assert not more
    return payload


def watching() -> RecordWatch:
    """Somebody watches for 3 s."""
    watch = RecordWatch()
    watch.follow(T0 + 3.0)
    return watch


def test_a_record_is_told_in_words() -> None:
    watch = watching()

    watch.hear(datagram(WEB, TEMPLATE), 51, True, T0)
    told = watch.take()

    assert told is not None
    assert told.skipped == 0
    assert told.records == (
        SeenRecord(
            T0,
            True,
            "TCP",
            "198.51.100.7:40112",
            "192.0.2.10:80",
            "10.0.1.11:8080",
            "ESTABLISHED",
            "nat",
            (),
            0,
            900,
        ),
        SeenRecord(
            T0,
            True,
            "IP",
            "[2001:db8::7]:0",
            "[::7]:0",
            "[2001:db8:1::11]:0",
            "ASSURED",
            "dr",
            ("inactive", "template"),
            7,
            300,
        ),
    )
    assert watch.take() is None


def test_nothing_is_decoded_while_nobody_watches() -> None:
    watch = RecordWatch()

    watch.hear(datagram(WEB), 51, True, T0)
    watch.follow(T0 + 3.0)
    watch.hear(datagram(WEB), 51, True, T0 + 3.0)

    assert watch.take() is None


def test_more_than_anybody_can_read_is_counted_only() -> None:
    watch = watching()

    for _ in range(100):
        watch.hear(datagram(*[WEB] * 32), 51, False, T0)
    told = watch.take()

    assert told is not None
    assert len(told.records) < PER_SECOND
    assert len(told.records) + told.skipped == 3200


def test_what_is_no_datagram_of_ours_is_not_shown() -> None:
    watch = watching()

    watch.hear(datagram(WEB), 52, False, T0)
    watch.hear(datagram(WEB)[:-1], 51, False, T0)
    watch.hear(b"", 51, False, T0)

    assert watch.take() is None
