"""Typed messages between two processes of a node, over a SOCK_SEQPACKET pair.

The supervisor holds both ends for its whole life and hands them to each child it starts, so a
restarted process finds its channels as its predecessor left them; the first `Hello` makes the
other side tell everything again. A message larger than a datagram goes in parts; parts of a
message whose sender died are dropped with the next one that starts.

Bounds: at most one unsent message per level (the newest wins, the loss is counted), at most
QUEUE of the numbered ones, at most MAX_MESSAGE bytes assembled. Sending never blocks.
"""

import asyncio
import logging
import os
import socket
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import msgspec

from hadirector.core import messages, record_watch, runner_messages, syncer_messages

log = logging.getLogger(__name__)

PART = 48_000  # bytes of a datagram: four fit the smallest default send buffer
MAX_MESSAGE = 64 << 20  # 100,000 targets are about 30 MB
_MOST_DESCRIPTORS = 253  # SCM_MAX_FD
QUEUE = 256  # numbered messages waiting; a reader this far behind is as good as dead
READS = 64  # datagrams per wake-up: no channel may keep the loop

_HEADER = struct.Struct("!QII")  # sequence number, part, parts
_NUMBERED = (
    messages.Order,
    messages.Obeyed,
    messages.Events,
    messages.Request,
    messages.Verdicts,
    messages.Execute,
    messages.Executed,
    messages.Reports,
    messages.Lend,
    messages.Hello,
    messages.Run,
    runner_messages.Ran,
    syncer_messages.Resync,
    syncer_messages.SyncNews,
    record_watch.SeenRecords,
)
_encoder = msgspec.msgpack.Encoder()
_envelope = msgspec.msgpack.Decoder(tuple[str, float, msgspec.Raw])
_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
    kind.__name__: msgspec.msgpack.Decoder(kind) for kind in get_args(messages.Message)
}

FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came; after `valid_until` (CLOCK_BOOTTIME) its level counts as unknown."""

    message: messages.Message
    valid_until: float
    descriptors: tuple[int, ...] = ()  # that came with it: the receiver's to close


@dataclass(slots=True)
class Counts:
    """What a channel lost or refused; shown by status."""

    superseded: int = 0
    overflowed: int = 0
    malformed: int = 0
    unlawful: int = 0  # what the other end has no right to say


def encode(message: messages.Message, valid_until: float = FOREVER) -> bytes:
    """The bytes of one message."""
    return _encoder.encode((type(message).__name__, valid_until, message))


def decode(raw: bytes) -> Received:
    """The message of these bytes; ValueError (msgspec's) when they are not a lawful one,
    RecursionError when they are nested too deeply to tell."""
    kind, valid_until, body = _envelope.decode(raw)
    if kind not in _decoders:
        raise ValueError(f"unknown message {kind!r}")
    return Received(_decoders[kind].decode(body), valid_until)


@dataclass(slots=True)
class _Assembly:
    """The parts of the message now arriving."""

    sequence: int = -1
    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, sequence: int, part: int, parts: int, chunk: bytes) -> bytes | None:
        """The whole message when `chunk` completes it; ValueError when it cannot belong."""
        if part == 0:
            self.sequence, self.parts, self.size = sequence, [], 0
        if sequence != self.sequence or part != len(self.parts) or part >= parts:
            raise ValueError("a part out of order")
        self.parts.append(chunk)
        self.size += len(chunk)
        if self.size > MAX_MESSAGE:
            self.sequence = -1
            raise ValueError("a message over the size limit")
        if part + 1 < parts:
            return None
        whole, self.sequence, self.parts = b"".join(self.parts), -1, []
        return whole

    def under_way(self) -> bool:
        """Whether parts of a message are still to come."""
        return bool(self.parts)


class Channel:
    """One end. `start` begins to read; `receive` is called on the loop for each message.

    `ended` is set once nobody holds the other end: the supervisor is gone, and so is the process
    it is the channel to.
    """

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.name = name
        self.counts = Counts()
        self.ended = asyncio.Event()
        self._sock = sock
        self._sock.setblocking(False)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._receive: Callable[[Received], None] | None = None
        self._lawful: Callable[[messages.Message], bool] = lambda _: True
        self._takes_descriptors = False
        self._descriptors: list[int] = []  # that came with the parts of the message now arriving
        self._going: list[int] = []  # that go with the first part of the message now going out
        self._levels: OrderedDict[str, bytes] = OrderedDict()
        self._numbered: list[tuple[bytes, tuple[int, ...]]] = []
        self._parts: list[bytes] = []  # of the message now going out
        self._sequence = 0
        self._assembly = _Assembly()
        self._writing = False

    def start(
        self,
        receive: Callable[[Received], None],
        lawful: Callable[[messages.Message], bool] = lambda _: True,
        *,
        descriptors: bool = False,
    ) -> None:
        """Read from now on, on the running loop; what is not `lawful` is counted and dropped.
        `descriptors` may come with messages; elsewhere the kernel closes them unseen."""
        self._takes_descriptors = descriptors
        self._loop = asyncio.get_running_loop()
        self._receive, self._lawful = receive, lawful
        self._loop.add_reader(self._sock.fileno(), self._readable)

    def send(
        self,
        message: messages.Message,
        valid_until: float = FOREVER,
        descriptors: tuple[int, ...] = (),
    ) -> None:
        """Queue a message and send what the kernel takes now. `descriptors`, only with a numbered
        one and at most 253, are closed here once they went or are lost."""
        raw = encode(message, valid_until)
        assert not descriptors or isinstance(message, _NUMBERED)
        if isinstance(message, _NUMBERED):
            if len(self._numbered) >= QUEUE:
                _close(self._numbered.pop(0)[1])
                self.counts.overflowed += 1
            self._numbered.append((raw, descriptors))
        else:
            kind = type(message).__name__
            self.counts.superseded += kind in self._levels
            self._levels[kind] = raw
        self._flush()

    def close(self) -> None:
        """Stop reading and writing; what was not sent is lost."""
        if self._loop is not None:
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
        self._sock.close()

    def _next_parts(self) -> list[bytes]:
        if self._numbered:
            raw, descriptors = self._numbered.pop(0)
            self._going = list(descriptors)
        elif self._levels:
            raw = self._levels.popitem(last=False)[1]
        else:
            return []
        self._sequence += 1
        count = max(1, -(-len(raw) // PART))
        return [
            _HEADER.pack(self._sequence, i, count) + raw[i * PART : (i + 1) * PART]
            for i in range(count)
        ]

    def _flush(self) -> None:
        while True:
            if not self._parts:
                self._parts = self._next_parts()
                if not self._parts:
                    return self._want_write(False)
            try:
                if self._going:
                    socket.send_fds(self._sock, [self._parts[0]], self._going)
                    self._gone()
                else:
                    self._sock.send(self._parts[0])
            except (BlockingIOError, InterruptedError):
                return self._want_write(True)
            except OSError as error:
                # The supervisor holds both ends, so this is our own end going away: we are leaving.
                log.debug("channel=%s send failed: %s", self.name, error)
                self._parts = []
                self._gone()
                return self._want_write(False)
            del self._parts[0]

    def _gone(self) -> None:
        _close(self._going)
        self._going = []

    def _want_write(self, wanted: bool) -> None:
        if self._loop is None or wanted == self._writing:
            return
        self._writing = wanted
        if wanted:
            self._loop.add_writer(self._sock.fileno(), self._flush)
        else:
            self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        for _ in range(READS):
            try:
                raw = self._receive_part()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                log.debug("channel=%s receive failed: %s", self.name, error)
                raw = b""
            if not raw:
                assert self._loop is not None
                self._loop.remove_reader(self._sock.fileno())
                self.ended.set()
                return
            self._take(raw)

    def _receive_part(self) -> bytes:
        if not self._takes_descriptors:
            return self._sock.recv(PART + _HEADER.size)
        raw, came, _, _ = socket.recv_fds(self._sock, PART + _HEADER.size, _MOST_DESCRIPTORS)
        self._descriptors += came
        return raw

    def _take(self, raw: bytes) -> None:
        try:
            self._take_part(raw)
        finally:
            if not self._assembly.under_way():  # nobody took them
                _close(self._descriptors)
                self._descriptors = []

    def _take_part(self, raw: bytes) -> None:
        try:
            if len(raw) < _HEADER.size:
                raise ValueError("a short datagram")
            sequence, part, parts = _HEADER.unpack_from(raw)
            whole = self._assembly.add(sequence, part, parts, raw[_HEADER.size :])
            received = None if whole is None else decode(whole)
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            self.counts.malformed += 1
            log.warning("channel=%s refused a message: %s", self.name, error)
            return
        if received is None:
            return
        if not self._lawful(received.message):
            self.counts.unlawful += 1
            if self.counts.unlawful == 1:  # one line: who does so may do it all day
                kind = type(received.message).__name__
                log.error("channel=%s sent %s, which is not its to send", self.name, kind)
            return
        assert self._receive is not None
        came, self._descriptors = tuple(self._descriptors), []
        self._receive(replace(received, descriptors=came) if came else received)


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a channel, not inheritable until handed to a child."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
