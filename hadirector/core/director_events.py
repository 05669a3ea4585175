"""What reaches the director's core, and what it asks to be done."""

from dataclasses import dataclass, field

from hadirector.core import hooks, ipvs, messages, peer_messages, peers, plan
from hadirector.core.keys import Secrets
from hadirector.core.overrides import Override
from hadirector.core.requests import Outcome, Request
from hadirector.core.settings.cluster import Config
from hadirector.core.stance import Stance


@dataclass(frozen=True, slots=True)
class Configured:
    """A configuration was accepted: the first, or by reload; with the secrets it names."""

    config: Config
    secrets: Secrets = field(default_factory=Secrets)


@dataclass(frozen=True, slots=True)
class Refused:
    """A reload failed; the running configuration stays. `reason` is its first error, and how many
    more there are, empty where that was told before; `trouble` says when that was, and what it
    would mean for a restart."""

    reason: str
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class KernelRead:
    """IPVS was read, after everything applied so far; `took` seconds."""

    table: ipvs.Table
    usage: ipvs.Usage
    took: float


@dataclass(frozen=True, slots=True)
class KernelUnreadable:
    """IPVS could not be read: one sentence why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Applied:
    """The last Apply was carried out on the services `tried`; `failures` in words, by service."""

    tried: frozenset[ipvs.ServiceKey]
    failures: tuple[tuple[ipvs.ServiceKey, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Paused:
    """An operator works on IPVS by hand for `seconds`; 0 ends that."""

    seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class From:
    """A message of another process; `valid_until` is CLOCK_BOOTTIME."""

    sender: messages.Process
    message: messages.Message
    valid_until: float


@dataclass(frozen=True, slots=True)
class Heard:
    """A presence came on the peer channel."""

    presence: peers.Presence


@dataclass(frozen=True, slots=True)
class PeerSaid:
    """A director with our key asks or answers on the peer channel."""

    node: str
    message: peer_messages.Keyed


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """What came from a peer's address was not believed: one sentence why, told once."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Asked:
    """An operator's request; it is answered by a Reply with this token."""

    token: str
    request: Request


@dataclass(frozen=True, slots=True)
class StanceSaved:
    """The stance was written; `trouble` says why not, empty when it was."""

    trouble: str = ""


@dataclass(frozen=True, slots=True)
class OverridesSaved:
    """The orders about servers were written; `trouble` says why not, empty when they were."""

    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Noticed:
    """Something the shell saw that belongs in the journal."""

    kind: str
    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reported:
    """Somebody says through the API how a server is: the check of type external, the server (an
    address, with a port or without; empty: all of the check), and what core/checker_messages.Report
    has."""

    check: str
    server: str
    up: bool
    share: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Woken:
    """The deadline came."""


Kernel = KernelRead | KernelUnreadable | Applied | Paused

Order = PeerSaid | Asked | StanceSaved
"""What core/operations takes, of those two that are its own."""

Event = (
    Configured
    | Refused
    | Kernel
    | From
    | Heard
    | PeerRefused
    | Order
    | OverridesSaved
    | Noticed
    | Reported
    | Woken
)


@dataclass(frozen=True, slots=True)
class ReadKernel:
    """Read IPVS and tell by KernelRead or KernelUnreadable."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Do these operations in order and tell by Applied."""

    operations: tuple[plan.Operation, ...]


@dataclass(frozen=True, slots=True)
class SaveOwned:
    """Note which services are ours, before the first operation on a new one."""

    keys: frozenset[ipvs.ServiceKey]


@dataclass(frozen=True, slots=True)
class Send:
    """Tell another process; the level holds for `valid_for` seconds."""

    to: messages.Process
    message: messages.Message
    valid_for: float


@dataclass(frozen=True, slots=True)
class SendPresence:
    """Tell every peer; the shell adds incarnation and sequence."""

    presence: peers.Presence


@dataclass(frozen=True, slots=True)
class TellPeer:
    """Say this to one peer, if there is a key to say it by."""

    node: str
    message: peer_messages.Keyed


@dataclass(frozen=True, slots=True)
class SaveOverrides:
    """Note these orders about servers, and tell by OverridesSaved."""

    orders: tuple[Override, ...]


@dataclass(frozen=True, slots=True)
class SaveStance:
    """Note what the operator wants, and tell by StanceSaved."""

    stance: Stance


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer an operator's request."""

    token: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Write:
    """A line of the journal: for whoever follows events, and for the log unless `logged` there by
    the process it is from."""

    event: messages.Event
    logged: bool = False


@dataclass(frozen=True, slots=True)
class Settle:
    """Sysctls, IPVS timeouts, sync threads and sockets are to be as this configuration says."""

    config: Config


@dataclass(frozen=True, slots=True)
class Employ:
    """Have a runner process, or none; it says Hello when it can be sent to."""

    wanted: bool


@dataclass(frozen=True, slots=True)
class SaveHooks:
    """Note what hooks are still to be told, for a next director of this daemon."""

    pending: tuple[hooks.Pending, ...]


Action = (
    ReadKernel
    | Apply
    | SaveOwned
    | Send
    | SendPresence
    | TellPeer
    | SaveOverrides
    | SaveStance
    | Reply
    | Write
    | Settle
    | Employ
    | SaveHooks
)
