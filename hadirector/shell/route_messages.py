"""Routes and rules as rtnetlink messages.

    rtmsg:        family 8, dst 8, src 8, tos 8, table 8, protocol 8, scope 8, type 8, flags 32
    fib_rule_hdr: family 8, dst 8, src 8, tos 8, table 8, unused 16, action 8, flags 32

All of ours carry protocol MARK, and a removal names it, so that nobody else's is ever hit.

Sources: include/uapi/linux/{rtnetlink,fib_rules}.h; net/ipv4/fib_frontend.c, net/ipv6/route.c.
"""

import ipaddress
import socket
import struct
from dataclasses import dataclass

from hadirector.core import address, routing
from hadirector.core.address import Address, Family
from hadirector.core.routing import Belonging, Route, Rule
from hadirector.shell import bpf, netlink
from hadirector.shell.netlink import Reply, Request

# RTMGRP_IPV4_ROUTE, RTMGRP_IPV4_RULE, RTMGRP_IPV6_ROUTE, and RTNLGRP_IPV6_RULE as a bit
GROUPS = 0x40 | 0x80 | 0x400 | 1 << 18

_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_NEWRULE, _DELRULE, _GETRULE = 32, 33, 34
_RTMSG = struct.Struct("=BBBBBBBBI")
_RULE = struct.Struct("=BBBBBxxBI")
_U32 = struct.Struct("=I")

_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 6, 7, 15
_FRA_DST, _FRA_SRC, _FRA_PRIORITY, _FRA_TABLE, _FRA_PROTOCOL = 1, 2, 6, 15, 21
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_NOWHERE = 0, 253, 255
_UNICAST = 1  # RTN_UNICAST
_TO_TABLE = 1  # FR_ACT_TO_TBL
_ONLINK = 4  # RTNH_F_ONLINK
_CLONED = 0x200  # RTM_F_CLONED

_NAMES: dict[Family, int] = {4: socket.AF_INET, 6: socket.AF_INET6}

FAMILIES: tuple[Family, ...] = tuple(_NAMES)

_PROTOCOL_AT = 16 + 5  # of rtmsg behind the message's header
_KIND_AT = 4

FILTER: tuple[bpf.Instruction, ...] = (
    (bpf.LOAD_HALF, 0, 0, _KIND_AT),
    (bpf.JUMP_EQUAL, 4, 0, socket.htons(_NEWROUTE)),
    (bpf.JUMP_EQUAL, 3, 0, socket.htons(_DELROUTE)),
    (bpf.JUMP_EQUAL, 4, 0, socket.htons(_NEWRULE)),
    (bpf.JUMP_EQUAL, 3, 0, socket.htons(_DELRULE)),
    (bpf.RETURN, 0, 0, bpf.NOTHING),
    (bpf.LOAD_BYTE, 0, 0, _PROTOCOL_AT),
    (bpf.JUMP_EQUAL, 0, 1, routing.MARK),
    (bpf.RETURN, 0, 0, bpf.ALL),
    (bpf.RETURN, 0, 0, bpf.NOTHING),
)
"""Lets through changes of our routes and of all rules: a router with the Internet's table hears of
thousands of routes a minute, and the kernel drops those before this process wakes for them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One of ours as a message tells it. A route's interface is its link's `index` (0: none); to
    name it is the reader's work."""

    what: Belonging
    index: int


@dataclass(frozen=True, slots=True)
class Gone:
    """One of ours went away."""

    entry: Entry


# --- Requests --------------------------------------------------------------------------------


def put(what: Belonging, index: int | None, *, replace: bool = False) -> Request:
    """Add one; refused with EEXIST where an equal one is, unless it replaces. `index` is that of
    a route's interface."""
    flags = netlink.CREATE | (netlink.REPLACE if replace else netlink.EXCLUSIVE)
    if isinstance(what, Rule):
        return Request(_NEWRULE, _rule(what), flags)
    scope = _SCOPE_UNIVERSE if what.via or what.family == 6 else _SCOPE_LINK
    return Request(_NEWROUTE, _route(what, index, scope, _UNICAST), flags)


def take(what: Belonging, index: int | None) -> Request:
    """Remove one of ours; refused with ESRCH (a rule: ENOENT) where it is not."""
    if isinstance(what, Rule):
        return Request(_DELRULE, _rule(what))
    return Request(_DELROUTE, _route(what, index, _SCOPE_NOWHERE, 0))


def list_routes(family: Family) -> Request:
    """To be dumped: ours, where the kernel filters (`netlink.be_strict`), else all."""
    return Request(_GETROUTE, _RTMSG.pack(_NAMES[family], 0, 0, 0, 0, routing.MARK, 0, 0, 0))


def list_rules(family: Family) -> Request:
    """To be dumped: all."""
    return Request(_GETRULE, _RULE.pack(_NAMES[family], 0, 0, 0, 0, 0, 0))


def _route(what: Route, index: int | None, scope: int, kind: int) -> bytes:
    assert what.table, "resolved"
    network = ipaddress.ip_network(what.to)
    flags = _ONLINK if what.onlink else 0
    table = what.table if what.table < 256 else 0
    parts = [
        _RTMSG.pack(
            _NAMES[what.family], network.prefixlen, 0, 0, table, routing.MARK, scope, kind, flags
        ),
        netlink.attribute(_RTA_TABLE, _U32.pack(what.table)),
    ]
    if network.prefixlen:
        parts.append(netlink.attribute(_RTA_DST, network.network_address.packed))
    if what.via is not None:
        parts.append(netlink.attribute(_RTA_GATEWAY, address.packed(what.via)))
    if index is not None:
        parts.append(netlink.attribute(_RTA_OIF, _U32.pack(index)))
    if what.source is not None:
        parts.append(netlink.attribute(_RTA_PREFSRC, address.packed(what.source)))
    if what.metric:
        parts.append(netlink.attribute(_RTA_PRIORITY, _U32.pack(what.metric)))
    return b"".join(parts)


def _rule(what: Rule) -> bytes:
    ends = {_FRA_SRC: what.from_, _FRA_DST: what.to}
    networks = {kind: ipaddress.ip_network(prefix) for kind, prefix in ends.items() if prefix}
    lengths = {kind: network.prefixlen for kind, network in networks.items()}
    table = what.table if what.table < 256 else 0
    to, from_ = lengths.get(_FRA_DST, 0), lengths.get(_FRA_SRC, 0)
    return b"".join(
        (
            _RULE.pack(_NAMES[what.family], to, from_, 0, table, _TO_TABLE, 0),
            *(netlink.attribute(k, n.network_address.packed) for k, n in networks.items()),
            netlink.attribute(_FRA_TABLE, _U32.pack(what.table)),
            netlink.attribute(_FRA_PRIORITY, _U32.pack(what.priority)),
            netlink.attribute(_FRA_PROTOCOL, bytes([routing.MARK])),
        )
    )


# --- Answers ---------------------------------------------------------------------------------


def change(reply: Reply) -> Entry | Gone | None:
    """What a message says of a route or rule of ours; None for any other."""
    match reply.kind:
        case 24 | 25:  # RTM_NEWROUTE, RTM_DELROUTE
            entry = read_route(reply.body)
        case 32 | 33:  # RTM_NEWRULE, RTM_DELRULE
            entry = read_rule(reply.body)
        case _:
            return None
    gone = reply.kind in (_DELROUTE, _DELRULE)
    return Gone(entry) if gone and entry is not None else entry


def read_route(body: memoryview | bytes) -> Entry | None:
    """A route of ours."""
    kind, length, _, _, table, protocol, _, _, flags = _RTMSG.unpack_from(body)
    family = _family(kind)
    if family is None or protocol != routing.MARK or flags & _CLONED:
        return None
    to, metric, index = b"", 0, 0
    ends: dict[int, Address] = {}
    for attribute, value in netlink.attributes(body[_RTMSG.size :]):
        if attribute == _RTA_DST:
            to = bytes(value)
        elif attribute in (_RTA_GATEWAY, _RTA_PREFSRC):
            ends[attribute] = address.from_packed(bytes(value))
        elif attribute == _RTA_OIF:
            (index,) = _U32.unpack(value)
        elif attribute == _RTA_PRIORITY:
            (metric,) = _U32.unpack(value)
        elif attribute == _RTA_TABLE:
            (table,) = _U32.unpack(value)
    to_prefix = routing.prefix_of(to, length, family)
    via, source = ends.get(_RTA_GATEWAY), ends.get(_RTA_PREFSRC)
    onlink = bool(flags & _ONLINK)
    return Entry(Route(family, to_prefix, via, None, source, table, metric, onlink), index)


def read_rule(body: memoryview | bytes) -> Entry | None:
    """A rule of ours."""
    kind, to_length, from_length, _, table, action, _ = _RULE.unpack_from(body)
    family = _family(kind)
    if family is None or action != _TO_TABLE:
        return None
    from_ = to = None
    priority = protocol = 0
    for attribute, value in netlink.attributes(body[_RULE.size :]):
        if attribute == _FRA_SRC:
            from_ = routing.prefix_of(bytes(value), from_length, family)
        elif attribute == _FRA_DST:
            to = routing.prefix_of(bytes(value), to_length, family)
        elif attribute == _FRA_TABLE:
            (table,) = _U32.unpack(value)
        elif attribute == _FRA_PRIORITY:
            (priority,) = _U32.unpack(value)
        elif attribute == _FRA_PROTOCOL:
            protocol = value[0]
    ours = protocol == routing.MARK
    return Entry(Rule(family, from_, to, table, priority), 0) if ours else None


def _family(number: int) -> Family | None:
    return next((family for family, known in _NAMES.items() if known == number), None)
