"""VRRP adverts: bytes <-> Advert.

The one packet of the protocol, carried by IP protocol 112. Version 3 (RFC 9568 section 5.1),
for IPv4 and IPv6:

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------+-------+---------------+---------------+---------------+
    |   3   | type 1| virtual rtr id|   priority    | address count |
    +-------+-------+---------------+---------------+---------------+
    |   0   | interval, 1/100 s     |           checksum            |
    +-------+-----------------------+-------------------------------+
    |                   addresses, 4 or 16 bytes each               |

Version 2 (RFC 3768 section 5.1), IPv4 only, always with its 8 bytes of authentication data:

    +-------+-------+---------------+---------------+---------------+
    |   2   | type 1| virtual rtr id|   priority    | address count |
    +-------+-------+---------------+---------------+---------------+
    |   auth type   |  interval, s  |           checksum            |
    +---------------+---------------+-------------------------------+
    |                   addresses, 4 bytes each                     |
    |               authentication data, 8 bytes                    |

The checksum is the Internet's. Version 2 sums the message alone; version 3 over IPv6 puts the
pseudo-header (source, destination, length, 112) before it; version 3 over IPv4 does so by RFC 5798
and keepalived's habit and does not by RFC 9568, hence the choice `Checksum`.
"""

import struct
from dataclasses import dataclass
from enum import Enum

from hadirector.core import address
from hadirector.core.address import Address
from hadirector.core.errors import HadirectorError
from hadirector.core.settings.instances import Checksum

PROTOCOL = 112
TTL = 255  # RFC 9568 5.1.1.3: anything less has crossed a router
GROUPS = {4: Address("224.0.0.18"), 6: Address("ff02::12")}

RESIGN = 0  # the priority by which a master gives up
OWNER = 255  # the priority of a router that has the addresses as its own

_HEADER = struct.Struct("!BBBBHH")
_CHECKSUM_AT = 6
_AUTHENTICATION_SIZE = 8
_ADVERT_TYPE = 1
_AUTH_NONE, _AUTH_PASS = 0, 1


class Flaw(Enum):
    """Why a packet is no advert for us. The values are the counters, keepalived's names for those
    it has."""

    LENGTH = "packet_len_err"
    VERSION = "version_err"
    TYPE = "invalid_type_rcvd"
    VRID = "vrid_err"
    CHECKSUM = "checksum_err"
    TTL = "ip_ttl_err"
    DESTINATION = "destination_err"  # multicast to a unicast instance, or the reverse
    INTERVAL = "advert_interval_err"
    AUTH_TYPE = "authtype_mismatch"
    AUTHENTICATION = "auth_failure"


class PacketError(HadirectorError):
    """A packet that must not reach the election; `flaw` says which counter it moves, `detail` what
    was found instead."""

    def __init__(self, flaw: Flaw, detail: str) -> None:
        super().__init__(f"{flaw.value}: {detail}")
        self.flaw = flaw
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Advert:
    """What a master says of itself. `interval` is in seconds: whole ones in version 2, hundredths
    in version 3. `password` (version 2) is at most 8 bytes, empty for no authentication."""

    version: int
    vrid: int
    priority: int
    interval: float
    addresses: tuple[Address, ...]
    password: bytes = b""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a packet must be to be an advert for one virtual router."""

    version: int
    unicast: bool
    checksum: Checksum = Checksum.AUTO
    password: bytes = b""


def encode(advert: Advert, source: Address, destination: Address, checksum: Checksum) -> bytes:
    """The VRRP message, checksum included; `source` and `destination` are the IP header's."""
    assert 1 <= advert.vrid <= 255, advert.vrid
    assert 0 <= advert.priority <= 255, advert.priority
    assert len(advert.addresses) <= 255, len(advert.addresses)

    timing = _timing_v2(advert) if advert.version == 2 else _timing_v3(advert)
    first = advert.version << 4 | _ADVERT_TYPE
    count = len(advert.addresses)
    body = b"".join(address.packed(a) for a in advert.addresses)
    if advert.version == 2:
        body += advert.password.ljust(_AUTHENTICATION_SIZE, b"\0")
    head = _HEADER.pack(first, advert.vrid, advert.priority, count, timing, 0)
    message = head + body

    prefix = b""
    if advert.version == 3 and (address.family(source) == 6 or checksum is not Checksum.PLAIN):
        prefix = _pseudo_header(source, destination, len(message))
    total = internet_checksum(prefix + message)
    return message[:_CHECKSUM_AT] + total.to_bytes(2, "big") + message[_CHECKSUM_AT + 2 :]


def decode(
    message: bytes, source: Address, destination: Address, ttl: int, expected: Expected
) -> Advert:
    """The advert in a packet's payload; PacketError when it is none or not of the expected kind.

    Who sent it and whether its virtual router is ours is for the caller to judge.
    """
    size = 16 if address.family(source) == 6 else 4
    _check_route(destination, ttl, expected)
    if len(message) < _HEADER.size:
        raise PacketError(Flaw.LENGTH, f"{len(message)} bytes")
    first, vrid, priority, count, timing, _ = _HEADER.unpack_from(message)
    if first >> 4 != expected.version:
        raise PacketError(Flaw.VERSION, f"{first >> 4}, not {expected.version}")
    if first & 0xF != _ADVERT_TYPE:
        raise PacketError(Flaw.TYPE, str(first & 0xF))
    if vrid == 0:
        raise PacketError(Flaw.VRID, "0")

    end = _HEADER.size + size * count
    length = end + (_AUTHENTICATION_SIZE if expected.version == 2 else 0)
    if len(message) != length:
        raise PacketError(Flaw.LENGTH, f"{len(message)} bytes, {count} addresses need {length}")
    _check_checksum(message, source, destination, expected)
    if expected.version == 2:
        _check_authentication(timing >> 8, message[end:], expected)
        interval = float(timing & 0xFF)
    else:
        interval = (timing & 0xFFF) / 100  # the upper 4 bits are reserved, ignored on receipt
    if interval == 0:
        raise PacketError(Flaw.INTERVAL, "0")
    addresses = tuple(
        address.from_packed(message[at : at + size]) for at in range(_HEADER.size, end, size)
    )
    return Advert(expected.version, vrid, priority, interval, addresses, expected.password)


def vrid_of(message: bytes) -> int | None:
    """The virtual router a packet speaks of, before anything else about it is known."""
    return message[1] if len(message) >= 2 else None


def is_multicast(destination: Address) -> bool:
    """Whether an IP destination is a group."""
    first = address.packed(destination)[0]
    return first == 0xFF if address.family(destination) == 6 else 224 <= first <= 239


def internet_checksum(data: bytes) -> int:
    """RFC 1071; 0 over data that carries its own right checksum."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _timing_v2(advert: Advert) -> int:
    """The third pair of bytes in version 2: authentication type and interval."""
    assert len(advert.password) <= _AUTHENTICATION_SIZE, len(advert.password)
    seconds = round(advert.interval)
    assert 1 <= seconds <= 255, advert.interval
    return (_AUTH_PASS if advert.password else _AUTH_NONE) << 8 | seconds


def _timing_v3(advert: Advert) -> int:
    """The third pair of bytes in version 3: four reserved bits and the interval."""
    assert advert.version == 3, advert.version
    hundredths = round(advert.interval * 100)
    assert 1 <= hundredths <= 0xFFF, advert.interval
    return hundredths


def _check_route(destination: Address, ttl: int, expected: Expected) -> None:
    """What the IP header tells. The TTL counts for multicast only: unicast may be routed."""
    multicast = is_multicast(destination)
    if multicast == expected.unicast:
        raise PacketError(Flaw.DESTINATION, f"sent to {destination}")
    if multicast and ttl != TTL:
        raise PacketError(Flaw.TTL, str(ttl))


def _check_checksum(
    message: bytes, source: Address, destination: Address, expected: Expected
) -> None:
    pseudo = _pseudo_header(source, destination, len(message))
    if expected.version == 2:
        candidates = [b""]
    elif address.family(source) == 6:
        candidates = [pseudo]
    else:
        candidates = {
            Checksum.AUTO: [pseudo, b""],
            Checksum.PSEUDO_HEADER: [pseudo],
            Checksum.PLAIN: [b""],
        }[expected.checksum]
    if all(internet_checksum(prefix + message) != 0 for prefix in candidates):
        raise PacketError(Flaw.CHECKSUM, message[_CHECKSUM_AT : _CHECKSUM_AT + 2].hex())


def _check_authentication(kind: int, data: bytes, expected: Expected) -> None:
    if kind != (_AUTH_PASS if expected.password else _AUTH_NONE):
        raise PacketError(Flaw.AUTH_TYPE, str(kind))
    if expected.password and data != expected.password.ljust(_AUTHENTICATION_SIZE, b"\0"):
        raise PacketError(Flaw.AUTHENTICATION, "wrong password")


def _pseudo_header(source: Address, destination: Address, length: int) -> bytes:
    """What RFC 768 (IPv4) and RFC 8200 8.1 (IPv6) put before the message for the sum."""
    ends = address.packed(source) + address.packed(destination)
    if address.family(source) == 6:
        return ends + struct.pack("!II", length, PROTOCOL)
    return ends + struct.pack("!BBH", 0, PROTOCOL, length)
