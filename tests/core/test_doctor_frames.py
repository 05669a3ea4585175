"""The packets doctor sends, by scapy's reading, and what it reads of answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, GRE, Ether

from hadirector.core.address import Address, Endpoint
from hadirector.core.doctor import frames
from hadirector.core.doctor.facts import Answer
from hadirector.core.ipvs import TunnelType

HERE, THERE = Endpoint(Address("192.0.2.1"), 40000), Endpoint(Address("192.0.2.10"), 80)
HERE6, THERE6 = Endpoint(Address("2001:db8::1"), 40000), Endpoint(Address("2001:db8::10"), 80)


def test_an_arp_request_teaches_nobody_anything() -> None:
    frame = Ether(frames.arp_request(bytes.fromhex("020000000001"), Address("192.0.2.10")))

    assert (frame.dst, frame[ARP].op) == ("ff:ff:ff:ff:ff:ff", 1)
    assert (frame[ARP].psrc, frame[ARP].pdst) == ("0.0.0.0", "192.0.2.10")


def test_an_arp_answer_is_read_and_a_request_is_none() -> None:
    answer = ARP(op=2, hwsrc="02:00:00:00:00:12", psrc="192.0.2.10")

    assert frames.arp_answer(bytes(answer)) == (Address("192.0.2.10"), "02:00:00:00:00:12")
    assert frames.arp_answer(bytes(ARP(op=1))) is None


def test_gue_over_ipv6_is_summed() -> None:
    inner = frames.syn(HERE6, THERE6, 1)

    raw = frames.wrap(inner, HERE6.address, Address("2001:db8::12"), TunnelType.GUE, 6080, 40000)

    packet = IPv6(raw)
    assert packet[UDP].dport == 6080
    del packet[UDP].chksum
    assert bytes(packet) == raw
    assert raw.endswith(inner)


@pytest.mark.parametrize(("source", "target", "layer"), [(HERE, THERE, IP), (HERE6, THERE6, IPv6)])
def test_a_syn_is_what_scapy_would_make_of_it(
    source: Endpoint, target: Endpoint, layer: type
) -> None:
    raw = frames.syn(source, target, 1234)

    packet = layer(raw)
    assert (packet.src, packet.dst) == (source.address, target.address)
    assert (packet[TCP].sport, packet[TCP].dport) == (source.port, target.port)
    assert (packet[TCP].flags, packet[TCP].seq) == ("S", 1234)
    assert ("MSS", 1460) in packet[TCP].options
    for summed in (packet, packet[TCP]):
        if hasattr(summed, "chksum"):
            del summed.chksum
    assert bytes(packet) == raw


@pytest.mark.parametrize("tunnel", list(TunnelType))
def test_tunnels_wrap_the_whole_packet(tunnel: TunnelType) -> None:
    inner = frames.syn(HERE, THERE, 1)

    raw = frames.wrap(inner, HERE.address, Address("192.0.2.12"), tunnel, 6080, 40000)

    packet = IP(raw)
    assert packet.dst == "192.0.2.12"
    match tunnel:
        case TunnelType.IPIP:
            assert packet.proto == 4
        case TunnelType.GRE:
            assert packet[GRE].proto == 0x0800
        case TunnelType.GUE:
            assert packet[UDP].dport == 6080
    assert raw.endswith(inner)


@pytest.mark.parametrize(("source", "target", "layer"), [(HERE, THERE, IP), (HERE6, THERE6, IPv6)])
@pytest.mark.parametrize(("flags", "answer"), [("SA", Answer.OPEN), ("RA", Answer.REFUSED)])
def test_an_answer_is_read_with_its_largest_segment(
    source: Endpoint, target: Endpoint, layer: type, flags: str, answer: Answer
) -> None:
    tcp = TCP(
        sport=target.port,
        dport=source.port,
        flags=flags,
        ack=77,
        options=[("NOP", None), ("MSS", 1440)],
    )

    came = frames.segment(bytes(layer(src=target.address, dst=source.address) / tcp))

    assert came == frames.Came(target, source, 77, answer, 1440)


def test_data_is_no_answer() -> None:
    packet = IP(src="192.0.2.10", dst="192.0.2.1") / TCP(flags="A") / b"data"

    assert frames.segment(bytes(packet)) is None


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x45", b"\x60", b"\x4f"]))
def test_no_packet_is_too_strange_to_be_read(raw: bytes, first: bytes) -> None:
    frames.segment(first + raw)
    frames.arp_answer(raw)
