"""Adverts from and to a virtual MAC.

Sent as whole frames by the parent, so that it does not matter whether the device is up: the first
advert of a new master goes out before anything else, and teaches the switch where the MAC is now.

Heard on the device as well, while it is up: the kernel takes a frame from its own virtual MAC for
one it sent itself and shows it to the device alone, and that is how a second master would speak.
A packet socket hears it whatever the device has of addresses, groups and reverse path filters; its
filter lets adverts through and nothing else, for the device carries the clients' packets too.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Iterable
from itertools import count

from hadirector.core import address, advert
from hadirector.core.address import Address, Family
from hadirector.core.election_types import PacketReceived
from hadirector.core.vmac import VirtualDevice
from hadirector.shell import bpf
from hadirector.shell.frames import ETH_IP, ETH_IPV6, Frames
from hadirector.shell.vrrp_socket import READS, TRAFFIC_CLASS, parse_ipv4

log = logging.getLogger(__name__)

_LARGEST = 4096
_ETHERNET = struct.Struct("!6s6sH")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_PROTOCOL_AT: dict[Family, int] = {4: 9, 6: 6}
_ETHERTYPE: dict[Family, int] = {4: ETH_IP, 6: ETH_IPV6}

_identification = count(1)


class VirtualMacs:
    """Speaks from virtual MACs, and listens on the devices that have them; `heard` is called with
    each packet. A device that is down has nothing to say and does no harm."""

    def __init__(self, heard: Callable[[PacketReceived], None]) -> None:
        self._heard = heard
        self._frames = Frames()
        self._ears: dict[tuple[VirtualDevice, int], socket.socket] = {}

    def send(
        self, interface: str, hardware: bytes, message: bytes, source: Address, group: Address
    ) -> str:
        """Send an advert to a group from this MAC; empty text, or why it could not go out now."""
        return self._frames.send(interface, frame(hardware, message, source, group))

    def keep(self, devices: Iterable[tuple[VirtualDevice, int | None]]) -> None:
        """Listen on these, each with its index now (None: it is not there), and on no others."""
        wanted = {(device, index) for device, index in devices if index is not None}
        for key in self._ears.keys() - wanted:
            self._close(key)
        for device, index in wanted - self._ears.keys():
            self._open(device, index)

    def receive(self) -> list[PacketReceived]:
        """What lies ready, a bounded number at once for each device."""
        return [
            packet for (device, _), sock in self._ears.items() for packet in _receive(sock, device)
        ]

    def forget(self, interface: str) -> None:
        """The parent went away or came anew."""
        self._frames.forget(interface)

    def close(self) -> None:
        """Close all."""
        self.keep(())
        self._frames.close()

    def _open(self, device: VirtualDevice, index: int) -> None:
        sock = socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
        )
        try:
            bpf.attach(sock, _filter(device.family))
            sock.bind((device.name, _ETHERTYPE[device.family]))
        except OSError as error:
            log.warning("device=%s not listened on: %s", device.name, error)
            sock.close()
            return
        self._ears[device, index] = sock

        def readable() -> None:
            for packet in _receive(sock, device):
                self._heard(packet)

        asyncio.get_running_loop().add_reader(sock.fileno(), readable)

    def _close(self, key: tuple[VirtualDevice, int]) -> None:
        sock = self._ears.pop(key)
        asyncio.get_running_loop().remove_reader(sock.fileno())
        sock.close()


def frame(hardware: bytes, message: bytes, source: Address, group: Address) -> bytes:
    """The whole frame of an advert to a group: TTL 255, TOS 0xC0, DF clear, an identification."""
    raw = address.packed(group)
    if address.family(group) == 6:
        head = _IPV6.pack(
            6 << 28 | TRAFFIC_CLASS << 20,
            len(message),
            advert.PROTOCOL,
            advert.TTL,
            address.packed(source),
            raw,
        )
        return _ETHERNET.pack(b"\x33\x33" + raw[-4:], hardware, ETH_IPV6) + head + message
    to = bytes((0x01, 0x00, 0x5E, raw[1] & 0x7F)) + raw[2:]
    number = next(_identification) % 0xFFFF + 1
    fields = (0x45, TRAFFIC_CLASS, _IPV4.size + len(message), number, 0, advert.TTL)
    ends = (advert.PROTOCOL, 0, address.packed(source), raw)
    checksum = advert.internet_checksum(_IPV4.pack(*fields, *ends))
    head = _IPV4.pack(*fields, advert.PROTOCOL, checksum, *ends[2:])
    return _ETHERNET.pack(to, hardware, ETH_IP) + head + message


def parse_ipv6(interface: str, raw: bytes) -> PacketReceived | None:
    """The packet in an IPv6 datagram without extension headers; None when it is none."""
    if len(raw) < _IPV6.size:
        return None
    first, length, protocol, hops, source, destination = _IPV6.unpack_from(raw)
    if first >> 28 != 6 or protocol != advert.PROTOCOL or _IPV6.size + length > len(raw):
        return None
    return PacketReceived(
        interface,
        address.from_packed(source),
        address.from_packed(destination),
        hops,
        raw[_IPV6.size : _IPV6.size + length],
    )


def _receive(sock: socket.socket, device: VirtualDevice) -> list[PacketReceived]:
    """An advert heard on a device was heard on its parent's network."""
    parse = parse_ipv4 if device.family == 4 else parse_ipv6
    found = []
    for _ in range(READS):
        try:
            packet = parse(device.parent, sock.recv(_LARGEST))
        except OSError:  # nothing more, or the device is down
            break
        if packet is not None:
            found.append(packet)
    return found


def _filter(family: Family) -> tuple[bpf.Instruction, ...]:
    """The protocol's byte of the IP header decides."""
    return (
        (bpf.LOAD_BYTE, 0, 0, _PROTOCOL_AT[family]),
        (bpf.JUMP_EQUAL, 0, 1, advert.PROTOCOL),
        (bpf.RETURN, 0, 0, bpf.ALL),
        (bpf.RETURN, 0, 0, bpf.NOTHING),
    )
