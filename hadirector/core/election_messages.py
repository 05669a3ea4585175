"""What the director and the election tell each other (core/messages says how)."""

from dataclasses import dataclass, field
from enum import Enum

from hadirector.core.address import Address, Family
from hadirector.core.keys import Secrets
from hadirector.core.settings.cluster import VipLease
from hadirector.core.settings.instances import Instance, SyncGroup


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
