"""Policies as XFRM messages. The kernel itself and ip-xfrm(8) read them in tests/kernel."""

import struct

import pytest

from hadirector.core.acceptance import ALLOW, BLOCK, ICMPV6, Policy
from hadirector.core.address import Address
from hadirector.shell import acceptance, netlink
from hadirector.shell.acceptance import Acceptance

VIP, VIP6 = Address("192.0.2.10"), Address("2001:db8::10")


@pytest.mark.parametrize(
    "policy",
    [
        Policy(BLOCK, VIP),
        Policy(ALLOW, VIP, 6, port=80),
        Policy(BLOCK, VIP6),
        Policy(ALLOW, VIP6, ICMPV6, kind=135),
    ],
)
def test_a_policy_is_read_as_it_was_put(policy: Policy) -> None:
    request = acceptance.put(policy)

    assert (request.kind, request.flags) == (0x13, netlink.CREATE | netlink.EXCLUSIVE)
    assert len(request.body) == 168
    assert acceptance.read(request.body) == policy
    assert len(acceptance.take(policy).body) == 64
    assert acceptance.take(policy).body[:56] == request.body[:56]


def test_the_selector_is_laid_out_as_the_kernel_has_it() -> None:
    """struct xfrm_selector, by hand."""
    body = acceptance.put(Policy(ALLOW, VIP, 6, port=80)).body

    assert body[:4] == bytes((192, 0, 2, 10))
    assert body[4:32] == bytes(28)
    assert struct.unpack_from("!HHHH", body, 32) == (80, 0xFFFF, 0, 0)
    assert struct.unpack_from("=HBBB", body, 40) == (2, 32, 0, 6)


@pytest.mark.parametrize(
    ("at", "value"),
    [(152, ALLOW + 50), (160, 1), (161, 0), (42, 24), (43, 8)],
    ids=["priority", "direction", "action", "prefix", "from a prefix"],
)
def test_what_differs_in_anything_is_not_ours(at: int, value: int) -> None:
    body = bytearray(acceptance.put(Policy(BLOCK, VIP)).body)
    body[at] = value

    assert acceptance.read(bytes(body)) is None


def test_this_hosts_addresses_are_local_and_others_are_not() -> None:
    assert acceptance.is_local(Address("127.0.0.1"))
    assert not acceptance.is_local(Address("192.0.2.1"))


async def test_where_nothing_is_wanted_or_left_the_kernel_is_not_asked() -> None:
    idle = Acceptance(left_over=False)

    assert await idle.settle(()) == ""
    assert not idle.holds
    assert idle._conversation is None
