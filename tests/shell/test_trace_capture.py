"""What trace's filter lets through, run by a small BPF machine over scapy's packets, and what is
read of them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import ARP, GRE, Ether
from scapy.packet import Packet, Raw

from hadirector.core.address import Address, Endpoint
from hadirector.core.ipvs import TunnelType
from hadirector.core.trace.packets import ArpSeen, Icmp, Outer, Seen, Trouble
from hadirector.shell.trace import client_filter, dissect

CLIENT, CLIENT6 = Address("192.0.2.100"), Address("2001:db8::100")
VIP, SERVER, OWN = "192.0.2.10", "10.0.1.11", "192.0.2.1"
LINK = Ether(dst="02:00:00:00:00:12", src="02:00:00:00:00:01")  # scapy would ask the network
SYN = IP(src=CLIENT, dst=VIP) / TCP(sport=40000, dport=80, flags="S", seq=7)
SYN6 = IPv6(src=CLIENT6, dst="2001:db8::10") / TCP(sport=40000, dport=80, flags="S")
GUE, GUE6 = Raw(b"\0\4\0\0"), Raw(b"\0\x29\0\0")
REMOTE_SUM = Raw(b"\2\x29\1\0\0\0\0\x28\0\0\0\0")  # a remote checksum's two words of options


def passes(client: Address, packet: Packet) -> bool:
    """The program's own words, carried out."""
    raw = bytes(packet)
    kind = int(packet.type)
    program = client_filter.program(client)
    at = register = 0
    while True:
        code, true, false, operand = program[at]
        at += 1
        if code == 0x06:
            return operand > 0
        if code == 0x15:
            at += true if register == operand else false
        elif operand == 0xFFFFF000:
            register = kind
        else:
            size = {0x20: 4, 0x28: 2, 0x30: 1}[code]
            start = operand - 0xFFF00000 + 14
            if start + size > len(raw):
                return False
            register = int.from_bytes(raw[start : start + size], "big")


CONCERN = {
    "to the service": (CLIENT, SYN),
    "from a server": (CLIENT, IP(src=SERVER, dst=CLIENT) / TCP()),
    "in ipip": (CLIENT, IP(src=OWN, dst=SERVER) / SYN),
    "in gre": (CLIENT, IP(src=OWN, dst=SERVER) / GRE() / SYN),
    "in gue": (CLIENT, IP(src=OWN, dst=SERVER) / UDP(dport=6080) / GUE / SYN),
    "over IPv6 in gue": (
        CLIENT6,
        IPv6(src="2001:db8::1", dst="2001:db8::11") / UDP(dport=6080) / GUE6 / SYN6,
    ),
    "over IPv6 in gue with remote checksums": (
        CLIENT6,
        IPv6(src="2001:db8::1", dst="2001:db8::11") / UDP(dport=6080) / REMOTE_SUM / SYN6,
    ),
    "over IPv6 in gue over IPv4 with remote checksums": (
        CLIENT6,
        IP(src=OWN, dst=SERVER) / UDP(dport=6080) / REMOTE_SUM / SYN6,
    ),
    "an error about it": (CLIENT, IP(src=SERVER, dst=OWN) / ICMP(type=3, code=3) / SYN),
    "an error about ipip": (
        CLIENT,
        IP(src=SERVER, dst=OWN) / ICMP(type=3, code=3) / IP(src=OWN, dst=SERVER) / SYN,
    ),
    "over IPv6": (CLIENT6, SYN6),
    "over IPv6 in IPv4": (CLIENT6, IP(src=OWN, dst=SERVER) / SYN6),
    "over IPv6 in IPv6": (CLIENT6, IPv6(src="2001:db8::1", dst="2001:db8::11") / SYN6),
    "over IPv6, an error": (
        CLIENT6,
        IPv6(src="2001:db8::11", dst="2001:db8::1") / ICMPv6DestUnreach(code=4) / SYN6,
    ),
}


@pytest.mark.parametrize("name", CONCERN)
def test_what_concerns_the_client_passes_the_filter(name: str) -> None:
    client, packet = CONCERN[name]

    assert passes(client, Ether(bytes(LINK / packet)))


def test_arp_passes_the_filter() -> None:
    assert passes(CLIENT, Ether(bytes(LINK / ARP(pdst=SERVER))))


@pytest.mark.parametrize("name", CONCERN)
def test_what_concerns_another_client_does_not(name: str) -> None:
    client, packet = CONCERN[name]
    other = Address("2001:db8::99") if ":" in client else Address("192.0.2.99")

    assert not passes(other, Ether(bytes(LINK / packet)))


def seen(packet: Packet, *, outgoing: bool = False) -> Seen | ArpSeen | None:
    whole = Ether(bytes(LINK / packet))
    whole.time, whole.sniffed_on, whole.direction = 12.5, "eth0", int(outgoing)
    return dissect.read(whole, 12.0)


EXPECTED = Seen(
    0.5,
    "eth0",
    False,
    6,
    Endpoint(CLIENT, 40000),
    Endpoint(Address(VIP), 80),
    "S",
    0,
    7,
    "02:00:00:00:00:12",
)


def test_a_segment_is_read_with_its_payload_and_without_padding() -> None:
    assert seen(SYN) == EXPECTED
    data = IP(src=CLIENT, dst=VIP) / TCP(sport=40000, dport=80, flags="PA") / b"hi"
    told = seen(data, outgoing=True)
    assert isinstance(told, Seen)
    assert (told.flags, told.size, told.outgoing) == ("PA", 2, True)


@pytest.mark.parametrize("name", ["in ipip", "in gre", "in gue"])
def test_tunnels_are_unwrapped(name: str) -> None:
    kinds = {"in ipip": TunnelType.IPIP, "in gre": TunnelType.GRE, "in gue": TunnelType.GUE}

    told = seen(CONCERN[name][1])

    assert isinstance(told, Seen)
    port = 6080 if name == "in gue" else 0
    assert told.outer == Outer(kinds[name], Address(OWN), Address(SERVER), port)
    assert (told.source, told.target) == (EXPECTED.source, EXPECTED.target)


@pytest.mark.parametrize("name", [name for name in CONCERN if "over IPv6 in gue" in name])
def test_gue_is_unwrapped_over_either_family_with_and_without_options(name: str) -> None:
    told = seen(CONCERN[name][1])

    assert isinstance(told, Seen)
    assert told.outer is not None
    assert (told.outer.kind, told.outer.port) == (TunnelType.GUE, 6080)
    assert told.source == Endpoint(CLIENT6, 40000)


@pytest.mark.parametrize("name", ["an error about it", "an error about ipip"])
def test_errors_are_read_with_what_they_are_about(name: str) -> None:
    told = seen(CONCERN[name][1])

    assert isinstance(told, Seen)
    assert told.icmp == Icmp(Trouble.PORT, Address(SERVER), Address(OWN))
    assert (told.source, told.target) == (EXPECTED.source, EXPECTED.target)
    assert (told.outer is not None) == ("ipip" in name)


def test_an_error_may_quote_eight_bytes_only_and_an_mtu() -> None:
    quoted = bytes(SYN)[:28]
    told = seen(IP(src=OWN, dst=CLIENT) / ICMP(type=3, code=4, nexthopmtu=1480) / quoted)

    assert isinstance(told, Seen)
    assert told.icmp == Icmp(Trouble.TOO_BIG, Address(OWN), CLIENT, 1480)
    assert (told.source, told.target) == (EXPECTED.source, EXPECTED.target)


def test_errors_over_ipv6_are_read() -> None:
    told = seen(IPv6(src="2001:db8::1", dst=CLIENT6) / ICMPv6PacketTooBig(mtu=1400) / SYN6)

    assert isinstance(told, Seen)
    assert told.icmp == Icmp(Trouble.TOO_BIG, Address("2001:db8::1"), CLIENT6, 1400)
    assert told.source == Endpoint(CLIENT6, 40000)


def test_arp_is_read() -> None:
    asking = seen(ARP(op=1, psrc=OWN, pdst=SERVER, hwsrc="02:00:00:00:00:01"))
    answer = seen(ARP(op=2, psrc=SERVER, pdst=OWN, hwsrc="02:00:00:00:00:11"))

    assert isinstance(asking, ArpSeen)
    assert isinstance(answer, ArpSeen)
    assert (asking.answer, asking.asked, asking.sender) == (False, SERVER, OWN)
    assert (answer.answer, answer.asked, answer.mac) == (True, SERVER, "02:00:00:00:00:11")


def test_what_is_neither_is_left_out() -> None:
    assert seen(IP(src=CLIENT, dst=VIP) / ICMP(type=8)) is None


@given(st.binary(max_size=120), st.sampled_from(list(CONCERN)), st.integers(0, 60))
@example(b"", "an error about ipip", 41)
def test_no_packet_is_too_strange_to_be_read(noise: bytes, name: str, cut: int) -> None:
    whole = bytes(LINK / CONCERN[name][1])

    for raw in (whole[: 14 + cut] + noise, whole[: 14 + cut], whole[:14] + noise):
        packet = Ether(raw)
        packet.time, packet.sniffed_on, packet.direction = 1.0, "eth0", 0
        dissect.read(packet, 0.0)
