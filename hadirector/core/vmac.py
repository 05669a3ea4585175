"""Virtual MAC addresses: the device that carries one, and a plan for the kernel's devices.

An instance with `vmac` has a macvlan for each of its families, with the hardware address that RFC
9568 7.3 gives to the virtual router rather than to a node:

    eth0 ---+--- vrrp.51    00:00:5e:00:01:33
            +--- vrrp6.51   00:00:5e:00:02:33

- The virtual addresses of the instance's own interface go on it, so clients keep the MAC they know
  when another node takes over.
- It is private, as keepalived's is: what one device sends does not come back in by another.
- It is up only on a master. A card that is told of the MAC on a backup too would take in what a
  switch floods, and the kernel would forward it a second time.
- An alias marks it as ours. One that is exactly as wanted is adopted whoever made it, one of ours
  that is not wanted goes, and one of somebody else's in its place is an obstacle.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hadirector.core.address import Family

ALIAS = "hadirector"
KIND = "macvlan"

_PREFIX: Mapping[Family, str] = {4: "vrrp", 6: "vrrp6"}
_HARDWARE: Mapping[Family, bytes] = {4: bytes.fromhex("00005e0001"), 6: bytes.fromhex("00005e0002")}


@dataclass(frozen=True, slots=True)
class VirtualDevice:
    """A device as it should be. `parent` is the interface of the instance."""

    name: str
    parent: str
    family: Family
    hardware: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """A link as the kernel has it. `parent` and `vrf` are names, empty where there is none."""

    name: str
    kind: str
    parent: str
    hardware: bytes
    alias: str
    up: bool
    vrf: str

    def is_like(self, wanted: VirtualDevice) -> bool:
        """Whether it can serve as the wanted one."""
        return (self.kind, self.parent, self.hardware) == (KIND, wanted.parent, wanted.hardware)


@dataclass(frozen=True, slots=True)
class Create:
    """Make the device, marked as ours and down, in the VRF (empty: none) of its parent."""

    device: VirtualDevice
    vrf: str


@dataclass(frozen=True, slots=True)
class Adopt:
    """Mark this device, which is as wanted, as ours."""

    device: VirtualDevice


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete this device of ours."""

    name: str


@dataclass(frozen=True, slots=True)
class Enslave:
    """Put the device into the VRF its parent is in; empty: take it out."""

    name: str
    vrf: str


@dataclass(frozen=True, slots=True)
class Raise:
    """Set it up: its addresses are about to come."""

    name: str


@dataclass(frozen=True, slots=True)
class Lower:
    """Set it down: its addresses are gone."""

    name: str


Step = Create | Adopt | Remove | Enslave | Raise | Lower


def name_of(vrid: int, family: Family) -> str:
    """`vrrp.51`, `vrrp6.51`: as keepalived names them."""
    return f"{_PREFIX[family]}.{vrid}"


def hardware_of(vrid: int, family: Family) -> bytes:
    """The virtual router's MAC."""
    return _HARDWARE[family] + bytes([vrid])


def plan(
    wanted: Iterable[VirtualDevice], found: Mapping[str, Found], busy: frozenset[str]
) -> list[Step]:
    """From the links there are to the devices wanted; those in `busy` carry addresses."""
    devices = {device.name: device for device in wanted}
    steps: list[Step] = [
        Remove(link.name)
        for link in found.values()
        if link.alias == ALIAS and link.kind == KIND and link.name not in devices
    ]
    for device in devices.values():
        steps += _settle(device, found, device.name in busy)
    return steps


def obstacles(wanted: Iterable[VirtualDevice], found: Mapping[str, Found]) -> dict[str, str]:
    """Names that are taken by somebody else's links, each with what to do about it."""
    return {
        device.name: f"there is a link named {device.name} that is not ours: remove or rename it"
        for device in wanted
        if (link := found.get(device.name)) is not None
        and link.alias != ALIAS
        and not link.is_like(device)
    }


def _settle(device: VirtualDevice, found: Mapping[str, Found], busy: bool) -> list[Step]:
    parent, link = found.get(device.parent), found.get(device.name)
    if parent is None:
        return []  # with it the kernel took the device away; the router is in fault
    if link is not None and not link.is_like(device):
        if link.alias != ALIAS:
            return []
        return [Remove(device.name), *_settle(device, {parent.name: parent}, busy)]
    steps: list[Step] = []
    if link is None:
        steps.append(Create(device, parent.vrf))
    elif link.alias != ALIAS:
        steps.append(Adopt(device))
    if link is not None and link.vrf != parent.vrf:
        steps.append(Enslave(device.name, parent.vrf))
    up = link is not None and link.up
    if up != busy:
        steps.append(Raise(device.name) if busy else Lower(device.name))
    return steps
