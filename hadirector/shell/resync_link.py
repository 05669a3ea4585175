"""A connection between two syncers: frames of typed messages, bounded and, with keys, sealed.

size of what follows, 32 bits | message, msgpack | MAC, 16 bytes, where there is a key
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from hadirector.core import resync_messages as said
from hadirector.core import resync_seal
from hadirector.core.address import Address, family
from hadirector.core.errors import HadirectorError
from hadirector.core.keys import Key
from hadirector.core.resync_seal import MAC, Seal

MOST = 16 << 20  # bytes of a frame: a list is sent in parts
GREET_WITHIN = 5.0  # seconds
CONNECT_WITHIN = 5.0
LIMIT = 1 << 20  # bytes that wait to be read before the sender is held up
SEND_WITHIN = 30.0  # seconds a reader may be busy
BACKLOG = 8

_SIZE = struct.Struct("!I")
_encoder = msgspec.msgpack.Encoder()
_envelope = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
    kind.__name__: msgspec.msgpack.Decoder(kind)
    for union in (said.FromStandby, said.FromMaster, said.Greeting | said.Ask)
    for kind in get_args(union)
}


class LinkError(HadirectorError):
    """The connection is over; the text says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are. `keyed`: only sealed frames are spoken and heard."""

    cluster: str
    node: str
    keyed: bool
    keys: tuple[Key, ...]


class Link:
    """One end, after the greetings."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, node: str
    ) -> None:
        self.node = node  # the other one
        self._reader, self._writer = reader, writer
        self._seal: Seal | None = None
        self._key: Key | None = None
        self._sending = asyncio.Lock()
        self._first: said.Message | None = None

    async def send(self, message: said.Message) -> None:
        """LinkError when the other end is gone, or does not read."""
        body = _encoder.encode((type(message).__name__, message))
        if len(body) > MOST:
            raise LinkError(f"{self.node}: {len(body)} bytes are too many for a frame")
        async with self._sending:
            mac = self._seal.seal(body) if self._seal else b""
            try:
                self._writer.write(_SIZE.pack(len(body) + len(mac)) + body + mac)
                async with asyncio.timeout(SEND_WITHIN):
                    await self._writer.drain()
            except (OSError, TimeoutError) as error:
                raise LinkError(f"{self.node}: {str(error) or 'does not read'}") from error

    async def receive(self, within: float = GREET_WITHIN) -> said.Message:
        """The next message, begun within so many seconds; LinkError."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            async with asyncio.timeout(within):
                head = await self._reader.readexactly(_SIZE.size)
            (size,) = _SIZE.unpack(head)
            if size > MOST + MAC:
                raise LinkError(f"{self.node}: a frame of {size} bytes")
            async with asyncio.timeout(SEND_WITHIN):
                raw = await self._reader.readexactly(size)
        except TimeoutError:
            raise LinkError(f"{self.node} is silent") from None
        except (OSError, EOFError) as error:
            raise LinkError(f"{self.node} closed the connection") from error
        body = raw
        if self._seal is not None:
            body, mac = raw[:-MAC], raw[-MAC:]
            if not self._seal.is_genuine(body, mac):
                raise LinkError(f"{self.node}: a frame's seal is wrong")
        try:
            kind, content = _envelope.decode(body)
            message: said.Message = _decoders[kind].decode(content)
        except (KeyError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise LinkError(f"{self.node}: a malformed message: {error}") from error
        flaw = said.flaw_of(message)
        if flaw:
            raise LinkError(f"{self.node} says what cannot be: {flaw}")
        return message

    def is_sealed_by(self, keys: tuple[Key, ...]) -> bool:
        """Whether it is sealed by one of these; one without a seal depends on none."""
        return self._key is None or self._key in keys

    def close(self) -> None:
        """At once."""
        self._writer.transport.abort()

    # Greetings

    async def greet_master(self, us: Identity) -> None:
        """We are the standby and speak first; LinkError."""
        ours = _greeting(us, tuple(key.identity for key in us.keys))
        async with _in_time(self.node):
            await self.send(ours)
            theirs = await self._greeting(us)
        if us.keyed:
            key = resync_seal.choose(us.keys, theirs.identities)
            if key is None:
                raise LinkError(f"{self.node} has none of our keys, or no key_file")
            names, nonces = (us.node, self.node), (ours.nonce, theirs.nonce)
            self._key, self._seal = key, Seal(key, us.cluster, names, nonces, 0)
        elif theirs.identities:
            raise LinkError(f"{self.node} has a key_file, and this node has none")

    async def greet_standby(self, us: Identity) -> None:
        """We are the master and answer; LinkError."""
        async with _in_time(self.node):
            theirs = await self._greeting(us)
            key = resync_seal.choose(us.keys, theirs.identities) if us.keyed else None
            identities = tuple(k.identity for k in us.keys) if key is None else (key.identity,)
            ours = _greeting(us, identities)
            await self.send(ours)
        if us.keyed:
            if key is None:
                raise LinkError(f"{self.node} has none of our keys, or no key_file")
            names, nonces = (self.node, us.node), (theirs.nonce, ours.nonce)
            self._key, self._seal = key, Seal(key, us.cluster, names, nonces, 1)
        elif theirs.identities:
            raise LinkError(f"{self.node} has a key_file, and this node has none")

    async def prove(self) -> None:
        """With keys a greeting alone proves nothing: wait for a genuine frame; LinkError."""
        if self._seal is not None:
            self._first = await self.receive()

    async def _greeting(self, us: Identity) -> said.Greeting:
        message = await self.receive()
        if not isinstance(message, said.Greeting) or len(message.nonce) != said.NONCE:
            raise LinkError(f"{self.node}: no greeting")
        if message.version != said.VERSION:
            text = f"speaks version {message.version}, this node {said.VERSION}"
            raise LinkError(f"{self.node} {text}: run the same release on both")
        if (message.cluster, message.node) != (us.cluster, self.node):
            raise LinkError(f"{self.node}: is {message.node} of {message.cluster} there")
        return message


def _greeting(us: Identity, identities: tuple[int, ...]) -> said.Greeting:
    return said.Greeting(said.VERSION, us.cluster, us.node, os.urandom(said.NONCE), identities)


@contextlib.asynccontextmanager
async def _in_time(node: str) -> AsyncIterator[None]:
    """Greetings are not waited for longer."""
    try:
        async with asyncio.timeout(GREET_WITHIN):
            yield
    except TimeoutError:
        raise LinkError(f"{node} does not greet") from None


async def until_one_ends(*parts: Coroutine[Any, Any, None]) -> None:
    """Run them side by side; once one of them ends or fails, so do all."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def connect(
    own: Address, peer: Address, port: int, node: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """From our address, by which the peer knows us; LinkError."""
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            return await asyncio.open_connection(peer, port, local_addr=(own, 0), limit=LIMIT)
    except (OSError, TimeoutError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "silent"
        raise LinkError(f"{node} at {peer} port {port}: {why}") from error


def listen(own: Address, port: int) -> socket.socket:
    """A listening socket; OSError."""
    kind = socket.AF_INET6 if family(own) == 6 else socket.AF_INET
    sock = socket.socket(kind, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((own, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
