"""Signed adverts: the auth_hmac trailer of keepalived 2.4, 28 bytes behind the VRRP message.

    +---------------+---------------+-------------------------------+
    |    type 1     |  key number   |               0               |
    +---------------+---------------+-------------------------------+
    |                 seconds since 1970, UTC                       |
    +-------------------------------+-------------------------------+
    |       1/65536 seconds         |      counter within these     |
    +-------------------------------+-------------------------------+
    |          HMAC-SHA256, its first 16 bytes                      |

The HMAC is over a header of 20 bytes (4 or 6, VRRP version, virtual router, 0, source address
padded to 16), the message with its checksum read as 0, and the trailer with its HMAC read as 0. So
neither the destination nor the checksum is signed: every unicast peer gets the same trailer.

Time and counter make one 64-bit sequence, ordered as RFC 1982 orders serial numbers. It grows with
every advert of a sender; who verifies refuses one that is not above the last (a replay), or whose
time is further than a window from his own clock. A mark outside the window is forgotten, so that a
sender whose clock was set back is believed again.
"""

import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from hadirector.core import address
from hadirector.core.address import Address
from hadirector.core.advert import CHECKSUM_AT, SIGNATURE_SIZE, Flaw, PacketError
from hadirector.core.keys import Key

LEAST_WINDOW, MOST_WINDOW = 5, 300  # seconds

_TYPE = 1
_HMAC_SIZE = 16
_TRAILER = struct.Struct(f"!BBHQ{_HMAC_SIZE}s")
_PSEUDO_HEADER = struct.Struct("!BBBx16s")
_MASK = (1 << 64) - 1
assert _TRAILER.size == SIGNATURE_SIZE


@dataclass(frozen=True, slots=True)
class Verified:
    """A signature found right. `behind`: seconds by which its clock is behind ours."""

    identity: int
    sequence: int
    behind: int


class Counter:
    """The sequence of one sender: the clock, or one more where the clock has not moved on."""

    def __init__(self) -> None:
        self._last: int | None = None

    def next(self, unix: float, window: int) -> int:
        """The sequence of an advert sent at this Unix time."""
        clock = sequence_of(unix)
        stranded = self._last is not None and _ahead(self._last, clock) > window
        if self._last is None or _is_after(clock, self._last) or stranded:
            self._last = clock
        else:
            self._last = (self._last + 1) & _MASK
        return self._last


def window(advert_int: float) -> int:
    """Seconds by which clocks may differ: keepalived's default for this interval."""
    return max(LEAST_WINDOW, min(MOST_WINDOW, 3 * int(advert_int)))


def sequence_of(unix: float) -> int:
    """The lowest sequence of this instant."""
    seconds = int(unix)
    return (seconds << 32 | int((unix - seconds) * 65536) << 16) & _MASK


def sign(message: bytes, source: Address, key: Key, sequence: int) -> bytes:
    """The trailer of a message."""
    blank = _TRAILER.pack(_TYPE, key.identity, 0, sequence, bytes(_HMAC_SIZE))
    return blank[:-_HMAC_SIZE] + _digest(message, blank, source, key)


def verify(
    message: bytes, trailer: bytes, source: Address, keys: Iterable[Key], unix: float, within: int
) -> Verified:
    """Who signed a message, and when; PacketError. The time is looked at first: a flood of old
    packets costs no digest."""
    kind, identity, reserved, sequence, digest = _TRAILER.unpack(trailer)
    if kind != _TYPE or reserved != 0:
        raise PacketError(Flaw.SIGNATURE, f"its signature is of type {kind}, not {_TYPE}")
    behind = -_ahead(sequence, sequence_of(unix))
    if abs(behind) > within:
        when = f"{behind} s ago" if behind > 0 else f"{-behind} s in the future"
        raise PacketError(
            Flaw.STALE,
            f"signed {when} by this node's clock, more than the {within} s allowed: the clocks "
            "differ (set both by NTP), or an old packet is sent again",
        )
    key = next((key for key in keys if key.identity == identity), None)
    if key is None:
        raise PacketError(
            Flaw.UNKNOWN_KEY, f"signed with key {identity}, which is not in the key file here"
        )
    blank = trailer[:-_HMAC_SIZE] + bytes(_HMAC_SIZE)
    if not hmac.compare_digest(digest, _digest(message, blank, source, key)):
        raise PacketError(
            Flaw.WRONG_KEY,
            f"wrong key: what it calls key {identity} is not our key {identity}, or the packet "
            "was changed on its way",
        )
    return Verified(identity, sequence, behind)


def is_replay(sequence: int, mark: int | None, unix: float, within: int) -> bool:
    """Whether a verified sequence is not above the last one of its sender, `mark`."""
    if mark is None or abs(_ahead(mark, sequence_of(unix))) > within:
        return False
    return not _is_after(sequence, mark)


def _digest(message: bytes, blank: bytes, source: Address, key: Key) -> bytes:
    family, first, vrid = address.family(source), message[0], message[1]
    pseudo = _PSEUDO_HEADER.pack(family, first >> 4, vrid, address.packed(source))
    unsummed = message[:CHECKSUM_AT] + b"\0\0" + message[CHECKSUM_AT + 2 :]
    return hmac.digest(key.secret, pseudo + unsummed + blank, "sha256")[:_HMAC_SIZE]


def _is_after(one: int, other: int) -> bool:
    """RFC 1982 over 64 bits."""
    return 0 < (one - other) & _MASK < 1 << 63


def _ahead(one: int, other: int) -> int:
    """Whole seconds by which a sequence is ahead of another; clocks wrap in 2106."""
    difference = (one >> 32) - (other >> 32)
    return (difference + (1 << 31)) % (1 << 32) - (1 << 31)
