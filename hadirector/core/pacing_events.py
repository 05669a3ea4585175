"""What the schedule of probes hears, and what it has done (core/pacing)."""

from dataclasses import dataclass

from hadirector.core import held
from hadirector.core.checker_messages import Cause, Targets, Verdict, Wish
from hadirector.core.settings.checks import Target


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a probe ended; `detail` is one short sentence for an operator. `share`, `wish` and `up`
    as in Probe, None where nothing was said of it: a wish holds until another one is told.
    `warning` is what an operator should know although the server passed."""

    cause: Cause
    detail: str
    warning: str = ""
    share: float | None = None
    wish: Wish | None = None
    up: bool | None = None


@dataclass(frozen=True, slots=True)
class Woken:
    """The instant `next_at` named has come."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A started probe ended after `took` seconds.

    `stalled` is how many of them our own loop did not turn.
    """

    target: str
    ticket: int
    outcome: Outcome
    took: float
    stalled: float


@dataclass(frozen=True, slots=True)
class Look:
    """There is news of this target: its next probe is due at once."""

    target: str


Event = Targets | Ended | Woken | Look | held.Event


@dataclass(frozen=True, slots=True)
class Start:
    """Probe this target now; its end comes back as `Ended` with the same ticket."""

    target: Target
    ticket: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Abandon this probe: nobody waits for its end any more."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Report:
    """A target was probed; `changed`: its health is another than before."""

    verdict: Verdict
    changed: bool


Action = Start | Stop | Report | held.Action
