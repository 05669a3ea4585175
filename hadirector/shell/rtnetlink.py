"""Links and addresses over rtnetlink: what the election asks of the kernel.

Requests are built by pure functions. `Route` sends them and waits for the answer there and then:
the kernel executes a batch inside the system call that carries it, so when `send` returns the
addresses are on, and the answers lie ready. That is the fastest way to take over, and the longest
wait is bounded by `patience`. `Watch` is the subscription to changes.

    ifaddrmsg:  family 8, prefix 8, flags 8, scope 8, index 32
    ifinfomsg:  family 8, pad 8, hardware type 16, index 32, flags 32, changed 32

Sources: include/uapi/linux/{rtnetlink,if_addr,if_link}.h.
"""

import errno
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hadirector.core import address
from hadirector.core.address import Address
from hadirector.shell import netlink
from hadirector.shell.netlink import KernelError, Refusal, Reply, Request

NETLINK_ROUTE = 0
FOREVER = 0xFFFFFFFF  # seconds: INFINITY_LIFE_TIME

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_GROUPS = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR

_IFADDRMSG = struct.Struct("=BBBBI")
_IFINFOMSG = struct.Struct("=BxHiII")
_CACHEINFO = struct.Struct("=IIII")  # preferred, valid, created, changed
_U32 = struct.Struct("=I")

_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_FLAGS, _IFA_PROTO = 1, 2, 6, 8, 11
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 5, 10, 18
_IFLA_IFALIAS, _IFLA_EXT_MASK, _IFLA_EVENT = 20, 29, 44
_INFO_KIND, _INFO_DATA, _VRF_TABLE = 1, 2, 1
_SKIP_STATISTICS = 8  # RTEXT_FILTER_SKIP_STATS
_WAYS = (3, 4)  # IFLA_EVENT_BONDING_FAILOVER, IFLA_EVENT_NOTIFY_PEERS

SECONDARY: Final = 0x01
NODAD: Final = 0x02
DADFAILED: Final = 0x08
TENTATIVE: Final = 0x40
NOPREFIXROUTE: Final = 0x200
_OPTIMISTIC = 0x04

_UP, _LOOPBACK, _LOWER_UP = 0x1, 0x8, 0x10000
_ETHERNET = 1

_BATCH = 256  # requests per send: their refusals fit the smallest receive buffer
_LARGEST_READ = 64 << 10
_READS = 64  # datagrams per wake-up: no storm of changes may keep the loop
_DUMP_TRIES = 3


@dataclass(frozen=True, slots=True)
class LinkEntry:
    """A link. `up`: administratively up and with carrier. `hardware` is empty where the link has
    no Ethernet address. `parent` and `master` are indexes, 0 where there is none; `vrf_table` is
    that of a link which is a VRF; `enabled`: administratively up."""

    index: int
    name: str
    up: bool
    loopback: bool
    hardware: bytes
    kind: str = ""
    parent: int = 0
    master: int = 0
    alias: str = ""
    vrf_table: int = 0
    enabled: bool = False


@dataclass(frozen=True, slots=True)
class AddressEntry:
    """An address as the kernel has it; how long it still lives is left out on purpose: a renewal
    is no change. `protocol` is IFA_PROTO, 0 where the kernel keeps none (before 5.18)."""

    index: int
    address: Address
    prefix: int
    flags: int
    protocol: int
    finite: bool

    @property
    def usable(self) -> bool:
        """Past duplicate address detection."""
        return not self.flags & TENTATIVE or bool(self.flags & _OPTIMISTIC)


@dataclass(frozen=True, slots=True)
class LinkGone:
    """A link that went away."""

    index: int


@dataclass(frozen=True, slots=True)
class LinkMoved:
    """A link that asks to tell its neighbours anew where it is: a bond that changed its active
    link, a virtual machine that changed its host."""

    link: LinkEntry


@dataclass(frozen=True, slots=True)
class AddressGone:
    """An address that went away."""

    index: int
    address: Address
    prefix: int


Change = LinkEntry | LinkMoved | LinkGone | AddressEntry | AddressGone


# --- Requests -------------------------------------------------------------------------------


def put_address(
    index: int, what: Address, prefix: int, flags: int, protocol: int, lifetime: int | None
) -> Request:
    """Add an address; refused with EEXIST where it is. `lifetime` is valid_lft, whole seconds."""
    body = _address(index, what, prefix, flags, protocol, lifetime)
    return Request(_NEWADDR, body, netlink.CREATE | netlink.EXCLUSIVE)


def renew_address(
    index: int, what: Address, prefix: int, flags: int, protocol: int, lifetime: int | None
) -> Request:
    """Give an address a new lifetime in place, without a gap. One that is missing is added: the
    kernel does not look at NLM_F_CREATE here."""
    body = _address(index, what, prefix, flags, protocol, lifetime)
    return Request(_NEWADDR, body, netlink.REPLACE)


def take_address(index: int, what: Address, prefix: int) -> Request:
    """Remove an address; refused with EADDRNOTAVAIL where it is not."""
    raw = address.packed(what)
    head = _IFADDRMSG.pack(_family(what), prefix, 0, 0, index)
    return Request(
        _DELADDR,
        head + netlink.attribute(_IFA_LOCAL, raw) + netlink.attribute(_IFA_ADDRESS, raw),
    )


def list_links() -> Request:
    """To be dumped: every link, without its counters."""
    head = _IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return Request(_GETLINK, head + netlink.attribute(_IFLA_EXT_MASK, _U32.pack(_SKIP_STATISTICS)))


def find_link(name: str) -> Request:
    """One link by its name."""
    head = _IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    mask = netlink.attribute(_IFLA_EXT_MASK, _U32.pack(_SKIP_STATISTICS))
    return Request(_GETLINK, head + mask + netlink.text_attribute(_IFLA_IFNAME, name))


def list_addresses() -> Request:
    """To be dumped: every address of both families."""
    return Request(_GETADDR, _IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0))


def _address(
    index: int, what: Address, prefix: int, flags: int, protocol: int, lifetime: int | None
) -> bytes:
    assert lifetime is None or 0 < lifetime < FOREVER, lifetime
    raw = address.packed(what)
    valid = FOREVER if lifetime is None else lifetime
    # Deprecated from the start: a /128 must not become the source of this node's own packets. For
    # IPv4 that is settled by the order of addresses, where a virtual one comes last.
    preferred = 0 if prefix == 128 else valid
    return b"".join(
        (
            _IFADDRMSG.pack(_family(what), prefix, flags & 0xFF, 0, index),
            netlink.attribute(_IFA_LOCAL, raw),
            netlink.attribute(_IFA_ADDRESS, raw),
            netlink.attribute(_IFA_FLAGS, _U32.pack(flags)),
            netlink.attribute(_IFA_CACHEINFO, _CACHEINFO.pack(preferred, valid, 0, 0)),
            netlink.attribute(_IFA_PROTO, bytes([protocol])),
        )
    )


def _family(what: Address) -> int:
    return socket.AF_INET6 if address.family(what) == 6 else socket.AF_INET


# --- Answers --------------------------------------------------------------------------------


def change(reply: Reply) -> Change | None:
    """What a message says of a link or an address; None for messages of other kinds."""
    match reply.kind:
        case 16:  # RTM_NEWLINK
            return read_link(reply.body)
        case 17:  # RTM_DELLINK
            return LinkGone(_IFINFOMSG.unpack_from(reply.body)[2])
        case 20:  # RTM_NEWADDR
            return read_address(reply.body)
        case 21:  # RTM_DELADDR
            gone = read_address(reply.body)
            return gone and AddressGone(gone.index, gone.address, gone.prefix)
        case _:
            return None


def read_link(body: memoryview | bytes) -> LinkEntry | LinkMoved | None:
    """A link; None for what is about a link but not of it (a bridge's own attributes)."""
    family, hardware_type, index, flags, _ = _IFINFOMSG.unpack_from(body)
    if family != socket.AF_UNSPEC:
        return None
    name, hardware, alias, kind = "", b"", "", ""
    parent = master = vrf_table = event = 0
    for attribute, value in netlink.attributes(body[_IFINFOMSG.size :]):
        if attribute == _IFLA_IFNAME:
            name = _text(value)
        elif attribute == _IFLA_ADDRESS and hardware_type == _ETHERNET:
            hardware = bytes(value)
        elif attribute == _IFLA_LINK:
            (parent,) = _U32.unpack(value)
        elif attribute == _IFLA_MASTER:
            (master,) = _U32.unpack(value)
        elif attribute == _IFLA_IFALIAS:
            alias = _text(value)
        elif attribute == _IFLA_LINKINFO:
            kind, vrf_table = _read_kind(value)
        elif attribute == _IFLA_EVENT:
            (event,) = _U32.unpack(value)
    up = bool(flags & _UP and flags & _LOWER_UP)
    loopback = bool(flags & _LOOPBACK)
    link = LinkEntry(
        *(index, name, up, loopback, hardware, kind, parent, master, alias, vrf_table),
        enabled=bool(flags & _UP),
    )
    return LinkMoved(link) if event in _WAYS else link


def _read_kind(info: memoryview) -> tuple[str, int]:
    """What kind of link it is, and the table of a VRF."""
    kind, table = "", 0
    for attribute, value in netlink.attributes(info):
        if attribute == _INFO_KIND:
            kind = _text(value)
        elif attribute == _INFO_DATA and kind == "vrf":
            found = [bytes(v) for k, v in netlink.attributes(value) if k == _VRF_TABLE]
            table = sum(_U32.unpack(v)[0] for v in found)
    return kind, table


def _text(value: memoryview) -> str:
    return bytes(value).rstrip(b"\0").decode(errors="replace")


def read_address(body: memoryview | bytes) -> AddressEntry | None:
    """An address; None for families that are not IP."""
    family, prefix, flags, _, index = _IFADDRMSG.unpack_from(body)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    raw, protocol, finite = b"", 0, False
    for kind, value in netlink.attributes(body[_IFADDRMSG.size :]):
        # IFA_ADDRESS is the far end where the two differ (point to point).
        if kind == _IFA_LOCAL or (kind == _IFA_ADDRESS and not raw):
            raw = bytes(value)
        elif kind == _IFA_FLAGS:
            (flags,) = _U32.unpack(value)
        elif kind == _IFA_CACHEINFO:
            finite = _CACHEINFO.unpack(value)[1] != FOREVER
        elif kind == _IFA_PROTO:
            protocol = value[0]
    return AddressEntry(index, address.from_packed(raw), prefix, flags, protocol, finite)


# --- Asking ---------------------------------------------------------------------------------


class Route:
    """A netlink socket that asks and waits at most `patience` seconds, blocking its thread.
    `strict`: the kernel leaves out of a dump what the question does not ask for."""

    def __init__(self, patience: float = 1.0, strict: bool = False) -> None:
        self._socket = netlink.open_socket(NETLINK_ROUTE)
        if strict:
            netlink.be_strict(self._socket)
        self._patience = patience
        self._sequence = 0

    def close(self) -> None:
        """Gives the socket back."""
        self._socket.close()

    def execute(self, requests: Sequence[Request], what: str) -> list[Refusal]:
        """Has all carried out, in order, many in one system call; the refused ones in that order.

        KernelError ETIMEDOUT when the last is not answered: only reading can tell what came of it.
        """
        refused: list[Refusal] = []
        for start in range(0, len(requests), _BATCH):
            batch = requests[start : start + _BATCH]
            base = self._next(len(batch))
            last = base + len(batch) - 1
            data = b"".join(
                netlink.message(r.kind, r.flags | (netlink.ACK if n == last else 0), r.body, n)
                for n, r in enumerate(batch, base)
            )
            for reply in self._ask(data, base, last, what):
                number, text = netlink.refusal(reply)
                if number:
                    refused.append(Refusal(start + reply.sequence - base, number, text))
        return refused

    def dump(self, request: Request, what: str) -> list[memoryview]:
        """Bodies of all answers to a dump; asked again when the state changed meanwhile."""
        for _ in range(_DUMP_TRIES):
            replies = self._read_all(request, netlink.DUMP, what)
            if not any(reply.flags & netlink.DUMP_INTERRUPTED for reply in replies):
                break
        return [reply.body for reply in replies]

    def get(self, request: Request, what: str) -> memoryview | None:
        """The body of the one answer; None when there is no such thing."""
        try:
            replies = self._read_all(request, netlink.ACK, what)
        except KernelError as error:
            if error.errno == errno.ETIMEDOUT:
                raise
            return None
        return replies[0].body if replies else None

    def _read_all(self, request: Request, mode: int, what: str) -> list[Reply]:
        sequence = self._next(1)
        data = netlink.message(request.kind, request.flags | mode, request.body, sequence)
        bodies = []
        for reply in self._ask(data, sequence, sequence, what):
            if reply.kind not in (netlink.ERROR, netlink.DONE):
                bodies.append(reply)
                continue
            number, text = netlink.refusal(reply)
            if number:
                raise KernelError(what, number, text)
        return bodies

    def _ask(self, data: bytes, first: int, last: int, what: str) -> Iterator[Reply]:
        """Answers with numbers from `first` on, up to the one that ends number `last`."""
        deadline = time.monotonic() + self._patience
        try:
            self._socket.send(data)
            while True:
                for reply in self._receive(deadline, what):
                    if not first <= reply.sequence <= last:
                        continue  # the answer to a question given up before
                    yield reply
                    if reply.sequence == last and reply.kind in (netlink.ERROR, netlink.DONE):
                        return
        except OSError as error:
            raise KernelError(what, error.errno or errno.EIO) from error

    def _receive(self, deadline: float, what: str) -> list[Reply]:
        while True:
            try:
                data, _, flags, (port, _) = self._socket.recvmsg(_LARGEST_READ)
            except BlockingIOError:
                left = deadline - time.monotonic()
                poll = select.poll()
                poll.register(self._socket, select.POLLIN)
                if left <= 0 or not poll.poll(left * 1000):
                    raise KernelError(what, errno.ETIMEDOUT, "the kernel did not answer") from None
                continue
            if flags & socket.MSG_TRUNC:
                raise KernelError(what, errno.EMSGSIZE)
            if port == 0:  # from the kernel itself
                return list(netlink.messages(data))

    def _next(self, count: int) -> int:
        if self._sequence + count > 0xFFFFFFFF:
            self._sequence = 0
        first = self._sequence + 1
        self._sequence += count
        return first


class Lost(Exception):
    """Changes were lost: more came than the buffer holds. Close, open again, read everything."""


class Watch:
    """The subscription to changes of links and addresses."""

    def __init__(self) -> None:
        self._socket = netlink.open_socket(NETLINK_ROUTE, _GROUPS)

    def fileno(self) -> int:
        """For the loop's reader."""
        return self._socket.fileno()

    def close(self) -> None:
        """Gives the socket back."""
        self._socket.close()

    def read(self) -> list[Change]:
        """What lies ready, a bounded amount at once; Lost when some of it is not there any more."""
        found: list[Change] = []
        for _ in range(_READS):
            try:
                data, _, _, (port, _) = self._socket.recvmsg(_LARGEST_READ)
            except BlockingIOError:
                break
            except OSError as error:
                raise Lost(str(error)) from error
            if port == 0:
                found += (c for c in map(change, netlink.messages(data)) if c is not None)
        return found
