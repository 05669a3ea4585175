"""What the director and the checker tell each other (core/messages says how)."""

from dataclasses import dataclass, field
from enum import Enum

from hadirector.core.address import Family
from hadirector.core.keys import FileText
from hadirector.core.settings.checks import Target


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


class Cause(Enum):
    """Why a probe ended."""

    GOOD = "good"  # the server passed
    REFUSED = "refused"  # its host says that nobody listens there
    ANSWERED = "answered"  # it answered, but not as wanted: reset, wrong reply
    PARTIAL = "partial"  # time ran out in the middle of its answer
    SILENT = "silent"  # time ran out, nothing came
    UNREACHABLE = "unreachable"  # the network says that nobody is there
    OURS = "ours"  # we could not probe
    WAITING = "waiting"  # nothing was said yet by whoever is to say it


@dataclass(frozen=True, slots=True)
class Probe:
    """The last finished probe of a target.

    `answered`: a failed one got some answer (refused, reset, wrong reply) rather than silence.
    `at` is the instant it ended, CLOCK_BOOTTIME seconds; `ms` how long it took. `warning` is what
    somebody should look at although it passed: a certificate that ends soon. An agent says more:
    the `share` of its weight that a server can take (0.0 to 1.0; None: it did not say), whether it
    is `up`, and a wish; what it does not say again of these two holds, and None is never said.
    """

    ok: bool
    answered: bool
    detail: str
    ms: float
    at: float
    warning: str = ""
    share: float | None = None
    wish: Wish | None = None
    up: bool | None = None


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
    """All that is to be probed; what is not listed is no longer probed. `files` are the contents of
    those that the checks name: the checker itself may not be able to read them. `known` is what
    another process found out of some of them: who never probed them goes on from there."""

    targets: tuple[Target, ...]
    files: dict[str, FileText] = field(default_factory=dict)
    known: tuple[Verdict, ...] = ()


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
class Execute:
    """The program of this target's check is to be run once; Executed answers with the same ticket.
    What is run is the director's to know: the checker names a target and no more."""

    target: str
    ticket: int


@dataclass(frozen=True, slots=True)
class Executed:
    """How the program of a check ended, as a probe ends; `detail` is one sentence, `share` as in
    Probe."""

    ticket: int
    cause: Cause
    detail: str
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What somebody said of a target of type external, until `until` (CLOCK_BOOTTIME)."""

    target: str
    up: bool
    share: float | None
    reason: str
    at: float
    until: float


@dataclass(frozen=True, slots=True)
class Lend:
    """Sockets for the probes of these targets, handed over with the message in the same order:
    each of this address family, with this firewall mark, whose packets go so many hops (0: as many
    as any; core/as_client)."""

    targets: tuple[str, ...]
    marks: tuple[int, ...]
    families: tuple[Family, ...]
    hops: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reports:
    """Reports that came, or (after Hello) all that the director knows of."""

    reports: tuple[Report, ...]
