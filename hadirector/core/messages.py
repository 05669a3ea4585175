"""What the processes of one node tell each other.

Nearly all messages are levels: the newest replaces what was told before under the same kind, so
one may be lost, repeated or re-sent whole after `Hello` without harm. The few that are not
(Order, Event, Run, Ran, Resync, SyncNews, Execute, Executed, Reports, Lend) are numbered and only
ever cause something once. Every field is plain data that shell/channel.py can write and read
strictly; an unknown or ill-typed message is a counted error.

Who tells whom (core/lawful.py is what holds everybody to it):

    director -> checker      Targets, Executed, Reports, Lend
    checker  -> director     Verdicts, Blind, Execute
    director -> election     ElectionSettings, Tracks, Ready, Peers, Stance, Order
    election -> director     Routers, Events, Obeyed
    director -> runner       Run, Watch
    director -> syncer       SyncSettings, SyncRoles, Resync, WatchRecords
    syncer   -> director     Synced, SyncNews, SeenRecords
    runner   -> director     Ran, FilesSeen, ProcessesSeen
    child    -> supervisor   Heartbeat, Request
    supervisor -> child      Order, Processes
    everybody                Hello
"""

from dataclasses import dataclass, field
from enum import Enum

from hadirector.core import record_watch, runner_messages, syncer_messages

# Readers of messages take all of them from here.
from hadirector.core.checker_messages import (
    Blind as Blind,
)
from hadirector.core.checker_messages import (
    Execute as Execute,
)
from hadirector.core.checker_messages import (
    Executed as Executed,
)
from hadirector.core.checker_messages import (
    Health as Health,
)
from hadirector.core.checker_messages import (
    Lend as Lend,
)
from hadirector.core.checker_messages import (
    Probe as Probe,
)
from hadirector.core.checker_messages import (
    Reports as Reports,
)
from hadirector.core.checker_messages import (
    Targets as Targets,
)
from hadirector.core.checker_messages import (
    Verdict as Verdict,
)
from hadirector.core.checker_messages import (
    Verdicts as Verdicts,
)
from hadirector.core.checker_messages import (
    Wish as Wish,
)
from hadirector.core.election_messages import (
    Complaint as Complaint,
)
from hadirector.core.election_messages import (
    ElectionSettings as ElectionSettings,
)
from hadirector.core.election_messages import (
    Obeyed as Obeyed,
)
from hadirector.core.election_messages import (
    Peer as Peer,
)
from hadirector.core.election_messages import (
    Peers as Peers,
)
from hadirector.core.election_messages import (
    Ready as Ready,
)
from hadirector.core.election_messages import (
    Router as Router,
)
from hadirector.core.election_messages import (
    Routers as Routers,
)
from hadirector.core.election_messages import (
    RouterStateName as RouterStateName,
)
from hadirector.core.election_messages import (
    Speaker as Speaker,
)
from hadirector.core.election_messages import (
    Stance as Stance,
)
from hadirector.core.election_messages import (
    Track as Track,
)
from hadirector.core.election_messages import (
    Tracks as Tracks,
)
from hadirector.core.election_messages import (
    Voice as Voice,
)


class Process(Enum):
    """The processes of a node."""

    SUPERVISOR = "supervisor"
    ELECTION = "election"
    DIRECTOR = "director"
    CHECKER = "checker"
    SYNCER = "syncer"
    RUNNER = "runner"  # the director's own child, while something is to be run or watched


@dataclass(frozen=True, slots=True)
class Hello:
    """First message after a (re)start: the receiver re-sends all it has to tell."""

    process: Process
    pid: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Sent each second: the loop turned. Lags are how late timers fired over the last minute."""

    lag_ms_p99: float
    lag_ms_max: float
    ready: bool = True
    status: str = ""


class OrderKind(Enum):
    """What one process may ask of another, once."""

    STOP = "stop"  # leave in order, then exit
    RELOAD = "reload"  # read the configuration again
    YIELD = "yield"  # give mastership of `subject` away (handover)
    TAKE_OVER = "take-over"  # become master of `subject` now


@dataclass(frozen=True, slots=True)
class Order:
    """An order; `token` names it, the same token twice is obeyed once."""

    kind: OrderKind
    token: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: one line of `hadirector events`. `at` is CLOCK_BOOTTIME."""

    number: int
    at: float
    kind: str
    subject: str
    reason: str
    inputs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Events:
    """What happened since the last such message, oldest first."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class ProcessState:
    """A process as the supervisor sees it; `since` is CLOCK_BOOTTIME. `ended` is how the one
    before it died, empty when none did."""

    process: Process
    pid: int
    since: float
    restarts: int
    lag_ms_p99: float
    lag_ms_max: float
    alive: bool
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Processes:
    """All processes of this node."""

    processes: tuple[ProcessState, ...]


class RequestKind(Enum):
    """What a child asks of the supervisor."""

    RESTART = "restart"  # `subject` is the process
    RELOADING = "reloading"  # for sd_notify
    RELOADED = "reloaded"


@dataclass(frozen=True, slots=True)
class Request:
    """A child's request; numbered by `token` like an order."""

    kind: RequestKind
    token: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """Run a program once, for `timeout` seconds at most; `about` is what it finds on its standard
    input, as one line of JSON. runner_messages.Ran answers with the same ticket."""

    ticket: str
    command: tuple[str, ...]
    environment: dict[str, str]
    timeout: float
    about: Event | None = None


Message = (
    Hello
    | Heartbeat
    | Targets
    | Verdicts
    | Blind
    | Execute
    | Executed
    | Reports
    | Lend
    | ElectionSettings
    | Tracks
    | Ready
    | Peers
    | Stance
    | Order
    | Obeyed
    | Routers
    | Events
    | Processes
    | Request
    | Run
    | runner_messages.Ran
    | runner_messages.Watch
    | runner_messages.FilesSeen
    | runner_messages.ProcessesSeen
    | syncer_messages.SyncSettings
    | syncer_messages.SyncRoles
    | syncer_messages.Resync
    | syncer_messages.Synced
    | syncer_messages.SyncNews
    | record_watch.WatchRecords
    | record_watch.SeenRecords
)
