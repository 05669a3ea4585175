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

    waiting = announce.Announcements(hardware, works)
    addresses = tuple(_virtual(f"192.0.2.{n}", f"eth{n}") for n in (1, 2, 3))
    waiting.add(addresses, 2, 0.0)

    left = waiting.send(
        frozenset({("eth1", canonical("192.0.2.1")), ("eth3", canonical("192.0.2.3"))}), 0.0
    )

    assert asked == ["eth1", "eth3", "eth1", "eth3"]
    assert not left


def test_a_burst_is_bounded_and_the_rest_waits_for_the_next_turn() -> None:
    waiting = announce.Announcements(nothing, works)
    waiting.add((_virtual("192.0.2.1", "eth0"),), announce.BURST + 1, 0.0)

    assert waiting.send(frozenset(), 0.0)
    assert not waiting.send(frozenset(), 0.0)


def test_what_exceeds_the_backlog_is_refused() -> None:
    waiting = announce.Announcements(nothing, works)
    waiting.add((_virtual("192.0.2.1", "eth0"),), announce.BACKLOG + 1, 0.0)

    assert not waiting.waiting


def test_what_could_not_be_sent_is_told_once_for_each_frame() -> None:
    waiting = announce.Announcements(lambda name: HARDWARE, works)
    gone = _virtual("192.0.2.1", "no-such-link")
    waiting.add((gone,), 2, 0.0)

    waiting.send(frozenset({("no-such-link", canonical("192.0.2.1"))}), 0.0)

    assert waiting.take_failed() == (gone, gone)
    assert waiting.take_failed() == ()


class Told:
    """Announcements of IPv6 addresses on eth0; `at_work` are those the kernel hands over for."""

    def __init__(self, *addresses: str) -> None:
        self.at_work: set[str] = set()
        self.asked = 0
        self._left: list[str] = []
        self.waiting = announce.Announcements(self._hardware, self._works)
        virtual = tuple(_virtual(a, f"eth-{a}") for a in addresses)
        self._present = frozenset((v.interface, v.address) for v in virtual)
        self.waiting.add(virtual, 2, 0.0)

    def at(self, now: float) -> list[str]:
        """What is announced in a turn at that time."""
        self._left.clear()
        self.waiting.send(self._present, now)
        return list(self._left)

    def _hardware(self, name: str) -> bytes:
        self._left.append(name.removeprefix("eth-"))
        return b""

    def _works(self, virtual: VirtualAddress) -> bool:
        self.asked += 1
        return virtual.address in self.at_work


def test_an_ipv6_address_is_announced_once_the_kernel_takes_in_what_comes_for_it() -> None:
    told = Told("2001:db8::1")

    assert told.at(0.0) == []
    assert told.waiting.deadline == announce.LOOK_AGAIN

    told.at_work.add("2001:db8::1")

    assert told.at(announce.LOOK_AGAIN) == ["2001:db8::1"] * 2
    assert told.waiting.deadline is None


def test_an_ipv4_address_does_not_wait_for_an_ipv6_one() -> None:
    told = Told("2001:db8::1", "192.0.2.1")

    assert told.at(0.0) == ["192.0.2.1"] * 2


def test_turns_in_between_do_not_ask_the_kernel_again() -> None:
    told = Told("2001:db8::1", "2001:db8::2")

    for turn in range(10):
        told.at(announce.LOOK_AGAIN * turn / 10)

    assert told.asked == 1


def test_an_address_that_never_works_is_announced_when_patience_ends() -> None:
    told = Told("2001:db8::1", "2001:db8::2")

    assert told.at(announce.PATIENCE - 0.001) == []
    assert told.at(announce.PATIENCE + 0.002) == ["2001:db8::1", "2001:db8::2"] * 2


def test_what_was_taken_away_meanwhile_is_neither_asked_for_nor_announced() -> None:
    told = Told("2001:db8::1")
    told.at(0.0)
    before = told.asked

    assert not told.waiting.send(frozenset(), announce.LOOK_AGAIN)
    assert told.asked == before
    assert not told.waiting.waiting


def test_a_thousand_addresses_that_work_are_asked_for_a_few_in_each_turn() -> None:
    addresses = [f"2001:db8::{n:x}" for n in range(1, 1001)]
    told = Told(*addresses)
    told.at_work.update(addresses)

    first = told.at(0.0)

    assert (told.asked, len(first)) == (announce.ASKED, 2 * announce.ASKED)
    turns = 1
    while told.waiting.waiting:
        told.at(0.0)
        turns += 1
    assert (told.asked, turns) == (1000, 32)


def works(virtual: VirtualAddress) -> bool:
    """The kernel hands over at once."""
    return True


def nothing(name: str) -> bytes:
    """An interface that is no Ethernet: nothing is sent."""
    return b""


def _virtual(address: str, interface: str) -> VirtualAddress:
    return VirtualAddress(canonical(address), 24, interface)
