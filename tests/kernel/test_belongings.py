"""Virtual routes and rules on a real kernel, by a whole election process."""

import time
from collections.abc import Iterator

import pytest

from hadirector.core.address import Address, canonical
from hadirector.core.messages import RouterStateName
from hadirector.core.settings.instances import (
    Instance,
    VirtualAddress,
    VirtualRoute,
    VirtualRule,
)
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

MASTER, FAULT = RouterStateName.MASTER, RouterStateName.FAULT
GATEWAY = Address("192.0.2.2")
TO = "203.0.113.0/24"
FROM_VIP = VirtualRoute(TO, GATEWAY, "eth0", Address(VIP), None, None)
IN_TABLE = VirtualRoute("default", GATEWAY, "eth0", None, 100, 7)
RULE = VirtualRule(f"{VIP}/32", None, 100, 1000)
VIP6 = Address("2001:db8::10")


class Alone:
    """Node 1, whose peer is only there to answer."""

    def __init__(self, one: Machine, two: Machine) -> None:
        self.machine, self.peer = one, two
        self.nodes = [Node(one, 1)]

    @property
    def node(self) -> Node:
        return self.nodes[-1]

    def begin(self, *, lease: bool = False, **changes: object) -> Instance:
        """Master with these settings when this returns."""
        settings = instance(150, **changes)
        self.node.configure(settings, lease=lease, peers=lease)
        eventually(lambda: self.node.state() is MASTER, 20.0)
        return settings

    def again(self) -> None:
        """Another process in the place of the one that was killed."""
        self.nodes.append(Node(self.machine, 1, self.nodes[-1].note))

    def routes(self, *of: str) -> str:
        return self.machine.run("ip", "route", "show", *of)

    def rules(self, *of: str) -> str:
        return self.machine.run("ip", *of, "rule", "show")

    def troubles(self) -> list[str]:
        self.node.read()
        return list(self.node.routers["front"].troubles)

    def told(self, kind: str) -> list[str]:
        """The reasons of the events of a kind."""
        self.node.read()
        return [event.reason for event in self.node.events if event.kind == kind]


@pytest.fixture
def alone() -> Iterator[Alone]:
    with machines() as (one, two):
        made = Alone(one, two)
        yield made
        for node in made.nodes:
            node.end()


def test_routes_and_rules_come_with_the_addresses_and_go_with_them(alone: Alone) -> None:
    everything = ("ip", "-4", "route", "show", "table", "all")  # IPv6 is still settling
    before = alone.machine.run(*everything), alone.rules()

    alone.begin(virtual_routes=(FROM_VIP, IN_TABLE), virtual_rules=(RULE,))

    eventually(lambda: TO in alone.routes(), 2.0)
    assert f"{TO} via 192.0.2.2 dev eth0 proto 112 src {VIP}" in alone.routes()
    eventually(lambda: "1000:" in alone.rules(), 2.0)
    assert f"1000:\tfrom {VIP} lookup 100 proto 112" in alone.rules()
    assert "default via 192.0.2.2 dev eth0 proto 112 metric 7" in alone.routes("table", "100")
    assert alone.node.leave() == 0
    assert (alone.machine.run(*everything), alone.rules()) == before


def test_both_families_have_their_own(alone: Alone) -> None:
    alone.machine.run("ip", "address", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
    to6 = VirtualRoute("2001:db8:1::/48", Address("2001:db8::2"), None, VIP6, None, None)
    rule6 = VirtualRule(None, "2001:db8:2::/48", 254, None)

    alone.begin(
        virtual_addresses=(
            VirtualAddress(canonical(VIP), 24, "eth0"),
            VirtualAddress(VIP6, 64, "eth0"),
        ),
        virtual_routes=(FROM_VIP, to6),
        virtual_rules=(RULE, rule6),
    )

    def shown() -> bool:
        return f"src {VIP6}" in alone.machine.run("ip", "-6", "route")

    eventually(shown, 5.0)
    assert "2001:db8:1::/48 via 2001:db8::2 dev eth0 proto 112 src 2001:db8::10 metric 1024" in (
        alone.machine.run("ip", "-6", "route")
    )
    assert "16384:\tfrom all to 2001:db8:2::/48 lookup main proto 112" in alone.rules("-6")
    assert "16384" not in alone.rules()
    # An IPv6 route only loses its source when the address goes; it gets it back.
    alone.machine.run("ip", "address", "del", f"{VIP6}/128", "dev", "eth0")
    eventually(shown, 7.0)
    assert alone.node.leave() == 0
    assert "2001:db8:1::" not in alone.machine.run("ip", "-6", "route")
    assert "2001:db8:2::" not in alone.rules("-6")


def test_what_somebody_deletes_is_back_at_once_and_told(alone: Alone) -> None:
    alone.begin(virtual_routes=(FROM_VIP, IN_TABLE), virtual_rules=(RULE,))
    eventually(lambda: "1000:" in alone.rules(), 2.0)

    alone.machine.run("ip", "route", "del", TO)
    route_took = eventually(lambda: TO in alone.routes(), 2.0)
    alone.machine.run("ip", "rule", "del", "priority", "1000")
    rule_took = eventually(lambda: "1000:" in alone.rules(), 2.0)
    alone.machine.run("ip", "route", "flush", "table", "100")
    flush_took = eventually(lambda: "default" in alone.routes("table", "100"), 2.0)

    assert max(route_took, rule_took, flush_took) < 1.0
    eventually(lambda: len(alone.told("route_restored")) >= 2, 2.0)
    assert (
        f"route {TO} via 192.0.2.2 dev eth0 src {VIP} was gone" in alone.told("route_restored")[0]
    )
    assert "rule 1000" in alone.told("rule_restored")[0]


def test_a_route_that_hangs_on_an_address_comes_back_with_it(alone: Alone) -> None:
    alone.begin(lease=True, virtual_routes=(FROM_VIP,))
    eventually(lambda: TO in alone.routes(), 2.0)

    alone.machine.run("ip", "address", "del", f"{VIP}/32", "dev", "eth0")

    took = eventually(lambda: f"src {VIP}" in alone.routes(), 2.0)
    assert took < 1.0
    eventually(lambda: alone.told("vip_restored") != [], 2.0)
    assert alone.told("vip_restored")[0].startswith(f"{VIP} on eth0 was gone and is back")


def test_a_route_the_kernel_refuses_is_told_and_costs_nothing(alone: Alone) -> None:
    far = VirtualRoute(TO, Address("198.51.100.9"), None, None, None, None)

    alone.begin(virtual_routes=(far, IN_TABLE))

    eventually(lambda: alone.told("route_refused") != [], 3.0)
    (reason,) = alone.told("route_refused")
    assert reason.startswith(f"route {TO} via 198.51.100.9: the kernel refuses it: ")
    assert alone.troubles() == [reason]
    assert "default" in alone.routes("table", "100")
    alone.machine.run("ip", "address", "add", "198.51.100.1/24", "dev", "eth0")
    eventually(lambda: TO in alone.routes(), 7.0)
    eventually(lambda: alone.told("route_accepted") != [], 2.0)
    assert alone.node.state() is MASTER
    assert alone.troubles() == []


def test_an_operators_equal_route_is_neither_replaced_nor_removed(alone: Alone) -> None:
    alone.machine.run("ip", "route", "add", TO, "via", "192.0.2.3")

    alone.begin(virtual_routes=(FROM_VIP,))

    eventually(lambda: alone.told("route_refused") != [], 3.0)
    assert "a metric of its own" in alone.told("route_refused")[0]
    assert f"{TO} via 192.0.2.3 dev eth0" in alone.routes()
    assert alone.node.leave() == 0
    assert f"{TO} via 192.0.2.3 dev eth0" in alone.routes()


def test_what_a_killed_process_left_is_adopted_or_removed(alone: Alone) -> None:
    alone.begin(virtual_routes=(FROM_VIP, IN_TABLE), virtual_rules=(RULE,))
    eventually(lambda: "1000:" in alone.rules(), 2.0)
    alone.node.end()
    assert TO in alone.routes()

    alone.again()
    alone.begin(virtual_routes=(FROM_VIP,))

    eventually(lambda: "1000:" not in alone.rules(), 3.0)
    eventually(lambda: alone.routes("table", "100") == "", 3.0)
    assert TO in alone.routes()
    assert alone.told("route_refused") == []


def test_left_overs_go_even_if_no_route_is_configured_any_more(alone: Alone) -> None:
    alone.begin(virtual_routes=(FROM_VIP, IN_TABLE), virtual_rules=(RULE,))
    eventually(lambda: "1000:" in alone.rules(), 2.0)
    alone.node.end()

    alone.again()
    alone.begin()

    eventually(lambda: "1000:" not in alone.rules(), 3.0)
    eventually(lambda: "proto 112" not in alone.routes("table", "all"), 3.0)


def test_a_reload_changes_only_what_it_changes(alone: Alone) -> None:
    alone.begin(virtual_routes=(FROM_VIP, IN_TABLE))
    eventually(lambda: TO in alone.routes(), 2.0)

    other = VirtualRoute(TO, Address("192.0.2.3"), "eth0", Address(VIP), None, None)
    alone.node.configure(instance(150, virtual_routes=(other, IN_TABLE)))

    eventually(lambda: f"{TO} via 192.0.2.3" in alone.routes(), 3.0)
    assert alone.routes().count(TO) == 1
    assert alone.node.state() is MASTER
    alone.node.configure(instance(150))
    eventually(lambda: "proto 112" not in alone.routes("table", "all"), 3.0)


def test_changes_of_other_peoples_routes_do_not_wake_the_election(alone: Alone) -> None:
    alone.begin(virtual_routes=(FROM_VIP,))
    eventually(lambda: TO in alone.routes(), 2.0)
    batch = "".join(f"route add 10.{n // 250}.{n % 250}.0/24 via 192.0.2.2\n" for n in range(5000))
    quiet = cpu(alone, 3.0)

    started = time.monotonic()
    process = alone.machine.spawn("ip", "-batch", "-", stdin=-1)
    process.communicate(batch.encode())
    busy = cpu(alone, max(0.0, 3.0 - (time.monotonic() - started)), quiet[1])

    assert busy[0] < quiet[0] * 2 + 0.1
    assert stays(lambda: TO in alone.routes(), 0.2)


def cpu(alone: Alone, seconds: float, before: float | None = None) -> tuple[float, float]:
    """CPU seconds of the election over this time (or since a reading), and the reading."""
    path = f"/proc/{election_pid(alone)}/schedstat"

    def used() -> float:
        with open(path) as file:
            return int(file.read().split()[0]) / 1e9

    start = used() if before is None else before
    time.sleep(seconds)
    end = used()
    return end - start, end


def election_pid(alone: Alone) -> int:
    """nsenter became the process."""
    return alone.node.process.pid
