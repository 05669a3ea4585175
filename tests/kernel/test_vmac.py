"""Virtual MACs on a real kernel: devices, adverts and announcements from them, both families."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import ICMPv6ND_NA, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vrrp import VRRPv3
from scapy.packet import Packet

from hadirector.core import sysctls
from hadirector.core.address import Address, canonical
from hadirector.core.messages import RouterStateName
from hadirector.core.settings.instances import VirtualAddress
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
from tests.kernel.wire import Capture

pytestmark = [pytest.mark.kernel, needs_root]

MASTER, BACKUP, FAULT = RouterStateName.MASTER, RouterStateName.BACKUP, RouterStateName.FAULT
MAC, MAC6 = "00:00:5e:00:01:33", "00:00:5e:00:02:33"
DEVICE, DEVICE6 = "vrrp.51", "vrrp6.51"
VIP6 = Address("2001:db8::10")
BOTH = (VirtualAddress(canonical(VIP), 24, "eth0"), VirtualAddress(VIP6, 64, "eth0"))


class Pair:
    """Node 1 of priority 150, node 2 of priority 100, and a client on the wire of the second."""

    def __init__(self, one: Machine, two: Machine) -> None:
        self.machines = (one, two)
        self.nodes = [Node(one, 1), Node(two, 2)]

    def begin(self, *, lease: bool = False, **changes: object) -> tuple[Node, Node]:
        """Node 1 is master when this returns."""
        one, two = self.nodes[:2]
        one.configure(instance(150, vmac=True, **changes), lease=lease, peers=lease)
        eventually(lambda: one.state() is MASTER, 20.0)
        two.configure(instance(100, vmac=True, **changes), lease=lease, peers=lease)
        eventually(lambda: two.state() is BACKUP, 20.0)
        eventually(lambda: is_up(one.machine), 5.0)
        return one, two


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


def test_the_device_is_up_with_the_address_on_a_master_and_down_on_a_backup(pair: Pair) -> None:
    one, two = pair.begin()

    eventually(lambda: f"{VIP}/32" in one.machine.addresses(DEVICE), 2.0)
    assert MAC in one.machine.run("ip", "link", "show", DEVICE)
    assert "macvlan mode private" in one.machine.run("ip", "-d", "link", "show", DEVICE)
    assert not one.machine.holds()
    eventually(lambda: links(two.machine) == {DEVICE}, 2.0)
    assert not is_up(two.machine)
    assert two.machine.addresses(DEVICE) == {}
    assert one.leave() == 0
    assert links(one.machine) == set()
    eventually(lambda: is_up(two.machine) and f"{VIP}/32" in two.machine.addresses(DEVICE), 5.0)
    assert two.leave() == 0
    assert links(two.machine) == set()


def test_adverts_and_announcements_come_from_the_virtual_mac(pair: Pair, tmp_path: Path) -> None:
    capture = Capture(pair.machines[1], tmp_path)
    pair.begin(virtual_addresses=BOTH)
    time.sleep(0.5)
    packets = capture.packets()

    adverts = [p for p in packets if VRRPv3 in p and p[VRRPv3].vrid == 51]
    assert {p[Ether].src for p in adverts if IP in p} == {MAC}
    assert {p[Ether].src for p in adverts if IPv6 in p} == {MAC6}
    assert {p[IP].src for p in adverts if IP in p} == {"192.0.2.1"}
    assert {p[IPv6].src[:4] for p in adverts if IPv6 in p} == {"fe80"}
    arps = [p for p in packets if ARP in p and p[ARP].psrc == VIP]
    assert len(arps) >= 5
    assert {(p[Ether].src, p[ARP].hwsrc) for p in arps} == {(MAC, MAC)}
    told = [p for p in packets if ICMPv6ND_NA in p and p[ICMPv6ND_NA].tgt == VIP6]
    assert len(told) >= 5
    assert {p[Ether].src for p in told} == {MAC6}


def test_an_advert_is_what_the_kernel_would_have_sent(pair: Pair, tmp_path: Path) -> None:
    """Byte for byte, but for the identification, what an advert from the own MAC is."""
    capture = Capture(pair.machines[1], tmp_path)
    pair.begin(virtual_addresses=BOTH)
    plain = Node(pair.machines[0], 3)
    plain.configure(instance(150, virtual_router_id=77, virtual_addresses=BOTH))
    time.sleep(2.0)
    plain.end()
    packets = capture.packets()

    assert network_header(packets, 51, IP) == network_header(packets, 77, IP)
    assert network_header(packets, 51, IPv6) == network_header(packets, 77, IPv6)


def test_clients_keep_the_mac_over_a_takeover(pair: Pair) -> None:
    with client(pair) as machine:
        one, two = pair.begin(virtual_addresses=BOTH)
        eventually(lambda: pings(machine, VIP), 5.0)
        eventually(lambda: pings(machine, VIP6), 5.0)
        before = neighbours(machine)

        one.end()
        eventually(lambda: two.state() is MASTER, 5.0)
        lonely(pair.machines[0])
        eventually(lambda: pings(machine, VIP), 5.0)
        eventually(lambda: pings(machine, VIP6), 5.0)

        assert neighbours(machine) == before == {VIP: MAC, VIP6: MAC6}


def test_the_interfaces_own_mac_never_speaks_for_the_address(pair: Pair, tmp_path: Path) -> None:
    """The parent hears the same requests, and asks with the address it answers from."""
    for machine in pair.machines:
        as_the_director_does(machine)
    one, two = pair.begin()
    capture = Capture(pair.machines[1], tmp_path)
    two.machine.run("ip", "neighbour", "flush", "dev", "eth0")
    one.machine.run("ip", "neighbour", "flush", "dev", "eth0")

    eventually(lambda: pings(two.machine, VIP), 5.0)

    own = hardware(one.machine, "eth0")
    arps = [p for p in capture.packets() if ARP in p]
    assert {p[ARP].hwsrc for p in arps if p[ARP].psrc == VIP} == {MAC}
    assert {p[ARP].psrc for p in arps if p[ARP].hwsrc == own} <= {"192.0.2.1"}


def test_a_second_master_is_heard_though_it_speaks_from_the_same_mac(pair: Pair) -> None:
    one, two = pair.begin()
    drop = ("tc", "filter", "add", "dev", "eth0", "ingress", "matchall", "action", "drop")

    two.machine.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    two.machine.run(*drop)
    eventually(lambda: two.state() is MASTER, 5.0)  # deaf: both are master now
    eventually(lambda: one.state() is MASTER and counters(one)["duels"] > 0, 5.0)
    two.machine.run("tc", "filter", "del", "dev", "eth0", "ingress")

    eventually(lambda: two.state() is BACKUP, 3.0)
    assert one.state() is MASTER
    assert not is_up(two.machine)


def test_a_killed_masters_device_is_adopted_with_its_address(pair: Pair) -> None:
    one, _ = pair.begin(lease=True)
    index = link_index(one.machine)
    one.process.kill()
    one.process.wait()
    again = Node(one.machine, 1, one.note)
    pair.nodes.append(again)

    again.configure(instance(150, vmac=True), lease=True, peers=True)

    eventually(lambda: again.state() is MASTER, 5.0)
    eventually(lambda: f"{VIP}/32" in one.machine.addresses(DEVICE), 2.0)
    assert "dynamic" in one.machine.addresses(DEVICE)[f"{VIP}/32"]
    assert link_index(one.machine) == index
    assert stays(lambda: again.state() is MASTER, 1.0)


def test_a_left_over_device_goes_when_it_is_not_wanted(pair: Pair) -> None:
    one, _ = pair.begin()
    one.process.kill()
    one.process.wait()
    assert links(one.machine) == {DEVICE}
    again = Node(one.machine, 1)
    pair.nodes.append(again)

    again.configure(instance(150, virtual_router_id=60))

    eventually(lambda: links(one.machine) == set(), 5.0)


def test_a_lease_that_ends_takes_the_address_off_the_device(pair: Pair) -> None:
    one, two = pair.begin(lease=True)
    one.process.kill()
    one.process.wait()

    eventually(lambda: two.state() is MASTER, 3.0)
    eventually(lambda: one.machine.addresses(DEVICE) == {}, 5.0)
    eventually(lambda: pings(one.machine, VIP), 5.0)  # the dead node's own packets too


def test_a_link_of_that_name_that_is_not_ours_is_a_fault_and_stays(pair: Pair) -> None:
    one = pair.nodes[0]
    one.machine.run("ip", "link", "add", DEVICE, "type", "veth", "peer", "name", "far")

    one.configure(instance(150, vmac=True))

    eventually(lambda: one.state() is FAULT, 5.0)
    assert one.routers["front"].reason == (
        f"cannot hold {VIP} on {DEVICE}: there is a link named {DEVICE} that is not ours: "
        "remove or rename it"
    )
    assert DEVICE in links(one.machine, "veth")
    one.machine.run("ip", "link", "del", DEVICE)
    eventually(lambda: one.state() is MASTER and is_up(one.machine), 10.0)


def test_one_somebody_deletes_comes_back_with_its_address(pair: Pair) -> None:
    one, _ = pair.begin()
    eventually(lambda: f"{VIP}/32" in one.machine.addresses(DEVICE), 2.0)

    one.machine.run("ip", "link", "del", DEVICE)

    took = eventually(lambda: DEVICE in links(one.machine) and is_up(one.machine), 2.0)
    eventually(lambda: f"{VIP}/32" in one.machine.addresses(DEVICE), 2.0)
    assert took < 1.0
    assert one.state() is MASTER


def test_with_the_parent_it_goes_and_comes(pair: Pair) -> None:
    one, two = pair.begin()

    rewire(one.machine, two.machine)

    eventually(lambda: one.state() is MASTER and links(one.machine) == {DEVICE}, 10.0)
    eventually(lambda: is_up(one.machine) and f"{VIP}/32" in one.machine.addresses(DEVICE), 5.0)


def test_it_mixes_with_a_keepalived_that_has_the_same_mac(pair: Pair, tmp_path: Path) -> None:
    ours = pair.nodes[0]
    theirs = pair.machines[1]
    ours.configure(instance(100, vmac=True, advert_int=1.0))
    eventually(lambda: ours.state() is MASTER, 20.0)
    config = tmp_path / "keepalived.conf"
    config.write_text(KEEPALIVED)
    command = ("keepalived", "-n", "-l", "-D", "-P", "-f", str(config))
    keepalived = theirs.spawn(*command, f"--pid={tmp_path}/p", f"--vrrp_pid={tmp_path}/v")
    try:
        eventually(lambda: ours.state() is BACKUP, 15.0)
        eventually(lambda: VIP in theirs.run("ip", "-o", "address"), 5.0)
        assert not is_up(ours.machine)
        assert stays(lambda: ours.state() is BACKUP, 3.0)
        keepalived.terminate()
        keepalived.wait(10)
        eventually(lambda: ours.state() is MASTER, 5.0)
        eventually(lambda: pings(theirs, VIP), 5.0)
    finally:
        keepalived.kill()


KEEPALIVED = f"""\
global_defs {{
    vrrp_version 3
}}
vrrp_instance front {{
    interface eth0
    virtual_router_id 51
    priority 200
    advert_int 1
    use_vmac
    virtual_ipaddress {{
        {VIP}/24
    }}
}}
"""


@contextlib.contextmanager
def client(pair: Pair) -> Iterator[Machine]:
    """Rewire: a switch with both nodes and a client on it."""
    switch, third = Machine(), Machine()
    try:
        lay(pair, switch, third)
        yield third
    finally:
        switch.end()
        third.end()


def lay(pair: Pair, switch: Machine, third: Machine) -> None:
    one, two = pair.machines
    switch.run("ip", "link", "add", "br0", "type", "bridge")
    switch.run("ip", "link", "set", "br0", "up")
    one.run("ip", "link", "del", "eth0")
    for number, machine in ((1, one), (2, two), (9, third)):
        port = f"p{number}"
        pid = str(machine.pid)
        switch.run(
            *("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", pid)
        )
        switch.run("ip", "link", "set", port, "master", "br0", "up")
        machine.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
        machine.run("ip", "address", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad")
        machine.run("ip", "link", "set", "eth0", "up")
        as_the_director_does(machine)


def as_the_director_does(machine: Machine) -> None:
    """The settings of the parent, which last as long as the daemon."""
    for setting in sysctls.for_vmac(["eth0"]):
        machine.run("sysctl", "-qw", f"{setting.name}={setting.value}")


def rewire(one: Machine, two: Machine) -> None:
    """Delete the wire and lay another one."""
    one.run("ip", "link", "del", "eth0")
    one.run(
        *("ip", "link", "add", "eth0", "type", "veth"),
        *("peer", "name", "eth0", "netns", str(two.pid)),
    )
    for number, machine in ((1, one), (2, two)):
        machine.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
        machine.run("ip", "link", "set", "eth0", "up")


def lonely(machine: Machine) -> None:
    """A dead node's wire is cut: no lease runs in these tests."""
    machine.run("ip", "link", "set", "eth0", "down")


def links(machine: Machine, kind: str = "macvlan") -> set[str]:
    """The names of the links of a kind."""
    lines = machine.run("ip", "-o", "link", "show", "type", kind).splitlines()
    return {line.split()[1].rstrip(":").partition("@")[0] for line in lines}


def is_up(machine: Machine, name: str = DEVICE) -> bool:
    return name in links(machine) and "LOWER_UP" in machine.run("ip", "-o", "link", "show", name)


def link_index(machine: Machine) -> str:
    return machine.run("ip", "-o", "link", "show", DEVICE).partition(":")[0]


def hardware(machine: Machine, name: str) -> str:
    words = machine.run("ip", "-o", "link", "show", name).split()
    return words[words.index("link/ether") + 1]


def counters(node: Node) -> dict[str, int]:
    return node.routers["front"].counters


def pings(machine: Machine, address: str) -> bool:
    try:
        machine.run("ping", "-c1", "-W1", address)
    except subprocess.CalledProcessError:
        return False
    return True


def neighbours(machine: Machine) -> dict[str, str]:
    """Virtual address -> MAC, as the machine has learnt them."""
    lines = machine.run("ip", "neighbour").splitlines()
    found = {line.split()[0]: line.split() for line in lines}
    return {a: found[a][4] for a in (VIP, VIP6) if a in found and len(found[a]) > 4}


def network_header(packets: list[Packet], vrid: int, layer: type[Packet]) -> dict[str, object]:
    """The fields of the IP header of an instance's adverts; from which address it came does not
    count, nor does what must differ from packet to packet."""
    (first, *_) = [p for p in packets if VRRPv3 in p and p[VRRPv3].vrid == vrid and layer in p]
    fields = dict(first[layer].fields)
    assert fields.pop("id", 1) != 0
    fields.pop("chksum", None)
    fields.pop("fl", None)
    fields.pop("src")
    return fields | {"to": first[Ether].dst}
