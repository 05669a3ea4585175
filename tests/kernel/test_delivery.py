"""When the kernel hands over what comes for an address that was just put on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hadirector.core.address import Address, canonical
from hadirector.core.placement import MARK
from hadirector.core.settings.instances import VirtualAddress
from hadirector.shell import rtnetlink
from hadirector.shell.delivery import Delivery
from hadirector.shell.links import Table
from tests.kernel.namespace import fresh_namespace, run
from tests.kernel.pair import eventually, needs_root

pytestmark = [pytest.mark.kernel, needs_root]

VIP, VIP6 = canonical("192.0.2.10"), canonical("2001:db8::10")


class Hand:
    """eth0, up, and what puts addresses there."""

    def __init__(self, *lines: str) -> None:
        for line in ("link add eth0 type veth peer name far", "link set eth0 up", *lines):
            run("ip", *line.split())
        self.route, self.table = rtnetlink.Route(), Table()
        self.table.read(self.route)
        self._delivery = Delivery(self.route, self.table)

    def put(self, address: Address, prefix: int) -> None:
        """As a takeover does."""
        index = self.table.index("eth0")
        assert index is not None
        flags = rtnetlink.NODAD | rtnetlink.NOPREFIXROUTE
        request = rtnetlink.put_address(index, address, prefix, flags, MARK, 30)
        assert not self.route.execute([request], "put an address")

    def works(self, address: Address) -> bool:
        return self._delivery.works(VirtualAddress(address, 64, "eth0"))


@pytest.fixture
def hand() -> Iterator[Hand]:
    with fresh_namespace():
        yield Hand()


def test_an_ipv6_address_is_listed_before_it_works_where_the_kernel_gets_no_cpu(
    hand: Hand,
) -> None:
    with nobody_else_runs():
        hand.put(VIP6, 128)
        listed, works = VIP6 in run_here("/proc/thread-self/net/if_inet6"), hand.works(VIP6)

    assert listed
    assert not works
    eventually(lambda: hand.works(VIP6), 5)


def test_an_ipv4_address_works_at_once(hand: Hand) -> None:
    with nobody_else_runs():
        hand.put(VIP, 32)

        assert hand.works(VIP)


def test_an_address_that_is_not_there_does_not_work(hand: Hand) -> None:
    assert not hand.works(VIP6)


def test_an_address_in_a_vrf_works_though_the_main_table_does_not_know_it() -> None:
    with fresh_namespace():
        vrf = ("link add red type vrf table 10", "link set red up", "link set eth0 master red")
        hand = Hand(*vrf)

        hand.put(VIP6, 128)

        eventually(lambda: hand.works(VIP6), 5)


@contextmanager
def nobody_else_runs() -> Iterator[None]:
    """On this CPU, neither the kernel's workers."""
    allowed, policy = os.sched_getaffinity(0), os.sched_getscheduler(0)
    parameter = os.sched_getparam(0)
    os.sched_setaffinity(0, {min(allowed)})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameter)
        os.sched_setaffinity(0, allowed)


def run_here(path: str) -> str:
    """The addresses of a file of the kernel's, in words."""
    with open(path) as file:
        return " ".join(canonical(_coloned(line.split()[0])) for line in file)


def _coloned(digits: str) -> str:
    return ":".join(digits[at : at + 4] for at in range(0, 32, 4))
