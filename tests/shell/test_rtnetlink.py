"""Our rtnetlink messages, read back by pyroute2 as an independent reader."""

import errno
import struct
import time
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from hadirector.core.address import canonical
from hadirector.shell import netlink, rtnetlink
from hadirector.shell.netlink import Reply, Request
from hadirector.shell.rtnetlink import AddressEntry, AddressGone, LinkEntry, LinkGone

FLAGS = rtnetlink.NODAD | rtnetlink.NOPREFIXROUTE


def read_by_pyroute2(request: Request, kind: type[Any]) -> Any:
    raw = netlink.message(request.kind, request.flags, request.body)
    message = kind(raw)
    message.decode()
    return message


@pytest.mark.parametrize(
    ("text", "prefix", "family", "lifetime", "cacheinfo"),
    [
        ("192.0.2.10", 32, 2, 2, (2, 2)),
        ("192.0.2.10", 24, 2, None, (0xFFFFFFFF, 0xFFFFFFFF)),
        ("2001:db8::10", 64, 10, 4, (4, 4)),
        ("2001:db8::10", 128, 10, 4, (0, 4)),  # never the source of our own packets
        ("2001:db8::10", 128, 10, None, (0, 0xFFFFFFFF)),
    ],
)
def test_an_address_is_put_with_all_its_fields(
    text: str, prefix: int, family: int, lifetime: int | None, cacheinfo: tuple[int, int]
) -> None:
    request = rtnetlink.put_address(7, canonical(text), prefix, FLAGS, 112, lifetime)

    message = read_by_pyroute2(request, ifaddrmsg)

    assert request.flags == netlink.CREATE | netlink.EXCLUSIVE
    assert (message["family"], message["prefixlen"], message["index"]) == (family, prefix, 7)
    assert message["scope"] == 0
    assert message.get_attr("IFA_ADDRESS") == text
    assert message.get_attr("IFA_LOCAL") == text
    assert message.get_attr("IFA_FLAGS") == FLAGS
    assert message.get_attr("IFA_PROTO") == 112
    times = message.get_attr("IFA_CACHEINFO")
    assert (times["ifa_preferred"], times["ifa_valid"]) == cacheinfo
    assert message.get_attr("IFA_LABEL") is None


def test_a_renewal_is_the_same_message_that_replaces() -> None:
    arguments = (7, canonical("192.0.2.10"), 32, FLAGS, 112, 2)

    put, renewal = rtnetlink.put_address(*arguments), rtnetlink.renew_address(*arguments)

    assert renewal.flags == netlink.REPLACE
    assert (renewal.kind, renewal.body) == (put.kind, put.body)


def test_an_address_is_taken_by_index_address_and_prefix() -> None:
    request = rtnetlink.take_address(7, canonical("192.0.2.10"), 32)

    message = read_by_pyroute2(request, ifaddrmsg)

    assert message["header"]["type"] == 21
    assert (message["family"], message["prefixlen"], message["index"]) == (2, 32, 7)
    assert message.get_attr("IFA_LOCAL") == "192.0.2.10"


def test_what_pyroute2_writes_of_an_address_is_read() -> None:
    message = ifaddrmsg()
    message.update({"family": 2, "prefixlen": 24, "flags": 0x80, "scope": 0, "index": 3})
    message["attrs"] = [
        ("IFA_ADDRESS", "192.0.2.99"),
        ("IFA_LOCAL", "192.0.2.10"),
        ("IFA_FLAGS", 0x281),
        ("IFA_CACHEINFO", {"ifa_preferred": 1, "ifa_valid": 2, "cstamp": 0, "tstamp": 0}),
        ("IFA_PROTO", 112),
    ]

    body = written_by_pyroute2(message)

    address = canonical("192.0.2.10")
    assert change(20, body) == AddressEntry(3, address, 24, 0x281, 112, True)
    assert change(21, body) == AddressGone(3, address, 24)


def test_what_pyroute2_writes_of_a_link_is_read() -> None:
    message = ifinfmsg()
    message.update({"family": 0, "ifi_type": 1, "index": 3, "flags": 0x11043, "change": 0})
    message["attrs"] = [("IFLA_IFNAME", "eth0"), ("IFLA_ADDRESS", "02:00:00:00:00:a1")]

    body = written_by_pyroute2(message)

    hardware = bytes.fromhex("0200000000a1")
    assert change(16, body) == LinkEntry(3, "eth0", True, False, hardware, enabled=True)
    assert change(17, body) == LinkGone(3)


@pytest.mark.parametrize(("flags", "up"), [(0x11043, True), (0x1003, False), (0x10042, False)])
def test_a_link_is_up_when_it_is_switched_on_and_has_carrier(flags: int, up: bool) -> None:
    body = struct.pack("=BxHiII", 0, 1, 3, flags, 0) + netlink.text_attribute(3, "eth0")

    link = rtnetlink.read_link(body)

    assert isinstance(link, LinkEntry)
    assert link.up is up


def test_messages_of_other_kinds_and_families_say_nothing() -> None:
    assert change(24, b"\0" * 12) is None
    assert change(20, struct.pack("=BBBBI", 28, 0, 0, 0, 3)) is None  # AF_MPLS
    assert change(16, struct.pack("=BxHiII", 7, 1, 3, 0, 0)) is None  # AF_BRIDGE


@pytest.mark.parametrize(
    ("flags", "usable"),
    [(rtnetlink.TENTATIVE, False), (rtnetlink.TENTATIVE | 0x04, True), (0x80, True)],
)
def test_a_tentative_address_is_not_usable_unless_optimistic(flags: int, usable: bool) -> None:
    entry = AddressEntry(3, canonical("fe80::1"), 64, flags, 0, False)

    assert entry.usable is usable


def test_a_kernel_that_does_not_answer_is_not_waited_for() -> None:
    route = rtnetlink.Route(patience=0.05)

    started = time.monotonic()
    with pytest.raises(netlink.KernelError, match="the kernel did not answer") as caught:
        route._receive(started + 0.05, "wait for nothing")  # nothing was asked

    route.close()
    assert caught.value.errno == errno.ETIMEDOUT
    assert 0.04 < time.monotonic() - started < 1.0


def change(kind: int, body: bytes) -> rtnetlink.Change | None:
    return rtnetlink.change(Reply(kind, 0, 0, 0, memoryview(body)))


def written_by_pyroute2(message: Any) -> bytes:
    message.encode()
    return bytes(message.data[16:])
