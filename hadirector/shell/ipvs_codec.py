"""IPVS in generic netlink: services, destinations, sync threads and timeouts as bytes and back.

Every attribute the kernel knows is written out, whatever its default: a forgotten one is not
"unchanged" but zero, and SET_DEST without a forwarding method is refused. Ports travel in network
order, all else in the host's; a netmask is a mask in network order for IPv4 and a prefix length
in host order for IPv6. Source: include/uapi/linux/ip_vs.h, net/netfilter/ipvs/ip_vs_ctl.c.
"""

import errno
import socket
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, assert_never

from hadirector.core import plan
from hadirector.core.address import Address, Endpoint, Family, from_packed, packed
from hadirector.core.ipvs import (
    Counters,
    Destination,
    DestinationUse,
    Forward,
    Service,
    ServiceFlags,
    ServiceKey,
    SyncRole,
    SyncThread,
    Timeouts,
    TunnelType,
)
from hadirector.shell.netlink import KernelError, attribute, attributes, nested, text_attribute

GENERIC_HEADER = struct.Struct("=BBH")  # command, version, reserved
_VERSION = 1

NEW_SERVICE, SET_SERVICE, DEL_SERVICE, GET_SERVICE = 1, 2, 3, 4
NEW_DEST, SET_DEST, DEL_DEST, GET_DEST = 5, 6, 7, 8
NEW_DAEMON, DEL_DAEMON, GET_DAEMON = 9, 10, 11
SET_CONFIG, GET_CONFIG, GET_INFO, ZERO = 12, 13, 15, 16

_CMD_SERVICE, CMD_DEST, _CMD_DAEMON = 1, 2, 3
_CMD_TIMEOUT_TCP, _CMD_TIMEOUT_TCP_FIN, _CMD_TIMEOUT_UDP = 4, 5, 6

_SVC_AF, _SVC_PROTOCOL, _SVC_ADDR, _SVC_PORT, _SVC_FWMARK = 1, 2, 3, 4, 5
_SVC_SCHED_NAME, _SVC_FLAGS, _SVC_TIMEOUT, _SVC_NETMASK, _SVC_STATS = 6, 7, 8, 9, 10
_SVC_PE_NAME, _SVC_STATS64 = 11, 12

DEST_ADDR, DEST_PORT, DEST_FWD_METHOD, DEST_WEIGHT = 1, 2, 3, 4
DEST_U_THRESH, DEST_L_THRESH = 5, 6
DEST_ACTIVE, DEST_INACTIVE, DEST_PERSISTENT, DEST_STATS = 7, 8, 9, 10
DEST_ADDR_FAMILY, DEST_STATS64 = 11, 12
DEST_TUN_TYPE, DEST_TUN_PORT, DEST_TUN_FLAGS = 13, 14, 15

_DAEMON_STATE, _DAEMON_INTERFACE, _DAEMON_SYNC_ID, _DAEMON_MAXLEN = 1, 2, 3, 4
_DAEMON_GROUP, _DAEMON_GROUP6, _DAEMON_PORT, _DAEMON_TTL = 5, 6, 7, 8

_INFO_VERSION, _INFO_TABLE_SIZE = 1, 2

_ALL_FLAGS = 0xFFFFFFFF
_OUR_FLAGS = sum(flag.value for flag in ServiceFlags)  # the rest, as HASHED, is the kernel's own
STATS = range(1, 11)  # CONNS INPKTS OUTPKTS INBYTES OUTBYTES CPS INPPS OUTPPS INBPS OUTBPS

_U8, _U16, _U32, _U64 = (struct.Struct(f"={code}") for code in "BHIQ")
_BE16, _BE32 = struct.Struct("!H"), struct.Struct("!I")
_I32 = struct.Struct("=i")

_FAMILY_NUMBER: Mapping[Family, int] = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}
_FAMILY_OF: Mapping[int, Family] = {number: family for family, number in _FAMILY_NUMBER.items()}

Fields = Mapping[int, memoryview]

UNUSED = DestinationUse()


class Info(NamedTuple):
    """GET_INFO: IPVS's version, as 1.2.1, and how many buckets its connection table has."""

    version: str
    table_size: int


# --- Requests ------------------------------------------------------------------------------


def command(number: int, *parts: bytes) -> bytes:
    """The body of a request."""
    return GENERIC_HEADER.pack(number, _VERSION, 0) + b"".join(parts)


def encode_operation(operation: plan.Operation) -> bytes:
    """The request that carries out one step of a plan."""
    match operation:
        case plan.AddService(service):
            return command(NEW_SERVICE, encode_service(service))
        case plan.EditService(service):
            return command(SET_SERVICE, encode_service(service))
        case plan.DeleteService(key):
            return command(DEL_SERVICE, encode_key(key))
        case plan.AddDestination(key, destination):
            return command(NEW_DEST, encode_key(key), encode_destination(destination))
        case plan.EditDestination(key, destination):
            return command(SET_DEST, encode_key(key), encode_destination(destination))
        case plan.DeleteDestination(key, destination):
            return command(DEL_DEST, encode_key(key), encode_destination(destination))
        case _:
            assert_never(operation)


@lru_cache(maxsize=4096)
def encode_key(key: ServiceKey) -> bytes:
    """A service by its name only, as the destinations in it are addressed."""
    return nested(_CMD_SERVICE, _key_attributes(key))


def encode_service(service: Service) -> bytes:
    """A whole service; the flags with a full mask, so that none stays from before."""
    parts = [
        _key_attributes(service.key),
        text_attribute(_SVC_SCHED_NAME, service.scheduler),
        attribute(_SVC_FLAGS, struct.pack("=II", service.flags.value, _ALL_FLAGS)),
        attribute(_SVC_TIMEOUT, _U32.pack(service.timeout)),
        attribute(_SVC_NETMASK, _encode_netmask(service)),
    ]
    if service.pe_name:  # an empty name would be looked up; its absence means none
        parts.append(text_attribute(_SVC_PE_NAME, service.pe_name))
    return nested(_CMD_SERVICE, *parts)


def _key_attributes(key: ServiceKey) -> bytes:
    family = attribute(_SVC_AF, _U16.pack(_FAMILY_NUMBER[key.family]))
    if key.fwmark:
        return family + attribute(_SVC_FWMARK, _U32.pack(key.fwmark))
    return (
        family
        + attribute(_SVC_PROTOCOL, _U16.pack(key.protocol))
        + attribute(_SVC_ADDR, packed(key.address).ljust(16, b"\0"))
        + attribute(_SVC_PORT, _BE16.pack(key.port))
    )


def _encode_netmask(service: Service) -> bytes:
    if service.key.family == 6:
        return _U32.pack(service.netmask)
    return _BE32.pack(_ALL_FLAGS << (32 - service.netmask) & _ALL_FLAGS)


_DESTINATION = struct.Struct(
    "=HH"  # the nest
    "HH16s"  # ADDR
    "HH2s2x"  # PORT
    "HHI HHI HHI HHI"  # FWD_METHOD WEIGHT U_THRESH L_THRESH
    "HHH2x"  # ADDR_FAMILY
    "HHB3x HH2s2x HHH2x"  # TUN_TYPE TUN_PORT TUN_FLAGS
)


def encode_destination(destination: Destination) -> bytes:
    """A whole destination in one stroke: thousands of them make up a cold start."""
    text = destination.endpoint.address
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    address = socket.inet_pton(family, text)  # far quicker than ipaddress
    # fmt: off
    return _DESTINATION.pack(
        _DESTINATION.size, CMD_DEST | 0x8000,
        20, DEST_ADDR, address,
        6, DEST_PORT, _BE16.pack(destination.endpoint.port),
        8, DEST_FWD_METHOD, destination.forward,
        8, DEST_WEIGHT, destination.weight,
        8, DEST_U_THRESH, destination.upper_threshold,
        8, DEST_L_THRESH, destination.lower_threshold,
        6, DEST_ADDR_FAMILY, family,
        5, DEST_TUN_TYPE, destination.tunnel,
        6, DEST_TUN_PORT, _BE16.pack(destination.tunnel_port),
        6, DEST_TUN_FLAGS, destination.tunnel_flags,
    )
    # fmt: on


def encode_thread(thread: SyncThread) -> bytes:
    """A sync thread to start; what is 0 or None is left to the kernel."""
    assert 0 <= thread.sync_id <= 255, "the wire has 8 bits, the kernel would take more"
    parts = [
        attribute(_DAEMON_STATE, _U32.pack(thread.role)),
        text_attribute(_DAEMON_INTERFACE, thread.interface),
        attribute(_DAEMON_SYNC_ID, _U32.pack(thread.sync_id)),
    ]
    if thread.maxlen:
        parts.append(attribute(_DAEMON_MAXLEN, _U16.pack(thread.maxlen)))
    if thread.group is not None:
        group = packed(thread.group)
        parts.append(attribute(_DAEMON_GROUP if len(group) == 4 else _DAEMON_GROUP6, group))
    if thread.port:
        parts.append(attribute(_DAEMON_PORT, _U16.pack(thread.port)))
    if thread.ttl:
        parts.append(attribute(_DAEMON_TTL, _U8.pack(thread.ttl)))
    return nested(_CMD_DAEMON, *parts)


def encode_role(role: SyncRole) -> bytes:
    """A sync thread to stop."""
    return nested(_CMD_DAEMON, attribute(_DAEMON_STATE, _U32.pack(role)))


def encode_timeouts(timeouts: Timeouts) -> bytes:
    """All three are obligatory; the kernel takes 0 as "leave it"."""
    return (
        attribute(_CMD_TIMEOUT_TCP, _U32.pack(timeouts.tcp))
        + attribute(_CMD_TIMEOUT_TCP_FIN, _U32.pack(timeouts.tcp_fin))
        + attribute(_CMD_TIMEOUT_UDP, _U32.pack(timeouts.udp))
    )


# --- Replies -------------------------------------------------------------------------------


def decode_service(body: memoryview) -> tuple[Service, Counters]:
    """A service and its totals, of the body of one NEW_SERVICE."""
    fields = _inner(body, _CMD_SERVICE)
    family = family_of(_number(fields, _SVC_AF, _U16))
    fwmark = _number(fields, _SVC_FWMARK, _U32, 0)
    if fwmark:
        key = ServiceKey(family, 0, Address(""), 0, fwmark)
    else:
        endpoint = _endpoint(fields, _SVC_ADDR, _SVC_PORT, family)
        protocol = _number(fields, _SVC_PROTOCOL, _U16)
        key = ServiceKey(family, protocol, endpoint.address, endpoint.port)
    service = Service(
        key=key,
        scheduler=_text(fields, _SVC_SCHED_NAME),
        flags=ServiceFlags(_number(fields, _SVC_FLAGS, _U32) & _OUR_FLAGS),
        timeout=_number(fields, _SVC_TIMEOUT, _U32),
        netmask=_decode_netmask(fields, family),
        pe_name=_text(fields, _SVC_PE_NAME, ""),
    )
    return service, _counters(fields, _SVC_STATS64, _SVC_STATS)


def decode_destination(body: memoryview, family: Family) -> tuple[Destination, DestinationUse]:
    """A destination and its use, of the body of one NEW_DEST; `family` is its service's.

    A use in which nothing was counted is UNUSED itself.
    """
    fields = _inner(body, CMD_DEST)
    family = family_of(_number(fields, DEST_ADDR_FAMILY, _U16, _FAMILY_NUMBER[family]))
    destination = Destination(
        endpoint=_endpoint(fields, DEST_ADDR, DEST_PORT, family),
        forward=forward_of(_number(fields, DEST_FWD_METHOD, _U32)),
        weight=_number(fields, DEST_WEIGHT, _I32),
        upper_threshold=_number(fields, DEST_U_THRESH, _U32),
        lower_threshold=_number(fields, DEST_L_THRESH, _U32),
        tunnel=tunnel_of(_number(fields, DEST_TUN_TYPE, _U8, 0)),
        tunnel_port=_number(fields, DEST_TUN_PORT, _BE16, 0),
        tunnel_flags=_number(fields, DEST_TUN_FLAGS, _U16, 0),
    )
    use = DestinationUse(
        active=_number(fields, DEST_ACTIVE, _U32, 0),
        inactive=_number(fields, DEST_INACTIVE, _U32, 0),
        persistent=_number(fields, DEST_PERSISTENT, _U32, 0),
        counters=_counters(fields, DEST_STATS64, DEST_STATS),
    )
    return destination, UNUSED if use == UNUSED else use


def decode_thread(body: memoryview) -> SyncThread:
    """A running sync thread, of one answer to GET_DAEMON."""
    fields = _inner(body, _CMD_DAEMON)
    group = fields.get(_DAEMON_GROUP, fields.get(_DAEMON_GROUP6))
    if group is not None and len(group) not in (4, 16):
        raise _malformed(f"a multicast group of {len(group)} bytes")
    state = _number(fields, _DAEMON_STATE, _U32)
    if state not in (SyncRole.MASTER, SyncRole.BACKUP):
        raise _malformed(f"sync state {state}")
    return SyncThread(
        role=SyncRole(state),
        interface=_text(fields, _DAEMON_INTERFACE),
        sync_id=_number(fields, _DAEMON_SYNC_ID, _U32),
        group=None if group is None else address_of(bytes(group)),
        port=_number(fields, _DAEMON_PORT, _U16, 0),
        ttl=_number(fields, _DAEMON_TTL, _U8, 0),
        maxlen=_number(fields, _DAEMON_MAXLEN, _U16, 0),
    )


def decode_timeouts(body: memoryview) -> Timeouts:
    """The answer to GET_CONFIG; a kernel without TCP or UDP in IPVS leaves theirs out: 0."""
    fields = dict(attributes(body[GENERIC_HEADER.size :]))
    return Timeouts(
        tcp=_number(fields, _CMD_TIMEOUT_TCP, _U32, 0),
        tcp_fin=_number(fields, _CMD_TIMEOUT_TCP_FIN, _U32, 0),
        udp=_number(fields, _CMD_TIMEOUT_UDP, _U32, 0),
    )


def decode_info(body: memoryview) -> Info:
    """The answer to GET_INFO."""
    fields = dict(attributes(body[GENERIC_HEADER.size :]))
    version = _number(fields, _INFO_VERSION, _U32)
    return Info(
        version=f"{version >> 16 & 0xFF}.{version >> 8 & 0xFF}.{version & 0xFF}",
        table_size=_number(fields, _INFO_TABLE_SIZE, _U32),
    )


def _inner(body: memoryview, kind: int) -> Fields:
    outer = dict(attributes(body[GENERIC_HEADER.size :]))
    if kind not in outer:
        raise _malformed(f"an answer without attribute {kind}")
    return dict(attributes(outer[kind]))


def _counters(fields: Fields, wide: int, narrow: int) -> Counters:
    """Of the 64-bit statistics, or where the kernel is older than 4.1 of the 32-bit ones."""
    if wide in fields:
        nest, number = fields[wide], _U64
    elif narrow in fields:
        nest, number = fields[narrow], _U32
    else:
        return UNUSED.counters
    found = dict(attributes(nest))
    values = [_flexible(found.get(kind), number) for kind in STATS]
    return Counters(*values) if any(values) else UNUSED.counters


def _flexible(value: memoryview | None, number: struct.Struct) -> int:
    """The 32-bit statistics hold their two byte totals in 64 bits."""
    if value is None:
        return 0
    layout = _U64 if len(value) == _U64.size else number
    return _unpack(layout, value)


def _endpoint(fields: Fields, address: int, port: int, family: Family) -> Endpoint:
    raw = bytes(_value(fields, address))
    size = 4 if family == 4 else 16
    if len(raw) < size:
        raise _malformed(f"an address of {len(raw)} bytes")
    return Endpoint(address_of(raw[:size]), _number(fields, port, _BE16))


def address_of(raw: bytes) -> Address:
    """Of 4 or 16 bytes; inet_ntop is far quicker, and agrees with ipaddress on IPv4 only."""
    return Address(socket.inet_ntoa(raw)) if len(raw) == 4 else from_packed(raw)


def _decode_netmask(fields: Fields, family: Family) -> int:
    """A prefix length; 0 for an IPv4 mask with holes, which nobody wants and a plan replaces."""
    if family == 6:
        return _number(fields, _SVC_NETMASK, _U32)
    hosts = ~_number(fields, _SVC_NETMASK, _BE32) & _ALL_FLAGS
    return 0 if hosts & (hosts + 1) else 32 - hosts.bit_length()


def family_of(number: int) -> Family:
    """Of the number in a message; KernelError for any other than IPv4 and IPv6."""
    family = _FAMILY_OF.get(number)
    if family is None:
        raise _malformed(f"address family {number}")
    return family


_FORWARDS = {forward.value: forward for forward in Forward}
_TUNNELS = {tunnel.value: tunnel for tunnel in TunnelType}


def forward_of(number: int) -> Forward:
    """Of the number in a message."""
    if number not in _FORWARDS:
        raise _malformed(f"forwarding method {number}")
    return _FORWARDS[number]


def tunnel_of(number: int) -> TunnelType:
    """Of the number in a message."""
    if number not in _TUNNELS:
        raise _malformed(f"tunnel type {number}")
    return _TUNNELS[number]


def _value(fields: Fields, kind: int) -> memoryview:
    if kind not in fields:
        raise _malformed(f"an answer without attribute {kind}")
    return fields[kind]


def _number(fields: Fields, kind: int, layout: struct.Struct, default: int | None = None) -> int:
    if default is not None and kind not in fields:
        return default
    return _unpack(layout, _value(fields, kind))


def _unpack(layout: struct.Struct, value: memoryview) -> int:
    if len(value) < layout.size:
        raise _malformed(f"a number of {len(value)} bytes instead of {layout.size}")
    number: int = layout.unpack_from(value)[0]
    return number


def _text(fields: Fields, kind: int, default: str | None = None) -> str:
    if default is not None and kind not in fields:
        return default
    return bytes(_value(fields, kind)).split(b"\0", 1)[0].decode(errors="replace")


def _malformed(what: str) -> KernelError:
    return KernelError("reading IPVS", errno.EPROTO, what)
