"""What the processes of one node tell each other.

Nearly all messages are levels: the newest replaces what was told before under the same kind, so
one may be lost, repeated or re-sent whole after `Hello` without harm. The few that are not
(Order, Event, Run, Ran) are numbered and only ever cause something once. Every field is plain
data that shell/channel.py can write and read strictly; an unknown or ill-typed message is a
counted error.

Who tells whom (core/lawful.py is what holds everybody to it):

    director -> checker      Targets
    checker  -> director     Verdicts, Blind
    director -> election     ElectionSettings, Tracks, Ready, Peers, Stance, Order
    election -> director     Routers, Events, Obeyed
    director -> runner       Run, Watch
    runner   -> director     Ran, FilesSeen, ProcessesSeen
    child    -> supervisor   Heartbeat, Request
    supervisor -> child      Order, Processes
    everybody                Hello
"""

from dataclasses import dataclass, field
from enum import Enum

from hadirector.core import runner_messages
from hadirector.core.address import Address, Family
from hadirector.core.keys import Secrets
from hadirector.core.settings.checks import Target
from hadirector.core.settings.cluster import VipLease
from hadirector.core.settings.instances import Instance, SyncGroup


class Process(Enum):
    """The processes of a node."""

    SUPERVISOR = "supervisor"
    ELECTION = "election"
    DIRECTOR = "director"
    CHECKER = "checker"
    RUNNER = (
        "runner"  # the director's own child, there only while something is to be run or watched
    )


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


class Health(Enum):
    """A target's verdict. RISING and FALLING are doubt: down or up until it is settled."""

    UNKNOWN = "unknown"
    RISING = "rising"
    UP = "up"
    FALLING = "falling"
    DOWN = "down"


class Wish(Enum):
    """What the operator of a real server asks for there, by its agent."""

    NONE = ""
    DRAIN = "drain"  # no new connections
    MAINT = "maint"  # out, whatever its health


@dataclass(frozen=True, slots=True)
class Probe:
    """The last finished probe of a target.

    `answered`: a failed one got some answer (refused, reset, wrong reply) rather than silence.
    `at` is the instant it ended, CLOCK_BOOTTIME seconds; `ms` how long it took. An agent says
    more: the `share` of its weight that a server can take (0.0 to 1.0; None: it did not say), and
    a wish.
    """

    ok: bool
    answered: bool
    detail: str
    ms: float
    at: float
    share: float | None = None
    wish: Wish = Wish.NONE


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker holds of a target. `since` is when the health last changed. `alone`: it is
    down and silent, and no other server answered this node either since it fell silent: the
    trouble may be ours."""

    target: str
    health: Health
    since: float
    last: Probe | None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Targets:
    """All that is to be probed; what is not listed is no longer probed."""

    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Verdicts by target: those that changed, or all of them (`whole`, after Hello or Targets)."""

    verdicts: tuple[Verdict, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Blind:
    """What the checker cannot probe because of this node itself, one sentence for each reason;
    empty when nothing keeps it from any target."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stance:
    """What the operator wants of this node beyond its configuration; expired means: keep the last.

    `standby`: it is under maintenance and stays out where another node can serve. `held` are the
    instances it handed over and is not to take back from a living master.
    """

    standby: bool = False
    held: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ElectionSettings:
    """What the election runs: the whole of it each time; what did not change is not disturbed."""

    node: str
    instances: tuple[Instance, ...]
    sync_groups: tuple[SyncGroup, ...]
    vip_lease: VipLease
    state_file: str  # where addresses that are ours are noted, for the next start
    # With the settings, for neither may go alone: keys, and what the operator wants beyond them.
    secrets: Secrets = field(default_factory=Secrets)
    stance: Stance = field(default_factory=Stance)


@dataclass(frozen=True, slots=True)
class Track:
    """One tracked thing that fails: a fault of the instance, or a delta on its priority."""

    instance: str
    what: str
    fault: bool
    delta: int
    reason: str


@dataclass(frozen=True, slots=True)
class Tracks:
    """All that fails now (what the election tracks itself, interfaces, is not listed).

    `unknown` names by `what` the things a director has not looked at yet: what was told of them
    last, by the director before it, holds on.
    """

    tracks: tuple[Track, ...]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """Whether this node may take over from a healthy master; expired means not ready."""

    ready: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Voice:
    """How a virtual router of a node speaks: by which address and with which priority its adverts
    go out, or would, and whether it is master."""

    source: Address | None
    priority: int
    master: bool


@dataclass(frozen=True, slots=True)
class Peer:
    """Another director, seen on the peer channel. `able` are the instances it could be master of:
    alive, not in fault, not in standby. `voices` are its virtual routers by `instance/ipv4`, as it
    says."""

    node: str
    alive: bool
    able: tuple[str, ...] = ()
    voices: dict[str, Voice] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peers:
    """Every other configured node; expired means: keep the last."""

    peers: tuple[Peer, ...]


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
class Obeyed:
    """The election's answer to a YIELD or TAKE_OVER, at once; `refused` says why it was not."""

    token: str
    refused: str = ""


class RouterStateName(Enum):
    """RFC 9568 6.4 (Active is master here, as in IPVS and keepalived), and fault."""

    INIT = "init"
    BACKUP = "backup"
    MASTER = "master"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Speaker:
    """Another router of the same virtual router, by its last advert. `interval` is in seconds,
    `checksum` what its sum covers, `heard_at` CLOCK_BOOTTIME, `key` the number of the key that
    signed it, None where it was not signed."""

    priority: int
    interval: float
    checksum: str
    heard_at: float
    key: int | None = None


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with a sender's packets, how often it was, and when last (CLOCK_BOOTTIME)."""

    source: Address
    kind: str
    reason: str
    count: int
    at: float


@dataclass(frozen=True, slots=True)
class Router:
    """One virtual router of this node: the contract's status, plus what readers need to explain it.

    `priority` is configured, `effective_priority` what is advertised or would be. `since` is
    CLOCK_BOOTTIME. `leaving`: a master that has given up and waits for its successor. `peers` are
    those heard lately, `refused` those whose packets are dropped now, `odd` what is wrong with
    packets that are taken. `voice` is how it speaks, `rivals` are the addresses of other masters it
    hears; `troubles` is what somebody must look at, a sentence each; `held` are those of
    `addresses` that this host has.
    """

    instance: str
    family: Family
    state: RouterStateName
    priority: int
    effective_priority: int
    master: Address | None
    since: float
    reason: str
    inputs: dict[str, str]
    addresses: tuple[str, ...]
    counters: dict[str, int]
    leased: bool
    leaving: bool = False
    peers: dict[Address, Speaker] = field(default_factory=dict)
    refused: tuple[Complaint, ...] = ()
    odd: tuple[Complaint, ...] = ()
    voice: Voice | None = None
    rivals: tuple[Address, ...] = ()
    troubles: tuple[str, ...] = ()
    held: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Routers:
    """Every virtual router of this node."""

    routers: tuple[Router, ...]


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
)
