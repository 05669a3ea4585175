"""When each target is probed, and what a probe's end means: the decisions of the checker.

Theory
- A target has a slot each `interval` (`fast_interval` while in doubt), counted from its slot
  before, not from when its probe ended: no drift. The first slot of a target lies within a
  second of its arrival, at a place given by a hash of its id, so that 10,000 targets neither
  start in one instant nor shift when one of them is added.
- Probes of one target never overlap. A slot that passes while the probe before it is under way,
  or while the bound on probes in flight holds it back, is missed, counted, and not made up for.
- When more is due than may start, what is longest due starts first.
- A probe that failed because of ourselves says nothing about the server and is void: we could
  not start it (no descriptors, no memory, no port), or its time ran out while our own loop did
  not turn. A void probe is repeated at once, at most VOID_RETRIES times in a row, and counts
  neither way. Under overload verdicts get old; they never become wrong: a blind checker is not
  a dead server. What cannot be probed stays in `blind` until a probe of it counts.
- Replacing the targets disturbs only what changed. Another pace (intervals, timeout, rise, fall)
  keeps the verdict; another question (what is sent, what is accepted, where) starts at UNKNOWN.

`handle(event, now)` returns actions in the order to carry them out; `next_at` tells when to call
it with `Woken` at the latest.
"""

import hashlib
import heapq
import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import assert_never

from hadirector.core import health
from hadirector.core.blind import Blind
from hadirector.core.messages import Probe, Targets, Verdict
from hadirector.core.settings.checks import Check, Target

SPREAD = 1.0  # seconds over which new targets start, if their interval is not shorter
STARTS_PER_TURN = 64  # about 4 ms of system calls; then answers get a turn
VOID_RETRIES = 2
STALL_SHARE = 0.25  # of a probe's timeout: with more of it lost by ourselves, silence is no news
LATE_START = 0.1  # seconds behind its slot from which a start is counted as late


class Cause(Enum):
    """Why a probe ended."""

    GOOD = "good"  # the server passed
    ANSWERED = "answered"  # it answered, but not as wanted: refused, reset, wrong reply
    PARTIAL = "partial"  # time ran out in the middle of its answer
    SILENT = "silent"  # time ran out, nothing came
    UNREACHABLE = "unreachable"  # the network says that nobody is there
    OURS = "ours"  # we could not probe


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a probe ended; `detail` is one short sentence for an operator, `warning` what he should
    know although the server passed."""

    cause: Cause
    detail: str
    warning: str = ""


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


Event = Targets | Ended | Woken


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


Action = Start | Stop | Report


@dataclass(slots=True)
class Counts:
    """Since the start: slots that came (`due`), and what became of them."""

    due: int = 0
    done: int = 0  # probes that counted
    missed: int = 0  # slots passed over
    late: int = 0  # probes started LATE_START or more behind their slot
    void: int = 0


@dataclass(slots=True)
class _Entry:
    """A target: its verdict and its next try, which `ticket` names until it has ended."""

    target: Target
    state: health.State
    last: Probe | None
    slot: float
    ticket: int = 0
    voids: int = 0  # in a row

    def verdict(self) -> Verdict:
        return Verdict(self.target.id, health.verdict(self.state), self.state.since, self.last)


class Schedule:
    """All targets of a checker; at most `in_flight` probes are under way at once."""

    def __init__(self, in_flight: int) -> None:
        assert in_flight > 0
        self.counts = Counts()
        self.blind = Blind()
        self._in_flight = in_flight
        self._entries: dict[str, _Entry] = {}
        self._flying: set[int] = set()
        self._heap: list[tuple[float, int, str]] = []  # (due at, ticket, target)
        self._tickets = 0

    def handle(self, event: Event, now: float) -> list[Action]:
        """What to do now, in this order."""
        match event:
            case Targets(targets):
                return [*self._replace(targets, now), *self._start_due(now)]
            case Ended():
                return [*self._end(event, now), *self._start_due(now)]
            case Woken():
                return self._start_due(now)
            case _:
                assert_never(event)

    def next_at(self) -> float | None:
        """When to wake at the latest; None: not before a probe has ended or targets come."""
        if not self._heap or len(self._flying) >= self._in_flight:
            return None
        return self._heap[0][0]

    def verdicts(self) -> tuple[Verdict, ...]:
        """All verdicts, in the order the targets were given."""
        return tuple(entry.verdict() for entry in self._entries.values())

    def _replace(self, targets: tuple[Target, ...], now: float) -> list[Action]:
        before, self._entries = self._entries, {}
        for target in targets:
            known = before.get(target.id)
            if known is not None and known.target == target:
                self._entries[target.id] = known
            else:
                self._entries[target.id] = _admit(target, known, now)
        self.blind.keep(self._entries.keys())
        kept = {entry.ticket for entry in self._entries.values()}
        stops = [Stop(ticket) for ticket in sorted(self._flying - kept)]
        self._flying &= kept
        self._heap = [item for item in self._heap if item[1] in kept]
        heapq.heapify(self._heap)
        for entry in self._entries.values():
            if entry.ticket == 0:
                self._await(entry, entry.slot)
        return [*stops]

    def _await(self, entry: _Entry, due_at: float) -> None:
        self._tickets += 1
        entry.ticket = self._tickets
        heapq.heappush(self._heap, (due_at, entry.ticket, entry.target.id))

    def _start_due(self, now: float) -> list[Action]:
        actions: list[Action] = []
        while (
            self._heap
            and self._heap[0][0] <= now
            and len(self._flying) < self._in_flight
            and len(actions) < STARTS_PER_TURN
        ):
            due_at, ticket, target = heapq.heappop(self._heap)
            entry = self._entries[target]
            assert entry.ticket == ticket
            self._flying.add(ticket)
            if entry.voids == 0:
                self.counts.due += 1
            self.counts.late += now - due_at >= LATE_START
            actions.append(Start(entry.target, ticket))
        return actions

    def _end(self, ended: Ended, now: float) -> list[Action]:
        if ended.ticket not in self._flying:
            return []  # abandoned: its target is gone, or asks another question now
        self._flying.remove(ended.ticket)
        entry = self._entries[ended.target]
        check = entry.target.check
        period = health.period(entry.state, check)
        if is_void(ended, check):
            self.counts.void += 1
            if entry.voids < VOID_RETRIES:
                entry.voids += 1
                self._await(entry, now)
                return []
            report: list[Action] = []
            if ended.outcome.cause is Cause.OURS:
                self.blind.add(ended.target, entry.target.endpoint, ended.outcome.detail)
        else:
            self.blind.remove(ended.target)
            report = [self._count(entry, ended, now)]
        entry.voids = 0
        period_now = health.period(entry.state, check)
        entry.slot, missed = next_slot(entry.slot, period_now, now)
        if period_now == period:  # a grid that begins only now has missed nothing
            self.counts.due += missed
            self.counts.missed += missed
        self._await(entry, entry.slot)
        return report

    def _count(self, entry: _Entry, ended: Ended, now: float) -> Report:
        self.counts.done += 1
        cause = ended.outcome.cause
        good = cause is Cause.GOOD
        before = health.verdict(entry.state)
        entry.state = health.handle(entry.state, good, entry.target.check, now)
        entry.last = Probe(
            ok=good,
            answered=cause in (Cause.GOOD, Cause.ANSWERED, Cause.PARTIAL),
            detail=ended.outcome.detail,
            ms=round(ended.took * 1000, 2),
            at=now,
            warning=ended.outcome.warning,
        )
        verdict = entry.verdict()
        return Report(verdict, verdict.health is not before)


def is_void(ended: Ended, check: Check) -> bool:
    """Whether this end says nothing about the server."""
    cause = ended.outcome.cause
    ran_out = cause in (Cause.PARTIAL, Cause.SILENT)
    return cause is Cause.OURS or (ran_out and ended.stalled > STALL_SHARE * check.timeout)


def next_slot(slot: float, period: float, now: float) -> tuple[float, int]:
    """The first slot after `now` on the grid through `slot`, and how many were missed."""
    steps = max(1, math.floor((now - slot) / period) + 1)
    return slot + steps * period, steps - 1


def first_slot(target: Target, now: float) -> float:
    """Where a new target's grid begins: always the same place for the same id."""
    digest = hashlib.blake2b(target.id.encode(), digest_size=4).digest()
    return now + int.from_bytes(digest) / 2**32 * min(target.check.interval, SPREAD)


def same_question(one: Target, other: Target) -> bool:
    """Whether both ask the same of the same server, at whatever pace."""
    pace = one.check
    asked = replace(
        other.check,
        interval=pace.interval,
        fast_interval=pace.fast_interval,
        timeout=pace.timeout,
        rise=pace.rise,
        fall=pace.fall,
        held=pace.held,
    )
    return one.endpoint == other.endpoint and one.check == asked


def _admit(target: Target, known: _Entry | None, now: float) -> _Entry:
    slot = first_slot(target, now)
    if known is not None and same_question(known.target, target):
        return _Entry(target, known.state, known.last, slot)
    return _Entry(target, health.Unknown(now), None, slot)


class Stalls:
    """How long our own loop did not turn, told by a tick that should come each TICK seconds."""

    TICK = 0.05
    JITTER = 0.005  # a tick this late is no stall
    KEPT = 256  # under constant overload this is 14 s or more, longer than any sane timeout

    def __init__(self, now: float) -> None:
        self._due_at = now + self.TICK
        self._stalls: list[tuple[float, float]] = []

    def tick(self, now: float) -> None:
        """The tick came."""
        if now - self._due_at > self.JITTER:
            self._stalls.append((self._due_at, now))
            del self._stalls[: -self.KEPT]
        self._due_at = now + self.TICK

    def within(self, start: float, now: float) -> float:
        """Seconds from `start` to `now` that were lost; the stall going on is counted too."""
        lost = max(0.0, now - max(start, self._due_at))
        lost = lost if lost > self.JITTER else 0.0
        for begin, end in reversed(self._stalls):
            if end <= start:
                break
            lost += end - max(begin, start)
        return lost
