"""What the relay puts on the wire between directors.

The kernel's sync datagrams travel whole, each sealed once for all peers:

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------------------------------------------------------+
    |                         "HDS1"                                |
    +---------------+---------------+-------------------------------+
    |   key's ID    |   sync ID     |  bytes of the kernel's datagram|
    +---------------+---------------+-------------------------------+
    |   sender: digest of cluster and node                     (64) |
    |   epoch: the incarnation of the sender's relay           (64) |
    |   sequence: grows by one with each datagram              (64) |
    +---------------------------------------------------------------+
    |   the kernel's datagram                                       |
    +---------------------------------------------------------------+
    |   MAC: BLAKE2b, keyed, 16 bytes                               |
    +---------------------------------------------------------------+

Beside them the relays talk with each other, one to one, in datagrams of core/seal, whose echoes
prove that what is said is new (core/conversation): beats, which prove an epoch and tell how far
its sender has come, and requests to send again what was lost.

Records are authenticated, not encrypted: whoever can listen on that network sees the clients'
addresses in the packets themselves.
"""

import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from hadirector.core import seal
from hadirector.core.errors import HadirectorError
from hadirector.core.keys import Key
from hadirector.core.seal import Flaw

MAGIC = b"HDS1"
# Bytes of a kernel's datagram that fit, sealed, into the smallest MTU of IPv6 (1280): no path
# between directors fragments them. 32 records of IPv4, 16 of IPv6.
PAYLOAD = 1184
RANGES = 100  # of lost datagrams in one request

_FAMILY = b"HDS"  # of whatever version
_HEAD = struct.Struct("!4sBBH8sQQ")
_MAC = 16  # bytes
_PERSON = b"hadirector relay"
_KERNEL = struct.Struct("!BBHBbH")  # reserved, sync ID, size, records, version, spare
_BEAT = struct.Struct("!BQQQQQ")
_AGAIN = struct.Struct("!BQH")
_RANGE = struct.Struct("!QH")
_BEAT_KIND, _AGAIN_KIND = 1, 2


class RelayError(HadirectorError):
    """No datagram of records of a peer. `identity` is the key it names, 0 where it names none."""

    def __init__(self, flaw: Flaw, identity: int = 0) -> None:
        super().__init__(flaw.value)
        self.flaw = flaw
        self.identity = identity


@dataclass(frozen=True, slots=True)
class Records:
    """A genuine datagram of records; `sender` is the `tag` of the node that sealed it."""

    sender: bytes
    identity: int
    epoch: int
    sequence: int
    payload: bytes


def tag(cluster: str, node: str) -> bytes:
    """What names a node in the header, in 8 bytes."""
    return blake2b(f"{cluster}\0{node}".encode(), digest_size=8).digest()


def seal_records(
    payload: bytes, sender: bytes, epoch: int, sequence: int, sync_id: int, key: Key
) -> bytes:
    """The datagram that carries one of the kernel's."""
    assert len(payload) <= PAYLOAD, len(payload)
    head = _HEAD.pack(MAGIC, key.identity, sync_id, len(payload), sender, epoch, sequence)
    sealed = head + payload
    return sealed + _mac(sealed, key)


def is_records(raw: bytes) -> bool:
    """Whether it is to be opened here; what begins as those of core/seal is not."""
    return not raw.startswith(seal.MAGIC)


def sender_of(raw: bytes) -> bytes | None:
    """The tag in a datagram, not proven by anything; None where it is too short for one."""
    return raw[8:16] if raw.startswith(MAGIC) and len(raw) >= _HEAD.size else None


def flaw_of(raw: bytes) -> Flaw | None:
    """What is wrong with it at first sight; None: nothing."""
    if not raw.startswith(MAGIC):
        return _foreign(raw)
    if len(raw) < _HEAD.size + _MAC:
        return Flaw.TRUNCATED
    size = _HEAD.unpack_from(raw)[3]
    surplus = len(raw) - _HEAD.size - size - _MAC
    if surplus:
        return Flaw.TRUNCATED if surplus < 0 else Flaw.MALFORMED
    return None


def open_records(raw: bytes, keys: Iterable[Key], sync_id: int) -> Records:
    """The records of a genuine datagram of our sync ID; RelayError."""
    flaw = flaw_of(raw)
    if flaw is not None:
        raise RelayError(flaw)
    _, identity, theirs, _, sender, epoch, sequence = _HEAD.unpack_from(raw)
    key = next((one for one in keys if one.identity == identity), None)
    if key is None:
        raise RelayError(Flaw.UNKNOWN_KEY, identity)
    sealed, mac = raw[:-_MAC], raw[-_MAC:]
    if not hmac.compare_digest(_mac(sealed, key), mac):
        raise RelayError(Flaw.WRONG_KEY, identity)
    if theirs != sync_id:
        raise RelayError(Flaw.WRONG_SYNC_ID, identity)
    payload = sealed[_HEAD.size :]
    flaw = kernel_flaw(payload, sync_id)
    if flaw is not None:
        raise RelayError(flaw, identity)
    return Records(sender, identity, epoch, sequence, payload)


def kernel_flaw(payload: bytes, sync_id: int) -> Flaw | None:
    """What is wrong with the head of a kernel's datagram (sync version 1); None: nothing."""
    if not _KERNEL.size < len(payload) <= PAYLOAD:
        return Flaw.MALFORMED
    reserved, theirs, size, _, version, spare = _KERNEL.unpack_from(payload)
    if (reserved, version, spare) != (0, 1, 0):
        return Flaw.VERSION
    if size != len(payload):
        return Flaw.TRUNCATED if size > len(payload) else Flaw.MALFORMED
    return Flaw.WRONG_SYNC_ID if theirs != sync_id else None


def _foreign(raw: bytes) -> Flaw:
    """What else comes to this port."""
    if raw.startswith(_FAMILY):
        return Flaw.VERSION
    if len(raw) >= _KERNEL.size:
        reserved, _, size, _, version, spare = _KERNEL.unpack_from(raw)
        if (reserved, version, spare, size) == (0, 1, 0, len(raw)):
            return Flaw.UNSIGNED
    return Flaw.MALFORMED


def _mac(sealed: bytes, key: Key) -> bytes:
    return blake2b(sealed, digest_size=_MAC, key=key.secret, person=_PERSON).digest()


# --- What the relays tell each other ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Beat:
    """How far a relay has come. `sent` is the last sequence of its epoch, `oldest` the first one
    it can still send again. `hears` is the recipient's epoch as it knows it, and whatever it sent
    after `since` was sent when it knew it: no recording from before that epoch has such a number.
    """

    epoch: int
    sent: int
    oldest: int
    hears: int
    since: int


@dataclass(frozen=True, slots=True)
class Again:
    """These of the recipient's epoch are missing here: first sequence and how many of each."""

    epoch: int
    ranges: tuple[tuple[int, int], ...]


def encode(said: Beat | Again) -> bytes:
    """The body of a datagram of core/seal."""
    match said:
        case Beat(epoch, sent, oldest, hears, since):
            return _BEAT.pack(_BEAT_KIND, epoch, sent, oldest, hears, since)
        case Again(epoch, ranges):
            assert len(ranges) <= RANGES, len(ranges)
            head = _AGAIN.pack(_AGAIN_KIND, epoch, len(ranges))
            return head + b"".join(_RANGE.pack(first, count) for first, count in ranges)


def decode(body: bytes) -> Beat | Again | None:
    """What a body says; None when that is nothing we know."""
    if body[:1] == bytes([_BEAT_KIND]) and len(body) == _BEAT.size:
        return Beat(*_BEAT.unpack(body)[1:])
    if body[:1] == bytes([_AGAIN_KIND]) and len(body) >= _AGAIN.size:
        _, epoch, count = _AGAIN.unpack_from(body)
        if count <= RANGES and len(body) == _AGAIN.size + count * _RANGE.size:
            return Again(epoch, tuple(_RANGE.iter_unpack(body[_AGAIN.size :])))
    return None
