"""What instances track, and what a failure means for them.

Rules
1. What was not looked at yet is neither well nor failing. This node is not ready until everything
   tracked was looked at, so one that boots does not take a healthy master's place; and of what a
   director that starts has not seen yet, the election keeps what it was told last.
2. A script fails and recovers by its `rise` and `fall`; its first run settles it.
3. A process fails when two looks in a row find none of its name: a service that is restarted is
   gone for a moment. One look that finds it settles the contrary.
4. A file adds the number in it times the factor to the priority, as keepalived's track_file: a
   product of -254 or less is a fault, one beyond 253 counts as 253. Without a number (no file, not
   readable, something else in it) it counts as 0 and that is told, once two looks in a row saw it:
   a file being rewritten is empty for a moment.
5. A virtual service counts only while it is below quorum here and a living peer reports it up:
   else nobody would win by switching. Both for `patience` first, the time in which the peer would
   see the same failure: servers that die for everybody cause no failover.
6. What cannot be looked at any more (the runner died, a disk hangs) is as it was seen last.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from hadirector.core import health, messages, runner_messages
from hadirector.core.messages import Health
from hadirector.core.runner_messages import Ran
from hadirector.core.scripts import is_good
from hadirector.core.server_health import is_out
from hadirector.core.services import Change
from hadirector.core.settings.cluster import Script
from hadirector.core.settings.instances import Instance

DOWN_EVENT, UP_EVENT = "track_down", "track_up"
_LOOKS = health.Limits(rise=1, fall=2)  # of processes and files
_AT_ONCE = health.Limits(rise=1, fall=1)  # of services: their checks have counted already
_FAULT = -254  # keepalived's: less than any priority can lose
_MOST = 253


class Kind(Enum):
    """What can be tracked, beside interfaces, which the election sees for itself."""

    SCRIPT = "script"
    FILE = "file"
    PROCESS = "process"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that instances track."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}"


@dataclass(frozen=True, slots=True)
class Condition:
    """How a thing is: `reason` in words, `number` what a file says."""

    state: health.State
    reason: str = "not looked at yet"
    number: int = 0

    @property
    def health(self) -> Health:
        """In one word."""
        return health.verdict(self.state)


@dataclass(frozen=True, slots=True)
class Tie:
    """An instance tracks a thing: a failure is a fault (`weight` None) or a delta; of a file
    `weight` is the factor."""

    instance: str
    thing: Thing
    weight: int | None

    @property
    def subject(self) -> str:
        """As the journal names it."""
        return f"{self.instance}/{self.thing}"


@dataclass(frozen=True, slots=True)
class Effect:
    """What a thing does to an instance now; `words` is empty when all is well."""

    fault: bool = False
    delta: int = 0
    words: str = ""

    @property
    def impairs(self) -> bool:
        """Whether it is anything but good for it."""
        return bool(self.words) and self.delta <= 0


@dataclass(frozen=True, slots=True)
class Seen:
    """A tracked virtual service: whether it is below quorum here (None: not all servers have a
    verdict), how in words, and the living peers that report it up."""

    below: bool | None
    reason: str
    peers: tuple[str, ...]


@dataclass(slots=True)
class Tracking:
    """All things tracked on this node. `past` is what the journal last told of each."""

    past: Iterable[messages.Event] = ()
    ties: tuple[Tie, ...] = ()
    conditions: dict[Thing, Condition] = field(default_factory=dict)
    _scripts: dict[str, Script] = field(default_factory=dict)
    _patience: Mapping[str, float] = field(default_factory=dict)
    _lost_since: dict[str, float] = field(default_factory=dict)  # services: both hold since
    _told: dict[str, str] = field(default_factory=dict)  # subject -> the effect told
    _silent: frozenset[str] = frozenset()  # files whose disk does not answer
    _news: bool = False  # whether a condition changed since `changes` was asked
    _level: messages.Tracks | None = None  # as of the conditions now

    def __post_init__(self) -> None:
        """What a former director of this boot told is no news."""
        for event in self.past:
            if event.at > 0 and event.kind in (DOWN_EVENT, UP_EVENT):
                self._told[event.subject] = event.inputs.get("effect", "")
        self.past = ()

    # --- what is tracked ---------------------------------------------------------------------

    def configure(
        self,
        instances: Iterable[Instance],
        scripts: Iterable[Script],
        patience: Mapping[str, float],
        now: float,
    ) -> None:
        """Track these; what stays the same keeps its condition. `patience` is by service."""
        before = self._scripts
        self._scripts = {script.name: script for script in scripts}
        self._patience = patience
        self.ties = tuple(tie for instance in instances for tie in _ties(instance))
        changed = {n for n, s in self._scripts.items() if n in before and not _same(s, before[n])}
        self._lost_since.clear()
        kept = {
            thing: condition
            for thing, condition in self.conditions.items()
            if thing.kind is not Kind.SCRIPT or thing.name not in changed
        }
        unknown = Condition(health.Unknown(now))
        self.conditions = {tie.thing: kept.get(tie.thing, unknown) for tie in self.ties}
        subjects = {tie.subject for tie in self.ties}
        self._told = {s: effect for s, effect in self._told.items() if s in subjects}
        self._news, self._level = True, None

    def names(self, kind: Kind) -> tuple[str, ...]:
        """All things of a kind, by name."""
        return tuple(thing.name for thing in self.conditions if thing.kind is kind)

    def scripts(self) -> tuple[Script, ...]:
        """Those that have to be run."""
        return tuple(self._scripts[name] for name in self.names(Kind.SCRIPT))

    # --- what was seen -----------------------------------------------------------------------

    def ran(self, name: str, ran: Ran, now: float) -> None:
        """A script was run."""
        if name in self._scripts:
            thing = Thing(Kind.SCRIPT, name)
            self._see(thing, is_good(ran), self._scripts[name], ran.reason, now)

    def files_seen(self, seen: runner_messages.FilesSeen, now: float) -> None:
        """The files were read."""
        if self._silent != frozenset(seen.silent):
            self._silent, self._level = frozenset(seen.silent), None
        for file in seen.files:
            thing = Thing(Kind.FILE, file.path)
            if file.number is not None:
                self._see(thing, True, _LOOKS, f"says {file.number}", now, file.number)
            elif thing in self.conditions:
                was = self.conditions[thing]
                self._see(thing, False, _LOOKS, file.reason, now, was.number)
                if is_out(self.conditions[thing].health):
                    self._set(thing, replace(self.conditions[thing], number=0))

    def processes_seen(self, seen: runner_messages.ProcessesSeen, now: float) -> None:
        """The table of processes was looked at."""
        for one in seen.processes:
            reason = f"{one.count} running" if one.count else "not running"
            self._see(Thing(Kind.PROCESS, one.name), one.count > 0, _LOOKS, reason, now)

    def services_seen(self, seen: Mapping[str, Seen], now: float) -> None:
        """The tracked services; to be called whenever time passed or anything changed."""
        for name in self.names(Kind.SERVICE):
            one = seen.get(name)
            if one is None or one.below is None:
                self._lost_since.pop(name, None)  # as it was, until it is known
            elif one.below and one.peers:
                self._lose(name, one, now)
            else:
                self._lost_since.pop(name, None)
                alone = "; no peer reports it up" if one.below else ""
                self._see(Thing(Kind.SERVICE, name), True, _AT_ONCE, one.reason + alone, now)

    def _lose(self, name: str, one: Seen, now: float) -> None:
        """Lost here only, as it seems."""
        thing = Thing(Kind.SERVICE, name)
        reason = f"{one.reason}; {' and '.join(one.peers)} reports it up"
        since = self._lost_since.setdefault(name, now)
        if now >= since + self._patience.get(name, 0.0):
            self._see(thing, False, _AT_ONCE, reason, now)
        elif self.conditions[thing].health is not Health.DOWN:
            waits = f"{reason}; waiting whether it sees the same"
            self._set(thing, replace(self.conditions[thing], reason=waits))

    def deadline(self) -> float | None:
        """When `services_seen` is to be called again, if nothing changes before."""
        waiting = [
            since + self._patience.get(name, 0.0)
            for name, since in self._lost_since.items()
            if Thing(Kind.SERVICE, name) in self.conditions
            and self.conditions[Thing(Kind.SERVICE, name)].health is not Health.DOWN
        ]
        return min(waiting, default=None)

    # --- what it means -----------------------------------------------------------------------

    def tracks(self) -> messages.Tracks:
        """The level for the election."""
        if self._level is None:
            self._level = self._tracks()
        return self._level

    def _tracks(self) -> messages.Tracks:
        failing = []
        for tie in self.ties:
            condition = self.conditions[tie.thing]
            effect = effect_of(tie, condition)
            if effect.fault or effect.delta:
                what = str(tie.thing)
                reason = f"{what}: {self.reason(tie.thing)}"
                failing.append(
                    messages.Track(tie.instance, what, effect.fault, effect.delta, reason)
                )
        return messages.Tracks(tuple(failing), tuple(str(thing) for thing in self.unknown()))

    def unknown(self) -> tuple[Thing, ...]:
        """What was not looked at yet."""
        return tuple(t for t, c in self.conditions.items() if c.health is Health.UNKNOWN)

    def reason(self, thing: Thing) -> str:
        """How it is, in words."""
        silent = thing.kind is Kind.FILE and thing.name in self._silent
        return self.conditions[thing].reason + ("; its disk does not answer now" if silent else "")

    def changes(self) -> list[Change]:
        """What begins or ends to count, since asked last."""
        if not self._news:
            return []
        self._news = False
        told = []
        for tie in self.ties:
            condition = self.conditions[tie.thing]
            effect = effect_of(tie, condition)
            if (
                condition.health is Health.UNKNOWN
                or self._told.get(tie.subject, "") == effect.words
            ):
                continue
            self._told[tie.subject] = effect.words
            kind = DOWN_EVENT if effect.impairs else UP_EVENT
            reason = condition.reason + (f": {effect.words}" if effect.words else "")
            told.append(Change(kind, tie.subject, reason, {"effect": effect.words}))
        return told

    def _see(
        self,
        thing: Thing,
        good: bool,
        limits: Script | health.Limits,
        reason: str,
        now: float,
        number: int = 0,
    ) -> None:
        was = self.conditions.get(thing)
        if was is None:
            return  # it is tracked no more
        state = health.handle(was.state, good, limits, now)
        self._set(thing, Condition(state, reason, number))

    def _set(self, thing: Thing, condition: Condition) -> None:
        if self.conditions[thing] != condition:
            self.conditions[thing] = condition
            self._news, self._level = True, None


def effect_of(tie: Tie, condition: Condition) -> Effect:
    """What a thing in this condition does to the instance that tracks it so."""
    out = is_out(condition.health)
    if tie.thing.kind is not Kind.FILE:
        if not out:
            return Effect()
        if tie.weight is None:
            return Effect(fault=True, words="fault")
        return Effect(delta=tie.weight, words=f"priority {tie.weight:+d}")
    if out:
        return Effect(words="counts as 0")
    product = condition.number * (tie.weight or 0)
    if product <= _FAULT:
        return Effect(fault=True, words="fault")
    delta = min(product, _MOST)
    return Effect(delta=delta, words=f"priority {delta:+d}" if delta else "")


def _ties(instance: Instance) -> list[Tie]:
    named = (
        (Kind.SCRIPT, instance.track_scripts),
        (Kind.PROCESS, instance.track_processes),
        (Kind.SERVICE, instance.track_services),
    )
    ties = [Tie(instance.name, Thing(k, t.name), t.weight) for k, all_ in named for t in all_]
    files = instance.track_files
    return ties + [Tie(instance.name, Thing(Kind.FILE, f.path), f.factor) for f in files]


def _same(one: Script, other: Script) -> bool:
    """Whether two scripts ask the same question, at whatever pace."""
    return one.command == other.command
