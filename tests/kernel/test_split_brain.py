"""Two masters, and nodes that cannot hear yet, on a real kernel."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hadirector.core import messages
from hadirector.core.address import Address
from hadirector.core.messages import RouterStateName, Voice
from hadirector.core.settings.instances import Preempt
from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import has_ipvs
from tests.kernel.pair import VIP, Machine, Node, eventually, instance, needs_root

pytestmark = [pytest.mark.kernel, needs_root]

MASTER, BACKUP = RouterStateName.MASTER, RouterStateName.BACKUP
LISTENING, FORWARDING = "1", "3"  # bridge(8): states of a port
PRIORITIES = {1: 150, 2: 100}
ADVERTS = 0.5  # seconds: a starved lab lets faster ones be late


@dataclass
class Wire:
    """Nodes 1 (priority 150) and 2 (100) at the ports of a switch."""

    machines: dict[int, Machine]
    switch: Machine
    nodes: list[Node] = field(default_factory=list)

    def port(self, number: int, state: str) -> None:
        """Let a node's port forward or not; its carrier stays."""
        self.switch.run("bridge", "link", "set", "dev", f"port{number}", "state", state)

    def deafen(self, number: int) -> None:
        """A firewall of the node drops protocol 112 that comes in."""
        run = self.machines[number].run
        run("tc", "qdisc", "add", "dev", "eth0", "ingress")
        run(
            *("tc", "filter", "add", "dev", "eth0", "parent", "ffff:", "protocol", "ip"),
            *("u32", "match", "ip", "protocol", "112", "0xff", "action", "drop"),
        )

    def undeafen(self, number: int) -> None:
        """Let it in."""
        self.machines[number].run("tc", "qdisc", "del", "dev", "eth0", "ingress")

    def start(
        self, number: int, claims: bool = False, ready: bool = True, **changes: object
    ) -> Node:
        """An election; `claims`: the other one says on the peer channel that it is master."""
        node = Node(self.machines[number], number)
        self.nodes.append(node)
        settings = instance(PRIORITIES[number], **({"advert_int": ADVERTS} | changes))
        node.configure(settings, peers=True)
        node.tell(messages.Ready(ready, "test"))
        other = 3 - number
        voice = Voice(Address(f"192.0.2.{other}"), PRIORITIES[other], claims)
        peer = messages.Peer(f"lb{other}", True, voices={"front/ipv4": voice})
        node.tell(messages.Peers((peer,)))
        return node

    def during(self, seconds: float, holds: Callable[[], bool]) -> bool:
        """Whether it holds all the time, while directors give signs of life."""
        until, beat_at = time.monotonic() + seconds, 0.0
        while time.monotonic() < until:
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + 1.0
                for node in self.nodes:
                    node.tell(messages.Heartbeat(0.0, 0.0))
            if not holds():
                return False
            time.sleep(0.1)
        return True


@pytest.fixture
def wire() -> Iterator[Wire]:
    switch, one, two = Machine(), Machine(), Machine()
    made = Wire({1: one, 2: two}, switch)
    try:
        switch.run("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        switch.run("ip", "link", "set", "br0", "up")
        for number, machine in made.machines.items():
            port = f"port{number}"
            switch.run(
                *("ip", "link", "add", port, "type", "veth"),
                *("peer", "name", "eth0", "netns", str(machine.pid)),
            )
            switch.run("ip", "link", "set", port, "master", "br0", "up")
            machine.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
            machine.run("ip", "link", "set", "eth0", "up")
        yield made
    finally:
        for node in made.nodes:
            node.end()
        for machine in (switch, one, two):
            machine.end()


def kinds(node: Node) -> list[str]:
    """What it told, the routine left out."""
    node.read()
    return [e.kind for e in node.events if e.kind not in ("following", "backup", "master")]


def router(node: Node) -> messages.Router:
    node.read()
    return node.routers["front"]


def test_when_a_partition_heals_the_better_one_stays_and_tells_once_of_the_other(
    wire: Wire,
) -> None:
    one, two = wire.start(1), wire.start(2)
    eventually(lambda: one.state() is MASTER and two.state() is BACKUP, 10.0)
    wire.port(1, LISTENING)
    eventually(lambda: two.state() is MASTER, 6.0)
    assert wire.during(1.0, lambda: one.machine.holds() and two.machine.holds())
    sniffer = wire.machines[2].spawn(
        *("tcpdump", "--immediate-mode", "-l", "-n", "-i", "eth0", "arp"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert sniffer.stdout is not None
    sniffer.stdout.readline()
    sniffer.stdout.readline()

    wire.port(1, FORWARDING)

    eventually(lambda: not two.machine.holds(), 2.0)
    assert wire.during(3.5, lambda: one.machine.holds() and not two.machine.holds())
    sniffer.terminate()
    heard = sniffer.stdout.read().decode()
    assert heard.count(f"who-has {VIP} (ff:ff:ff:ff:ff:ff) tell {VIP}") >= 5, heard
    assert kinds(one) == ["duel", "duel_over"]
    assert kinds(two) == []
    (duel, over) = [e for e in one.events if e.kind.startswith("duel")]
    assert duel.reason == (
        "192.0.2.2 (lb2) is master too: heard on eth0 with priority 100 against 150: "
        "it has to yield"
    )
    assert over.reason.startswith("192.0.2.2 (lb2) yielded: it is not heard any more; two masters")
    assert router(one).counters["duels"] == 1
    assert router(one).rivals == ()


def test_a_rival_that_does_not_hear_us_is_one_event_and_trouble_until_it_does(wire: Wire) -> None:
    one = wire.start(1)
    eventually(lambda: one.state() is MASTER, 10.0)
    wire.deafen(2)
    two = wire.start(2)
    eventually(lambda: two.state() is MASTER, 10.0)

    assert wire.during(4.0, lambda: one.machine.holds() and two.machine.holds())

    assert kinds(one) == ["duel"]
    assert router(one).rivals == ("192.0.2.2",)
    (trouble,) = router(one).troubles
    assert trouble.startswith("two masters: 192.0.2.2 (lb2) advertises on eth0 with priority 100")
    wire.undeafen(2)
    eventually(lambda: not two.machine.holds(), 2.0)
    eventually(lambda: kinds(one) == ["duel", "duel_over"], 4.0)
    lasted = float(one.events[-1].inputs["lasted"])
    assert 3.5 < lasted < 9.0
    eventually(lambda: router(one).troubles == (), 2.5)


@pytest.mark.parametrize("preempt", [Preempt.WHEN_SYNCED, Preempt.NEVER])
def test_a_node_whose_switch_port_opens_late_takes_nobody_s_place(
    wire: Wire, preempt: Preempt
) -> None:
    two = wire.start(2, preempt=preempt)
    eventually(lambda: two.state() is MASTER, 10.0)
    wire.port(1, LISTENING)
    one = wire.start(1, ready=False, preempt=preempt, startup_delay=None)

    assert wire.during(3.0, lambda: two.machine.holds() and not one.machine.holds())
    wire.port(1, FORWARDING)

    assert wire.during(4.0, lambda: two.machine.holds() and not one.machine.holds())
    assert one.state() is BACKUP
    assert one.master() == "192.0.2.2"
    assert kinds(two) == kinds(one) == []


def test_one_that_is_deaf_for_longer_serves_in_the_dark_and_gives_way_when_it_hears(
    wire: Wire,
) -> None:
    wire.port(1, LISTENING)
    one = wire.start(1, ready=False, preempt=Preempt.WHEN_SYNCED, startup_delay=None)
    two = wire.start(2, preempt=Preempt.WHEN_SYNCED)
    wire.during(16.0, lambda: not one.machine.holds())  # ten of patience, and a little
    assert one.machine.holds()  # nobody else may be there
    assert two.machine.holds()
    assert router(one).effective_priority == 1
    assert "nothing at all was heard yet" in router(one).reason

    wire.port(1, FORWARDING)

    assert wire.during(2.5, two.machine.holds)
    assert not one.machine.holds()
    assert one.master() == "192.0.2.2"
    two.read()
    moved = [e.kind for e in two.events if e.kind in ("master", "backup")]
    assert moved == ["backup", "master"]  # at its own start


def test_a_firewall_that_lets_adverts_in_late_makes_no_second_master(wire: Wire) -> None:
    two = wire.start(2, preempt=Preempt.WHEN_SYNCED)
    eventually(lambda: two.state() is MASTER, 10.0)
    wire.deafen(1)
    one = wire.start(1, claims=True, ready=False, preempt=Preempt.WHEN_SYNCED, startup_delay=None)

    assert wire.during(6.0, lambda: two.machine.holds() and not one.machine.holds())
    assert router(one).reason == (
        "lb2 is master, but no advert arrives: holding back; does eth0 let protocol 112 in?"
    )
    wire.undeafen(1)

    eventually(lambda: one.master() == "192.0.2.2", 2.0)
    assert wire.during(3.0, lambda: two.machine.holds() and not one.machine.holds())
    assert kinds(one) == ["deaf"]
    assert kinds(two) == []


@pytest.mark.long
def test_what_only_answers_for_the_address_holds_a_deaf_node_back_for_ten_seconds(
    wire: Wire,
) -> None:
    wire.machines[2].run("ip", "address", "add", f"{VIP}/32", "dev", "eth0")  # a dead node's
    one = wire.start(1, startup_delay=None)

    assert wire.during(9.0, lambda: not one.machine.holds())
    assert "somebody answers for its addresses" in router(one).reason
    assert not wire.during(6.0, lambda: not one.machine.holds())


CONFIG = """
cluster: shop
nodes:
  lb1: {priority: 150, address: 192.0.2.1}
  lb2: {priority: 100, address: 192.0.2.2}
vrrp:
  defaults: {advert_int: 500ms}
  instances:
    front: {interface: eth0, virtual_router_id: 51, virtual_addresses: [192.0.2.10/24]}
"""


def daemon(machine: Machine, folder: Path, node: str) -> Daemon:
    """A whole node on a machine; its socket is reached by its path."""
    folder.mkdir()
    made = Daemon(folder, CONFIG, node)
    with made.log.open("ab") as log:
        made.process = machine.spawn(
            *(sys.executable, "-m", "hadirector", "run", "--node", node),
            *("-c", str(folder / "hadirector.yaml")),
            stdout=log,
            stderr=log,
        )
    return made


def told_by(node: Daemon, kind: str) -> list[str]:
    """The events of a kind."""
    return [line for line in node.run("events").stdout.splitlines() if f"  {kind} " in line]


@pytest.mark.skipif(not has_ipvs, reason="needs ip_vs")
def test_where_protocol_112_is_filtered_both_directors_say_so_and_say_when_it_is_over(
    wire: Wire, tmp_path: Path
) -> None:
    daemons = [daemon(wire.machines[n], tmp_path / f"lb{n}", f"lb{n}") for n in (1, 2)]
    one, two = daemons
    try:
        until("both answer", lambda: all(d.ask() is not None for d in daemons))
        holds = {n: wire.machines[n].holds for n in (1, 2)}
        until("lb1 is master", lambda: holds[1]() and not holds[2]())
        until("peers are alive", lambda: "alive" in two.run("status").stdout)
        for number in (1, 2):
            wire.deafen(number)
        until("both are master", lambda: holds[1]() and holds[2]())

        for node, other in ((one, "lb2"), (two, "lb1")):
            until("it is told", lambda node=node: bool(told_by(node, "split_brain")))  # type: ignore[misc]  # a bound default
            says = f"{other} says it is master of front too, but its adverts do not arrive"
            assert says in node.run("status").stdout
        for number in (1, 2):
            wire.undeafen(number)

        until("one is master", lambda: holds[1]() and not holds[2]())
        for node in daemons:
            until("it is over", lambda node=node: bool(told_by(node, "split_brain_over")))  # type: ignore[misc]  # a bound default
            assert len(told_by(node, "split_brain")) == 1
            assert "says it is master" not in node.run("status").stdout
    finally:
        for node in daemons:
            assert node.process is not None
            node.process.kill()
            node.process.wait()
