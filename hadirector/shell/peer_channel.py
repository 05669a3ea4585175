"""The peer channel: one UDP datagram a message between the addresses of `nodes`.

Without a key it carries presences only, since whoever may send from a peer's address can forge
them. With `key_file` every datagram is sealed (core/seal) and new (core/conversation), and two
directors order things of each other as well.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from hadirector.core import peer_messages, peers
from hadirector.core.address import Address, family
from hadirector.core.gate import Admitted, Gate
from hadirector.core.keys import Key
from hadirector.core.peer_messages import Echo, PeerMessage
from hadirector.core.seal import Flaw, Mark
from hadirector.core.settings.cluster import Config
from hadirector.shell import child

log = logging.getLogger(__name__)

MAX_BODY = 60_000  # bytes: states of some 1,000 services
READS = 32  # datagrams per wake-up
ATTEMPTS = 2  # to send: the first may get an earlier datagram's ICMP error

_encoder = msgspec.msgpack.Encoder()
_presence = msgspec.msgpack.Decoder(peers.Presence)
_envelope = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
    kind.__name__: msgspec.msgpack.Decoder(kind)
    for kind in (
        peers.Presence,
        Echo,
        peer_messages.Prepare,
        peer_messages.TakeOver,
        peer_messages.Answer,
        peer_messages.Told,
    )
}

Heard = Callable[[str, PeerMessage], None]
"""(node, what it says); anything but a presence comes only by a key."""


def encode(message: PeerMessage, sealed: bool) -> bytes:
    """A message's body; a presence without its services when they would not fit."""
    raw = _encode(message, sealed)
    if len(raw) > MAX_BODY and isinstance(message, peers.Presence):
        return _encode(replace(message, services={}), sealed)
    return raw


def decode(body: bytes, sealed: bool) -> PeerMessage:
    """The message of a body; ValueError (msgspec's) when it is none, RecursionError when it is
    nested too deeply to tell."""
    if not sealed:
        return _presence.decode(body)
    kind, raw = _envelope.decode(body)
    if kind not in _decoders:
        raise ValueError(f"unknown message {kind!r}")
    message: PeerMessage = _decoders[kind].decode(raw)
    return message


def _encode(message: PeerMessage, sealed: bool) -> bytes:
    return _encoder.encode((type(message).__name__, message) if sealed else message)


class PeerChannel:
    """A socket bound to this node's address. `heard` is called for what a peer says, `complain`
    with (node, sentence) for what is not believed, once."""

    def __init__(
        self, incarnation: int, heard: Heard, complain: Callable[[str, str], None]
    ) -> None:
        self.gate = Gate(incarnation)
        self._incarnation = incarnation
        self._sequence = 0
        self._heard = heard
        self._complain = complain
        self._sock: socket.socket | None = None
        self._bound: tuple[Address, int] | None = None
        self._peers: dict[str, tuple[Address, int]] = {}
        self._names: dict[Address, str] = {}

    @property
    def refused(self) -> int:
        """Datagrams that were not believed."""
        return sum(sum(counts.values()) for counts in self.gate.refused.values())

    def follow(self, config: Config, keys: tuple[Key, ...]) -> str:
        """Listen where the configuration says, with what its key_file holds; why not, or nothing.
        Called again and again, since the address may come later."""
        self._peers = {n.name: (n.address, config.peer_port) for n in config.peers if n.address}
        self._names = {address: name for name, (address, _) in self._peers.items()}
        self.gate.follow(config.cluster, config.node, self._peers, keys)
        if config.key_file is not None and not keys:
            # Nothing is said then: better silent than forgeable.
            self.close()
            return f"the peer channel is closed: {config.key_file} could not be read"
        return self._listen(config)

    def _listen(self, config: Config) -> str:
        own = next((node.address for node in config.nodes if node.name == config.node), None)
        wanted = (own, config.peer_port) if own and self._peers else None
        if wanted == self._bound:
            return ""
        self.close()
        if wanted is None:
            return ""
        kind = socket.AF_INET6 if family(wanted[0]) == 6 else socket.AF_INET
        sock = socket.socket(kind, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.bind(wanted)  # without SO_REUSEADDR: a second daemon must not steal the port
        except OSError as error:
            sock.close()
            return f"peer channel: cannot listen on {wanted[0]} port {wanted[1]}: {error.strerror}"
        self._sock, self._bound = sock, wanted
        asyncio.get_running_loop().add_reader(sock.fileno(), self._readable)
        return ""

    def send(self, presence: peers.Presence) -> None:
        """Tell every peer; what the network does not take now is superseded soon anyway."""
        self._sequence += 1
        marked = replace(presence, incarnation=self._incarnation, sequence=self._sequence)
        body = encode(marked, self.gate.keyed)
        for node in self._peers:
            self._send(node, body)

    def tell(self, node: str, message: peer_messages.Keyed) -> None:
        """Say something to one peer; without a key nothing is said."""
        if self.gate.keyed and node in self._peers:
            self._send(node, encode(message, sealed=True))

    def close(self) -> None:
        """Stop listening."""
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()
        self._sock = self._bound = None

    def _send(self, node: str, body: bytes, echo: Mark | None = None) -> None:
        if self._sock is None:
            return
        raw = self.gate.seal(node, body, child.now(), echo)
        for attempt in range(ATTEMPTS):
            try:
                self._sock.sendto(raw, self._peers[node])
            except OSError as error:
                if attempt:
                    log.debug("peer=%s not sent: %s", node, error)
            else:
                return

    def _readable(self) -> None:
        assert self._sock is not None
        for _ in range(READS):
            try:
                raw, sender = self._sock.recvfrom(65_535)
            except OSError:  # nothing more, or an ICMP error of an earlier send
                return
            if raw:  # an empty one is doctor asking whether the port is open (shell/doctor/peers)
                self._take(raw, self._names.get(sender[0], ""))

    def _take(self, raw: bytes, node: str) -> None:
        now = child.now()
        if not node:
            self.gate.reject(node, Flaw.STRANGER, now)
            return
        judged = self.gate.admit(raw, node, now)
        if isinstance(judged, Admitted):
            try:
                message = decode(judged.body, judged.sealed)
                if isinstance(message, peers.Presence) and message.node != node:
                    raise ValueError("another node's presence")
            except (ValueError, RecursionError, msgspec.MsgspecError):
                judged = self.gate.reject(node, Flaw.MALFORMED, now)
            else:
                self._heard(node, message)
                return
        if judged.answer is not None:
            self._send(node, encode(Echo(), sealed=True), judged.answer)
        if judged.complaint:
            self._complain(node, judged.complaint)
