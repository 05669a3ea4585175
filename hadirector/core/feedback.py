"""Active feedback: how weights follow the load that real servers report, without swinging.

A report is a share: how much of its weight a server says it can take. Followed as it comes, it
makes a swing: the server that reports little load gets all new connections, its load rises, it
reports much, and loses them all again. So, one after the other:

    reports --> smoothed (first-order, over `smooth` seconds) --> deadband --> bounded change
                                                                   with hysteresis

- A smoothed report that differs from what is applied by less than `deadband` changes nothing.
- From there on the applied share moves towards it, by `change` a second at most, until the two
  meet; then the deadband counts anew. Noise does not move it back and forth.
- It never leaves `least` to 1: load alone takes no server out.
- The first report is taken at once: a director that starts, or takes over, has nothing better.
- A server that reports nothing any more keeps what it has for SILENT seconds; then it goes back to
  its whole weight, at the same pace: whether it is well is the checks' business.
"""

import math
from dataclasses import dataclass

from hadirector.core.settings.services import Feedback

TICK = 1.0  # seconds between steps of a share that moves
SILENT = 10.0  # seconds
MET = 0.005  # a share this near to its goal is there


@dataclass(frozen=True, slots=True)
class Damper:
    """The share of one server. `reported` counts until `reported_at` + SILENT; `moving`: it is on
    its way to `smoothed`."""

    reported: float
    reported_at: float
    smoothed: float
    applied: float
    moving: bool
    at: float


def begin(reported: float, at: float, settings: Feedback, now: float) -> Damper:
    """The first report of a server, which came at that instant."""
    share = _bounded(reported, settings)
    return Damper(share, at, share, share, False, now)


def report(damper: Damper, reported: float, at: float, settings: Feedback, now: float) -> Damper:
    """One more report, or the last one again."""
    before = step(damper, settings, now)
    share = _bounded(reported, settings)
    return Damper(share, at, before.smoothed, before.applied, before.moving, now)


def step(damper: Damper, settings: Feedback, now: float) -> Damper:
    """Time passed."""
    passed = now - damper.at
    assert passed >= 0
    goal = 1.0 if now - damper.reported_at > SILENT else damper.reported
    weight = 1 - math.exp(-passed / settings.smooth) if settings.smooth else 1.0
    smoothed = damper.smoothed + (goal - damper.smoothed) * weight
    gap = smoothed - damper.applied
    # What is reported again and again at either end is meant: the deadband leaves no rest there.
    ends = any(abs(smoothed - end) <= MET for end in (settings.least, 1.0))
    moving = abs(gap) > MET if damper.moving or ends else abs(gap) >= settings.deadband
    most = settings.change * passed
    applied = damper.applied + (max(-most, min(most, gap)) if moving else 0.0)
    return Damper(damper.reported, damper.reported_at, smoothed, applied, moving, now)


def _bounded(share: float, settings: Feedback) -> float:
    return max(settings.least, min(1.0, share))
