"""Announcement frames, byte for byte against scapy, and how many leave at once."""

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from hadirector.core.address import canonical
from hadirector.core.settings.instances import VirtualAddress
from hadirector.shell import announce

HARDWARE = bytes.fromhex("0200000000a1")
MAC = "02:00:00:00:00:a1"


def test_gratuitous_arp_is_the_request_keepalived_sends() -> None:
    expected = Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(
        op="who-has", hwsrc=MAC, psrc="192.0.2.10", hwdst="ff:ff:ff:ff:ff:ff", pdst="192.0.2.10"
    )

    assert announce.gratuitous_arp(HARDWARE, canonical("192.0.2.10")) == bytes(expected)


@pytest.mark.parametrize("router", [False, True])
def test_unsolicited_advertisement_is_scapys(router: bool) -> None:
    expected = (
        Ether(src=MAC, dst="33:33:00:00:00:01")
        / IPv6(src="2001:db8::10", dst="ff02::1", hlim=255)
        / ICMPv6ND_NA(R=int(router), S=0, O=1, tgt="2001:db8::10")
        / ICMPv6NDOptDstLLAddr(lladdr=MAC)
    )

    frame = announce.unsolicited_advertisement(HARDWARE, canonical("2001:db8::10"), router)

    assert frame == bytes(expected)


def test_announcements_go_round_robin_and_leave_out_what_is_not_there() -> None:
    asked: list[str] = []

    def hardware(name: str) -> bytes:
        asked.append(name)
        return b""  # no Ethernet: nothing is sent

    waiting = announce.Announcements(hardware)
    addresses = tuple(_virtual(f"192.0.2.{n}", f"eth{n}") for n in (1, 2, 3))
    waiting.add(addresses, 2)

    left = waiting.send(
        frozenset({("eth1", canonical("192.0.2.1")), ("eth3", canonical("192.0.2.3"))})
    )

    assert asked == ["eth1", "eth3", "eth1", "eth3"]
    assert not left


def test_a_burst_is_bounded_and_the_rest_waits_for_the_next_turn() -> None:
    waiting = announce.Announcements(lambda name: b"")
    waiting.add((_virtual("192.0.2.1", "eth0"),), announce.BURST + 1)

    assert waiting.send(frozenset())
    assert not waiting.send(frozenset())


def test_what_exceeds_the_backlog_is_refused() -> None:
    waiting = announce.Announcements(lambda name: b"")
    waiting.add((_virtual("192.0.2.1", "eth0"),), announce.BACKLOG + 1)

    assert not waiting.waiting


def test_what_could_not_be_sent_is_told_once_for_each_frame() -> None:
    waiting = announce.Announcements(lambda name: b"\x02\x00\x00\x00\x00\x01")
    gone = _virtual("192.0.2.1", "no-such-link")
    waiting.add((gone,), 2)

    waiting.send(frozenset({("no-such-link", canonical("192.0.2.1"))}))

    assert waiting.take_failed() == (gone, gone)
    assert waiting.take_failed() == ()


def _virtual(address: str, interface: str) -> VirtualAddress:
    return VirtualAddress(canonical(address), 24, interface)
