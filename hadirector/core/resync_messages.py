"""What the syncers of two nodes say to each other over TCP, on the peer channel's port.

    standby -> master   Greeting; then State, Ask, Digests, Listing
    master  -> standby  Greeting; then Compare, List, Sending, syncer_messages.Standby

With a key_file every frame after the greetings is sealed with a key made of both nonces and a key
of the cluster. Without one this carries digests, hashes and requests, never a connection: those go
where the kernel's own go.
"""

from dataclasses import dataclass
from math import isfinite

from hadirector.core.comparison import HASH
from hadirector.core.counters import GROUPS, Counters
from hadirector.core.mirror import BUCKETS
from hadirector.core.syncer_messages import Standby

VERSION = 2  # 1: buckets by the client's bytes alone
NONCE = 16  # bytes
SALT = 16  # bytes
WORDS = 1 << 14  # characters of a reason, which goes on into status and the journal


@dataclass(frozen=True, slots=True)
class Greeting:
    """Who speaks, and by which keys it could (their numbers); the master's answer names the one
    that it chose, none without a key_file."""

    version: int
    cluster: str
    node: str
    nonce: bytes
    identities: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class State:
    """How the standby is. `waits`: what keeps it from being compared, empty if nothing does;
    `thread` is another one when the backup thread was started again; `drops` are its losses,
    `queue` the bytes that it has not taken in yet."""

    waits: str
    thread: int
    drops: int
    queue: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Compare with me now, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Compare:
    """A round begins: digest what you hold for these virtual addresses (packed; None: all)."""

    round: int
    scope: tuple[bytes, ...] | None
    salt: bytes


@dataclass(frozen=True, slots=True)
class Digests:
    """`held` connections; `exact`: the table was read for it. `active`: its kernel's counters, of
    all servers and by their groups (core/counters); an older release tells no groups."""

    round: int
    held: int
    digests: bytes
    exact: bool
    drops: int
    active: int
    groups: Counters = ()


@dataclass(frozen=True, slots=True)
class List:
    """List what is in these buckets."""

    round: int
    buckets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Hashes of some of the buckets asked for, in their order; the last one ends it. `more`: the
    last bucket here is a large one and goes on in the next."""

    round: int
    hashes: tuple[bytes, ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Sending:
    """Connections are on their way, or all of them were sent: tell your drops meanwhile."""

    on: bool


FromStandby = State | Ask | Digests | Listing
FromMaster = Compare | List | Sending | Standby
Message = Greeting | FromStandby | FromMaster


def flaw_of(message: Message) -> str:
    """What an honest peer would not say, and would harm who believed it; empty: nothing. Whether it
    is said at the right moment is another question."""
    match message:
        case State(waits, _, drops, queue):
            wrong = len(waits) > WORDS or min(drops, queue) < 0
        case Ask(reason):
            wrong = len(reason) > WORDS
        case Compare(_, _, salt):
            wrong = len(salt) != SALT
        case Digests(_, held, digests, _, drops, active, groups):
            wrong = len(digests) != BUCKETS * HASH or min(held, drops, active, *groups) < 0
            wrong = wrong or len(groups) not in (0, GROUPS)
        case List(_, buckets):
            wrong = len(buckets) > BUCKETS or not all(0 <= one < BUCKETS for one in buckets)
        case Standby():
            wrong = _is_no_standing(message)
        case _:
            wrong = False  # nothing in it is reckoned with
    return f"its {type(message).__name__} is out of bounds" if wrong else ""


def _is_no_standing(one: Standby) -> bool:
    instants = (one.compared_at, one.equal_at, one.resync_at)
    counts = (one.total, one.missing, one.lost, one.sent, one.rounds)
    return (
        len(one.reason) > WORDS
        or not all(at is None or isfinite(at) for at in instants)
        or min(counts) < 0
    )
