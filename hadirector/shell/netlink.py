"""Netlink: messages and attributes as bytes, and a bounded conversation with the kernel.

    0                   1                   2                   3
    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
   +---------------------------------------------------------------+
   |           length of the message, header included              |   host byte order,
   +-------------------------------+-------------------------------+   each message and each
   |             kind              |             flags             |   attribute starts at a
   +-------------------------------+-------------------------------+   multiple of 4
   |                     sequence number                           |
   +---------------------------------------------------------------+
   |                   port id (0: the kernel)                     |
   +-------------------------------+-------------------------------+
   |  length of attribute, 4 incl. |     kind of the attribute     |   after the family's own
   +-------------------------------+-------------------------------+   fixed header
   |                     value, padded to 4 ...

Many requests travel in one send; the kernel executes them one after the other inside that system
call, goes on after one it refuses, and reports each refusal under its sequence number. Only the
last of a chunk asks for an acknowledgement: asking for all of them overruns the receive buffer,
and then every answer is lost (measured: 400 of them at the default size).

The packing functions are pure. The module imports nothing beyond the standard library, so that
the election process can use it at no cost. Sources: include/uapi/linux/netlink.h, RFC 3549.
"""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, Self, TypeVar

from hadirector.core.errors import HadirectorError

ERROR = 2
DONE = 3
FIRST_OF_FAMILY = 16  # NLMSG_MIN_TYPE: kinds below are netlink's own

REQUEST = 0x1
ACK = 0x4
DUMP_INTERRUPTED = 0x10
DUMP = 0x300
REPLACE = 0x100
EXCLUSIVE = 0x200
CREATE = 0x400
_CAPPED = 0x100  # an error that does not echo the body of the request
_EXTENDED = 0x200  # an error with attributes that explain it

_SOL_NETLINK = 270
_NETLINK_EXT_ACK = 11
_NETLINK_CAP_ACK = 10
_NETLINK_GET_STRICT_CHK = 12
_SO_RCVBUFFORCE = 33
_ERROR_TEXT = 1  # NLMSGERR_ATTR_MSG

RECEIVE_BUFFER = 4 << 20
CHUNK = 32 << 10  # bytes per send; larger ones are no faster (measured), smaller ones cost calls
_LARGEST_READ = 64 << 10  # the kernel fills at most 32 KiB of a dump into one datagram
_READS_PER_TURN = 4  # datagrams read before the loop may turn: about 100 KiB, or a millisecond
_DUMP_TRIES = 3

HEADER = struct.Struct("=IHHII")  # drawn above
_ATTRIBUTE = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")
_KIND_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_NESTED = 0x8000


_T = TypeVar("_T")


class KernelError(HadirectorError):
    """The kernel refused, did not answer, or answered what cannot be read."""

    def __init__(self, operation: str, number: int, text: str = "") -> None:
        self.operation = operation
        self.errno = number
        self.text = text or os.strerror(number)
        super().__init__(f"{operation}: {self.text}")


class Request(NamedTuple):
    """One message to the kernel: its kind, the family's header with attributes, extra flags."""

    kind: int
    body: bytes
    flags: int = 0


class Reply(NamedTuple):
    """One message from the kernel."""

    kind: int
    flags: int
    sequence: int
    port: int
    body: memoryview


class Refusal(NamedTuple):
    """Which request of a batch (counted from 0) the kernel refused, and why."""

    place: int
    errno: int
    text: str


# --- Packing -------------------------------------------------------------------------------


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    size = 4 + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + b"\0" * (-size & 3)


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute of attributes."""
    return attribute(kind | _NESTED, b"".join(parts))


def text_attribute(kind: int, value: str) -> bytes:
    """A string with its closing zero, as the kernel keeps names."""
    return attribute(kind, value.encode() + b"\0")


def message(kind: int, flags: int, body: bytes, sequence: int = 0) -> bytes:
    """A whole message to the kernel, padded; REQUEST is added."""
    size = HEADER.size + len(body)
    return HEADER.pack(size, kind, flags | REQUEST, sequence, 0) + body + b"\0" * (-size & 3)


# --- Reading -------------------------------------------------------------------------------


def attributes(data: memoryview | bytes) -> Iterator[tuple[int, memoryview]]:
    """Each attribute's kind (flag bits removed) and value; KernelError where lengths lie."""
    view = memoryview(data)
    offset, end = 0, len(view)
    while offset + 4 <= end:
        size, kind = _ATTRIBUTE.unpack_from(view, offset)
        if size < 4 or offset + size > end:
            raise _malformed(f"an attribute of {size} bytes where {end - offset} are left")
        yield kind & _KIND_MASK, view[offset + 4 : offset + size]
        offset += (size + 3) & ~3
    if offset < end:
        raise _malformed(f"{end - offset} stray bytes after the last attribute")


def messages(data: memoryview | bytes) -> Iterator[Reply]:
    """Each message of a datagram; KernelError where lengths lie."""
    view = memoryview(data)
    offset, end = 0, len(view)
    while offset + HEADER.size <= end:
        size, kind, flags, sequence, port = HEADER.unpack_from(view, offset)
        if size < HEADER.size or offset + size > end:
            raise _malformed(f"a message of {size} bytes where {end - offset} are left")
        yield Reply(kind, flags, sequence, port, view[offset + HEADER.size : offset + size])
        offset += (size + 3) & ~3
    if offset < end:
        raise _malformed(f"{end - offset} stray bytes after the last message")


def refusal(reply: Reply) -> tuple[int, str]:
    """Error number (0: an acknowledgement) and the kernel's own words of an ERROR or DONE."""
    if len(reply.body) < _ERRNO.size:
        return (0, "") if reply.kind == DONE else (errno.EPROTO, "an error without a number")
    (number,) = _ERRNO.unpack_from(reply.body)
    if number >= 0 or not reply.flags & _EXTENDED:
        return -min(number, 0), ""
    return -number, _explanation(reply)


def _explanation(reply: Reply) -> str:
    """NLMSGERR_ATTR_MSG; an error carries the request's header first, all of it unless capped."""
    offset = _ERRNO.size
    if reply.kind == ERROR:
        if len(reply.body) < offset + HEADER.size:
            return ""
        (echoed,) = struct.unpack_from("=I", reply.body, offset)
        offset += HEADER.size if reply.flags & _CAPPED else (echoed + 3) & ~3
    for kind, value in attributes(reply.body[offset:]):
        if kind == _ERROR_TEXT:
            return bytes(value).rstrip(b"\0").decode(errors="replace")
    return ""


def _malformed(what: str) -> KernelError:
    return KernelError("reading netlink", errno.EPROTO, what)


# --- Conversing ----------------------------------------------------------------------------


def _unread(_datagram: bytes, _sequence: int) -> list[memoryview] | None:
    return None


class Conversation:
    """A netlink socket that asks and waits, for each answer at most `patience` seconds.

    `dump` and `execute` take turns, whoever calls them: a reader that meets another's answers
    would have to guess. What answers a question given up before is dropped by its number.
    """

    def __init__(self, protocol: int, patience: float = 2.0) -> None:
        self._socket = open_socket(protocol)
        self._patience = patience
        self._sequence = 0
        self._buffer = memoryview(bytearray(_LARGEST_READ))
        self._turn = asyncio.Lock()
        self._reads = 0

    @property
    def port(self) -> int:
        """The number the kernel knows this socket by."""
        port, _ = self._socket.getsockname()
        return int(port)

    def close(self) -> None:
        """Gives the socket back; a question under way ends with an error."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def execute(
        self, requests: Iterable[Request], what: str, patience: float | None = None
    ) -> tuple[Refusal, ...]:
        """Has all requests carried out in order; the refused ones, in that order.

        Requests are drawn as they are sent, so that packing thousands of them does not hold up
        the loop. KernelError ETIMEDOUT when the last of a chunk is not answered in time: what
        came of the chunk is then unknown, and only reading the kernel's state can tell.
        """
        refused: list[Refusal] = []
        async with self._turn:
            for first, chunk in _chunks(requests):
                refused += await self._execute_chunk(first, chunk, what, patience)
        return tuple(refused)

    async def dump(self, request: Request, what: str) -> list[memoryview]:
        """Bodies of all answers to a dump; asked again when the state changed meanwhile."""
        return await self.read(request, what, _unread)

    async def read(
        self, request: Request, what: str, page: Callable[[bytes, int], list[_T] | None]
    ) -> list[_T | memoryview]:
        """All answers to a dump, where thousands are expected.

        `page` reads the answers of a whole datagram at once. It is given the number of the
        question, and returns None for a datagram that is not made of answers to it alone, or not
        of such as it knows: these come as bodies.
        """
        async with self._turn:
            for _ in range(_DUMP_TRIES):
                found, consistent = await self._dump_once(request, what, page)
                if consistent:
                    break
            return found

    async def get(self, request: Request, what: str) -> memoryview:
        """The body of the one answer to a request; KernelError when it is refused."""
        async with self._turn:
            bodies, _ = await self._dump_once(request, what, _unread, ACK)
        if not bodies:
            raise KernelError(what, errno.ENODATA)
        return bodies[0]

    async def _execute_chunk(
        self, first: int, chunk: Sequence[Request], what: str, patience: float | None
    ) -> list[Refusal]:
        base = self._next(len(chunk))
        awaited = base + len(chunk) - 1
        data = b"".join(
            message(each.kind, each.flags, each.body, sequence)
            for sequence, each in enumerate(chunk[:-1], base)
        )
        final = chunk[-1]
        data += message(final.kind, final.flags | ACK, final.body, awaited)
        self._send(data, what)
        refused = []
        while True:
            for reply in messages(await self._receive(what, patience)):
                if reply.kind != ERROR or not base <= reply.sequence <= awaited:
                    continue
                number, text = refusal(reply)
                if number:
                    text = text or os.strerror(number)
                    refused.append(Refusal(first + reply.sequence - base, number, text))
                if reply.sequence == awaited:
                    return refused

    async def _dump_once(
        self,
        request: Request,
        what: str,
        page: Callable[[bytes, int], list[_T] | None],
        mode: int = DUMP,
    ) -> tuple[list[_T | memoryview], bool]:
        sequence = self._next(1)
        data = message(request.kind, request.flags | mode, request.body, sequence)
        self._send(data, what)
        found: list[_T | memoryview] = []
        consistent = True
        while True:
            datagram = await self._receive(what)
            if (whole := page(datagram, sequence)) is not None:
                found += whole
                continue
            for reply in messages(datagram):
                if reply.sequence != sequence:
                    continue
                consistent = consistent and not reply.flags & DUMP_INTERRUPTED
                if reply.kind not in (DONE, ERROR):
                    found.append(reply.body)
                    continue
                number, text = refusal(reply)
                if number:
                    raise KernelError(what, number, text)
                return found, consistent

    def _next(self, count: int) -> int:
        """First of `count` sequence numbers in a row; 0 is kept for what is not an answer."""
        if self._sequence + count > 0xFFFFFFFF:
            self._sequence = 0
        first = self._sequence + 1
        self._sequence += count
        return first

    def _send(self, data: bytes, what: str) -> None:
        """Sends a datagram; the kernel executes it before this returns."""
        try:
            self._socket.send(data)
        except OSError as error:
            raise KernelError(what, error.errno or errno.EIO) from error

    async def _receive(self, what: str, patience: float | None = None) -> bytes:
        """The next datagram that comes from the kernel itself.

        Answers nearly always lie ready. Then there is nothing to wait for, and the loop is let
        turn only now and then.
        """
        while True:
            self._reads += 1
            if self._reads % _READS_PER_TURN == 0:
                await asyncio.sleep(0)
            try:
                size, _, flags, (port, _) = self._socket.recvmsg_into([self._buffer])
            except BlockingIOError:
                await self._readable(self._patience if patience is None else patience, what)
                continue
            except OSError as error:
                raise KernelError(what, error.errno or errno.EIO) from error
            if flags & socket.MSG_TRUNC:
                raise KernelError(what, errno.EMSGSIZE)
            if port == 0:
                return bytes(self._buffer[:size])

    async def _readable(self, patience: float, what: str) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._socket, ready.set)
        try:
            async with asyncio.timeout(patience):
                await ready.wait()
        except TimeoutError as error:
            raise KernelError(what, errno.ETIMEDOUT, "the kernel did not answer") from error
        finally:
            loop.remove_reader(self._socket)


def open_socket(protocol: int, groups: int = 0) -> socket.socket:
    """A bound, non-blocking socket whose errors come short and with an explanation."""
    opened = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol
    )
    try:
        _raise_buffer(opened)
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            with suppress(OSError):  # older than Linux 4.3 and 4.12: errors are only wordier
                opened.setsockopt(_SOL_NETLINK, option, 1)
        opened.bind((0, groups))
    except OSError:
        opened.close()
        raise
    return opened


def be_strict(opened: socket.socket) -> None:
    """Have the fields of a question for a dump count as a filter, as far as the kernel can
    (Linux 4.20)."""
    with suppress(OSError):
        opened.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)


def _raise_buffer(opened: socket.socket) -> None:
    """Past the system's limit where we may (CAP_NET_ADMIN), else up to it."""
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def _chunks(requests: Iterable[Request]) -> Iterator[tuple[int, list[Request]]]:
    """Requests that fit into one send, with the place of the first; a larger one goes alone."""
    first, size = 0, 0
    chunk: list[Request] = []
    for request in requests:
        length = HEADER.size + ((len(request.body) + 3) & ~3)
        if chunk and size + length > CHUNK:
            yield first, chunk
            first, size, chunk = first + len(chunk), 0, []
        chunk.append(request)
        size += length
    if chunk:
        yield first, chunk
