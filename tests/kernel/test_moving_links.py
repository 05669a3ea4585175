"""Interfaces that come, go and change their way to the network under a running election."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA

from hadirector.core.address import Address, canonical
from hadirector.core.messages import RouterStateName
from hadirector.core.settings.instances import Tracked, VirtualAddress, VirtualRoute
from tests.kernel.pair import (
    VIP,
    Machine,
    Node,
    eventually,
    instance,
    machines,
    needs_root,
    stays,
)
from tests.kernel.wire import Capture, gratuitous

pytestmark = [pytest.mark.kernel, needs_root]


@pytest.fixture(scope="module", autouse=True)
def modules() -> None:
    """Loaded on demand by the kernel where that may; a namespace's tools need not."""
    for name in ("bonding", "vrf"):
        subprocess.run(("modprobe", name), check=False)


MASTER, BACKUP, FAULT = RouterStateName.MASTER, RouterStateName.BACKUP, RouterStateName.FAULT
VIP6 = Address("2001:db8::10")
BOTH = (VirtualAddress(canonical(VIP), 24, "eth0"), VirtualAddress(VIP6, 64, "eth0"))


class Pair:
    """Node 1 of priority 150, node 2 of priority 100."""

    def __init__(self, one: Machine, two: Machine) -> None:
        self.machines = (one, two)
        self.nodes = [Node(one, 1), Node(two, 2)]

    def begin(self, *, interfaces: tuple[str, str] = ("eth0", "eth0"), **changes: object) -> None:
        """Node 1 is master, node 2 backup when this returns."""
        for node, interface, priority in zip(self.nodes, interfaces, (150, 100), strict=True):
            given = {"virtual_addresses": (VirtualAddress(canonical(VIP), 24, interface),)}
            node.configure(instance(priority, interface=interface, **(given | changes)))
        one, two = self.nodes
        eventually(lambda: one.state() is MASTER and two.state() is BACKUP, 20.0)
        eventually(lambda: two.master() is not None, 5.0)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with machines() as (one, two):
        for number, machine in ((1, one), (2, two)):
            address = f"2001:db8::{number}/64"
            machine.run("ip", "address", "add", address, "dev", "eth0", "nodad")
        made = Pair(one, two)
        yield made
        for node in made.nodes:
            node.end()


def events(node: Node, kind: str) -> list[str]:
    node.read()
    return [event.reason for event in node.events if event.kind == kind]


def test_an_interface_that_was_deleted_and_made_anew_is_joined_again(
    pair: Pair, tmp_path: Path
) -> None:
    pair.begin()
    one, two = pair.nodes

    one.machine.run("ip", "link", "del", "eth0")  # and with it the other end
    eventually(lambda: one.state() is FAULT and two.state() is FAULT, 5.0)
    assert one.routers["front"].reason == "eth0 is missing"
    one.machine.run(
        *("ip", "link", "add", "eth0", "type", "veth"),
        *("peer", "name", "eth0", "netns", str(two.machine.pid)),
    )
    two.machine.run("ip", "link", "set", "eth0", "up")
    capture = Capture(two.machine, tmp_path)
    for number, machine in ((1, one.machine), (2, two.machine)):
        machine.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
    one.machine.run("ip", "link", "set", "eth0", "up")

    eventually(lambda: one.state() is MASTER and two.state() is BACKUP, 10.0)
    assert two.master() == "192.0.2.1"
    assert one.machine.holds()
    assert not two.machine.holds()
    assert stays(lambda: two.state() is BACKUP, 1.0)
    assert len(gratuitous(capture.packets(), VIP)) >= 5


def test_an_interface_made_anew_too_fast_to_be_missed_is_joined_all_the_same(pair: Pair) -> None:
    pair.begin()
    one, two = pair.nodes

    script = (
        "ip link del eth0; "
        f"ip link add eth0 type veth peer name eth0 netns {two.machine.pid}; "
        "ip address add 192.0.2.1/24 dev eth0; ip link set eth0 up"
    )
    one.machine.run("sh", "-c", script)
    two.machine.run("ip", "address", "add", "192.0.2.2/24", "dev", "eth0")
    two.machine.run("ip", "link", "set", "eth0", "up")

    def settled() -> bool:
        return one.state() is MASTER and two.state() is BACKUP and two.master() == "192.0.2.1"

    eventually(settled, 10.0)
    eventually(one.machine.holds, 2.0)
    assert stays(lambda: two.state() is BACKUP and not two.machine.holds(), 1.0)


def test_a_bond_that_changes_its_active_link_announces_again(pair: Pair, tmp_path: Path) -> None:
    one, two = pair.machines
    one.run("ip", "link", "del", "eth0")
    two.run("ip", "link", "add", "br0", "type", "bridge")
    one.run("ip", "link", "add", "bond0", "type", "bond", "mode", "active-backup", "miimon", "100")
    for name in ("left", "right"):
        pid = str(two.pid)
        one.run("ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", pid)
        one.run("ip", "link", "set", name, "master", "bond0")
        two.run("ip", "link", "set", name, "master", "br0", "up")
    for number, machine, name in ((1, one, "bond0"), (2, two, "br0")):
        machine.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", name)
        machine.run("ip", "link", "set", name, "up")
    eventually(lambda: "LOWER_UP" in one.run("ip", "link", "show", "bond0"), 5.0)
    pair.begin(interfaces=("bond0", "br0"))
    time.sleep(1.0)
    shown = one.run("ip", "-d", "link", "show", "bond0")
    active = shown.partition("active_slave ")[2].split()[0]
    other = "right" if active == "left" else "left"
    capture = Capture(two, tmp_path, "br0")

    one.run("ip", "link", "set", "bond0", "type", "bond", "active_slave", other)

    eventually(lambda: events(pair.nodes[0], "announced_again") != [], 3.0)
    assert events(pair.nodes[0], "announced_again")[0] == (
        "bond0 reaches the network by another way: announced again"
    )
    time.sleep(0.5)
    assert len(gratuitous(capture.packets(), VIP)) >= 5  # the kernel itself sends one
    assert pair.nodes[0].state() is MASTER
    assert pair.nodes[1].state() is BACKUP


def test_an_address_on_another_interface_is_announced_when_that_comes_back(
    pair: Pair, tmp_path: Path
) -> None:
    one, two = pair.machines
    pid = str(two.pid)
    one.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", pid)
    for machine in (one, two):
        machine.run("ip", "link", "set", "eth1", "up")
    inside = VirtualAddress(canonical("10.0.9.1"), 24, "eth1")
    inside6 = VirtualAddress(Address("2001:db8:9::1"), 64, "eth1")
    weighed = (Tracked("eth1", -1),)  # so that its loss is no fault
    pair.begin(virtual_addresses=(*BOTH, inside, inside6), track_interfaces=weighed)
    eventually(lambda: "10.0.9.1/24" in one.run("ip", "address", "show", "eth1"), 3.0)

    one.run("ip", "link", "set", "eth1", "down")  # takes the IPv6 address away
    time.sleep(0.5)
    capture = Capture(two, tmp_path, "eth1")
    one.run("ip", "link", "set", "eth1", "up")

    eventually(lambda: events(pair.nodes[0], "announced_again") != [], 3.0)
    eventually(lambda: "2001:db8:9::1/64" in one.run("ip", "address", "show", "eth1"), 3.0)
    time.sleep(2.0)
    packets = capture.packets()
    assert len(gratuitous(packets, "10.0.9.1")) >= 5
    told = [p for p in packets if ICMPv6ND_NA in p and p[ICMPv6ND_NA].tgt == "2001:db8:9::1"]
    assert told != []
    assert pair.nodes[0].state() is MASTER


def test_a_link_that_flaps_moves_the_address_there_and_back(pair: Pair) -> None:
    pair.begin(virtual_addresses=BOTH)
    one, two = pair.nodes

    one.machine.run("ip", "link", "set", "eth0", "down")
    eventually(lambda: one.state() is FAULT and two.state() is FAULT, 5.0)  # one wire, two ends
    one.machine.run("ip", "link", "set", "eth0", "up")
    one.machine.run("ip", "address", "add", "2001:db8::1/64", "dev", "eth0", "nodad")

    eventually(lambda: one.state() is MASTER and two.state() is BACKUP, 15.0)
    eventually(lambda: f"{VIP6}/128" in one.machine.addresses(), 3.0)
    assert f"{VIP}/32" in one.machine.addresses()
    assert stays(lambda: not two.machine.holds(), 1.0)


def vrf(machine: Machine, number: int) -> None:
    """eth0 in a VRF with table 10. That takes its IPv6 addresses; a script puts them back."""
    machine.run("ip", "link", "add", "blue", "type", "vrf", "table", "10")
    machine.run("ip", "link", "set", "blue", "up")
    machine.run("ip", "link", "set", "eth0", "master", "blue")
    machine.run("ip", "address", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad")


def test_in_a_vrf_adverts_are_heard_and_routes_go_into_its_table(pair: Pair) -> None:
    one, two = pair.machines
    vrf(one, 1)
    vrf(two, 2)
    route = VirtualRoute("203.0.113.0/24", Address("192.0.2.2"), None, canonical(VIP), None, None)
    mine = VirtualRoute("198.51.100.0/24", Address("192.0.2.2"), "eth0", None, 254, None)

    pair.begin(virtual_addresses=BOTH, virtual_routes=(route, mine))

    eventually(lambda: "203.0.113.0/24" in one.run("ip", "route", "show", "table", "10"), 3.0)
    shown = one.run("ip", "route", "show", "table", "10")
    assert f"203.0.113.0/24 via 192.0.2.2 dev eth0 proto 112 src {VIP}" in shown
    assert "198.51.100.0/24" in one.run("ip", "route", "show", "table", "main")
    assert f"local {VIP} dev eth0" in one.run("ip", "route", "show", "table", "10")
    assert stays(lambda: pair.nodes[1].state() is BACKUP, 2.0)
    assert two.run("ip", "vrf", "exec", "blue", "ping", "-c1", "-W1", VIP)
    assert two.run("ip", "vrf", "exec", "blue", "ping", "-c1", "-W1", VIP6)
    pair.nodes[0].leave()
    eventually(lambda: pair.nodes[1].state() is MASTER, 3.0)
    eventually(lambda: two.holds(), 2.0)


def test_an_interface_that_joins_a_vrf_under_a_running_master_goes_on(pair: Pair) -> None:
    pair.begin(virtual_addresses=BOTH)
    one, two = pair.nodes

    vrf(one.machine, 1)

    eventually(lambda: one.state() is MASTER and f"{VIP6}/128" in one.machine.addresses(), 15.0)
    eventually(lambda: two.state() is BACKUP, 10.0)
    eventually(lambda: f"local {VIP}" in one.machine.run("ip", "route", "show", "table", "10"), 5.0)
    assert stays(lambda: one.state() is MASTER and two.state() is BACKUP, 2.0)


def test_a_virtual_mac_follows_its_parent_into_a_vrf(pair: Pair) -> None:
    one, two = pair.machines
    vrf(one, 1)
    pair.begin(vmac=True)
    eventually(lambda: "vrrp.51" in one.run("ip", "link", "show", "master", "blue"), 3.0)
    eventually(
        lambda: f"local {VIP} dev vrrp.51" in one.run("ip", "route", "show", "table", "10"), 3
    )
    assert stays(lambda: pair.nodes[1].state() is BACKUP, 1.0)
    assert two.run("ping", "-c1", "-W1", VIP)

    one.run("ip", "link", "set", "eth0", "nomaster")

    eventually(lambda: "vrrp.51" not in one.run("ip", "link", "show", "master", "blue"), 7.0)
    eventually(lambda: f"local {VIP}" in one.run("ip", "route", "show", "table", "local"), 5.0)
    eventually(lambda: pair.nodes[0].state() is MASTER, 10.0)
