"""core/election: what reloads and leases do to a node that is master."""

from dataclasses import replace

import pytest

from hadirector.core import messages
from hadirector.core.address import Address
from hadirector.core.election_types import Desired, PlacedAddress, Reconcile, SetLease
from hadirector.core.routing import route_of, rule_of
from hadirector.core.settings.cluster import LeaseMode, VipLease
from hadirector.core.settings.instances import (
    Garp,
    Preempt,
    VirtualAddress,
    VirtualRoute,
    VirtualRule,
)
from tests.core.electorate import FRONT, INSIDE, VIP, Electorate, pair, settings, words

SECOND = VirtualAddress(Address("192.0.2.11"), 24, "eth0")
BESIDE = messages.Peers((messages.Peer("lb2", True),))
ALONE = messages.Peers((messages.Peer("lb2", False),))


def alone(*instances: object, lease: VipLease | None = None) -> Electorate:
    """lb1, master of all it has."""
    electorate = Electorate()
    chosen = tuple(i for i in instances if isinstance(i, type(FRONT))) or (FRONT,)
    electorate.join("lb1", settings(*chosen, lease=lease or VipLease()))
    electorate.run(9.0)
    assert electorate.holders() == ["lb1"]
    return electorate


def lifetimes(electorate: Electorate) -> list[int | None]:
    return [a.lifetime for a in electorate.nodes["lb1"].desired().addresses]


# --- reload ----------------------------------------------------------------------------------


def test_the_same_settings_again_disturb_nothing() -> None:
    electorate = alone()

    assert electorate.tell("lb1", settings(FRONT)) == (Reconcile(),)


@pytest.mark.parametrize(
    ("changed", "done"),
    [
        (replace(FRONT, priority=120), ["front advert 120"]),
        (replace(FRONT, advert_int=0.1), ["front advert 150"]),
        (replace(FRONT, preempt=Preempt.NEVER), ["front advert 254"]),
        (replace(FRONT, garp=Garp(repeat=1)), ["front advert 150"]),
        (
            replace(FRONT, virtual_addresses=(VIP, SECOND)),
            [
                "place 192.0.2.11",
                "announce 192.0.2.10 x5",
                "announce 192.0.2.11 x5",
                "front advert 150",
            ],
        ),
        (
            replace(FRONT, virtual_addresses=(SECOND,)),
            ["drop 192.0.2.10", "place 192.0.2.11", "announce 192.0.2.11 x5", "front advert 150"],
        ),
    ],
)
def test_a_changed_instance_stays_master(changed: object, done: list[str]) -> None:
    assert isinstance(changed, type(FRONT))
    electorate = alone()

    assert words(electorate.tell("lb1", settings(changed))) == done
    assert electorate.nodes["lb1"].routers()[0].state is messages.RouterStateName.MASTER


def test_an_added_instance_starts_and_the_others_do_not_notice() -> None:
    electorate = alone()

    assert words(electorate.tell("lb1", settings(FRONT, INSIDE))) == ["inside backup"]
    electorate.run(4.0)
    held = [a.address for a in electorate.nodes["lb1"].desired().addresses]
    assert held == ["192.0.2.10", "10.0.1.254"]


def test_a_removed_instance_leaves_in_order() -> None:
    electorate = alone(FRONT, INSIDE)

    actions = electorate.tell("lb1", settings(FRONT))

    assert words(actions) == ["inside advert 0", "inside leaving"]
    assert [s[2] for s in electorate.run(5.0)] == ["drop 10.0.1.254", "inside stopped"]
    assert [r.instance for r in electorate.nodes["lb1"].routers()] == ["front"]


def test_an_address_that_moves_to_another_instance_is_not_taken_off_on_the_way() -> None:
    electorate = alone(FRONT, replace(INSIDE, virtual_addresses=(VIP,)))

    electorate.tell("lb1", settings(FRONT))

    assert [s[2] for s in electorate.run(5.0)] == ["inside stopped"]
    assert electorate.holders() == ["lb1"]


def test_another_virtual_router_id_is_another_virtual_router() -> None:
    electorate = alone()

    actions = electorate.tell("lb1", settings(replace(FRONT, virtual_router_id=60)))

    assert words(actions) == ["front advert 0", "front leaving", "front backup"]
    electorate.run(6.0)
    assert electorate.holders() == ["lb1"]


def test_routes_and_rules_come_and_go_with_mastership() -> None:
    route = VirtualRoute("203.0.113.0/24", Address("192.0.2.1"), "eth0", None, None, None)
    route6 = VirtualRoute("2001:db8:1::/48", Address("2001:db8::1"), "eth0", None, None, None)
    rule = VirtualRule("192.0.2.10/32", None, 100, 1000)
    electorate = alone(
        replace(FRONT, virtual_routes=(route, route6), virtual_rules=(rule,)),
    )

    placed = (PlacedAddress(VIP.address, 24, "eth0", None),)
    held = (route_of(route, 4, "eth0"),), (rule_of(rule, 4),)
    assert electorate.nodes["lb1"].desired() == Desired(placed, *held)
    electorate.tell("lb1", messages.Order(messages.OrderKind.STOP, "1"))
    electorate.run(5.0)
    assert electorate.nodes["lb1"].desired() == Desired()


# --- lease -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "advert_int", "lifetime"),
    [
        (VipLease(), 1.0, 4),
        (VipLease(), 0.1, 2),
        (VipLease(), 0.01, 2),
        (VipLease(), 40.0, 160),
        (VipLease(LeaseMode.SECONDS, 5.0), 1.0, 5),
        (VipLease(LeaseMode.SECONDS, 0.5), 1.0, 1),
        (VipLease(LeaseMode.OFF), 1.0, None),
    ],
)
def test_beside_another_director_addresses_are_leased(
    mode: VipLease, advert_int: float, lifetime: int | None
) -> None:
    electorate = Electorate()
    electorate.join("lb1", settings(replace(FRONT, advert_int=advert_int), lease=mode))
    electorate.tell("lb1", BESIDE)

    electorate.run(200.0)

    assert lifetimes(electorate) == [lifetime]
    assert electorate.nodes["lb1"].routers()[0].leased is (lifetime is not None)


def test_the_lease_comes_and_goes_with_the_peer_and_only_its_changes_are_told() -> None:
    electorate = alone()
    assert lifetimes(electorate) == [None]

    leased = electorate.tell("lb1", BESIDE)
    again = electorate.tell("lb1", BESIDE)
    forever = electorate.tell("lb1", ALONE)

    assert leased[0] == SetLease("front", 4, (PlacedAddress(VIP.address, 24, "eth0", 4),))
    assert words(again) == []
    assert forever[0] == SetLease("front", 4, (PlacedAddress(VIP.address, 24, "eth0", None),))


def test_a_director_that_dies_never_makes_leased_addresses_permanent() -> None:
    electorate = alone()
    electorate.tell("lb1", BESIDE)

    electorate.silent = {"lb1"}
    electorate.run(120.0)

    assert lifetimes(electorate) == [4]


def test_an_instance_that_gets_another_name_stays_what_it_is() -> None:
    electorate = pair()

    electorate.tell("lb1", settings(replace(FRONT, name="public")))
    story = electorate.run(10.0)

    assert electorate.holders() == ["lb1"]
    assert {word for _, _, word in story} == {"announce 192.0.2.10 x5"}
    assert [r.instance for r in electorate.nodes["lb1"].routers()] == ["public"]


def test_a_master_that_is_rebuilt_hears_its_successor_and_lets_go() -> None:
    electorate = pair()

    electorate.tell("lb1", settings(replace(FRONT, vmac=True)))
    electorate.run(0.7)  # priority 0 was sent: the skew time of priority 100 is over

    assert electorate.holders() == ["lb2"]


def test_a_reload_of_the_lease_reaches_what_is_held() -> None:
    electorate = alone()
    electorate.tell("lb1", BESIDE)

    off = settings(FRONT, lease=VipLease(LeaseMode.OFF))

    assert words(electorate.tell("lb1", off)) == ["lease 192.0.2.10"]
