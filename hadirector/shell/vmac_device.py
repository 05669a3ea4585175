"""Devices with a virtual MAC on the kernel: carries out what core/vmac plans.

    NEWLINK  IFNAME vrrp.51, LINK eth0, ADDRESS 00:00:5e:00:01:33, LINKINFO {macvlan {mode private}}

What a device needs of the kernel's settings is written before it is set up for the first time:

- arp_ignore 1: it hears every ARP request that its parent hears, and must answer its own only.
- rp_filter 2: the way back to a client leads by the parent, which the strict check would refuse
  (the greater of this and `all` counts, so loose holds where `all` is strict).
- no IPv6 on the IPv4 one; on the other no link-local address of its own, no router's advice.

Sources: include/uapi/linux/if_link.h; keepalived's vrrp_vmac.c and vrrp_if_config.c.
"""

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import assert_never

from hadirector.core import vmac
from hadirector.core.address import Family
from hadirector.core.vmac import VirtualDevice
from hadirector.shell import netlink, realtime, rtnetlink
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
    """The devices wanted last, and the way to have them. `changed` is called when something has to
    be made so again."""

    def __init__(self, route: rtnetlink.Route, table: Table, changed: Callable[[], None]) -> None:
        self._route = route
        self._table = table
        self._wanted: dict[str, VirtualDevice] = {}
        self._refused: dict[str, str] = {}
        self._retirement = Retirement(self._retired)
        self._changed = changed

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
        """Make them so; those in `busy` carry addresses. How many steps that took now: what can
        wait is done beside the loop."""
        self._wanted = {device.name: device for device in wanted}
        steps = vmac.plan(self.wanted, self._found(), busy)
        later = [step for step in steps if self._can_wait(step)]
        self._retirement.spare(self._wanted.keys() - {_name(step) for step in later})
        for step in later:
            self._retirement.begin(step)
        return self._carry_out([step for step in steps if step not in later])

    def rise(self, names: frozenset[str]) -> None:
        """Set these up, now: addresses are about to be put."""
        mine = names & self._wanted.keys()
        self._retirement.spare(mine)
        self._carry_out([vmac.Raise(name) for name in mine if not self._table.is_enabled(name)])

    def fall(self, names: frozenset[str]) -> None:
        """Set these down by and by: their addresses are gone."""
        for name in names & self._wanted.keys():
            if self._table.is_enabled(name):
                self._retirement.begin(vmac.Lower(name))

    def clear(self) -> None:
        """Nothing of ours stays, now."""
        self.close()
        self._wanted = {}
        self._carry_out(vmac.plan((), self._found(), frozenset()))

    def close(self) -> None:
        """What waits is left."""
        self._retirement.close()

    def _can_wait(self, step: vmac.Step) -> bool:
        """A device that is to be another is removed there and then."""
        if isinstance(step, vmac.Remove):
            return step.name not in self._wanted
        return isinstance(step, vmac.Lower)

    def _retired(self, name: str, reason: str) -> None:
        if reason:
            log.error("device=%s retire: %s", name, reason)
        try:
            self._look(name)
        except KernelError as error:
            log.error("device=%s %s", name, error)
        if self._table.held([name]) and not self._table.is_enabled(name):
            self._changed()  # addresses came while it was set down

    def _found(self) -> dict[str, vmac.Found]:
        names = {name for d in self._wanted.values() for name in (d.name, d.parent)}
        return self._table.found(names)

    def _carry_out(self, steps: Sequence[vmac.Step]) -> int:
        for step in steps:  # few, and each needs what the one before did
            reason, name = self._do(step), _name(step)
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
            if isinstance(step, vmac.Create) and not refused:
                _settle(step.device)
            self._look(_name(step))
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


class Retirement:
    """Setting devices down and deleting them, on a thread of its own.

    The kernel waits for packets under way each time (16 ms measured), and nobody waits for it: the
    addresses are gone already. `done` is called on the loop with the name, and why it failed.
    """

    def __init__(self, done: Callable[[str, str], None]) -> None:
        self._done = done
        self._pending: dict[str, vmac.Step] = {}  # the thread only looks whether its step is there
        self._thread = ThreadPoolExecutor(1, "devices", initializer=realtime.follow)

    def begin(self, step: vmac.Step) -> None:
        """Have it done by and by."""
        name = _name(step)
        if self._pending.get(name) == step:
            return
        self._pending[name] = step
        request = remove(name) if isinstance(step, vmac.Remove) else switch(name, up=False)
        doing = asyncio.get_running_loop().run_in_executor(
            self._thread, self._carry_out, step, request
        )
        doing.add_done_callback(lambda future: self._finish(step, future))

    def spare(self, names: Iterable[str]) -> None:
        """These are wanted again. One under way is put right when it is done."""
        for name in names:
            self._pending.pop(name, None)

    def close(self) -> None:
        """Wait for the one under way, and leave the others."""
        self._thread.shutdown(cancel_futures=True)

    def _carry_out(self, step: vmac.Step, request: Request) -> str:
        if self._pending.get(_name(step)) is not step:
            return ""
        route = rtnetlink.Route()
        try:
            refused = route.execute([request], "retire a device")
        except KernelError as error:
            return str(error)
        finally:
            route.close()
        gone = not refused or refused[0].errno == errno.ENODEV
        return "" if gone else refused[0].text or errno.errorcode[refused[0].errno]

    def _finish(self, step: vmac.Step, doing: asyncio.Future[str]) -> None:
        name = _name(step)
        if self._pending.get(name) is step:
            del self._pending[name]
        if not doing.cancelled():
            error = doing.exception()
            self._done(name, doing.result() if error is None else str(error))


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


def _name(step: vmac.Step) -> str:
    return step.device.name if isinstance(step, vmac.Create | vmac.Adopt) else step.name


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
