"""Devices with virtual MACs: names, addresses and plans."""

from dataclasses import replace

from hadirector.core import vmac
from hadirector.core.address import Address
from hadirector.core.node_view import addresses_of, device_of
from hadirector.core.settings.instances import VirtualAddress
from hadirector.core.vmac import (
    ALIAS,
    Adopt,
    Create,
    Enslave,
    Found,
    Lower,
    Raise,
    Remove,
    VirtualDevice,
)
from tests.core.electorate import FRONT, VIP

DEVICE = VirtualDevice("vrrp.51", "eth0", 4, bytes.fromhex("00005e000133"))
ETH0 = Found("eth0", "", "", b"\2\0\0\0\0\1", "", True, "")
OURS = Found("vrrp.51", "macvlan", "eth0", DEVICE.hardware, ALIAS, False, "")
BUSY = frozenset({"vrrp.51"})
IDLE: frozenset[str] = frozenset()


def found(*links: Found) -> dict[str, Found]:
    return {link.name: link for link in links}


def test_name_and_mac_are_those_of_the_rfc_and_keepalived() -> None:
    instance = replace(FRONT, vmac=True)

    assert device_of(instance, 4) == DEVICE
    assert device_of(instance, 6) == VirtualDevice(
        "vrrp6.51", "eth0", 6, bytes.fromhex("00005e000233")
    )
    assert device_of(FRONT, 4) is None


def test_addresses_of_the_instances_own_interface_sit_on_the_device() -> None:
    elsewhere = VirtualAddress(Address("10.0.9.1"), 24, "eth1")
    instance = replace(FRONT, vmac=True, excluded_addresses=(elsewhere,))

    assert addresses_of(instance, 4) == (replace(VIP, interface="vrrp.51"), elsewhere)


def test_a_backup_has_the_device_down_and_a_master_up() -> None:
    assert vmac.plan([DEVICE], found(ETH0), IDLE) == [Create(DEVICE, "")]
    assert vmac.plan([DEVICE], found(ETH0), BUSY) == [Create(DEVICE, ""), Raise("vrrp.51")]
    assert vmac.plan([DEVICE], found(ETH0, OURS), BUSY) == [Raise("vrrp.51")]
    up = replace(OURS, up=True)
    assert vmac.plan([DEVICE], found(ETH0, up), BUSY) == []
    assert vmac.plan([DEVICE], found(ETH0, up), IDLE) == [Lower("vrrp.51")]


def test_without_its_parent_there_is_nothing_to_do() -> None:
    assert vmac.plan([DEVICE], found(), BUSY) == []


def test_a_device_exactly_as_wanted_is_adopted_whoever_made_it() -> None:
    keepaliveds = replace(OURS, alias="")

    assert vmac.plan([DEVICE], found(ETH0, keepaliveds), IDLE) == [Adopt(DEVICE)]
    assert vmac.obstacles([DEVICE], found(ETH0, keepaliveds)) == {}


def test_one_of_ours_that_is_another_is_made_anew() -> None:
    for other in (replace(OURS, parent="eth1"), replace(OURS, hardware=b"\2\0\0\0\0\7")):
        assert vmac.plan([DEVICE], found(ETH0, other), BUSY) == [
            Remove("vrrp.51"),
            Create(DEVICE, ""),
            Raise("vrrp.51"),
        ]


def test_somebody_elses_link_of_that_name_stays_and_is_in_the_way() -> None:
    theirs = replace(OURS, alias="", kind="dummy")

    assert vmac.plan([DEVICE], found(ETH0, theirs), BUSY) == []
    assert list(vmac.obstacles([DEVICE], found(ETH0, theirs))) == ["vrrp.51"]


def test_left_overs_go_and_an_operators_macvlan_does_not() -> None:
    left = replace(OURS, name="vrrp.60")
    operators = replace(OURS, name="lan1", alias="")

    assert vmac.plan([], found(ETH0, left, operators), IDLE) == [Remove("vrrp.60")]


def test_it_follows_its_parent_into_a_vrf_and_out() -> None:
    blue = replace(ETH0, vrf="blue")

    assert vmac.plan([DEVICE], found(blue), IDLE) == [Create(DEVICE, "blue")]
    assert vmac.plan([DEVICE], found(blue, OURS), IDLE) == [Enslave("vrrp.51", "blue")]
    assert vmac.plan([DEVICE], found(ETH0, replace(OURS, vrf="blue")), IDLE) == [
        Enslave("vrrp.51", "")
    ]
