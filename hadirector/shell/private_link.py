"""The interface that leads nowhere, where the kernel's sync threads speak with the relay.

    dummy hadirector-sync, 169.254.88.1/32, multicast

What the master thread sends there leaves no host. What the backup thread takes in there is what
arrives there: nothing arrives on a dummy from outside, and the thread is bound to it. But any
program of this host may send to that group on that interface, and the kernel hands it a copy of
its own as if it had arrived; a program without a single privilege could write into the table of
connections. So whatever arrives there without the relay's mark, which only CAP_NET_ADMIN or
CAP_NET_RAW can set, is dropped (clsact and one classic BPF filter, linux/pkt_cls.h).

What such a program sends there is not to be taken for the master thread's either, and by address
and port it can be: so whatever leaves there and no socket of root's has sent is dropped, too, where
this process may load extended BPF (root may; else CAP_BPF).

Netlink waits for the kernel: all of this blocks its thread.
"""

import errno
import os
import socket
import struct
from pathlib import Path

from hadirector.core.address import Address
from hadirector.shell import ebpf, netlink, rtnetlink
from hadirector.shell.bpf import JUMP_EQUAL, LOAD_WORD, RETURN, Instruction, pack
from hadirector.shell.netlink import KernelError, Request

NAME = "hadirector-sync"  # 15 characters: the longest there may be
ADDRESS = Address("169.254.88.1")
MARK = 0x68647379  # "hdsy"

_ALIAS = "hadirector connection sync"
_KIND = "dummy"
_NEWLINK, _DELLINK, _SETLINK = 16, 17, 19
_NEWQDISC, _NEWTFILTER, _GETTFILTER = 36, 44, 46
_IFINFOMSG = struct.Struct("=BxHiII")
_TCMSG = struct.Struct("=BxxxiIII")
_U16, _U32 = struct.Struct("=H"), struct.Struct("=I")
_IFNAME, _LINKINFO, _IFALIAS = 3, 18, 20
_INFO_KIND = 1
_UP_MULTICAST = 0x1 | 0x1000  # IFF_UP, IFF_MULTICAST
_TCA_KIND, _TCA_OPTIONS = 1, 2
_CLSACT = 0xFFFFFFF1  # TC_H_CLSACT
_INGRESS, _EGRESS = 0xFFFFFFF2, 0xFFFFFFF3  # its parts: for what arrives, for what leaves
_CLSACT_HANDLE = 0xFFFF0000
_EVERY_PROTOCOL = socket.htons(0x0003)  # ETH_P_ALL
_PRIORITY, _HANDLE = 1, 1
_BPF_OPS_LEN, _BPF_OPS, _BPF_FD, _BPF_NAME, _BPF_FLAGS, _BPF_TAG = 4, 5, 6, 7, 8, 10
_ACT_DIRECT = 1
_ACT_OK, _ACT_SHOT = 0, 2
_SKF_AD_MARK = 0xFFFFF000 + 20  # the mark, as the kernel's extension to BPF
_GATE: tuple[Instruction, ...] = (
    (LOAD_WORD, 0, 0, _SKF_AD_MARK),
    (JUMP_EQUAL, 0, 1, MARK),
    (RETURN, 0, 0, _ACT_OK),
    (RETURN, 0, 0, _ACT_SHOT),
)


def index_of() -> int:
    """Which interface has the name now; 0: none."""
    try:
        return socket.if_nametoindex(NAME)
    except OSError:
        return 0


class PrivateLink:
    """The interface, as far as this node has or wants it. `open_gate` says why it is there without
    its filter, `open_way_out` why what leaves is not looked at; empty when it is guarded."""

    def __init__(self) -> None:
        self.open_gate = ""
        self.shut_again = False  # by the last `ensure`: somebody had opened it
        self.open_way_out = ""
        self._index = 0  # as it was left right
        self._tag = b""  # the kernel's hash of the program on the way out; empty: there is none

    @property
    def had(self) -> bool:
        """Whether it was there, as far as this process left it."""
        return self._index != 0

    def ensure(self) -> bool:
        """Have it: whether it is another one than before: what was bound to the older one is
        bound to nothing. KernelError where it cannot be had."""
        route = rtnetlink.Route()
        try:
            found = _find(route)
            if found is not None and not _is_ours(found):
                text = f"an interface {NAME} is there that is not ours: remove it"
                raise KernelError("connection_sync", errno.EEXIST, text)
            same = found is not None and found.index == self._index
            self.shut_again = (
                same
                and not self.open_gate
                and not (_is_shut(route, self._index) and _has(route, self._index, self._tag))
            )
            if found is not None and same and found.enabled and not self.shut_again:
                return False
            link = found or _make(route)
            self._prepare(route, link.index)
            another = found is None or self._index not in (0, link.index)
            self._index = link.index
            return another
        finally:
            route.close()

    def remove(self) -> None:
        """Nothing of it stays, whichever life of ours made it."""
        self._index = 0
        self.open_gate = self.open_way_out = ""
        route = rtnetlink.Route()
        try:
            found = _find(route)
            if found is not None and _is_ours(found):
                _order(route, Request(_DELLINK, _head() + _named()), errno.ENODEV)
        finally:
            route.close()

    def _prepare(self, route: rtnetlink.Route, index: int) -> None:
        """The gate first: nothing is to arrive before it is shut."""
        _no_ipv6()
        self.open_gate = _shut(route, index)
        self.open_way_out = self.open_gate or _shut_way_out(route, index)
        self._tag = b"" if self.open_way_out else _tag(_filter(route, index, _EGRESS))
        _order(route, rtnetlink.put_address(index, ADDRESS, 32, 0, 0, None), errno.EEXIST)
        _order(route, Request(_SETLINK, _head(_UP_MULTICAST, _UP_MULTICAST) + _named()))


def _find(route: rtnetlink.Route) -> rtnetlink.LinkEntry | None:
    body = route.get(rtnetlink.find_link(NAME), "look for the private interface")
    link = rtnetlink.read_link(body) if body is not None else None
    return link if isinstance(link, rtnetlink.LinkEntry) else None


def _make(route: rtnetlink.Route) -> rtnetlink.LinkEntry:
    _order(route, _create())
    _order(route, _mark())
    found = _find(route)
    if found is None:
        raise KernelError("connection_sync", errno.ENODEV, f"{NAME} went away as it was made")
    return found


def _is_ours(link: rtnetlink.LinkEntry) -> bool:
    """By its alias; one that was killed before it could write it is a dummy of that name."""
    return link.alias == _ALIAS or (link.alias == "" and link.kind == _KIND)


def _order(route: rtnetlink.Route, request: Request, *welcome: int) -> None:
    """Have it done, or find that it is."""
    what = f"setting up {NAME}"
    for refused in route.execute([request], what):
        if refused.errno not in welcome:
            raise KernelError(what, refused.errno, refused.text)


def _create() -> Request:
    kind = netlink.nested(_LINKINFO, netlink.attribute(_INFO_KIND, _KIND.encode()))
    return Request(_NEWLINK, _head() + _named() + kind, netlink.CREATE | netlink.EXCLUSIVE)


def _mark() -> Request:
    alias = netlink.attribute(_IFALIAS, _ALIAS.encode())
    return Request(_SETLINK, _head() + _named() + alias)


def _head(flags: int = 0, changed: int = 0) -> bytes:
    return _IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, flags, changed)


def _named() -> bytes:
    return netlink.text_attribute(_IFNAME, NAME)


def _no_ipv6() -> None:
    """It needs no link-local address; what this kernel does not know it does not need."""
    try:
        Path(f"/proc/sys/net/ipv6/conf/{NAME}/disable_ipv6").write_text("1")
    except OSError:
        return


def _rule(index: int, way: int) -> bytes:
    """The place of our filter, and what it is."""
    place = (_HANDLE, way, _PRIORITY << 16 | _EVERY_PROTOCOL)
    return _TCMSG.pack(socket.AF_UNSPEC, index, *place) + netlink.text_attribute(_TCA_KIND, "bpf")


def _filter(route: rtnetlink.Route, index: int, way: int) -> dict[int, memoryview]:
    """What is said of the filter in our place; nothing where none is that decides by itself."""
    body = route.get(
        Request(_GETTFILTER, _rule(index, way)), "look at the private interface's gate"
    )
    parts = dict(netlink.attributes(body[_TCMSG.size :])) if body is not None else {}
    found = dict(netlink.attributes(parts.get(_TCA_OPTIONS, memoryview(b""))))
    flags = bytes(found.get(_BPF_FLAGS, b""))
    return found if flags == _U32.pack(_ACT_DIRECT) else {}


def _tag(found: dict[int, memoryview]) -> bytes:
    return bytes(found.get(_BPF_TAG, b""))


def _is_shut(route: rtnetlink.Route, index: int) -> bool:
    """Whether our program is there on the way in."""
    return bytes(_filter(route, index, _INGRESS).get(_BPF_OPS, b"")) == pack(_GATE)


def _has(route: rtnetlink.Route, index: int, tag: bytes) -> bool:
    """Whether the program with this tag is there on the way out; none need be for an empty one."""
    return not tag or _tag(_filter(route, index, _EGRESS)) == tag


def _shut_way_out(route: rtnetlink.Route, index: int) -> str:
    """Drop what leaves and is not root's; why that cannot be had, or nothing."""
    what = "a program of this host can have a forged connection record sealed: what it sends to "
    text = f"{what}{NAME} cannot be told from the kernel's"
    try:
        descriptor = ebpf.only_roots()
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            return f"{text} without CAP_BPF, which the unit may be given"
        return f"{text} ({error.strerror})"
    try:
        program = netlink.nested(
            _TCA_OPTIONS,
            netlink.attribute(_BPF_FD, _U32.pack(descriptor)),
            netlink.text_attribute(_BPF_NAME, "hadirector"),
            netlink.attribute(_BPF_FLAGS, _U32.pack(_ACT_DIRECT)),
        )
        rule = _rule(index, _EGRESS)
        refused = route.execute([Request(_NEWTFILTER, rule + program, netlink.CREATE)], "guard")
        return f"{text} ({refused[0].text})" if refused else ""
    finally:
        os.close(descriptor)


def _shut(route: rtnetlink.Route, index: int) -> str:
    """Drop what arrives unmarked; why that cannot be had, or nothing."""
    qdisc = _TCMSG.pack(socket.AF_UNSPEC, index, _CLSACT_HANDLE, _CLSACT, 0)
    program = netlink.nested(
        _TCA_OPTIONS,
        netlink.attribute(_BPF_OPS_LEN, _U16.pack(len(_GATE))),
        netlink.attribute(_BPF_OPS, pack(_GATE)),
        netlink.attribute(_BPF_FLAGS, _U32.pack(_ACT_DIRECT)),
    )
    new = netlink.CREATE | netlink.EXCLUSIVE
    try:
        kind = netlink.text_attribute(_TCA_KIND, "clsact")
        _order(route, Request(_NEWQDISC, qdisc + kind, new), errno.EEXIST)
        _order(route, Request(_NEWTFILTER, _rule(index, _INGRESS) + program, netlink.CREATE))
    except KernelError as error:
        if error.errno == errno.ETIMEDOUT:
            raise
        return (
            "every program of this host can forge connection records: the kernel cannot guard "
            f"{NAME} ({error.text}); modprobe sch_ingress cls_bpf"
        )
    return ""
