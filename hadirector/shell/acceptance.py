"""IPsec policies that keep a virtual address from answering by itself: the kernel side of
core/acceptance.

    xfrm_userpolicy_info:  selector 56, limits 64, usage 32, priority 32, index 32, direction 8,
                           action 8, flags 8, share 8, padded to 168
    xfrm_selector:         to 16x8, from 16x8, to port, mask, from port, mask 16 each, family 16,
                           prefix to 8, prefix from 8, protocol 8, pad 24, interface 32, user 32

An ICMP message's type stands in for the port it comes from. Nothing is asked of the kernel, and no
module loaded, before the first policy is wanted or one may have been left.

Sources: include/uapi/linux/xfrm.h; net/xfrm/xfrm_policy.c.
"""

import errno
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hadirector.core import address
from hadirector.core.acceptance import ALLOW, BLOCK, Policy
from hadirector.core.address import Address
from hadirector.shell import netlink
from hadirector.shell.netlink import Conversation, KernelError, Request

NETLINK_XFRM = 6

_NEWPOLICY, _DELPOLICY, _GETPOLICY = 0x13, 0x14, 0x15
_IN = 0
_ALLOWED, _BLOCKED = 0, 1
_NO_LIMITS = struct.pack("=8Q", *([0xFFFFFFFFFFFFFFFF] * 4), 0, 0, 0, 0)
_NO_USE = bytes(32)
_ANY_PORT, _ONE_PORT = 0, 0xFFFF
_SELECTOR = struct.Struct("!16s16sHHHH")
_SELECTOR_REST = struct.Struct("=HBBBxxxiI")
_SELECTOR_SIZE = 56
_FAMILY_AT = 40
_PRIORITY_AT = _SELECTOR_SIZE + 64 + 32
_POLICY_REST = struct.Struct("=IIBBBBxxxx")
_ID_REST = struct.Struct("=IBxxx")


class Acceptance:
    """The policies of this node. `left_over`: a former process may have left some."""

    def __init__(self, left_over: bool) -> None:
        self._left_over = left_over
        self._conversation: Conversation | None = None
        self._held: set[Policy] = set()
        self.repaired = 0  # put again by the last `settle`: somebody had removed them

    @property
    def holds(self) -> bool:
        """Whether any may be in the kernel."""
        return self._left_over or bool(self._held)

    async def settle(self, wanted: tuple[Policy, ...]) -> str:
        """Have these and no others of ours; what is wrong, or nothing."""
        self.repaired = 0
        if not wanted and not self.holds:
            return ""
        try:
            return await self._settle(wanted)
        except KernelError as error:
            return f"accept: false is not in effect: {error}"
        except OSError as error:
            return (
                "accept: false is not in effect: this kernel has no IPsec policies "
                f"({error.strerror}); it needs the module xfrm_user"
            )

    async def restore(self) -> None:
        """Remove them all."""
        if self.holds:
            with suppress(KernelError, OSError):
                await self._settle(())
        if self._conversation is not None:
            self._conversation.close()
            self._conversation = None

    async def _settle(self, wanted: tuple[Policy, ...]) -> str:
        if self._conversation is None:
            self._conversation = Conversation(NETLINK_XFRM)
        if self._left_over or not self._held:
            self._held = await self._read()
            self._left_over = False
        ours = self._held - set(wanted)
        await self._conversation.execute(map(take, sorted(ours, reverse=True)), "remove policies")
        # All are put again and again: one that somebody flushed comes back, the others are refused.
        refused = await self._conversation.execute(map(put, wanted), "put policies")
        there = {wanted[r.place] for r in refused}
        self.repaired = len(self._held & set(wanted) - there)
        self._held = set(wanted)
        real = [r for r in refused if r.errno != errno.EEXIST]
        if real:
            at = wanted[real[0].place].address
            return f"accept: false is not in effect for {at}: {real[0].text}"
        return _exempted(wanted)

    async def _read(self) -> set[Policy]:
        assert self._conversation is not None
        bodies = await self._conversation.dump(Request(_GETPOLICY, b""), "list policies")
        return {policy for body in bodies if (policy := read(body)) is not None}


def put(policy: Policy) -> Request:
    """Add it; refused with EEXIST where it is."""
    action = _BLOCKED if policy.blocks else _ALLOWED
    body = (
        _selector(policy)
        + _NO_LIMITS
        + _NO_USE
        + _POLICY_REST.pack(policy.priority, 0, _IN, action, 0, 0)
    )
    return Request(_NEWPOLICY, body, netlink.CREATE | netlink.EXCLUSIVE)


def take(policy: Policy) -> Request:
    """Remove it."""
    return Request(_DELPOLICY, _selector(policy) + _ID_REST.pack(0, _IN))


def read(body: memoryview | bytes) -> Policy | None:
    """A policy of ours; None for any other."""
    priority, _, direction, action, _, _ = _POLICY_REST.unpack_from(body, _PRIORITY_AT)
    if direction != _IN or priority not in (ALLOW, BLOCK):
        return None
    to, _, port, _, kind, _ = _SELECTOR.unpack_from(body)
    family, length, width, protocol, _, _ = _SELECTOR_REST.unpack_from(body, _FAMILY_AT)
    size = 16 if family == socket.AF_INET6 else 4
    if (length, width) != (size * 8, 0) or (action == _BLOCKED) != (priority == BLOCK):
        return None
    return Policy(priority, address.from_packed(to[:size]), protocol, port, kind)


def is_local(what: Address) -> bool:
    """Whether this node has the address; a socket can be bound to no other."""
    family = socket.AF_INET6 if address.family(what) == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.bind((what, 0))
        except OSError:
            return False
    return True


def _selector(policy: Policy) -> bytes:
    raw = address.packed(policy.address)
    family = socket.AF_INET6 if len(raw) == 16 else socket.AF_INET
    return _SELECTOR.pack(
        raw,
        b"",
        policy.port,
        _ONE_PORT if policy.port else _ANY_PORT,
        policy.kind,
        _ONE_PORT if policy.kind else _ANY_PORT,
    ) + _SELECTOR_REST.pack(family, len(raw) * 8, 0, policy.protocol, 0, 0)


def _exempted(wanted: Iterable[Policy]) -> str:
    """The kernel asks no policy for what comes in by an interface that says so; lo always does."""
    for name in ("ipv4", "ipv6"):
        if not any((":" in policy.address) == (name == "ipv6") for policy in wanted):
            continue
        for path in sorted(Path("/proc/sys/net", name, "conf").glob("*/disable_policy")):
            interface = path.parent.name
            with suppress(OSError):
                if interface not in ("lo", "default") and path.read_text().strip() != "0":
                    return (
                        f"net.{name}.conf.{interface}.disable_policy is not 0: accept: false "
                        "does not hold for what comes in there; set it to 0"
                    )
    return ""
