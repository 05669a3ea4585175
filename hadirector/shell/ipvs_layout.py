"""Destinations decoded many at a time.

A kernel writes every destination in the same layout: the same attributes, in the same order, of
the same lengths. The layout is learnt from one message that was decoded attribute by attribute;
each message after it is unpacked in one stroke, and is taken only when every length and kind in
it is what was learnt. Four times as fast, which counts where a table of 10,000 is read twice a
second.
"""

import socket
import struct
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter

from hadirector.core.address import Endpoint, Family
from hadirector.core.ipvs import Counters, Destination, DestinationUse
from hadirector.shell import ipvs_codec as codec
from hadirector.shell.netlink import attributes

_CONFIGURED = {
    codec.DEST_ADDR: "16s",
    codec.DEST_PORT: "H",
    codec.DEST_FWD_METHOD: "I",
    codec.DEST_WEIGHT: "i",
    codec.DEST_U_THRESH: "I",
    codec.DEST_L_THRESH: "I",
    codec.DEST_ADDR_FAMILY: "H",
    codec.DEST_TUN_TYPE: "B",
    codec.DEST_TUN_PORT: "H",
    codec.DEST_TUN_FLAGS: "H",
}
_COUNTED = {codec.DEST_ACTIVE: "I", codec.DEST_INACTIVE: "I", codec.DEST_PERSISTENT: "I"}
_FORMATS = _CONFIGURED | _COUNTED
_STATS_BASE = 100  # statistics are numbered apart from the attributes around them
_WANTED = (*_CONFIGURED, *_COUNTED, *(_STATS_BASE + kind for kind in codec.STATS))
_FIRST_COUNTED = len(_CONFIGURED)

_UNUSED = DestinationUse()
_NO_COUNTERS = Counters()


class DestinationReader:
    """Decodes destinations as `codec.decode_destination` does, and learns how to do it fast."""

    def __init__(self) -> None:
        self._layout = struct.Struct("")
        self._headers: tuple[object, ...] = ()
        self._pick = itemgetter(*range(len(_WANTED)))

    def read(self, body: memoryview, family: Family) -> tuple[Destination, DestinationUse]:
        """A destination and its use, of the body of one NEW_DEST of a service of `family`."""
        if len(body) == self._layout.size:
            flat = self._layout.unpack(body)
            if flat[::2] == self._headers:
                address, *numbers = self._pick(flat)
                return _assemble(address, numbers)
        decoded = codec.decode_destination(body, family)
        self._learn(body)
        return decoded

    def _learn(self, body: memoryview) -> None:
        """Keeps the layout of a message that was found sound; unless it lacks something."""
        parts, kinds = _outline(body)
        places = {kind: 2 * place + 1 for place, kind in enumerate(kinds)}
        layout = struct.Struct("=" + "".join(parts))
        if layout.size != len(body) or any(kind not in places for kind in _WANTED):
            return
        self._layout = layout
        self._headers = layout.unpack(body)[::2]
        self._pick = itemgetter(*(places[kind] for kind in _WANTED))


def _outline(body: memoryview) -> tuple[list[str], list[int]]:
    """Per attribute a header and a value to unpack, and the number of that value; 0: nothing."""
    outer = list(attributes(body[codec.GENERIC_HEADER.size :]))
    if len(outer) != 1:
        return [], []
    parts, kinds = ["I0s", "I0s"], [0, 0]  # the generic header, the nest
    for kind, value in attributes(outer[0][1]):
        if kind != codec.DEST_STATS64:
            parts.append(_part(_FORMATS.get(kind, "0s"), len(value)))
            kinds.append(kind)
            continue
        parts.append("I0s")
        kinds.append(0)
        for stat, number in attributes(value):
            parts.append(_part("Q" if stat in codec.STATS else "0s", len(number)))
            kinds.append(_STATS_BASE + stat)
    return parts, kinds


def _part(wanted: str, length: int) -> str:
    """A header, its value, and padding up to the next multiple of 4."""
    size = struct.calcsize("=" + wanted)
    known = wanted if size <= length else "0s"
    padding = ((length + 3) & ~3) - struct.calcsize("=" + known)
    return f"I{known}{padding}x"


def _assemble(address: bytes, numbers: Sequence[int]) -> tuple[Destination, DestinationUse]:
    """Of the wanted values in their order."""
    destination = _destination(address, *numbers[: _FIRST_COUNTED - 1])
    counted = numbers[_FIRST_COUNTED - 1 :]
    if not any(counted):
        return destination, _UNUSED
    active, inactive, persistent, *stats = counted
    counters = Counters(*stats) if any(stats) else _NO_COUNTERS
    return destination, DestinationUse(active, inactive, persistent, counters)


@lru_cache(maxsize=65536)
def _destination(
    address: bytes,
    port: int,
    forward: int,
    weight: int,
    upper: int,
    lower: int,
    family: int,
    tunnel: int,
    tunnel_port: int,
    tunnel_flags: int,
) -> Destination:
    """The numbers as the kernel has them; they seldom change between two reads."""
    size = 16 if codec.family_of(family) == 6 else 4
    return Destination(
        endpoint=Endpoint(codec.address_of(address[:size]), socket.ntohs(port)),
        forward=codec.forward_of(forward),
        weight=weight,
        upper_threshold=upper,
        lower_threshold=lower,
        tunnel=codec.tunnel_of(tunnel),
        tunnel_port=socket.ntohs(tunnel_port),
        tunnel_flags=tunnel_flags,
    )
