"""Health of one target: how single probes become a verdict.

            first probe good                    first probe bad
        .-------------------- UNKNOWN --------------------.
        |                                                 |
        v         bad                    fall bad         v
        UP <-------------> FALLING -------------------> DOWN
        ^         good     (counts as up)                 ^
        |                                                 | bad
        |                  RISING <-----------------------'
        `------------------(counts as down) <------------ good
             rise good

Rules
- The first verdict needs one probe: a director that has just started must balance at once, and a
  server it knows nothing of has no good name to lose.
- After that `rise` good probes in a row bring a server back and `fall` bad ones in a row take it
  out; one probe of the other kind in between starts the count again.
- While it counts, a target is in doubt and is probed each `fast_interval`. Doubt changes nothing
  for clients: RISING is still out, FALLING is still in.
- A server whose held connection ends and whose next probe is refused is out at once (`lost`).
- A probe that failed because of ourselves is no probe: it never gets here (core/pacing.py).
"""

from dataclasses import dataclass
from typing import assert_never

from hadirector.core.messages import Health
from hadirector.core.settings.checks import Check
from hadirector.core.settings.cluster import Script


@dataclass(frozen=True, slots=True)
class Unknown:
    """Never probed. In every state `since` is the instant it began."""

    since: float


@dataclass(frozen=True, slots=True)
class Up:
    """The last probe was good and nothing is in doubt."""

    since: float


@dataclass(frozen=True, slots=True)
class Falling:
    """Was up; `bad` probes in a row have failed, fewer than `fall`."""

    since: float
    bad: int


@dataclass(frozen=True, slots=True)
class Down:
    """Out: `fall` probes in a row have failed, or the first one."""

    since: float


@dataclass(frozen=True, slots=True)
class Rising:
    """Was down; `good` probes in a row have passed, fewer than `rise`."""

    since: float
    good: int


State = Unknown | Up | Falling | Down | Rising


@dataclass(frozen=True, slots=True)
class Limits:
    """How many in a row settle a doubt, for what is neither a check nor a script."""

    rise: int
    fall: int


def handle(state: State, good: bool, check: Check | Script | Limits, now: float) -> State:
    """The state after one more probe; the same object when nothing changed."""
    match state:
        case Unknown():
            return Up(now) if good else Down(now)
        case Up():
            return state if good else _fall(now, 1, check, now)
        case Falling(since, bad):
            return Up(now) if good else _fall(since, bad + 1, check, now)
        case Down():
            return _rise(now, 1, check, now) if good else state
        case Rising(since, passed):
            return _rise(since, passed + 1, check, now) if good else Down(now)
        case _:
            assert_never(state)


def resume(word: Health, since: float) -> State:
    """The state behind this word; doubt begins to count again."""
    match word:
        case Health.UNKNOWN:
            return Unknown(since)
        case Health.UP:
            return Up(since)
        case Health.FALLING:
            return Falling(since, 1)
        case Health.DOWN:
            return Down(since)
        case Health.RISING:
            return Rising(since, 1)
        case _:
            assert_never(word)


def lost(state: State, now: float) -> State:
    """The state after two signs of death that agree, however many in a row `fall` asks for."""
    return state if isinstance(state, Down) else Down(now)


def in_doubt(state: State) -> bool:
    """Whether it counts."""
    return isinstance(state, Falling | Rising)


def verdict(state: State) -> Health:
    """The word other processes know this state by."""
    match state:
        case Unknown():
            return Health.UNKNOWN
        case Up():
            return Health.UP
        case Falling():
            return Health.FALLING
        case Down():
            return Health.DOWN
        case Rising():
            return Health.RISING
        case _:
            assert_never(state)


def period(state: State, check: Check) -> float:
    """Seconds from one probe to the next."""
    return check.fast_interval if in_doubt(state) else check.interval


def _fall(since: float, bad: int, check: Check | Script | Limits, now: float) -> State:
    # ">=": a reload may have lowered `fall` below what was already counted.
    return Down(now) if bad >= check.fall else Falling(since, bad)


def _rise(since: float, good: int, check: Check | Script | Limits, now: float) -> State:
    return Up(now) if good >= check.rise else Rising(since, good)
