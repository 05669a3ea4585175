"""What `hadirector plan` says of an edit that parts a node from its peers, or takes it out."""

from dataclasses import replace

import pytest

from hadirector.core import differences, partings, preview_pair
from hadirector.core.address import Address
from hadirector.core.ipvs import Usage
from hadirector.core.settings.cluster import (
    Config,
    Node,
)
from hadirector.core.settings.instances import (
    Authentication,
    AuthenticationKind,
    Checksum,
    Signing,
    Tracked,
    Unicast,
    VirtualAddress,
)
from tests.core import farm, syncing
from tests.core.routers import FRONT

HMAC = AuthenticationKind.HMAC
SYNC = syncing.SYNC
OLD = replace(
    farm.CONFIG,
    instances=(FRONT,),
    node="lb1",
    nodes=(
        Node("lb1", 150, Address("198.51.100.1")),
        Node("lb2", 100, Address("198.51.100.2")),
    ),
    connection_sync=SYNC,
)


def elections(new: Config, present: set[str] | None = None) -> list[str]:
    return list(preview_pair.elections(OLD, new, {}, Usage(), present))


def links(**changes: object) -> list[str]:
    return list(partings.of_links(OLD, replace(OLD, **changes)))  # type: ignore[arg-type]  # fields


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"virtual_router_id": 52}, "virtual_router_id 51 -> 52"),
        ({"version": 2}, "version 3 -> 2"),
        ({"interface": "eth1"}, "interface eth0 -> eth1"),
        ({"checksum": Checksum.PLAIN}, "checksum auto -> plain"),
        ({"authentication": Authentication(HMAC)}, "authentication none -> hmac"),
        (
            {"unicast": Unicast(Address("192.0.2.1"), (Address("192.0.2.2"),))},
            "adverts go by multicast -> from 192.0.2.1 to 192.0.2.2",
        ),
    ],
)
def test_what_peers_must_agree_about_is_told_to_make_two_masters(
    change: dict[str, object], told: str
) -> None:
    new = replace(FRONT, **change)  # type: ignore[arg-type]  # real fields

    (said,) = elections(replace(OLD, instances=(new,)))

    assert said == (
        f"front: {told}: peers do not hear this node until they run it too, and two are master of "
        "the same addresses: reload all of them within 4s"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"advert_int": 2.0},  # a version 3 backup takes its master's
        {"checksum": Checksum.PSEUDO_HEADER},
        {"authentication": Authentication(HMAC, signing=Signing.RECEIVE_ONLY)},
    ],
)
def test_what_peers_bear_changes_in_place_and_is_named(change: dict[str, object]) -> None:
    new = replace(FRONT, **change)  # type: ignore[arg-type]  # real fields

    assert elections(replace(OLD, instances=(new,))) == [
        f"front: changes in place: {next(iter(change))}"
    ]


def test_an_interface_that_is_not_there_is_told_to_be_a_fault() -> None:
    inside = VirtualAddress(Address("10.0.1.254"), 24, "eth7")
    new = replace(
        FRONT,
        virtual_addresses=(*FRONT.virtual_addresses, inside),
        track_interfaces=(Tracked("eth8", None), Tracked("eth9", -20)),
    )

    told = elections(replace(OLD, instances=(new,)), {"lo", "eth1"})

    assert [text for text in told if "not on this host" in text] == [
        "front: its interface, eth0, is not on this host: a fault; here are eth1",
        "front: the interface of 10.0.1.254, eth7, is not on this host: a fault; here are eth1",
        "front: a tracked interface, eth8, is not on this host: a fault; here are eth1",
    ]
    assert elections(OLD, {"lo"}) == []  # nothing of it changes: status tells of that


def test_services_that_lose_their_address_are_named() -> None:
    other = VirtualAddress(Address("192.0.2.99"), 24, "eth0")
    new = replace(OLD, instances=(replace(FRONT, virtual_addresses=(other,)),))

    assert (
        "192.0.2.10: on no instance then: web cannot be reached by it; 0 active connections break"
        in elections(new)
    )


def test_what_parts_the_directors_is_told() -> None:
    assert links() == []
    assert links(key_file="/etc/hadirector/cluster.key")[0].startswith("key_file: the nodes do not")
    assert links(connection_sync=replace(SYNC, sync_id=52))[0].startswith(
        "connection_sync (sync_id): no connections pass between the nodes"
    )
    (moved,) = links(nodes=(OLD.nodes[0], Node("lb2", 100, Address("198.51.100.3"))))
    assert moved.startswith("lb2: peer channel at 198.51.100.3 port")


def test_what_only_a_restart_can_change_is_refused_as_a_reload_refuses_it() -> None:
    assert differences.fixed(OLD, OLD) == ""
    assert differences.fixed(OLD, replace(OLD, state_dir="/elsewhere")) == (
        f"{OLD.path}: state_dir cannot change by reload: restart the daemon"
    )
