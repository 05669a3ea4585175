"""Two election processes on one wire: who has the address, and when."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from socket import inet_aton

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vrrp import VRRPv3
from scapy.utils import rdpcap

from hadirector.core import advert, messages
from hadirector.core.address import canonical
from hadirector.core.messages import OrderKind, RouterStateName
from hadirector.core.settings.cluster import VipLease
from hadirector.core.settings.instances import VirtualAddress
from hadirector.shell import channel
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

pytestmark = [pytest.mark.kernel, needs_root]

MASTER, BACKUP, FAULT = RouterStateName.MASTER, RouterStateName.BACKUP, RouterStateName.FAULT
MASTER_DOWN = 0.3 + 0.1 * 156 / 256  # of priority 100 at 0.1 s adverts


class Pair:
    """Node 1 of priority 150, node 2 of priority 100."""

    def __init__(self, one: Machine, two: Machine) -> None:
        self.machines = (one, two)
        self.nodes = [Node(one, 1), Node(two, 2)]

    def begin(self, *, lease: bool = True, advert_int: float = 0.1) -> tuple[Node, Node]:
        """Configure both; node 1 is master when this returns."""
        one, two = self.nodes[:2]
        one.configure(instance(150, advert_int=advert_int), lease=lease, peers=True)
        eventually(lambda: one.state() is MASTER, 20.0)
        two.configure(instance(100, advert_int=advert_int), lease=lease, peers=True)
        eventually(lambda: two.state() is BACKUP and two.master() == "192.0.2.1", 20.0)
        return one, two

    def again(self, node: Node, advert_int: float = 0.1) -> Node:
        """A new process in the place of one that is dead, with its note."""
        successor = Node(node.machine, node.number, node.note)
        self.nodes.append(successor)
        successor.configure(instance(150, advert_int=advert_int), lease=True, peers=True)
        return successor


@pytest.fixture
def pair() -> Iterator[Pair]:
    with machines() as (one, two):
        made = Pair(one, two)
        yield made
        for node in made.nodes:
            node.end()


def test_the_higher_priority_holds_the_address_on_lease_and_alone(pair: Pair) -> None:
    one, two = pair.begin()

    assert "dynamic noprefixroute" in one.machine.addresses()[f"{VIP}/32"]
    assert stays(lambda: one.machine.holds() and not two.machine.holds(), 4.0)
    assert two.state() is BACKUP


def test_what_goes_over_the_wire_is_as_the_rfc_and_keepalived_have_it(
    pair: Pair, tmp_path: Path
) -> None:
    file = tmp_path / "wire.pcap"
    sniffer = pair.machines[1].spawn(
        "tcpdump",
        "--immediate-mode",
        "-i",
        "eth0",
        "-U",
        "-w",
        str(file),
        "-Z",
        "root",
        stderr=subprocess.PIPE,
    )
    assert sniffer.stderr is not None
    sniffer.stderr.readline()
    pair.begin()
    time.sleep(0.5)
    sniffer.terminate()
    sniffer.wait()

    frames = [f for f in rdpcap(str(file)) if f.haslayer(IP) or f.haslayer(ARP)]
    adverts = [f for f in frames if f.haslayer(IP) and f[IP].proto == 112]
    announcements = [f for f in frames if f.haslayer(ARP) and f[ARP].psrc == VIP]

    assert len(adverts) >= 4
    for frame in adverts:
        ip = frame[IP]
        assert (ip.src, ip.dst, ip.ttl, ip.tos) == ("192.0.2.1", "224.0.0.18", 255, 0xC0)
        assert (int(ip.flags), ip.id != 0) == (0, True)
        assert frame.dst == "01:00:5e:00:00:12"
        message = bytes(ip.payload)
        pseudo = inet_aton(ip.src) + inet_aton(ip.dst) + bytes((0, 112, 0, len(message)))
        assert advert.internet_checksum(pseudo + message) == 0
        said = frame[VRRPv3]
        assert (said.version, said.type, said.vrid, said.priority) == (3, 1, 51, 150)
        assert (said.adv, said.addrlist) == (10, [VIP])
    assert len(announcements) == 5
    assert frames.index(adverts[0]) < frames.index(announcements[0])
    hardware = adverts[0].src
    assert {(f.src, f.dst, f[ARP].op) for f in announcements} == {
        (hardware, "ff:ff:ff:ff:ff:ff", 1)
    }
    assert Ether(bytes(announcements[0])).psrc == VIP


def test_a_killed_master_is_replaced_and_its_address_ends_with_the_lease(pair: Pair) -> None:
    one, two = pair.begin()

    one.process.kill()

    took = eventually(two.machine.holds, 2.0)
    assert MASTER_DOWN - 0.1 <= took <= MASTER_DOWN + 0.2
    assert eventually(lambda: not one.machine.holds(), 4.0) + took <= 3.1


def test_an_orderly_leave_hands_over_without_a_gap(pair: Pair) -> None:
    one, two = pair.begin(advert_int=1.0)

    one.order(OrderKind.STOP)

    # The successor waits its skew time, 0.61 s; without priority 0 it would be 3.61 s.
    assert stays(one.machine.holds, 0.3)
    assert eventually(two.machine.holds, 4.0) < 1.5
    assert one.process.wait(5) == 0
    assert not one.machine.holds()


def test_an_instance_taken_out_of_the_settings_leaves_in_order(pair: Pair) -> None:
    one, two = pair.begin(advert_int=1.0)

    one.configure()

    assert stays(one.machine.holds, 0.3)
    assert eventually(two.machine.holds, 4.0) < 1.5
    eventually(lambda: not one.machine.holds(), 1.0)  # it heard its successor: no need to wait
    assert two.machine.holds()


def test_alone_an_orderly_leave_ends_after_the_peers_patience(pair: Pair) -> None:
    one, two = pair.begin()
    two.end()

    started = time.monotonic()
    assert one.leave() == 0

    assert 0.2 < time.monotonic() - started < 2.0
    assert not one.machine.holds()


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_new_process_adopts_a_young_mastership_unseen(pair: Pair, how: str) -> None:
    one, two = pair.begin(advert_int=1.0)

    if how == "restart":
        one.order(OrderKind.STOP, "restart")
    else:
        one.process.kill()
    one.process.wait(5)
    assert one.machine.holds()
    successor = pair.again(one, advert_int=1.0)

    eventually(lambda: successor.state() is MASTER, 3.0)
    assert successor.routers["front"].reason == "adopted from the process before"
    assert stays(lambda: successor.machine.holds() and not two.machine.holds(), 4.0)
    assert two.state() is BACKUP
    assert "master" not in [event.kind for event in two.events]


def test_a_lost_callback_ends_the_process_and_leaves_everything_to_the_next(pair: Pair) -> None:
    program = (
        "import asyncio, signal, sys\n"
        "from hadirector import election\n"
        "from hadirector.core.messages import Process\n"
        "from hadirector.shell import child\n"
        "async def body(process):\n"
        "    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: 1 / 0)\n"
        "    await election.body(process)\n"
        "sys.exit(child.main(Process.ELECTION, body))\n"
    )
    pair.nodes[0].end()
    pair.nodes[0] = Node(pair.machines[0], 1, program=program)
    one, two = pair.begin(advert_int=1.0)

    one.process.send_signal(signal.SIGUSR1)

    assert one.process.wait(2) == 1
    assert one.machine.holds()
    successor = pair.again(one, advert_int=1.0)
    eventually(lambda: successor.state() is MASTER, 3.0)
    assert successor.routers["front"].reason == "adopted from the process before"
    assert two.state() is BACKUP
    assert "master" not in [event.kind for event in two.events]


def test_a_router_without_a_socket_is_in_fault_and_tries_again(pair: Pair) -> None:
    one, _ = pair.nodes
    eventually(lambda: one.heard, 10.0)
    pid = one.process.pid
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = min(set(range(len(used) + 1)) - used)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, before[1]))

    one.configure(instance(150))

    eventually(lambda: one.state() is FAULT, 2.0)
    assert one.routers["front"].reason == "eth0: no VRRP socket for ipv4: Too many open files"
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    eventually(lambda: one.state() is MASTER, 8.0)


def test_a_process_that_comes_back_too_late_finds_a_successor(pair: Pair) -> None:
    one, two = pair.begin()
    one.process.kill()
    eventually(two.machine.holds, 2.0)
    time.sleep(0.5)
    two.configure(instance(200), lease=True, peers=True)

    successor = pair.again(one)

    eventually(lambda: successor.state() is BACKUP, 8.0)
    eventually(lambda: not one.machine.holds(), 0.5)
    assert stays(lambda: two.machine.holds() and not one.machine.holds(), 1.0)


def test_an_address_somebody_removes_is_back_at_once(pair: Pair) -> None:
    one, _ = pair.begin(lease=False)  # a renewal would bring it back as well

    one.machine.run("ip", "address", "del", f"{VIP}/32", "dev", "eth0")

    # By its event, not by the look every 5 s; looking itself takes 0.1 s on a slow machine.
    assert eventually(one.machine.holds, 4.0) < 1.0


def test_a_hung_master_loses_its_address_and_comes_back_as_backup(pair: Pair) -> None:
    one, two = pair.begin()
    two.configure(instance(200), lease=True, peers=True)
    eventually(lambda: two.state() is MASTER, 3.0)

    two.process.send_signal(signal.SIGSTOP)
    eventually(one.machine.holds, 2.0)
    one.configure(instance(250), lease=True, peers=True)
    eventually(lambda: not two.machine.holds(), 3.1)
    two.process.send_signal(signal.SIGCONT)

    eventually(lambda: two.state() is BACKUP, 2.0)
    assert stays(lambda: one.machine.holds() and not two.machine.holds(), 1.0)


def test_an_interface_that_is_made_anew_is_used_again(pair: Pair) -> None:
    one, two = pair.begin()

    one.machine.run("ip", "link", "del", "eth0")
    eventually(lambda: one.state() is FAULT, 1.0)
    assert one.routers["front"].reason.startswith("eth0 is ")  # down first, then missing
    one.machine.run(
        *("ip", "link", "add", "eth0", "type", "veth"),
        *("peer", "name", "eth0", "netns", str(two.machine.pid)),
    )
    for number, machine in enumerate(pair.machines, 1):
        machine.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
        machine.run("ip", "link", "set", "eth0", "up")

    eventually(lambda: one.state() is MASTER and two.state() is BACKUP, 5.0)
    assert one.machine.holds()
    assert not two.machine.holds()


def test_a_pulled_cable_is_a_fault_and_the_address_goes(pair: Pair) -> None:
    one, two = pair.begin()

    two.machine.run("ip", "link", "set", "eth0", "down")

    eventually(lambda: one.state() is FAULT and two.state() is FAULT, 2.0)
    assert not one.machine.holds()


def test_an_address_the_system_configured_is_a_fault_with_its_reason(pair: Pair) -> None:
    machine = pair.machines[0]
    machine.run("ip", "address", "add", f"{VIP}/24", "dev", "eth0")
    one, two = pair.nodes
    one.configure(instance(150))
    two.configure(instance(100))

    eventually(lambda: one.state() is FAULT and two.state() is MASTER, 8.0)

    assert "is configured on eth0 by the system" in one.routers["front"].reason
    machine.run("ip", "address", "del", f"{VIP}/24", "dev", "eth0")
    eventually(lambda: one.state() is MASTER and two.state() is BACKUP, 3.0)


def test_without_a_note_what_a_dead_process_left_is_removed(pair: Pair) -> None:
    one, two = pair.begin(lease=False)
    one.process.kill()
    eventually(two.machine.holds, 2.0)
    two.configure(instance(200))
    time.sleep(0.3)
    assert one.machine.holds()  # for ever, without a lease

    successor = Node(one.machine, 1)
    pair.nodes.append(successor)
    successor.configure(instance(150))

    eventually(lambda: not one.machine.holds(), 8.0)
    assert stays(lambda: not one.machine.holds() and two.machine.holds(), 1.0)


def test_a_lease_follows_the_peer_without_a_gap(pair: Pair) -> None:
    one, _ = pair.begin()

    one.tell(messages.Peers((messages.Peer("other", False),)))
    eventually(lambda: "dynamic" not in one.machine.addresses()[f"{VIP}/32"], 1.0)
    one.tell(messages.Peers((messages.Peer("other", True),)))
    eventually(lambda: "dynamic" in one.machine.addresses()[f"{VIP}/32"], 1.0)


def test_without_capabilities_it_says_so_in_one_line_and_does_not_come_again() -> None:
    ours, theirs = channel.pair()
    program = (
        "import os, sys\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "from hadirector import election\n"
        "from hadirector.core.messages import Process\n"
        "from hadirector.shell import child\n"
        "sys.exit(child.main(Process.ELECTION, election.body))\n"
    )
    note = os.memfd_create("note")
    process = subprocess.Popen(
        [sys.executable, "-c", program, f"--fd=director={theirs.fileno()}", f"--fd=note={note}"],
        pass_fds=(theirs.fileno(), note),
        stderr=subprocess.PIPE,
        text=True,
    )
    settings = messages.ElectionSettings("n", (instance(),), (), VipLease(), "/nonexistent")
    ours.send(channel._HEADER.pack(1, 0, 1) + channel.encode(settings))

    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 3
    (error,) = [line for line in stderr.splitlines() if not line.startswith("INFO")]
    assert error.startswith("ERROR election VRRP needs CAP_NET_ADMIN and CAP_NET_RAW: ")


def test_a_process_without_settings_waits_and_does_not_spin(pair: Pair) -> None:
    pid = pair.nodes[0].process.pid
    time.sleep(2.0)  # past its start

    before = _cpu(pid)
    time.sleep(1.0)

    assert _cpu(pid) - before < 0.1


def test_ipv6_moves_along_and_leaves_the_nodes_own_routes(pair: Pair) -> None:
    virtual = tuple(
        VirtualAddress(canonical(text), prefix, "eth0")
        for text, prefix in ((VIP, 24), ("fe80::10", 64), ("2001:db8::10", 64))
    )
    for number, machine in enumerate(pair.machines, 1):
        machine.run("ip", "address", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad")
        eventually(lambda m=machine: "tentative" not in "".join(m.addresses().values()), 5.0)  # type: ignore[misc]  # a bound default
    one, two = pair.nodes
    routes = one.machine.run("ip", "-6", "route")
    one.configure(instance(150, virtual_addresses=virtual), lease=True, peers=True)
    eventually(lambda: one.state() is MASTER, 5.0)
    two.configure(instance(100, virtual_addresses=virtual), lease=True, peers=True)
    eventually(lambda: two.master() is not None, 5.0)
    ours = {f"{VIP}/32", "fe80::10/128", "2001:db8::10/128"}
    assert ours <= one.machine.addresses().keys()
    assert not ours & two.machine.addresses().keys()

    one.process.kill()

    eventually(lambda: ours <= two.machine.addresses().keys(), 2.0)
    eventually(lambda: not ours & one.machine.addresses().keys(), 4.0)
    assert one.machine.run("ip", "-6", "route") == routes


def test_at_boot_ipv6_that_settles_is_waited_for_and_is_no_fault(pair: Pair) -> None:
    machine = pair.machines[0]
    virtual = tuple(
        VirtualAddress(canonical(text), prefix, "eth0")
        for text, prefix in ((VIP, 24), ("2001:db8::10", 64))
    )
    machine.run("ip", "link", "set", "eth0", "down")
    machine.run("sysctl", "-qw", "net.ipv6.conf.eth0.dad_transmits=6")  # settles for 6 s
    machine.run("ip", "link", "set", "eth0", "up")
    one = Node(machine, 1)
    pair.nodes.append(one)
    one.configure(instance(150, virtual_addresses=virtual))

    eventually(lambda: one.state() is RouterStateName.INIT, 5.0)  # read while it settles
    eventually(lambda: one.state() is MASTER, 15.0)

    assert {VIP, "2001:db8::10"} <= {key.partition("/")[0] for key in machine.addresses()}
    assert "fault" not in [event.kind for event in one.events]


def _cpu(pid: int) -> float:
    """Seconds of CPU a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
