"""What counts as a VRRP packet: the IPv4 header, read within its bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw

from hadirector.core.address import canonical
from hadirector.core.election_types import PacketReceived
from hadirector.shell.vrrp_socket import VrrpSockets, parse_ipv4

MESSAGE = bytes.fromhex("31336401001e5c3fc000020a")


def packet(options: tuple[bytes, ...] = ()) -> bytes:
    header = IP(src="192.0.2.1", dst="224.0.0.18", ttl=255, proto=112, options=list(options))
    return bytes(header / Raw(MESSAGE))


def test_a_packet_gives_addresses_ttl_and_payload() -> None:
    assert parse_ipv4("eth0", packet()) == PacketReceived(
        "eth0", canonical("192.0.2.1"), canonical("224.0.0.18"), 255, MESSAGE
    )


def test_ethernet_padding_is_not_part_of_the_packet() -> None:
    padded = parse_ipv4("eth0", packet() + b"\0" * 14)

    assert padded is not None
    assert padded.message == MESSAGE


def test_options_of_the_header_are_skipped() -> None:
    with_options = parse_ipv4("eth0", packet((b"\x94\x04\x00\x00",)))

    assert with_options is not None
    assert with_options.message == MESSAGE


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        packet()[:19],
        packet()[:-1],  # shorter than it says
        b"\x65" + packet()[1:],  # version 6
        b"\x44" + packet()[1:],  # a header of 16 bytes
        b"\x4f" + packet()[1:],  # a header longer than the packet
        bytes(IP(src="192.0.2.1", dst="192.0.2.2") / TCP()),
    ],
    ids=["empty", "cut header", "cut body", "version", "short header", "long header", "protocol"],
)
def test_what_is_no_vrrp_packet_is_dropped(raw: bytes) -> None:
    assert parse_ipv4("eth0", raw) is None


@given(st.binary(max_size=64), st.binary(max_size=8))
def test_no_bytes_can_break_the_parser(raw: bytes, more: bytes) -> None:
    parsed = parse_ipv4("eth0", b"\x45" + more + raw)

    assert parsed is None or len(parsed.message) <= len(raw) + len(more)


def test_sending_where_there_is_no_socket_says_why() -> None:
    sockets = VrrpSockets(lambda sock: None, lambda sock: None)

    failure = sockets.send("eth9", MESSAGE, canonical("192.0.2.1"), canonical("224.0.0.18"))

    assert failure == "eth9 is not there"
