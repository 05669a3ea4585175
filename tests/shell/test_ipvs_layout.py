"""Destinations read a datagram at a time are what reading them attribute by attribute gives."""

import struct
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hadirector.core.address import Address, Endpoint
from hadirector.core.ipvs import Counters, Destination, DestinationUse, Forward, TunnelType
from hadirector.shell import ipvs_codec as codec
from hadirector.shell import netlink
from hadirector.shell.ipvs_layout import DestinationReader, Row
from hadirector.shell.netlink import attribute, nested

FAMILY, SEQUENCE, PORT = 28, 7, 997
MULTI = 2
WEB = Destination(Endpoint(Address("10.0.1.11"), 8080), Forward.NAT, 1)

addresses = st.ip_addresses().map(lambda each: Address(str(each)))
ports = st.integers(0, 65535)
destinations = st.builds(
    Destination,
    st.builds(Endpoint, addresses, ports),
    st.sampled_from(Forward),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.sampled_from(TunnelType),
    ports,
    ports,
)
few = st.integers(0, 2**32 - 1) | st.just(0)
counters = st.just(Counters()) | st.builds(Counters, *[st.integers(0, 2**64 - 1)] * 10)
uses = st.just(DestinationUse()) | st.builds(DestinationUse, few, few, few, counters)
rows = st.tuples(destinations, uses)


def written(row: Row, padded: bool = True, sequence: int = SEQUENCE, flags: int = MULTI) -> bytes:
    """A destination as the kernel writes it; `padded`: as one does that wants 64-bit numbers at
    multiples of 8."""
    destination, use = row
    ours = dict(netlink.attributes(codec.encode_destination(destination)[4:]))
    configured = [
        attribute(kind, bytes(ours[kind]))
        for kind in (1, 2, 3, 4, 13, 14, 15, 5, 6)  # as ip_vs_genl_fill_dest has them
    ]
    totals = (
        use.counters.connections,
        use.counters.packets_in,
        use.counters.packets_out,
        use.counters.bytes_in,
        use.counters.bytes_out,
        use.counters.connections_per_second,
        use.counters.packets_in_per_second,
        use.counters.packets_out_per_second,
        use.counters.bytes_in_per_second,
        use.counters.bytes_out_per_second,
    )
    body = codec.command(
        codec.NEW_DEST,
        nested(
            codec.CMD_DEST,
            *configured,
            attribute(codec.DEST_ACTIVE, struct.pack("=I", use.active)),
            attribute(codec.DEST_INACTIVE, struct.pack("=I", use.inactive)),
            attribute(codec.DEST_PERSISTENT, struct.pack("=I", use.persistent)),
            attribute(codec.DEST_ADDR_FAMILY, bytes(ours[codec.DEST_ADDR_FAMILY])),
            nested(codec.DEST_STATS, attribute(1, struct.pack("=I", totals[0] & 0xFFFFFFFF))),
            nested(codec.DEST_STATS64, *_wide(totals, padded)),
        ),
    )
    head = netlink.HEADER.pack(16 + len(body), FAMILY, flags, sequence, PORT)
    return head + body


def _wide(totals: Sequence[int], padded: bool) -> list[bytes]:
    padding = attribute(11, b"") if padded else b""
    return [
        (padding if place else b"") + attribute(kind, struct.pack("=Q", value))
        for place, (kind, value) in enumerate(zip(codec.STATS, totals, strict=True))
    ]


def one_by_one(datagram: bytes) -> list[Row] | None:
    """The slow way; None where it raises."""
    try:
        return [
            codec.decode_destination(each.body, 4)
            for each in netlink.messages(datagram)
            if each.sequence == SEQUENCE
        ]
    except netlink.KernelError:
        return None


def taught(padded: bool = True) -> DestinationReader:
    reader = DestinationReader()
    assert reader.page(written((WEB, DestinationUse()), padded), SEQUENCE) is None
    return reader


@given(st.lists(rows, min_size=1, max_size=5), st.booleans())
def test_a_datagram_of_a_layout_learnt_is_read_whole(found: list[Row], padded: bool) -> None:
    datagram = b"".join(written(row, padded) for row in found)

    assert taught(padded).page(datagram, SEQUENCE) == found == one_by_one(datagram)


def test_a_server_read_again_is_the_same_object() -> None:
    reader = taught()
    datagram = written((WEB, DestinationUse(active=1)))
    first, second = reader.page(datagram, SEQUENCE), reader.page(datagram, SEQUENCE)

    assert first is not None
    assert second is not None
    assert first[0][0] is second[0][0]


@given(st.data())
def test_a_damaged_datagram_is_read_as_the_slow_way_reads_it_or_left(data: st.DataObject) -> None:
    reader = taught()
    datagram = bytearray(b"".join(map(written, data.draw(st.lists(rows, min_size=1, max_size=3)))))
    for at in data.draw(st.lists(st.integers(0, len(datagram) - 1), max_size=4)):
        datagram[at] = data.draw(st.integers(0, 255))
    damaged = bytes(datagram[: data.draw(st.integers(0, len(datagram)) | st.just(len(datagram)))])

    read = [reader.page(damaged, SEQUENCE), reader.page(damaged, SEQUENCE)]  # learnt from, too

    assert all(each in (None, one_by_one(damaged)) for each in read)


def test_what_is_no_answer_to_the_question_is_left_to_the_slow_way() -> None:
    row = (WEB, DestinationUse())
    reader = taught()

    done = netlink.HEADER.pack(20, netlink.DONE, MULTI, SEQUENCE, PORT) + bytes(4)
    for datagram in (
        b"",
        done,
        written(row) + done,
        written(row, sequence=SEQUENCE - 1),
        written(row) + written(row, sequence=SEQUENCE - 1),
        written(row, flags=MULTI | netlink.DUMP_INTERRUPTED),
        written(row)[:-4],
    ):
        assert reader.page(datagram, SEQUENCE) is None


def test_a_number_that_means_nothing_is_left_to_the_slow_way_to_tell() -> None:
    reader = taught()
    odd = written((replace(WEB, weight=0x1234567), DestinationUse()))
    tunnel = odd.index(struct.pack("=HH", 5, codec.DEST_TUN_TYPE)) + 4

    assert reader.page(odd[:tunnel] + b"\x09" + odd[tunnel + 1 :], SEQUENCE) is None


def test_a_layout_in_another_order_is_never_learnt() -> None:
    reader = DestinationReader()
    body = written((WEB, DestinationUse()))
    at = body.index(struct.pack("=HH", 8, codec.DEST_U_THRESH))
    swapped = body[:at] + body[at + 8 : at + 16] + body[at : at + 8] + body[at + 16 :]

    assert [reader.page(swapped, SEQUENCE) for _ in range(3)] == [None] * 3


def test_many_lengths_of_datagrams_are_read_with_few_frames_kept() -> None:
    reader = taught()
    row = (WEB, DestinationUse())

    for count in (*range(1, 40), 3):
        assert reader.page(written(row) * count, SEQUENCE) == [row] * count
