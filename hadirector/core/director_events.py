"""What reaches the director's core, and what it asks to be done."""

from dataclasses import dataclass

from hadirector.core import hooks, ipvs, messages, peers, plan
from hadirector.core.settings.cluster import Config


@dataclass(frozen=True, slots=True)
class Configured:
    """A configuration was accepted: the first, or by reload."""

    config: Config


@dataclass(frozen=True, slots=True)
class Refused:
    """A reload failed; the running configuration stays. `reason` is its first error."""

    reason: str


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
class Noticed:
    """Something the shell saw that belongs in the journal."""

    kind: str
    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class Woken:
    """The deadline came."""


Event = (
    Configured | Refused | KernelRead | KernelUnreadable | Applied | From | Heard | Noticed | Woken
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


Action = ReadKernel | Apply | SaveOwned | Send | SendPresence | Write | Settle | Employ | SaveHooks
