"""When each target is probed, and what a probe's end means: the decisions of the checker.

Theory
- A target has a slot each `interval` (core/slots).
- Probes of one target never overlap. A slot that passes while the probe before it is under way,
  or while the bound on probes in flight holds it back, is missed, counted, and not made up for.
- When more is due than may start, what is longest due starts first.
- In doubt the next probe starts `fast_interval` after the start of the last one, or at its end if
  that is later: a server that is silent is not given more time than its timeouts.
- The end of a held connection (core/held.py) asks for a probe at once, before all others. One that
  is refused is a verdict then and not one of `fall`: two signs agree. After any other wrong answer
  it takes a second one, at once: servers that close idle clients also err now and then. A good one
  is followed by two more within LOOKS: a kernel that tears a process down may close its listener
  last. A probe that is under way already comes first.
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

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from hadirector.core import health, held
from hadirector.core.blind import Blind

# Who makes outcomes, or carries out what is said here, takes these names from here.
from hadirector.core.checker_messages import Cause as Cause
from hadirector.core.checker_messages import Probe, Targets, Verdict
from hadirector.core.pacing_events import Action as Action
from hadirector.core.pacing_events import Ended as Ended
from hadirector.core.pacing_events import Event as Event
from hadirector.core.pacing_events import Look as Look
from hadirector.core.pacing_events import Outcome as Outcome
from hadirector.core.pacing_events import Report as Report
from hadirector.core.pacing_events import Start as Start
from hadirector.core.pacing_events import Stop as Stop
from hadirector.core.pacing_events import Woken as Woken
from hadirector.core.settings.checks import TOLD, Check, CheckType, Target
from hadirector.core.silences import Silences
from hadirector.core.slots import first_slot, next_slot, own_place

STARTS_PER_TURN = 64  # about 4 ms of system calls; then answers get a turn
VOID_RETRIES = 2
STALL_SHARE = 0.25  # of a probe's timeout: with more of it lost by ourselves, silence is no news
LOOKS = (0.01, 0.03)  # seconds from a good probe after the end of a held connection to the next
AT_ONCE = -1.0  # due before whatever is due by its slot
LATE_START = 0.1  # seconds behind its slot from which a start is counted as late

_FAILURES = (Cause.REFUSED, Cause.ANSWERED)  # the server's own word, whole


@dataclass(slots=True)
class Counts:
    """Since the start: slots that came (`due`), and what became of them."""

    due: int = 0
    done: int = 0  # probes that counted
    missed: int = 0  # slots passed over
    late: int = 0  # probes started LATE_START or more behind their slot
    void: int = 0


@dataclass(frozen=True, slots=True)
class _Sign:
    """A held connection ended at `at`; `verdict` as in held.News. `seconded`: one probe after it
    got a wrong answer; `looks`: so many were good."""

    at: float
    verdict: bool
    sentence: str
    seconded: bool = False
    looks: int = 0


@dataclass(slots=True)
class _Entry:
    """A target: its verdict and its next try, which `ticket` names until it has ended."""

    target: Target
    state: health.State
    last: Probe | None
    slot: float
    placed: bool = False  # its slots are in their own place of the interval
    ticket: int = 0
    started: float = 0.0  # its last try
    voids: int = 0  # in a row
    signs: list[_Sign] = field(default_factory=list)  # of death, that the next probe is to settle
    silent_since: float | None = None  # the start of the first of its last probes without an answer
    alone: bool = False  # as in Verdict
    freed_at: float | None = None  # another one answered then: a probe begun since will tell

    def verdict(self) -> Verdict:
        state = self.state
        health_now = health.verdict(state)
        return Verdict(self.target.id, health_now, state.since, self.last, self.alone)


class Schedule:
    """All targets of a checker; at most `in_flight` probes are under way at once, and at most
    `room` connections are held."""

    def __init__(self, in_flight: int, room: int = 0) -> None:
        assert in_flight > 0
        self.counts = Counts()
        self.blind = Blind()
        self.holds = held.Holds(room)
        self._silences = Silences()
        self._in_flight = in_flight
        self._entries: dict[str, _Entry] = {}
        self._flying: set[int] = set()
        self._heap: list[tuple[float, int, str]] = []  # (due at, ticket, target)
        self._tickets = 0

    def handle(self, event: Event, now: float) -> list[Action]:
        """What to do now, in this order."""
        match event:
            case Targets(targets=targets, known=known):
                told = {verdict.target: verdict for verdict in known}
                return [*self._replace(targets, told, now), *self._start_due(now)]
            case Ended():
                return [*self._end(event, now), *self._start_due(now)]
            case Woken():
                return [*self.holds.due(now), *self._start_due(now)]
            case held.Stands() | held.Broken():
                self._hurry(self.holds.handle(event, now), now)
                return self._start_due(now)
            case Look(target):
                entry = self._entries.get(target)
                if entry is not None and entry.ticket not in self._flying:
                    self._await(entry, AT_ONCE)
                return self._start_due(now)
            case _:
                assert_never(event)

    def next_at(self) -> float | None:
        """When to wake at the latest; None: not before a probe has ended or targets come."""
        due = [self.holds.next_at()]
        if self._drop_outdated() and len(self._flying) < self._in_flight:
            due.append(self._heap[0][0])
        return min((at for at in due if at is not None), default=None)

    def verdicts(self) -> tuple[Verdict, ...]:
        """All verdicts, in the order the targets were given."""
        return tuple(entry.verdict() for entry in self._entries.values())

    def _replace(
        self, targets: tuple[Target, ...], told: Mapping[str, Verdict], now: float
    ) -> list[Action]:
        before, self._entries = self._entries, {}
        for target in targets:
            known = before.get(target.id)
            if known is not None and known.target == target:
                self._entries[target.id] = known
            else:
                self._entries[target.id] = _admit(target, known, told.get(target.id), now)
        self.blind.keep(self._entries.keys())
        self._silences.keep(set(self._entries))
        kept = {entry.ticket for entry in self._entries.values()}
        stops = [Stop(ticket) for ticket in sorted(self._flying - kept)]
        self._flying &= kept
        self._heap = [item for item in self._heap if item[1] in kept]
        heapq.heapify(self._heap)
        for entry in self._entries.values():
            if entry.ticket == 0:
                self._await(entry, entry.slot)
        held_ones = (
            (t.id, t.at, t.check.source_for(t.at.address)) for t in targets if t.check.held
        )
        return [*stops, *self.holds.follow(held_ones)]

    def _await(self, entry: _Entry, due_at: float) -> None:
        self._tickets += 1
        entry.ticket = self._tickets
        heapq.heappush(self._heap, (due_at, entry.ticket, entry.target.id))

    def _hurry(self, news: held.News | None, now: float) -> None:
        """A held connection ended: the next probe of its targets is due at once. Who is out
        already, or was never probed, has nothing to lose by waiting."""
        for name in news.targets if news else ():
            entry = self._entries[name]
            if not isinstance(entry.state, health.Up | health.Falling):
                continue
            assert news is not None
            entry.signs.append(_Sign(now, news.verdict, news.sentence))
            if entry.ticket not in self._flying:
                self._await(entry, AT_ONCE)

    def _drop_outdated(self) -> bool:
        """Forget what waited for a slot and was started earlier; whether anything is left."""
        while self._heap:
            _, ticket, target = self._heap[0]
            entry = self._entries.get(target)
            if entry is not None and entry.ticket == ticket:
                return True
            heapq.heappop(self._heap)
        return False

    def _start_due(self, now: float) -> list[Action]:
        actions: list[Action] = []
        while (
            len(self._flying) < self._in_flight
            and len(actions) < STARTS_PER_TURN
            and self._drop_outdated()
            and self._heap[0][0] <= now
        ):
            due_at, ticket, target = heapq.heappop(self._heap)
            entry = self._entries[target]
            self._flying.add(ticket)
            entry.started = now
            if entry.voids == 0:
                self.counts.due += 1
            self.counts.late += due_at > AT_ONCE and now - due_at >= LATE_START
            actions.append(Start(entry.target, ticket))
        return actions

    def _end(self, ended: Ended, now: float) -> list[Action]:
        if ended.ticket not in self._flying:
            return []  # abandoned: its target is gone, or asks another question now
        self._flying.remove(ended.ticket)
        entry = self._entries[ended.target]
        check = entry.target.check
        if check.type is CheckType.AGENT:
            ended = replace(ended, outcome=_recalled(ended.outcome, entry.last))
        before = entry.state
        actions: list[Action] = []
        if is_void(ended, check):
            self.counts.void += 1
            if entry.voids < VOID_RETRIES:
                entry.voids += 1
                self._await(entry, AT_ONCE if entry.signs else now)
                return []
            entry.signs.clear()
            if ended.outcome.cause is Cause.OURS:
                self.blind.add(ended.target, entry.target.endpoint, ended.outcome.detail)
        elif ended.outcome.cause is not Cause.WAITING:
            self.blind.remove(ended.target)
            actions = [
                *self._compare(entry, ended, now),
                *self._hold(entry, ended, now),
            ]
        entry.voids = 0
        if entry.signs:
            looks = entry.signs[0].looks
            self._await(entry, now + LOOKS[looks - 1] if looks else AT_ONCE)
        elif entry.freed_at is not None:
            self._await(entry, AT_ONCE)
        else:
            self._await_slot(entry, before, now)
        return actions

    def _compare(self, entry: _Entry, ended: Ended, now: float) -> list[Action]:
        """Count the probe, and tell a silent server from a node that hears nobody."""
        if entry.target.check.type in TOLD:
            return [self._count(entry, ended, now)]
        server = entry.target.at.address
        silent = ended.outcome.cause in (Cause.SILENT, Cause.UNREACHABLE)
        freed: list[str] = []
        if silent:
            entry.silent_since = entry.started if entry.silent_since is None else entry.silent_since
        else:
            entry.silent_since = entry.freed_at = None
            self._silences.forget(entry.target.id)
            freed = self._silences.answered(server, now)
        report = self._count(entry, ended, now)
        alone = False
        if entry.freed_at is not None and entry.started < entry.freed_at:
            alone = entry.alone  # asked while nobody answered: no news
        elif entry.silent_since is not None and isinstance(entry.state, health.Down):
            entry.freed_at = None
            alone = self._silences.falls_silent(entry.target.id, server, entry.silent_since)
        if alone != entry.alone:
            entry.alone = alone
            report = Report(entry.verdict(), True)
        actions: list[Action] = [report]
        for name in freed:
            # That they did not answer before says nothing of them: the network may just be back.
            # They stay alone until they are asked again, which is at once.
            other = self._entries[name]
            other.freed_at = now
            if other.ticket not in self._flying:
                self._await(other, AT_ONCE)
        return actions

    def _count(self, entry: _Entry, ended: Ended, now: float) -> Report:
        self.counts.done += 1
        cause, detail = ended.outcome.cause, ended.outcome.detail
        good = cause is Cause.GOOD
        before = health.verdict(entry.state)
        dead = [s for s in entry.signs if s.verdict] if cause in _FAILURES else []
        if dead and (cause is Cause.REFUSED or dead[0].seconded):
            entry.state = health.lost(entry.state, now)
            detail = f"{detail}, and {dead[0].sentence}"
            entry.signs.clear()
        else:
            entry.state = health.handle(entry.state, good, entry.target.check, now)
            entry.signs = _unsettled(entry, cause)
        entry.last = Probe(
            ok=good,
            answered=cause in (Cause.GOOD, Cause.PARTIAL) or cause in _FAILURES,
            detail=detail,
            ms=round(ended.took * 1000, 2),
            at=now,
            share=ended.outcome.share,
            wish=ended.outcome.wish,
            up=ended.outcome.up,
            warning=ended.outcome.warning,
        )
        verdict = entry.verdict()
        return Report(verdict, verdict.health is not before)

    def _hold(self, entry: _Entry, ended: Ended, now: float) -> list[held.Action]:
        if not entry.target.check.held:
            return []
        if isinstance(entry.state, health.Down):
            silent = ended.outcome.cause in (Cause.SILENT, Cause.UNREACHABLE)
            return self.holds.down(entry.target.at, silent)
        settled = ended.outcome.cause is Cause.GOOD and not entry.signs
        if settled and isinstance(entry.state, health.Up):
            return self.holds.good(entry.target.at, now)
        return []

    def _await_slot(self, entry: _Entry, before: health.State, now: float) -> None:
        """The next slot of a target that has just been probed, and those passed over."""
        check = entry.target.check
        period = health.period(entry.state, check)
        if health.in_doubt(entry.state):
            entry.slot = max(entry.started + period, now)
        elif entry.slot <= now:  # else this probe was one at once, between slots
            grid = entry.slot if entry.placed else own_place(entry.target, entry.slot)
            begins = health.in_doubt(before) or grid != entry.slot
            entry.placed = True
            entry.slot, missed = next_slot(grid, period, now)
            if not begins:  # a grid that begins only now has missed nothing
                self.counts.due += missed
                self.counts.missed += missed
        self._await(entry, entry.slot)


def _unsettled(entry: _Entry, cause: Cause) -> list[_Sign]:
    """The signs that are left after a probe that was no verdict on them."""
    # What ended while this probe was under way is not settled by it.
    left = [sign for sign in entry.signs if sign.at > entry.started]
    if left or not entry.signs or not entry.signs[0].verdict:
        return left
    sign = entry.signs[0]
    if cause in _FAILURES:
        return [replace(sign, seconded=True, looks=0)]
    if cause is Cause.GOOD and sign.looks < len(LOOKS):
        return [replace(sign, looks=sign.looks + 1)]
    return []


def _recalled(outcome: Outcome, last: Probe | None) -> Outcome:
    """What an agent does not say again still holds: one that told `down` and later only its load
    is down."""
    if last is None:
        return outcome
    wish = last.wish if outcome.wish is None else outcome.wish
    up = last.up if outcome.up is None else outcome.up
    down = up is False and outcome.cause is Cause.GOOD
    return replace(outcome, cause=Cause.ANSWERED if down else outcome.cause, wish=wish, up=up)


def is_void(ended: Ended, check: Check) -> bool:
    """Whether this end says nothing about the server."""
    cause = ended.outcome.cause
    ran_out = cause in (Cause.PARTIAL, Cause.SILENT)
    return cause is Cause.OURS or (ran_out and ended.stalled > STALL_SHARE * check.timeout)


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


def _admit(target: Target, known: _Entry | None, told: Verdict | None, now: float) -> _Entry:
    slot = first_slot(target, now)
    if known is not None and same_question(known.target, target):
        return _Entry(target, known.state, known.last, slot, alone=known.alone)
    if known is None and told is not None:
        state = health.resume(told.health, told.since)
        return _Entry(target, state, told.last, slot, alone=told.alone)
    return _Entry(target, health.Unknown(now), None, slot)
