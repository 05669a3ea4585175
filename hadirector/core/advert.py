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
and keepalived's habit and does not by RFC 9568, hence the choice `Checksum`. keepalived up to 1.3.6
put the group into the pseudo-header of unicast adverts too.

Behind either may come a signature (core/signature). Only IPv6 sums it up with the message, as
keepalived leaves that sum to the kernel, which takes in the whole payload.
"""

import hmac
import struct
from dataclasses import dataclass, field
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

CHECKSUM_AT = 6
SIGNATURE_SIZE = 28  # the trailer of core/signature

_HEADER = struct.Struct("!BBBBHH")
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
    SOURCE = "source_err"  # none of the unicast peers
    STRANGER = "stranger_rcvd"  # another virtual router of the same number
    NOT_SIGNED = "auth_ext_missing"
    SIGNATURE = "auth_ext_malformed"
    UNKNOWN_KEY = "auth_ext_unknown_key"
    WRONG_KEY = "auth_ext_invalid_hmac"
    STALE = "auth_ext_stale"
    REPLAYED = "auth_ext_replay"


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
    password: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a packet must be to be an advert for one virtual router. `signable`: it may have a
    signature, which is for the caller to verify."""

    version: int
    unicast: bool
    checksum: Checksum = Checksum.AUTO
    password: bytes = field(default=b"", repr=False)
    signable: bool = False


class Summed(Enum):
    """What a checksum was taken over, besides the message."""

    PSEUDO_HEADER = "pseudo-header"
    PLAIN = "plain"
    GROUP = "pseudo-header to the group"  # of a unicast advert: keepalived up to 1.3.6


@dataclass(frozen=True, slots=True)
class Decoded:
    """A lawful packet: what it says, what its checksum covers, and its signature, if any: the
    message is what comes before that."""

    advert: Advert
    summed: Summed
    message: bytes = field(repr=False)
    signature: bytes = b""


def encode(
    advert: Advert,
    source: Address,
    destination: Address,
    checksum: Checksum,
    signature: bytes = b"",
) -> bytes:
    """The whole payload; `source` and `destination` are the IP header's. A `signature` is that of
    the same advert encoded without one: checksum and destination are not signed."""
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

    six = address.family(source) == 6
    covered = message + signature if six else message
    if advert.version == 3 and (six or checksum is not Checksum.PLAIN):
        covered = _pseudo_header(source, destination, len(covered)) + covered
    total = internet_checksum(covered).to_bytes(2, "big")
    return message[:CHECKSUM_AT] + total + message[CHECKSUM_AT + 2 :] + signature


def decode(
    payload: bytes, source: Address, destination: Address, ttl: int, expected: Expected
) -> Decoded:
    """The advert in a packet's payload; PacketError when it is none or not of the expected kind.

    Who sent it and whether its virtual router is ours is for the caller to judge.
    """
    size = 16 if address.family(source) == 6 else 4
    _check_route(destination, ttl, expected)
    if len(payload) < _HEADER.size:
        raise PacketError(Flaw.LENGTH, f"{len(payload)} bytes are no advert")
    first, vrid, priority, count, timing, _ = _HEADER.unpack_from(payload)
    if first >> 4 != expected.version:
        raise PacketError(
            Flaw.VERSION, f"it speaks version {first >> 4}, and here version {expected.version} is"
        )
    if first & 0xF != _ADVERT_TYPE:
        raise PacketError(Flaw.TYPE, f"a packet of type {first & 0xF} is no advert")
    if vrid == 0:
        raise PacketError(Flaw.VRID, "there is no virtual router 0")

    end = _HEADER.size + size * count
    length = end + (_AUTHENTICATION_SIZE if expected.version == 2 else 0)
    message, signature = payload[:length], payload[length:]
    _check_length(len(payload), length, expected)
    summed = _check_checksum(payload if size == 16 else message, source, destination, expected)
    if expected.version == 2:
        _check_authentication(timing >> 8, message[end:], expected)
        interval = float(timing & 0xFF)
    else:
        interval = (timing & 0xFFF) / 100  # the upper 4 bits are reserved, ignored on receipt
    if interval == 0:
        raise PacketError(Flaw.INTERVAL, "it says that it advertises each 0 s")
    addresses = tuple(
        address.from_packed(message[at : at + size]) for at in range(_HEADER.size, end, size)
    )
    said = Advert(expected.version, vrid, priority, interval, addresses, expected.password)
    return Decoded(said, summed, message, signature)


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
    if multicast and expected.unicast:
        raise PacketError(Flaw.DESTINATION, "it advertises by multicast, and here unicast is set")
    if not multicast and not expected.unicast:
        raise PacketError(Flaw.DESTINATION, "it advertises by unicast, and here multicast is set")
    if multicast and ttl != TTL:
        raise PacketError(Flaw.TTL, f"TTL {ttl}, not {TTL}: it crossed a router")


def _check_length(found: int, length: int, expected: Expected) -> None:
    if found == length or (expected.signable and found == length + SIGNATURE_SIZE):
        return
    text = f"it has {found} bytes, and its addresses need {length}"
    if found == length + SIGNATURE_SIZE:
        text = "it is signed (auth_hmac), and here signatures are not set: authentication: hmac"
    raise PacketError(Flaw.LENGTH, text)


def _check_checksum(
    covered: bytes, source: Address, destination: Address, expected: Expected
) -> Summed:
    """What the checksum covers, if that may be."""
    if expected.version == 2:
        prefixes = {Summed.PLAIN: b""}
    else:
        prefixes = {Summed.PSEUDO_HEADER: _pseudo_header(source, destination, len(covered))}
        if address.family(source) == 4:
            prefixes[Summed.PLAIN] = b""
            if expected.unicast:
                group = _pseudo_header(source, GROUPS[4], len(covered))
                prefixes[Summed.GROUP] = group
    found = [s for s, prefix in prefixes.items() if internet_checksum(prefix + covered) == 0]
    if not found:
        raise PacketError(
            Flaw.CHECKSUM, f"checksum {covered[CHECKSUM_AT : CHECKSUM_AT + 2].hex()} is wrong"
        )
    single = len(prefixes) == 1 or expected.checksum is Checksum.AUTO
    allowed = [s for s in found if single or s.value == expected.checksum.value]
    if not allowed:
        text = f"its checksum is {found[0].value}, and here {expected.checksum.value} is set"
        raise PacketError(Flaw.CHECKSUM, text)
    return allowed[0]


def _check_authentication(kind: int, data: bytes, expected: Expected) -> None:
    if kind != (_AUTH_PASS if expected.password else _AUTH_NONE):
        words = {_AUTH_NONE: "no password", _AUTH_PASS: "a password"}
        theirs = words.get(kind, f"authentication type {kind}")
        ours = words[_AUTH_PASS if expected.password else _AUTH_NONE]
        raise PacketError(Flaw.AUTH_TYPE, f"it uses {theirs}, and here {ours} is set")
    if expected.password and not hmac.compare_digest(
        data, expected.password.ljust(_AUTHENTICATION_SIZE, b"\0")
    ):
        raise PacketError(Flaw.AUTHENTICATION, "wrong password")


def _pseudo_header(source: Address, destination: Address, length: int) -> bytes:
    """What RFC 768 (IPv4) and RFC 8200 8.1 (IPv6) put before the message for the sum."""
    ends = address.packed(source) + address.packed(destination)
    if address.family(source) == 6:
        return ends + struct.pack("!II", length, PROTOCOL)
    return ends + struct.pack("!BBH", 0, PROTOCOL, length)
