"""The kernel's connection sync protocol, version 1: datagrams <-> records.

What a kernel's master thread multicasts, and its backup thread takes into the connection table
(net/netfilter/ipvs/ip_vs_sync.c; all integers in network order):

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------+---------------+---------------+---------------+
    |   reserved 0  |    sync id    |      size of the payload      |
    +---------------+---------------+---------------+---------------+
    |    records    |   version 1   |            spare 0            |
    +---------------+---------------+---------------+---------------+
    |                            records                            |

and a record, 36 bytes for IPv4 and 72 for IPv6, then its options:

    +---------------+---------------+---------------+---------------+
    |  type: 1 IPv6 |   protocol    | 0     |  size without padding |
    +---------------+---------------+---------------+---------------+
    |                             flags                             |
    +---------------+---------------+---------------+---------------+
    |             state             |          client port          |
    +---------------+---------------+---------------+---------------+
    |         virtual port          |          server port          |
    +---------------+---------------+---------------+---------------+
    |                         firewall mark                         |
    |                       timeout in seconds                      |
    |            client, virtual, server: 4 or 16 bytes each        |
    +---------------------------------------------------------------+

An option is type, length, data; 0x40 in its type says that who does not know it may skip it. The
next record begins at a multiple of four bytes, and after the last one there is no padding.

A table may have a million connections, so a record stays the bytes it came as (`split`, `pack`)
wherever that will do, and becomes a `Record` only for people. Version 0 (no timeouts, no IPv6) is
refused: our own settings never send it.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from hadirector.core.address import Address, Family, from_packed, packed
from hadirector.core.errors import HadirectorError

HEADER = struct.Struct("!BBHBbH")
IPV4 = struct.Struct("!BBHIHHHHII4s4s4s")
IPV6 = struct.Struct("!BBHIHHHHII16s16s16s")
MOST_RECORDS = 255  # of a datagram: its count is a byte

# include/uapi/linux/ip_vs.h
FORWARD_MASK = 0x0007
NO_OUTPUT = 0x0080
INACTIVE = 0x0100
OUT_SEQUENCE = 0x0200
IN_SEQUENCE = 0x0400
NO_CLIENT_PORT = 0x0800
TEMPLATE = 0x1000

TCP_STATES = (
    *("NONE", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT", "CLOSE"),
    *("CLOSE_WAIT", "LAST_ACK", "LISTEN", "SYNACK"),
)
SCTP_STATES = (
    *("NONE", "INIT1", "INIT", "COOKIE_SENT", "COOKIE_REPLIED", "COOKIE_WAIT", "COOKIE"),
    *("COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECEIVED", "SHUTDOWN_ACK_SENT"),
    *("REJECTED", "CLOSED"),
)
UDP_STATES = ("UDP",)
TEMPLATE_STATES = ("NONE", "ASSURED")
PROTOCOLS = {0: "IP", 6: "TCP", 17: "UDP", 132: "SCTP", 50: "ESP", 51: "AH"}

_MOST_STATES = 10  # of TCP; a greater one may still be SCTP's
_SEQUENCES = struct.Struct("!6I")
_SIZE_MASK, _RECORD_VERSION = 0x0FFF, 12
_SEQUENCE_DATA, _PE_DATA, _PE_NAME = 1, 2, 3
_OPTIONAL = 0x40
_PE_NAME_MOST = 16


class Flaw(Enum):
    """Why a datagram or a record is refused; the values name its counters."""

    LENGTH = "length"  # truncated, or not as long as it says
    VERSION = "version"  # not of version 1
    SYNC_ID = "sync_id"  # another cluster's
    RECORD = "record"  # a record that cannot be
    OPTION = "option"
    STATE = "state"  # of a protocol or in a state that IPVS does not have


class SyncError(HadirectorError):
    """A datagram or record that is not to be believed."""

    def __init__(self, flaw: Flaw, detail: str) -> None:
        super().__init__(f"{flaw.value}: {detail}")
        self.flaw = flaw
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Record:
    """One connection, or one template of persistence, for people and tests.

    `virtual` of a template of a firewall mark's service is the mark. `sequences` are initial
    sequence, delta and previous delta, inwards and then outwards.
    """

    protocol: int
    client: Address
    client_port: int
    virtual: Address
    virtual_port: int
    server: Address
    server_port: int
    state: int
    flags: int
    timeout: int
    fwmark: int = 0
    sequences: tuple[int, ...] | None = None
    pe_name: bytes = b""
    pe_data: bytes = field(default=b"", repr=False)

    @property
    def family(self) -> Family:
        """4 or 6."""
        return 6 if ":" in self.client else 4

    @property
    def state_name(self) -> str:
        """The word /proc/net/ip_vs_conn has for it."""
        names = states_of(self.protocol, self.flags)
        return names[self.state] if self.state < len(names) else str(self.state)


def states_of(protocol: int, flags: int) -> tuple[str, ...]:
    """The names of a protocol's states, by number; UDP_STATES for protocols that have none."""
    if flags & TEMPLATE:
        return TEMPLATE_STATES
    return {6: TCP_STATES, 132: SCTP_STATES}.get(protocol, UDP_STATES)


def split(payload: bytes, sync_id: int) -> list[bytes]:
    """The records of a datagram, without padding; SyncError. `sync_id` 0 takes every cluster's, as
    the kernel does."""
    body = payload[HEADER.size :]
    count = _check_header(payload, sync_id)
    for kind, size in ((0, IPV4.size), (1, IPV6.size)):  # nearly always all are alike
        if len(body) == count * size and _are_plain(body, kind, size, count):
            return [body[at : at + size] for at in range(0, len(body), size)]
    return list(_walk(body, count))


def pack(records: Iterable[bytes], sync_id: int, longest: int) -> Iterator[tuple[bytes, int]]:
    """Datagrams of at most `longest` bytes, with how many records each has."""
    parts: list[bytes] = []
    size, count = HEADER.size, 0
    for record in records:
        padding = -size % 4
        if parts and (count == MOST_RECORDS or size + padding + len(record) > longest):
            yield _datagram(parts, sync_id, size, count), count
            parts, size, count, padding = [], HEADER.size, 0, 0
        if padding:
            parts.append(bytes(padding))
        parts.append(record)
        size += padding + len(record)
        count += 1
    if parts:
        yield _datagram(parts, sync_id, size, count), count


def encode(record: Record) -> bytes:
    """The bytes of a record, without padding."""
    options = b""
    if record.sequences is not None:
        options += bytes((_SEQUENCE_DATA, _SEQUENCES.size)) + _SEQUENCES.pack(*record.sequences)
    if record.pe_data:
        options += bytes((_PE_DATA, len(record.pe_data))) + record.pe_data
    if record.pe_name:
        options += bytes((_PE_NAME, len(record.pe_name))) + record.pe_name
    six = record.family == 6
    layout = IPV6 if six else IPV4
    return (
        layout.pack(
            int(six),
            record.protocol,
            layout.size + len(options),
            record.flags,
            record.state,
            record.client_port,
            record.virtual_port,
            record.server_port,
            record.fwmark,
            record.timeout,
            *map(packed, (record.client, record.virtual, record.server)),
        )
        + options
    )


def decode(raw: bytes) -> Record:
    """A record as `split` gave it; SyncError when it cannot be."""
    layout = IPV6 if raw[:1] == b"\1" else IPV4
    if len(raw) < layout.size:
        raise SyncError(Flaw.LENGTH, f"a record of {len(raw)} bytes")
    kind, protocol, sized, flags, state, cport, vport, dport, fwmark, timeout, *addresses = (
        layout.unpack_from(raw)
    )
    if kind > 1 or sized != len(raw):
        raise SyncError(Flaw.RECORD, f"type {kind}, {sized} bytes said, {len(raw)} there")
    client, virtual, server = map(from_packed, addresses)
    if state >= len(states_of(protocol, flags)):
        raise SyncError(Flaw.STATE, f"state {state} of protocol {protocol}")
    found = _options(raw[layout.size :])
    sequences = found.get(_SEQUENCE_DATA)
    return Record(
        protocol,
        *(client, cport),
        *(virtual, vport),
        *(server, dport),
        state,
        flags,
        timeout,
        fwmark,
        _SEQUENCES.unpack(sequences) if sequences else None,
        found.get(_PE_NAME, b""),
        found.get(_PE_DATA, b""),
    )


def is_template(raw: bytes) -> bool:
    """Whether it is one of persistence."""
    return bool(raw[6] & (TEMPLATE >> 8))


def timeout_of(raw: bytes) -> int:
    """Seconds."""
    return int.from_bytes(raw[20:24], "big")


def _check_header(payload: bytes, sync_id: int) -> int:
    """How many records it says to have."""
    if len(payload) < HEADER.size:
        raise SyncError(Flaw.LENGTH, f"{len(payload)} bytes")
    reserved, identity, size, count, version, spare = HEADER.unpack_from(payload)
    if size != len(payload):
        raise SyncError(Flaw.LENGTH, f"{len(payload)} bytes, and says {size}")
    if reserved or version != 1 or spare:
        raise SyncError(Flaw.VERSION, f"version {version}, reserved {reserved}, spare {spare}")
    if sync_id and identity != sync_id:
        raise SyncError(Flaw.SYNC_ID, f"sync id {identity}")
    return int(count)


def _are_plain(body: bytes, kind: int, size: int, count: int) -> bool:
    """Whether every record is of this type and size, without options, in a state of any protocol's
    first ones."""
    return (
        body[::size] == bytes((kind,)) * count
        and body[2::size] == bytes(count)
        and body[3::size] == bytes((size,)) * count
        and body[8::size] == bytes(count)
        and max(body[9::size], default=0) <= _MOST_STATES
    )


def _walk(body: bytes, count: int) -> Iterator[bytes]:
    at = 0
    for number in range(count):
        if at + IPV4.size > len(body):
            raise SyncError(Flaw.LENGTH, f"record {number} of {count} is cut off")
        kind, sized = body[at], int.from_bytes(body[at + 2 : at + 4], "big")
        size = sized & _SIZE_MASK
        if sized >> _RECORD_VERSION or kind > 1 or size < (IPV6 if kind else IPV4).size:
            raise SyncError(Flaw.RECORD, f"record {number}: type {kind}, size {sized:#06x}")
        if at + size > len(body):
            raise SyncError(Flaw.LENGTH, f"record {number} of {count} is cut off")
        raw = body[at : at + size]
        decode(raw)
        yield raw
        at += size + -size % 4
    if at < len(body):
        raise SyncError(Flaw.LENGTH, f"{len(body) - at} bytes behind the last record")


def _options(raw: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(raw):
        kind, size = raw[at], raw[at + 1] if at + 1 < len(raw) else 0
        data = raw[at + 2 : at + 2 + size]
        if not size or len(data) != size:
            raise SyncError(Flaw.OPTION, f"option {kind} is cut off")
        at += 2 + size
        known = kind & ~_OPTIONAL
        lawful = {_SEQUENCE_DATA: size == _SEQUENCES.size, _PE_DATA: True}
        lawful[_PE_NAME] = size <= _PE_NAME_MOST
        if known in lawful:
            if not lawful[known] or known in found:
                raise SyncError(Flaw.OPTION, f"option {known} of {size} bytes")
            found[known] = data
        elif not kind & _OPTIONAL:
            raise SyncError(Flaw.OPTION, f"option {kind} is not known")
    return found


def _datagram(parts: list[bytes], sync_id: int, size: int, count: int) -> bytes:
    return HEADER.pack(0, sync_id, size, count, 1, 0) + b"".join(parts)
