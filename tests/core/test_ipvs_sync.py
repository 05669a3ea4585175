"""Records of connection sync, byte for byte as Linux 6.1 sent them, and against noise."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import ipvs_sync
from hadirector.core.address import Address
from hadirector.core.ipvs_sync import Flaw, Record, SyncError

ONE = Record(
    protocol=6,
    client=Address("192.0.2.100"),
    client_port=40000,
    virtual=Address("192.0.2.10"),
    virtual_port=80,
    server=Address("10.0.1.11"),
    server_port=8080,
    state=1,
    flags=0,
    timeout=900,
)
SIX = replace(
    ONE,
    client=Address("2001:db8::100"),
    virtual=Address("2001:db8::10"),
    server=Address("2001:db8:1::11"),
)
BYTES = bytes.fromhex(
    "00060024 00000000 0001 9c40 0050 1f90 00000000 00000384 c0000264 c000020a 0a00010b"
)
DATAGRAM = bytes.fromhex("0033002c01010000") + BYTES

ports = st.integers(0, 65535)
sequences = st.none() | st.tuples(*[st.integers(0, 2**32 - 1)] * 6)


def addresses(size: int) -> st.SearchStrategy[Address]:
    return st.ip_addresses(v=4 if size == 4 else 6).map(lambda one: Address(str(one)))


@st.composite
def records(draw: st.DrawFn) -> Record:
    some = addresses(draw(st.sampled_from((4, 6))))
    protocol = draw(st.sampled_from((6, 17, 132)))
    template = draw(st.booleans())
    flags = ipvs_sync.TEMPLATE | ipvs_sync.INACTIVE if template else draw(st.integers(0, 3))
    states = len(ipvs_sync.states_of(protocol, flags))
    return Record(
        protocol=protocol,
        client=draw(some),
        client_port=draw(ports),
        virtual=draw(some),
        virtual_port=draw(ports),
        server=draw(some),
        server_port=draw(ports),
        state=draw(st.integers(0, states - 1)),
        flags=flags,
        timeout=draw(st.integers(0, 2**31)),
        fwmark=draw(st.integers(0, 2**32 - 1)),
        sequences=draw(sequences),
        pe_name=draw(st.binary(max_size=16)),
        pe_data=draw(st.binary(max_size=255)),
    )


def flaw_of(payload: bytes, sync_id: int = 51) -> Flaw:
    with pytest.raises(SyncError) as caught:
        ipvs_sync.split(payload, sync_id)
    return caught.value.flaw


def test_a_record_is_laid_out_as_the_kernel_has_it() -> None:
    assert ipvs_sync.encode(ONE) == BYTES
    assert ipvs_sync.decode(BYTES) == ONE
    assert ONE.state_name == "ESTABLISHED"


@given(st.lists(records(), max_size=60))
def test_what_is_packed_is_split_again_and_fits(many: list[Record]) -> None:
    raw = [ipvs_sync.encode(record) for record in many]

    datagrams = list(ipvs_sync.pack(raw, 51, 1472))

    again = [one for payload, _ in datagrams for one in ipvs_sync.split(payload, 51)]
    assert again == raw
    assert [ipvs_sync.decode(one) for one in again] == many
    assert sum(count for _, count in datagrams) == len(many)
    assert all(len(payload) <= 1472 for payload, _ in datagrams)


def test_forty_connections_fit_a_datagram_of_ethernet_and_255_are_the_most() -> None:
    assert [count for _, count in ipvs_sync.pack([BYTES] * 100, 51, 1472)] == [40, 40, 20]
    assert [count for _, count in ipvs_sync.pack([BYTES] * 300, 51, 65535)] == [255, 45]


def test_every_cluster_is_heard_with_id_zero_only() -> None:
    assert ipvs_sync.split(DATAGRAM, 51) == [BYTES]
    assert ipvs_sync.split(DATAGRAM, 0) == [BYTES]
    assert flaw_of(DATAGRAM, 52) is Flaw.SYNC_ID


@pytest.mark.parametrize(
    ("payload", "flaw"),
    [
        (b"", Flaw.LENGTH),
        (DATAGRAM[:7], Flaw.LENGTH),
        (DATAGRAM + b"\0", Flaw.LENGTH),
        (DATAGRAM[:-1], Flaw.LENGTH),
        (b"\1" + DATAGRAM[1:], Flaw.VERSION),
        (DATAGRAM[:5] + b"\0" + DATAGRAM[6:], Flaw.VERSION),
        (DATAGRAM[:7] + b"\1" + DATAGRAM[8:], Flaw.VERSION),
        (DATAGRAM[:4] + b"\2" + DATAGRAM[5:], Flaw.LENGTH),  # two records said, one there
        (DATAGRAM[:4] + b"\0" + DATAGRAM[5:], Flaw.LENGTH),  # none said
        (DATAGRAM[:8] + b"\1" + DATAGRAM[9:], Flaw.RECORD),  # of IPv6, and too short
        (DATAGRAM[:8] + b"\2" + DATAGRAM[9:], Flaw.RECORD),
        (DATAGRAM[:10] + b"\x10" + DATAGRAM[11:], Flaw.RECORD),  # another record version
        (DATAGRAM[:11] + b"\x23" + DATAGRAM[12:], Flaw.RECORD),
        (DATAGRAM[:11] + b"\x25" + DATAGRAM[12:], Flaw.LENGTH),
        (DATAGRAM[:17] + b"\x0b" + DATAGRAM[18:], Flaw.STATE),
    ],
)
def test_what_the_kernel_refuses_is_refused(payload: bytes, flaw: Flaw) -> None:
    assert flaw_of(payload) is flaw


@pytest.mark.parametrize(
    "options",
    [b"\1", b"\1\x18" + bytes(23), b"\1\4" + bytes(4), b"\3\x11" + bytes(17), b"\5\1x", b"\2\0"],
)
def test_an_option_that_cannot_be_is_refused(options: bytes) -> None:
    size = (36 + len(options)).to_bytes(2, "big")
    raw = BYTES[:2] + size + BYTES[4:] + options
    head = ipvs_sync.HEADER.pack(0, 51, 8 + len(raw), 1, 1, 0)

    assert flaw_of(head + raw) is Flaw.OPTION


def test_an_option_nobody_needs_to_know_is_passed_over() -> None:
    raw = BYTES[:2] + (36 + 3).to_bytes(2, "big") + BYTES[4:] + b"\x45\1x"

    assert ipvs_sync.decode(raw) == ONE


def test_what_is_to_be_known_of_a_record_needs_no_decoding() -> None:
    template = ipvs_sync.encode(replace(ONE, flags=0x1100, client_port=0))

    assert (ipvs_sync.is_template(template), ipvs_sync.is_template(BYTES)) == (True, False)
    assert ipvs_sync.timeout_of(BYTES) == 900
