"""Announcing virtual addresses: gratuitous ARP and unsolicited neighbour advertisements.

Whole Ethernet frames (shell/frames.py), as keepalived sends them:

- ARP *request*, sender and target address both the virtual one, all to broadcast. Requests are
  what every implementation updates its cache from.
- neighbour advertisement to all nodes, from the virtual address: hop limit 255, override set,
  solicited clear, router as this node forwards, with the target's link address (RFC 4861 4.4).

Nothing is announced before it works (shell/delivery): who hears of it sends packets at once.
"""

import logging
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hadirector.core import address, advert
from hadirector.core.address import Address
from hadirector.core.settings.instances import VirtualAddress
from hadirector.shell.frames import ETH_ARP, ETH_IP, ETH_IPV6, Frames

log = logging.getLogger(__name__)

BURST = 128  # frames in one turn of the loop: a thousand addresses may not delay an advert
BACKLOG = 65536  # frames waiting; more are not of use to anybody
ASKED = 32  # addresses in one turn of the loop: 38 µs each, measured in the lab kernel
LOOK_AGAIN = 0.002  # seconds, while the kernel does not hand over yet what comes for an address
PATIENCE = 1.0  # seconds of that; then it is announced as it is

_BROADCAST = b"\xff" * 6
_ALL_NODES_HARDWARE = bytes.fromhex("333300000001")
_ALL_NODES = address.packed(Address("ff02::1"))
_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_ADVERTISEMENT = struct.Struct("!BBHI16sBB6s")
_ICMPV6 = 58
_ROUTER, _OVERRIDE = 0x80000000, 0x20000000


def gratuitous_arp(hardware: bytes, what: Address) -> bytes:
    """The frame that tells everybody that `what` is at `hardware`."""
    raw = address.packed(what)
    return _ETHERNET.pack(_BROADCAST, hardware, ETH_ARP) + _ARP.pack(
        1, ETH_IP, 6, 4, 1, hardware, raw, _BROADCAST, raw
    )


def unsolicited_advertisement(hardware: bytes, what: Address, router: bool) -> bytes:
    """The same for IPv6; `router`: whether this node forwards."""
    raw = address.packed(what)
    flags = _OVERRIDE | (_ROUTER if router else 0)
    plain = _ADVERTISEMENT.pack(136, 0, 0, flags, raw, 2, 1, hardware)
    pseudo = raw + _ALL_NODES + struct.pack("!II", len(plain), _ICMPV6)
    checksum = advert.internet_checksum(pseudo + plain)
    body = _ADVERTISEMENT.pack(136, 0, checksum, flags, raw, 2, 1, hardware)
    return (
        _ETHERNET.pack(_ALL_NODES_HARDWARE, hardware, ETH_IPV6)
        + _IPV6.pack(6 << 28, len(body), _ICMPV6, 255, raw, _ALL_NODES)
        + body
    )


@dataclass(slots=True)
class _New:
    """IPv6 addresses that are not known to work yet, each to be announced `count` times."""

    addresses: deque[VirtualAddress]
    count: int
    since: float


class Announcements:
    """Frames to be sent, a burst in each turn of the loop. `hardware` gives an interface's
    Ethernet address now, empty where it has none; `works` says whether an address is in use."""

    def __init__(
        self, hardware: Callable[[str], bytes], works: Callable[[VirtualAddress], bool]
    ) -> None:
        self._hardware = hardware
        self._works = works
        self._new: deque[_New] = deque()
        self._look_at: float | None = None  # None: no answer is waited for
        self._waiting: deque[VirtualAddress] = deque()
        self._frames = Frames()
        self._failed: list[VirtualAddress] = []  # at most a burst, until they are taken

    def add(self, addresses: tuple[VirtualAddress, ...], count: int, now: float) -> None:
        """Announce each `count` times, round robin."""
        new = sum(len(new.addresses) * new.count for new in self._new)
        if len(self._waiting) + new + len(addresses) * count > BACKLOG:
            log.warning("announcements: %d are waiting, %d dropped", BACKLOG, len(addresses))
            return
        four = [each for each in addresses if address.family(each.address) == 4]
        for _ in range(count):
            self._waiting.extend(four)
        if len(four) < len(addresses):
            six = deque(each for each in addresses if address.family(each.address) == 6)
            self._new.append(_New(six, count, now))

    def send(self, present: frozenset[tuple[str, Address]], now: float) -> bool:
        """Send a burst of those whose address is on its interface, and works; whether some are
        left that need not wait."""
        unasked = bool(self._new) and (self._look_at is None or now >= self._look_at)
        if unasked:
            unasked = self._look(present, now)
        for _ in range(min(BURST, len(self._waiting))):
            each = self._waiting.popleft()
            if (each.interface, each.address) in present:
                self._send(each)
        return unasked or bool(self._waiting)

    def _look(self, present: frozenset[tuple[str, Address]], now: float) -> bool:
        """Whose time has come may go; whether there is more to ask at once. The kernel takes them
        into use in the order they came, so the first that does not work yet speaks for all."""
        self._look_at = None
        for _ in range(ASKED):
            if not self._new:
                return False
            first = self._new[0]
            each = first.addresses[0]
            if (each.interface, each.address) in present and not self._works(each):
                if now < first.since + PATIENCE:
                    self._look_at = now + LOOK_AGAIN
                    return False
                log.warning("interface=%s announced unused: %s", each.interface, each.address)
                self._waiting.extend(list(first.addresses) * first.count)
                first.addresses.clear()
            else:
                self._waiting.extend([first.addresses.popleft()] * first.count)
            if not first.addresses:
                self._new.popleft()
        return bool(self._new)

    def take_failed(self) -> tuple[VirtualAddress, ...]:
        """Whose frames could not be sent since this was asked last, once for each frame."""
        failed, self._failed = tuple(self._failed), []
        return failed

    @property
    def waiting(self) -> bool:
        """Whether anything is to be sent."""
        return bool(self._waiting or self._new)

    @property
    def deadline(self) -> float | None:
        """When `send` is to be called again for what could not go yet."""
        return self._look_at

    def interfaces(self) -> frozenset[str]:
        """Where there is something to announce."""
        new = (each for new in self._new for each in new.addresses)
        return frozenset(each.interface for each in (*self._waiting, *new))

    def forget(self, interface: str) -> None:
        """The interface went away or came anew: its socket is of no use."""
        self._frames.forget(interface)

    def close(self) -> None:
        """Close all sockets."""
        self._frames.close()

    def _send(self, each: VirtualAddress) -> None:
        hardware = self._hardware(each.interface)
        if len(hardware) != 6:
            return  # no Ethernet: nobody there keeps a cache
        if address.family(each.address) == 4:
            frame = gratuitous_arp(hardware, each.address)
        else:
            frame = unsolicited_advertisement(
                hardware, each.address, _forwards_ipv6(each.interface)
            )
        reason = self._frames.send(each.interface, frame)
        if reason:
            self._failed.append(each)
            log.debug("interface=%s announce %s: %s", each.interface, each.address, reason)


def _forwards_ipv6(interface: str) -> bool:
    """The interface's setting, memory of the kernel's and no disk."""
    try:
        return Path("/proc/sys/net/ipv6/conf", interface, "forwarding").read_text().strip() != "0"
    except OSError:
        return False
