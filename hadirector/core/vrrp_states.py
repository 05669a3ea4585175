"""The values core/vrrp works on: states with their deadlines, what it hears, what it causes."""

from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from hadirector.core.address import Address
from hadirector.core.advert import Advert
from hadirector.core.messages import RouterStateName


class Hold(Enum):
    """Why a backup obeys a master of lower priority."""

    HANDOVER = "a handover is not yet released"
    NEVER = "preempt is never"
    NOT_READY = "not ready to take over"
    DELAY = "the preempt delay is running"
    DEAF = "another master is known, but its adverts do not arrive"


# --- states ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Init:
    """Waiting until the links are known (`start_at` None), then for the startup gate."""

    start_at: float | None


@dataclass(frozen=True, slots=True)
class Backup:
    """Listening. `master_down_at` is RFC 9568's Active_Down_Timer.

    `interval` is the master's, learnt from it in version 3. `priority` is what `master` advertised
    last and `best` the most it was heard to. `preempt_at` ends the preempt delay, `overdue_at` the
    patience with a lower-priority master while not ready and `impatient` says it has. `cause` is
    why the timer may run out, `hold` why a lower priority is obeyed; `graced`: it was put off once
    because this node had slept.
    """

    master_down_at: float
    interval: float
    master: Address | None = None
    priority: int = 0
    best: int = 0
    heard_at: float | None = None
    preempt_at: float | None = None
    overdue_at: float | None = None
    impatient: bool = False
    hold: Hold | None = None
    cause: str = "no advert heard"
    graced: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backup whose master is down, waiting for the rest of its sync group to see the same."""

    was: Backup


@dataclass(frozen=True, slots=True)
class Master:
    """Holding the addresses. `reassert_at`: not before this is a rival answered again."""

    advert_at: float
    sent_at: float
    reassert_at: float


@dataclass(frozen=True, slots=True)
class Waking:
    """A master that slept so long that another may have taken over: holding the addresses still,
    silent and listening until `resume_at`."""

    resume_at: float


class Then(Enum):
    """What a leaving master becomes."""

    STOPPED = "stopped"
    BACKUP = "backup"  # handover


@dataclass(frozen=True, slots=True)
class Successor:
    """Who was heard to take over from a leaving master."""

    advert: Advert
    source: Address


@dataclass(frozen=True, slots=True)
class Leaving:
    """A master that gave up (priority 0 is sent) and still holds the addresses until its
    successor is heard, at most until `until`. A foreign one has been heard, `successor`, but may
    not have put the addresses on yet."""

    until: float
    then: Then
    successor: Successor | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """Unable to be master; `faults` says why."""

    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    """Left for good."""


State = Init | Backup | Candidate | Master | Waking | Leaving | Fault | Stopped

HOLDING = (Master, Waking, Leaving)  # the states in which the addresses are held


def deadline_of(state: State) -> float | None:
    """When a state asks for a tick; None: something has to happen first."""
    match state:
        case Init(start_at=at):
            return at
        case Backup(master_down_at=at, overdue_at=overdue_at):
            return at if overdue_at is None else min(at, overdue_at)
        case Master(advert_at=at) | Waking(resume_at=at) | Leaving(until=at):
            return at
        case Candidate() | Fault() | Stopped():
            return None
        case unreachable:
            assert_never(unreachable)


def name_of(state: State) -> RouterStateName:
    """The state in the words of status and journal."""
    match state:
        case Init() | Stopped():
            return RouterStateName.INIT
        case Backup() | Candidate():
            return RouterStateName.BACKUP
        case Master() | Waking() | Leaving():
            return RouterStateName.MASTER
        case Fault():
            return RouterStateName.FAULT
        case unreachable:
            assert_never(unreachable)


# --- what the node tells a router ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """What a live peer says of itself on the peer channel: that it is master of this virtual
    router, by these adverts. Whether they arrive is another question."""

    node: str
    source: Address | None
    priority: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What a router cannot know by itself: a level, renewed by core/election.

    `known`: the links have been read, and have settled. `source`: the address its adverts come
    from. `delta`: the sum of what tracking takes from (or adds to) the priority. `accompanied`:
    another director of this cluster is alive on the peer channel. `silent`: this node's own is not.
    `held`: handed over and not to be taken back from a living master. `standby`: the node is under
    maintenance; `aside` then says who else could be master, empty when nobody could.
    `linked`: the interface is there and has its carrier. `claims` are the peers that say they are
    master of it, `names` the nodes behind the addresses adverts come from.
    """

    known: bool = False
    source: Address | None = None
    faults: tuple[str, ...] = ()
    delta: int = 0
    ready: bool = False
    ready_reason: str = "the director has not said so"
    accompanied: bool = False
    silent: bool = False
    coupled: bool = False
    held: bool = False
    standby: bool = False
    aside: str = ""
    linked: bool = True
    claims: tuple[Claim, ...] = ()
    names: tuple[tuple[Address, str], ...] = ()

    def is_foreign(self, source: Address) -> bool:
        """Whether a master is none of our live peers, as far as they say where they speak from."""
        if not self.names:
            return not self.accompanied
        return all(source != at for at, _ in self.names)

    def lost_claim(self, before: "Standing") -> bool:
        """Whether a peer that said it was master too says so no more: clients may have its
        address, and its last word may not have come."""
        return bool({c.node for c in before.claims} - {c.node for c in self.claims})

    def called(self, source: Address) -> str:
        """An address as the journal shows it: "192.0.2.2 (lb2)"."""
        return next((f"{source} ({name})" for at, name in self.names if at == source), source)


# --- what a router causes --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Advertise:
    """Send an advert of this priority now."""

    priority: int


@dataclass(frozen=True, slots=True)
class Take:
    """Put the addresses on."""


@dataclass(frozen=True, slots=True)
class Release:
    """Take the addresses off."""


@dataclass(frozen=True, slots=True)
class Proclaim:
    """Start announcing the addresses; `duel`: another one may be doing the same."""

    duel: bool


@dataclass(frozen=True, slots=True)
class Tell:
    """A line of the journal. `kind` is the new state's name for a transition."""

    kind: str
    reason: str
    inputs: dict[str, str]


Effect = Advertise | Take | Release | Proclaim | Tell
