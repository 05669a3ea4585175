"""Other programs at a master's addresses, and many addresses at once."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hadirector.core import messages
from hadirector.core.address import canonical
from hadirector.core.messages import OrderKind, RouterStateName
from hadirector.core.settings.instances import VirtualAddress
from tests.kernel.pair import VIP, Machine, Node, eventually, instance, machines, needs_root
from tests.kernel.wire import Capture, gratuitous

pytestmark = [pytest.mark.kernel, needs_root]

MASTER, BACKUP, FAULT = RouterStateName.MASTER, RouterStateName.BACKUP, RouterStateName.FAULT
MANY = 500


class Pair:
    """Node 1 of priority 150, node 2 of priority 100."""

    def __init__(self, one: Machine, two: Machine) -> None:
        self.machines = (one, two)
        self.nodes = [Node(one, 1), Node(two, 2)]

    def begin(self, *, lease: bool = False, **changes: object) -> tuple[Node, Node]:
        """Node 1 is master, node 2 backup when this returns."""
        one, two = self.nodes
        one.configure(instance(150, **changes), lease=lease, peers=lease)
        eventually(lambda: one.state() is MASTER and one.machine.holds(), 20.0)
        two.configure(instance(100, **changes), lease=lease, peers=lease)
        eventually(lambda: two.state() is BACKUP, 20.0)
        return one, two


@pytest.fixture
def pair() -> Iterator[Pair]:
    with machines() as (one, two):
        made = Pair(one, two)
        yield made
        for node in made.nodes:
            node.end()


def told(node: Node, kind: str) -> list[messages.Event]:
    node.read()
    return [event for event in node.events if event.kind == kind]


@pytest.mark.parametrize("lease", [True, False], ids=["leased", "for ever"])
def test_an_address_somebody_deletes_is_back_at_once_announced_and_told(
    pair: Pair, tmp_path: Path, lease: bool
) -> None:
    one, two = pair.begin(lease=lease)
    time.sleep(0.5)
    capture = Capture(two.machine, tmp_path)

    one.machine.run("ip", "address", "del", f"{VIP}/32", "dev", "eth0")

    took = eventually(one.machine.holds, 2.0)
    assert took < 0.5
    eventually(lambda: told(one, "vip_restored") != [], 2.0)
    (event,) = told(one, "vip_restored")
    assert event.reason == f"{VIP} on eth0 was gone and is back"
    assert event.inputs == {"family": "ipv4", "times": "1"}
    assert len(gratuitous(capture.packets(), VIP)) >= 1
    assert one.state() is MASTER
    assert two.state() is BACKUP


def test_a_program_that_keeps_removing_it_is_told_of_once(pair: Pair) -> None:
    one, two = pair.begin()

    removed = 0
    until = time.monotonic() + 3.0
    while time.monotonic() < until:
        removed += one.machine.holds()
        one.machine.run("sh", "-c", f"ip address del {VIP}/32 dev eth0 2>/dev/null; true")

    eventually(one.machine.holds, 2.0)
    eventually(lambda: told(one, "vip_contested") != [], 2.0)
    (event,) = told(one, "vip_contested")
    assert event.reason.startswith(f"another program keeps removing {VIP} on eth0: 5 times in ")
    assert "KeepConfiguration=yes" in event.reason
    assert removed > 5
    assert len(told(one, "vip_restored")) == 4
    assert one.routers["front"].troubles == (f"another program keeps removing {VIP} on eth0",)
    assert one.state() is MASTER
    assert two.state() is BACKUP


def test_an_address_the_system_configures_is_a_fault_until_it_is_gone(pair: Pair) -> None:
    one, two = pair.nodes
    one.machine.run("ip", "address", "add", f"{VIP}/24", "dev", "eth0")

    one.configure(instance(150))
    two.configure(instance(100))

    eventually(lambda: one.state() is FAULT and two.state() is MASTER, 10.0)
    assert one.routers["front"].reason == (
        f"cannot hold {VIP} on eth0: {VIP}/24 is configured on eth0 by the system; "
        "a virtual address must be left to hadirector: remove it there"
    )
    assert f"{VIP}/24" in one.machine.addresses()
    one.machine.run("ip", "address", "del", f"{VIP}/24", "dev", "eth0")
    eventually(lambda: one.state() is MASTER and one.machine.holds(), 10.0)
    eventually(lambda: two.state() is BACKUP and not two.machine.holds(), 5.0)


def test_excluded_addresses_are_taken_over_and_not_listed(pair: Pair) -> None:
    excluded = (VirtualAddress(canonical("192.0.2.77"), 24, "eth0"),)
    one, two = pair.begin(excluded_addresses=excluded)

    eventually(lambda: one.machine.holds("192.0.2.77"), 2.0)
    assert two.routers["front"].counters["addr_list_err"] == 0
    one.order(OrderKind.YIELD)
    eventually(lambda: two.machine.holds("192.0.2.77"), 5.0)
    eventually(lambda: not one.machine.holds("192.0.2.77"), 5.0)


@pytest.mark.long
def test_five_hundred_excluded_addresses_move_in_one_batch(pair: Pair, tmp_path: Path) -> None:
    for number, machine in enumerate(pair.machines, 1):
        machine.run("ip", "address", "add", f"10.1.255.{number}/16", "dev", "eth0")
    many = [canonical(f"10.1.{n // 250}.{n % 250 + 1}") for n in range(MANY)]
    excluded = tuple(VirtualAddress(a, 16, "eth0") for a in many)
    one, two = pair.begin(excluded_addresses=excluded)
    log = tmp_path / "monitor"
    command = ("stdbuf", "-oL", "ip", "-ts", "monitor", "address")
    monitor = two.machine.spawn(*command, stdout=log.open("wb"))
    time.sleep(1.0)
    capture = Capture(two.machine, tmp_path)

    one.process.kill()
    eventually(lambda: len(two.machine.addresses()) > MANY, 10.0)
    time.sleep(1.0)

    packets = capture.packets()
    monitor.terminate()
    monitor.wait(5)
    lines = log.read_text().splitlines()
    added = [line for line in lines if " inet " in line and "Deleted" not in line]
    assert len(added) >= MANY
    announced = {str(a) for a in many if gratuitous(packets, a)}
    assert len(announced) == MANY
    first, last = (stamp(line) for line in (added[0], added[-1]))
    assert last - first < 1.0
    one.end()
    flush = "ip address flush dev eth0 to 10.1.0.0/17; true"  # it gives up in the end
    two.machine.run("sh", "-c", flush)
    eventually(lambda: len(two.machine.addresses()) > MANY, 5.0)
    eventually(lambda: told(two, "vip_restored") != [], 3.0)
    assert len(told(two, "vip_restored")) <= 4
    assert " more on eth0 were gone and are back" in told(two, "vip_restored")[0].reason


def stamp(line: str) -> float:
    """Seconds of the day of a line of `ip -ts monitor`."""
    clock = line.partition("T")[2].partition("]")[0]
    hours, minutes, seconds = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
