"""Destinations read a datagram at a time.

A kernel writes every destination in the same layout: the same attributes, in the same order, of
the same lengths. So a datagram of them is a table, one row a message, and `struct` unpacks a
table in one call. The layout is learnt from one message, which is walked attribute by attribute:

    message   .. 0600 0200 1f90 0000 0800 0400 01000000 ..    port 8080, weight 1
    frame     .. ffff ffff 0000 0000 ffff ffff 00000000 ..    what no message may have otherwise
    form      ..           HH                  iiiiiiii ..    what is unpacked

A datagram is taken only when each of its rows equals that message under the frame; any other is
left to `codec.decode_destination`, which reads whatever a kernel may write. And what is
configured of a server is made into a value once: later readings find it by its numbers.
"""

import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from hadirector.core.address import Endpoint
from hadirector.core.ipvs import Counters, Destination, DestinationUse
from hadirector.shell import ipvs_codec as codec
from hadirector.shell.netlink import (
    DUMP_INTERRUPTED,
    FIRST_OF_FAMILY,
    HEADER,
    KernelError,
    attributes,
)

_CONFIGURED = {  # in the kernel's order (ip_vs_genl_fill_dest in ip_vs_ctl.c)
    codec.DEST_ADDR: "16s",
    codec.DEST_PORT: "H",
    codec.DEST_FWD_METHOD: "I",
    codec.DEST_WEIGHT: "i",
    codec.DEST_TUN_TYPE: "B",
    codec.DEST_TUN_PORT: "H",
    codec.DEST_TUN_FLAGS: "H",
    codec.DEST_U_THRESH: "I",
    codec.DEST_L_THRESH: "I",
    codec.DEST_ADDR_FAMILY: "H",
}
_STATS = 100  # statistics are numbered apart from the attributes around them
_COUNTED = {
    codec.DEST_ACTIVE: "I",
    codec.DEST_INACTIVE: "I",
    codec.DEST_PERSISTENT: "I",
    **{_STATS + kind: "Q" for kind in codec.STATS},
}
_ADDRESSING = (8, 8)  # where a header has its sequence number and port, which are not compared
_KEPT_FRAMES = 16  # for datagrams of so many lengths, of up to 32 KiB
_KEPT_DESTINATIONS = 1 << 16

Row = tuple[Destination, DestinationUse]
_Configured = tuple[bytes, int, int, int, int, int, int, int, int, int]


class DestinationReader:
    """Reads datagrams of destinations as `codec.decode_destination` reads their messages."""

    def __init__(self) -> None:
        self._layout: _Layout | None = None
        self._known: dict[_Configured, Destination] = {}

    def page(self, datagram: bytes, sequence: int) -> list[Row] | None:
        """All destinations of a datagram that answers the question of this number.

        None when it is not of the layout known, or has numbers that mean nothing: it is to be
        read message by message. The next one of its layout will be taken.
        """
        layout = self._layout
        if layout is None or not layout.fits(datagram, sequence):
            self._layout = _learn(datagram) or layout
            return None
        known = self._known
        rows = zip(
            layout.configured.iter_unpack(datagram),
            layout.counted.iter_unpack(datagram),
            strict=True,
        )
        try:
            return [
                (known.get(row) or self._make(row), _use(*counts) if any(counts) else codec.UNUSED)
                for row, counts in rows
            ]
        except KernelError:
            return None

    def _make(self, row: _Configured) -> Destination:
        if len(self._known) >= _KEPT_DESTINATIONS:
            self._known.clear()
        made = self._known[row] = _destination(*row)
        return made


class _Value(NamedTuple):
    """Where a message has the value of an attribute, in bytes."""

    kind: int
    start: int
    size: int


class _Layout:
    """How this kernel writes a destination, by a message of its."""

    def __init__(self, message: bytes, values: Sequence[_Value]) -> None:
        size = len(message)
        self.configured = _form(_CONFIGURED, values, size)
        self.counted = _form(_COUNTED, values, size)
        self._sequence = struct.Struct(f"=8xI{size - 12}x")
        frame = bytearray(b"\xff" * size)
        for start, length in (_ADDRESSING, *((each.start, each.size) for each in values)):
            padded = (length + 3) & ~3
            frame[start : start + padded] = bytes(padded)
        self._message, self._frame = message, bytes(frame)
        self._frames: dict[int, tuple[int, int]] = {}

    def fits(self, datagram: bytes, sequence: int) -> bool:
        """Whether it is nothing but destinations in this layout, asked for by this number."""
        count, rest = divmod(len(datagram), len(self._message))
        if rest or not count:
            return False
        frame, wanted = self._frames.get(count) or self._framed(count)
        # As numbers: those have an "and", which takes 0.2 us for each destination.
        if int.from_bytes(datagram, "little") & frame != wanted:
            return False
        return all(number == sequence for (number,) in self._sequence.iter_unpack(datagram))

    def _framed(self, count: int) -> tuple[int, int]:
        if len(self._frames) >= _KEPT_FRAMES:
            self._frames.clear()
        frame = int.from_bytes(self._frame * count, "little")
        framed = frame, frame & int.from_bytes(self._message * count, "little")
        self._frames[count] = framed
        return framed


def _learn(datagram: bytes) -> _Layout | None:
    """The layout of its first message; None where that lacks something, or has it elsewhere."""
    if len(datagram) < HEADER.size:
        return None
    size, kind, flags, *_ = HEADER.unpack_from(datagram)
    if kind < FIRST_OF_FAMILY or flags & DUMP_INTERRUPTED or size % 4 or size > len(datagram):
        return None
    message = datagram[:size]
    try:
        values = list(_values(message))
    except KernelError:  # told when it is read by itself, if it is read at all
        return None
    for wanted in (_CONFIGURED, _COUNTED):
        found = [(each.kind, each.size) for each in values if each.kind in wanted]
        if found != [(kind, struct.calcsize("=" + form)) for kind, form in wanted.items()]:
            return None
    return _Layout(message, values)


def _values(message: bytes) -> Iterator[_Value]:
    """Of the attributes within a destination, and of those within its statistics."""
    start = HEADER.size + codec.GENERIC_HEADER.size
    nests = list(attributes(message[start:]))
    if len(nests) != 1 or nests[0][0] != codec.CMD_DEST:
        return
    for each in _within(nests[0][1], start + 4):
        if each.kind != codec.DEST_STATS64:
            yield each
            continue
        statistics = message[each.start : each.start + each.size]
        for one in _within(statistics, each.start):
            yield one._replace(kind=_STATS + one.kind)


def _within(nest: memoryview | bytes, start: int) -> Iterator[_Value]:
    for kind, value in attributes(nest):
        yield _Value(kind, start + 4, len(value))
        start += 4 + ((len(value) + 3) & ~3)


def _form(wanted: Mapping[int, str], values: Sequence[_Value], size: int) -> struct.Struct:
    """Unpacks the values wanted of a message, and skips what is between them."""
    parts, at = ["="], 0
    for each in values:
        if each.kind in wanted:
            parts.append(f"{each.start - at}x{wanted[each.kind]}")
            at = each.start + each.size
    return struct.Struct("".join((*parts, f"{size - at}x")))


def _use(active: int, inactive: int, persistent: int, *statistics: int) -> DestinationUse:
    counters = Counters(*statistics) if any(statistics) else codec.UNUSED.counters
    return DestinationUse(active, inactive, persistent, counters)


def _destination(
    address: bytes,
    port: int,
    forward: int,
    weight: int,
    tunnel: int,
    tunnel_port: int,
    tunnel_flags: int,
    upper: int,
    lower: int,
    family: int,
) -> Destination:
    """The numbers as the kernel has them."""
    size = 16 if codec.family_of(family) == 6 else 4
    return Destination(
        Endpoint(codec.address_of(address[:size]), socket.ntohs(port)),
        codec.forward_of(forward),
        weight,
        upper,
        lower,
        codec.tunnel_of(tunnel),
        socket.ntohs(tunnel_port),
        tunnel_flags,
    )
