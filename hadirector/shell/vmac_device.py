"""Devices with a virtual MAC on the kernel: carries out what core/vmac plans.

    NEWLINK  IFNAME vrrp.51, LINK eth0, ADDRESS 00:00:5e:00:01:33, LINKINFO {macvlan {mode private}}

What a device needs of the kernel's settings is written before it is set up for the first time:

- arp_ignore 1: it hears every ARP request that its parent hears, and must answer its own only.
- rp_filter 2: the way back to a client leads by the parent, which the strict check would refuse
  (the greater of this and `all` counts, so loose holds where `all` is strict).
- no IPv6 on the IPv4 one; on the other no link-local address of its own, no router's advice.

Sources: include/uapi/linux/if_link.h; keepalived's vrrp_vmac.c and vrrp_if_config.c.
"""

import errno
import logging
import socket
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import assert_never

from hadirector.core import vmac
from hadirector.core.address import Family
from hadirector.core.vmac import VirtualDevice
from hadirector.shell import netlink, rtnetlink
from hadirector.shell.links import Table
from hadirector.shell.netlink import KernelError, Request

log = logging.getLogger(__name__)

_NEWLINK, _DELLINK, _SETLINK = 16, 17, 19
_IFINFOMSG = struct.Struct("=BxHiII")
_U32 = struct.Struct("=I")
_ADDRESS, _IFNAME, _LINK, _MASTER, _LINKINFO, _IFALIAS = 1, 3, 5, 10, 18, 20
_INFO_KIND, _INFO_DATA = 1, 2
_MACVLAN_MODE, _PRIVATE = 1, 1
_IFF_UP = 1

_SETTINGS: dict[Family, tuple[tuple[str, str], ...]] = {
    4: (
        ("ipv4/conf/{}/arp_ignore", "1"),
        ("ipv4/conf/{}/rp_filter", "2"),
        ("ipv4/conf/{}/promote_secondaries", "1"),
        ("ipv6/conf/{}/disable_ipv6", "1"),
    ),
    6: (
        ("ipv4/conf/{}/arp_ignore", "1"),
        ("ipv6/conf/{}/addr_gen_mode", "1"),
        ("ipv6/conf/{}/accept_ra", "0"),
        ("ipv6/conf/{}/autoconf", "0"),
        ("ipv6/conf/{}/router_solicitations", "0"),
    ),
}


class Devices:
    """The devices wanted last, and the way to have them."""

    def __init__(self, route: rtnetlink.Route, table: Table) -> None:
        self._route = route
        self._table = table
        self._wanted: dict[str, VirtualDevice] = {}
        self._refused: dict[str, str] = {}

    @property
    def wanted(self) -> tuple[VirtualDevice, ...]:
        """Those wanted last."""
        return tuple(self._wanted.values())

    @property
    def refused(self) -> dict[str, str]:
        """Those that cannot be had, by name, each with why."""
        if not self._wanted:
            return {}
        refused = {name: why for name, why in self._refused.items() if name in self._wanted}
        return refused | vmac.obstacles(self.wanted, self._found())

    def follow(self, wanted: Iterable[VirtualDevice], busy: frozenset[str]) -> int:
        """Make them so, before addresses are put: those in `busy` carry some. How many steps."""
        self._wanted = {device.name: device for device in wanted}
        steps = vmac.plan(self.wanted, self._found(), busy)
        first = [step for step in steps if not isinstance(step, vmac.Lower)]
        return self._carry_out(first)

    def settle(self, busy: frozenset[str]) -> int:
        """Set down what carries no address any more. How many steps that took."""
        if not self._wanted:
            return 0
        steps = vmac.plan(self.wanted, self._found(), busy)
        return self._carry_out([step for step in steps if isinstance(step, vmac.Lower)])

    def rise(self, names: frozenset[str]) -> None:
        """Set these up, now: addresses are about to be put."""
        if names.isdisjoint(self._wanted):
            return
        found = self._found()
        down = [n for n in names & self._wanted.keys() if n in found and not found[n].up]
        self._carry_out([vmac.Raise(name) for name in down])

    def _found(self) -> dict[str, vmac.Found]:
        names = {name for d in self._wanted.values() for name in (d.name, d.parent)}
        return self._table.found(names)

    def _carry_out(self, steps: Sequence[vmac.Step]) -> int:
        for step in steps:  # few, and each needs what the one before did
            reason = self._do(step)
            name = step.device.name if isinstance(step, vmac.Create | vmac.Adopt) else step.name
            if reason and reason != self._refused.get(name):
                log.error("device=%s %s: %s", name, type(step).__name__.lower(), reason)
            if reason:
                self._refused[name] = reason
            else:
                self._refused.pop(name, None)
        return len(steps)

    def _do(self, step: vmac.Step) -> str:
        """Carry out one step; why it was refused, or nothing."""
        requests = self._requests(step)
        if requests is None:
            return "its parent or VRF is not there"
        try:
            refused = self._route.execute(requests, "set up a device")
            name = step.device.name if isinstance(step, vmac.Create | vmac.Adopt) else step.name
            if isinstance(step, vmac.Create) and not refused:
                _settle(step.device)
            self._look(name)
        except KernelError as error:
            return str(error)
        if not refused or (isinstance(step, vmac.Remove) and refused[0].errno == errno.ENODEV):
            return ""
        return refused[0].text or errno.errorcode.get(refused[0].errno, "refused")

    def _requests(self, step: vmac.Step) -> list[Request] | None:
        match step:
            case vmac.Create(device=device, vrf=vrf):
                parent = self._table.index(device.parent)
                master = self._table.index(vrf) if vrf else 0
                if parent is None or master is None:
                    return None
                return [create(device, parent, master), mark(device.name)]
            case vmac.Adopt(device=device):
                return [mark(device.name)]
            case vmac.Remove(name=name):
                return [remove(name)]
            case vmac.Enslave(name=name, vrf=vrf):
                master = self._table.index(vrf) if vrf else 0
                return None if master is None else [enslave(name, master)]
            case vmac.Raise(name=name):
                return [switch(name, up=True)]
            case vmac.Lower(name=name):
                return [switch(name, up=False)]
            case unreachable:
                assert_never(unreachable)

    def _look(self, name: str) -> None:
        """Know at once what came of it; the event comes later."""
        body = self._route.get(rtnetlink.find_link(name), "look at a device")
        link = rtnetlink.read_link(body) if body is not None else None
        index = self._table.index(name)
        if link is not None:
            self._table.enter(link)
        elif index is not None:
            self._table.enter(rtnetlink.LinkGone(index))


# --- Requests --------------------------------------------------------------------------------


def create(device: VirtualDevice, parent: int, master: int) -> Request:
    """Add the device, down; refused with EEXIST where its name is taken."""
    kind = netlink.attribute(_INFO_KIND, vmac.KIND.encode())
    data = netlink.nested(_INFO_DATA, netlink.attribute(_MACVLAN_MODE, _U32.pack(_PRIVATE)))
    body = (
        _head()
        + netlink.text_attribute(_IFNAME, device.name)
        + netlink.attribute(_LINK, _U32.pack(parent))
        + netlink.attribute(_ADDRESS, device.hardware)
        + netlink.nested(_LINKINFO, kind, data)
        + (netlink.attribute(_MASTER, _U32.pack(master)) if master else b"")
    )
    return Request(_NEWLINK, body, netlink.CREATE | netlink.EXCLUSIVE)


def mark(name: str) -> Request:
    """Give the link the alias that says it is ours."""
    alias = netlink.attribute(_IFALIAS, vmac.ALIAS.encode())
    return Request(_SETLINK, _head() + netlink.text_attribute(_IFNAME, name) + alias)


def remove(name: str) -> Request:
    """Delete the link; refused with ENODEV where it is not."""
    return Request(_DELLINK, _head() + netlink.text_attribute(_IFNAME, name))


def enslave(name: str, master: int) -> Request:
    """Put the link into a VRF; 0: out of it."""
    into = netlink.attribute(_MASTER, _U32.pack(master))
    return Request(_SETLINK, _head() + netlink.text_attribute(_IFNAME, name) + into)


def switch(name: str, *, up: bool) -> Request:
    """Set the link up or down."""
    flags = _IFF_UP if up else 0
    return Request(_SETLINK, _head(flags, _IFF_UP) + netlink.text_attribute(_IFNAME, name))


def _head(flags: int = 0, changed: int = 0) -> bytes:
    return _IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, flags, changed)


def _settle(device: VirtualDevice) -> None:
    """The kernel's settings of a new device; what it does not know it does not need."""
    for name, value in _SETTINGS[device.family]:
        path = Path("/proc/sys/net", name.format(device.name))
        try:
            path.write_text(value)
        except FileNotFoundError:
            continue  # a kernel without IPv6
        except OSError as error:
            log.error("device=%s %s: %s", device.name, path, error.strerror)
