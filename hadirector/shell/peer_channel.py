"""The peer channel: presences between the addresses of `nodes`, one UDP datagram each.

Without a key a presence can be forged by whoever may send from a peer's address; it therefore
carries only what EXAMPLE.yaml allows it: presence, readiness, digests, states.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import replace

import msgspec

from hadirector.core import peers
from hadirector.core.address import Address, family
from hadirector.core.settings.cluster import Config

log = logging.getLogger(__name__)

MAGIC = b"HDP1"
MAX_DATAGRAM = 60_000  # bytes: states of some 1,000 services
READS = 32  # datagrams per wake-up

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(peers.Presence)


def encode(presence: peers.Presence) -> bytes:
    """A presence's datagram; without services when they would not fit."""
    raw = MAGIC + _encoder.encode(presence)
    if len(raw) <= MAX_DATAGRAM:
        return raw
    return MAGIC + _encoder.encode(replace(presence, services={}))


def decode(raw: bytes) -> peers.Presence:
    """The presence in a datagram; ValueError when there is none."""
    if not raw.startswith(MAGIC):
        raise ValueError("not a presence")
    return _decoder.decode(raw[len(MAGIC) :])


class PeerChannel:
    """A socket bound to this node's address; `heard` is called for each presence of a peer."""

    def __init__(self, incarnation: int, heard: Callable[[peers.Presence], None]) -> None:
        self.refused = 0
        self._incarnation = incarnation
        self._sequence = 0
        self._heard = heard
        self._sock: socket.socket | None = None
        self._bound: tuple[Address, int] | None = None
        self._peers: dict[Address, int] = {}

    def follow(self, config: Config) -> str:
        """Listen where the configuration says; why not, or nothing. Called again and again, since
        the address may come later."""
        own = next((node.address for node in config.nodes if node.name == config.node), None)
        self._peers = {n.address: config.peer_port for n in config.peers if n.address}
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
        if self._sock is None:
            return
        self._sequence += 1
        raw = encode(replace(presence, incarnation=self._incarnation, sequence=self._sequence))
        for address, port in self._peers.items():
            try:
                self._sock.sendto(raw, (address, port))
            except OSError as error:
                log.debug("peer=%s presence not sent: %s", address, error)

    def close(self) -> None:
        """Stop listening."""
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()
        self._sock = self._bound = None

    def _readable(self) -> None:
        assert self._sock is not None
        for _ in range(READS):
            try:
                raw, sender = self._sock.recvfrom(65_535)
            except OSError:  # nothing more, or an ICMP error of an earlier send
                return
            try:
                if sender[0] not in self._peers:
                    raise ValueError("not from a peer")
                presence = decode(raw)
            except (ValueError, msgspec.MsgspecError):
                self.refused += 1
                continue
            self._heard(presence)
