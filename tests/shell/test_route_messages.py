"""Our messages about routes, rules and devices, read back by pyroute2 as an independent reader."""

import socket
import struct
from dataclasses import replace
from typing import Any

import pytest
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from hadirector.core.address import Address
from hadirector.core.routing import Belonging, Route, Rule
from hadirector.core.vmac import VirtualDevice
from hadirector.shell import netlink, route_messages, vmac_device
from hadirector.shell.netlink import Reply, Request
from hadirector.shell.route_messages import Entry, Gone, change, put, take

ROUTE = Route(
    *(4, "203.0.113.0/24", Address("192.0.2.1"), None, Address("192.0.2.10"), 1000, 10),
    onlink=True,
)
DEFAULT6 = Route(6, "::/0", None, None, None, 254, 1024)
RULE = Rule(4, "192.0.2.10/32", "10.0.0.0/8", 1000, 16384)
RULE6 = Rule(6, "2001:db8::/32", None, 100, 5)


def read(request: Request, kind: type[Any]) -> Any:
    message = kind(netlink.message(request.kind, request.flags, request.body))
    message.decode()
    return message


def test_a_route_is_put_with_all_its_fields() -> None:
    request = put(ROUTE, 7)

    message = read(request, rtmsg)

    assert (request.kind, request.flags) == (24, netlink.CREATE | netlink.EXCLUSIVE)
    assert {name: message[name] for name in ("family", "dst_len", "proto", "scope", "type")} == {
        "family": socket.AF_INET,
        "dst_len": 24,
        "proto": 112,
        "scope": 0,
        "type": 1,
    }
    assert message["flags"] == 4  # onlink
    attributes = {n: message.get_attr(f"RTA_{n}") for n in ("DST", "GATEWAY", "PREFSRC", "OIF")}
    assert attributes == {
        "DST": "203.0.113.0",
        "GATEWAY": "192.0.2.1",
        "PREFSRC": "192.0.2.10",
        "OIF": 7,
    }
    assert (message.get_attr("RTA_TABLE"), message.get_attr("RTA_PRIORITY")) == (1000, 10)


def test_a_route_without_a_gateway_is_on_the_link() -> None:
    direct = replace(ROUTE, via=None, onlink=False)

    assert read(put(direct, 7), rtmsg)["scope"] == 253
    message = read(put(DEFAULT6, 7), rtmsg)
    assert (message["scope"], message["dst_len"], message.get_attr("RTA_DST")) == (0, 0, None)


def test_a_removal_names_our_protocol_so_that_nobody_elses_is_hit() -> None:
    message = read(take(ROUTE, 7), rtmsg)
    rule = read(take(RULE, None), fibmsg)

    assert (message["proto"], message["scope"]) == (112, 255)
    assert rule.get_attr("FRA_PROTOCOL") == 112


def test_replacing_is_asked_for() -> None:
    assert put(ROUTE, 7, replace=True).flags == netlink.CREATE | netlink.REPLACE


@pytest.mark.parametrize(("rule", "lengths"), [(RULE, (32, 8)), (RULE6, (32, 0))])
def test_a_rule_is_put_with_all_its_fields(rule: Rule, lengths: tuple[int, int]) -> None:
    request = put(rule, None)

    message = read(request, fibmsg)

    assert request.kind == 32
    assert (message["src_len"], message["dst_len"], message["action"]) == (*lengths, 1)
    assert message.get_attr("FRA_TABLE") == rule.table
    assert message.get_attr("FRA_PRIORITY") == rule.priority
    source = (rule.from_ or "").partition("/")[0]
    assert message.get_attr("FRA_SRC") == source


@pytest.mark.parametrize("one", [replace(ROUTE, source=None), ROUTE, DEFAULT6, RULE, RULE6])
def test_what_we_write_is_what_we_read(one: Belonging) -> None:
    request = put(one, 7)
    index = 7 if isinstance(one, Route) else 0

    assert told(request.kind, request.body) == Entry(one, index)
    assert told(request.kind + 1, request.body) == Gone(Entry(one, index))


def test_what_is_not_ours_says_nothing() -> None:
    route, rule = bytearray(put(ROUTE, 7).body), put(RULE, None).body
    route[5] = 4  # RTPROT_STATIC
    boots = rule.replace(struct.pack("=HHB", 5, 21, 112), struct.pack("=HHB", 5, 21, 3))

    assert told(24, bytes(route)) is None
    assert told(32, boots) is None
    assert told(20, bytes(16)) is None


def told(kind: int, body: bytes) -> Entry | Gone | None:
    return change(Reply(kind, 0, 1, 0, memoryview(body)))


def test_the_filter_lets_through_our_routes_and_all_rules_only() -> None:
    """Run by hand: the instructions are few."""
    ours = netlink.message(24, 0, put(ROUTE, 7).body)
    theirs = bytearray(ours)
    theirs[21] = 186  # bgp

    assert run(ours) != 0
    assert run(netlink.message(25, 0, put(ROUTE, 7).body)) != 0
    assert run(bytes(theirs)) == 0
    assert run(netlink.message(33, 0, take(RULE, None).body)) != 0
    assert run(netlink.message(16, 0, bytes(16))) == 0


def run(message: bytes) -> int:
    accumulator = at = 0
    program = route_messages.FILTER
    while True:
        code, jump_true, jump_false, operand = program[at]
        at += 1
        if code == 0x28:
            (accumulator,) = struct.unpack_from("!H", message, operand)
        elif code == 0x30:
            accumulator = message[operand]
        elif code == 0x15:
            at += jump_true if accumulator == operand else jump_false
        else:
            return operand


def test_a_device_is_a_private_macvlan_with_the_virtual_mac() -> None:
    device = VirtualDevice("vrrp.51", "eth0", 4, bytes.fromhex("00005e000133"))

    request = vmac_device.create(device, 3, 9)

    message = read(request, ifinfmsg)
    assert (request.kind, request.flags) == (16, netlink.CREATE | netlink.EXCLUSIVE)
    assert message.get_attr("IFLA_IFNAME") == "vrrp.51"
    assert (message.get_attr("IFLA_LINK"), message.get_attr("IFLA_MASTER")) == (3, 9)
    assert message.get_attr("IFLA_ADDRESS") == "00:00:5e:00:01:33"
    info = message.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "macvlan"
    assert info.get_attr("IFLA_INFO_DATA").get_attr("IFLA_MACVLAN_MODE") == "private"
    assert read(vmac_device.create(device, 3, 0), ifinfmsg).get_attr("IFLA_MASTER") is None


def test_a_device_is_marked_switched_and_removed_by_its_name() -> None:
    marked = read(vmac_device.mark("vrrp.51"), ifinfmsg)
    up = read(vmac_device.switch("vrrp.51", up=True), ifinfmsg)
    down = read(vmac_device.switch("vrrp.51", up=False), ifinfmsg)
    removed = vmac_device.remove("vrrp.51")

    assert marked.get_attr("IFLA_IFALIAS") == "hadirector"
    assert (up["flags"], up["change"], down["flags"], down["change"]) == (1, 1, 0, 1)
    assert removed.kind == 17
    assert read(removed, ifinfmsg).get_attr("IFLA_IFNAME") == "vrrp.51"
