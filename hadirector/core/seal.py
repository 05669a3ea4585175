"""A sealed datagram of the peer channel: header, body and a MAC over both.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------------------------------------------------------+
    |                         "HDP2"                                |
    +---------------+---------------+---------------+---------------+
    |   key's ID    | cluster, len. |  sender, len. | recipient, len|
    +---------------+---------------+---------------+---------------+
    |   incarnation of the sender's director                   (64) |
    |   sequence: grows with each datagram to this recipient   (64) |
    |   echo: the recipient's incarnation, as heard last       (64) |
    |   echo: its sequence; both 0 when nothing was heard yet  (64) |
    +---------------------------------------------------------------+
    |   cluster, sender, recipient: UTF-8                           |
    +---------------------------------------------------------------+
    |   body                                                        |
    +---------------------------------------------------------------+
    |   MAC: BLAKE2b, keyed, 32 bytes                               |
    +---------------------------------------------------------------+

The MAC covers all before it, the key's ID included. BLAKE2b's personalization sets it apart from
everything else that one key of the cluster signs (adverts: HMAC-SHA256). Whether a datagram that
is genuine is also new is another question: core/conversation.
"""

import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

from hadirector.core.errors import HadirectorError
from hadirector.core.keys import Key

MAGIC = b"HDP2"
UNSIGNED = b"HDP1"  # what begins a datagram of a node without a key
_HEAD = struct.Struct("!4sBBBBQQQQ")
_MAC = 32  # bytes
_PERSON = b"hadirector peers"
_LONGEST = 255  # bytes of a name; the configuration allows 63


class Flaw(Enum):
    """Why a datagram of the peer channel or of the relay is not believed; the values name its
    counters."""

    STRANGER = "stranger"  # not from a peer's address, or of nobody we know
    MALFORMED = "malformed"
    TRUNCATED = "truncated"
    VERSION = "version"  # of another release
    UNSIGNED = "unsigned"  # and we have a key
    SIGNED = "signed"  # and we have none
    UNKNOWN_KEY = "unknown_key"
    WRONG_KEY = "wrong_key"  # or forged
    MISDIRECTED = "misdirected"  # genuine, but of or for another node or cluster
    WRONG_SYNC_ID = "wrong_sync_id"
    REPLAYED = "replayed"
    STALE = "stale"  # genuine, but it may be as old as you like


class SealError(HadirectorError):
    """No genuine datagram. `identity` is the key it names, 0 where it names none."""

    def __init__(self, flaw: Flaw, identity: int = 0) -> None:
        super().__init__(flaw.value)
        self.flaw = flaw
        self.identity = identity


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """One datagram of a node: which of its directors sent it, and the how many-th it was."""

    incarnation: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    """Who says it to whom. `mark` is the datagram's own, `echo` the last one that its sender
    heard of the recipient."""

    cluster: str
    sender: str
    recipient: str
    mark: Mark
    echo: Mark


def seal(header: Header, body: bytes, key: Key) -> bytes:
    """The datagram."""
    names = [n.encode() for n in (header.cluster, header.sender, header.recipient)]
    assert all(0 < len(name) <= _LONGEST for name in names), names
    mark, echo = header.mark, header.echo
    numbers = (mark.incarnation, mark.sequence, echo.incarnation, echo.sequence)
    head = _HEAD.pack(MAGIC, key.identity, *map(len, names), *numbers)
    sealed = b"".join((head, *names, body))
    return sealed + _mac(sealed, key)


def unseal(raw: bytes, keys: Iterable[Key]) -> tuple[Header, bytes, int]:
    """Header, body and the key's ID of a genuine datagram; SealError."""
    if raw.startswith(UNSIGNED):
        raise SealError(Flaw.UNSIGNED)
    if len(raw) < _HEAD.size + _MAC or not raw.startswith(MAGIC):
        raise SealError(Flaw.MALFORMED)
    _, identity, *sizes = _HEAD.unpack_from(raw)[:5]
    sealed, mac = raw[:-_MAC], raw[-_MAC:]
    key = next((one for one in keys if one.identity == identity), None)
    if key is None:
        raise SealError(Flaw.UNKNOWN_KEY, identity)
    if not hmac.compare_digest(_mac(sealed, key), mac):
        raise SealError(Flaw.WRONG_KEY, identity)
    return (*_open(sealed, sizes), identity)


def claims(raw: bytes) -> Header | None:
    """Who says it to whom, as the datagram has it, proven by nothing; None where it is none."""
    if len(raw) < _HEAD.size + _MAC or not raw.startswith(MAGIC):
        return None
    try:
        return _open(raw[:-_MAC], list(_HEAD.unpack_from(raw)[2:5]))[0]
    except SealError:
        return None


def _open(sealed: bytes, sizes: list[int]) -> tuple[Header, bytes]:
    """What a genuine datagram says: its sender may still be of another release."""
    names, at = [], _HEAD.size
    for size in sizes:
        names.append(sealed[at : at + size])
        at += size
    try:
        cluster, sender, recipient = (name.decode() for name in names)
    except UnicodeDecodeError:
        raise SealError(Flaw.MALFORMED) from None
    if at > len(sealed):
        raise SealError(Flaw.MALFORMED)
    incarnation, sequence, echo_incarnation, echo_sequence = _HEAD.unpack_from(sealed)[5:]
    mark, echo = Mark(incarnation, sequence), Mark(echo_incarnation, echo_sequence)
    return Header(cluster, sender, recipient, mark, echo), sealed[at:]


def _mac(sealed: bytes, key: Key) -> bytes:
    return blake2b(sealed, digest_size=_MAC, key=key.secret, person=_PERSON).digest()
