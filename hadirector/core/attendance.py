"""What the runner process is there for, as the director's core keeps it: tracked things, hooks and
the programs of checks; and what else checks learn by way of the director (core/externals).

    the runner's words, services, peers, the journal's events
        -> what is tracked, and what waits to be told (core/tracking, core/hooks)
        -> programs to run, things to watch, the level for the election, lines for the journal

While nothing is tracked, hooked or executed there is no runner, and nothing here costs anything.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from hadirector.core import director_events as ev
from hadirector.core import messages, peers, runner_messages
from hadirector.core.checker_messages import Cause
from hadirector.core.deaths import DIED
from hadirector.core.errands import Errands
from hadirector.core.externals import Externals
from hadirector.core.hooks import Hooks, Pending
from hadirector.core.messages import Health, Process, RouterStateName
from hadirector.core.scripts import Schedule
from hadirector.core.server_health import is_in
from hadirector.core.services import Change, Services
from hadirector.core.settings.checks import Check, Target
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.services import VirtualService
from hadirector.core.tracking import Kind, Seen, Tracking

MARGIN = 0.5  # seconds beyond what a peer's checks take to see a failure
SAVE_EVERY = 1.0  # seconds between notes of what hooks have still to be told
SAVED = 512  # such notes kept
FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Scene:
    """What the director knows that tracking and hooks ask for."""

    services: Services
    peers: peers.Peers | None
    routers: tuple[messages.Router, ...]


class Attendance:
    """Tracked things, hooks, and the runner that serves them. `past` is the journal of former
    directors, `left_over` what hooks had still to be told then."""

    def __init__(
        self, past: Iterable[messages.Event] = (), left_over: Iterable[Pending] = ()
    ) -> None:
        self.tracking = Tracking(past)
        self.hooks = Hooks(left_over)
        self.runner: messages.ProcessState | None = None
        self.errands = Errands()
        self.externals = Externals()
        self._schedule = Schedule()
        self._greeted = False
        self.wanted = False
        self._peers_known_at = FOREVER
        self._watch = runner_messages.Watch((), ())
        self._saved: tuple[Pending, ...] = ()
        self._save_at = -FOREVER

    def configure(
        self, config: Config, now: float, targets: Collection[Target] = ()
    ) -> list[ev.Action]:
        """Take a configuration, with the targets of its checks; the runner comes or goes with
        it."""
        self.errands.configure(targets)
        self.externals.configure(targets)
        patience = _patience(config)
        self.tracking.configure(config.instances, config.scripts, patience, now)
        self.hooks.configure(config, now)
        self._schedule.configure(self.tracking.scripts(), now)
        if self._peers_known_at == FOREVER:
            self._peers_known_at = now + (peers.SILENCE if config.peers else 0.0)
        files, processes = self.tracking.names(Kind.FILE), self.tracking.names(Kind.PROCESS)
        self._watch = runner_messages.Watch(files, processes)
        wanted = bool(self.tracking.scripts() or files or processes or config.hooks)
        wanted = wanted or self.errands.wanted
        before, self.wanted = self.wanted, wanted
        actions: list[ev.Action] = [ev.Employ(wanted)] if wanted != before else []
        return actions + self._tell_watch()

    def take(self, message: messages.Message, now: float) -> tuple[list[Change], list[ev.Action]]:
        """A message of the runner, or about it: `Processes` with its state alone."""
        match message:
            case messages.Hello():
                self._greeted = True
                return [], self._tell_watch()
            case runner_messages.Ran():
                name = self._schedule.ended(message)
                if name is not None:
                    self.tracking.ran(name, message, now)
                answers = _to_checker(self.errands.ended(message, now))
                return self.hooks.ended(message, now), answers
            case runner_messages.FilesSeen():
                self.tracking.files_seen(message, now)
            case runner_messages.ProcessesSeen():
                self.tracking.processes_seen(message, now)
            case messages.Processes(processes=(state,)):
                died = self._runner_is(state, now)
                return died, [] if state.alive else _to_checker(self.errands.lost())
            case _:
                pass
        return [], []

    def execute(self, asked: messages.Execute, now: float) -> list[ev.Action]:
        """The checker wants the program of a check to be run; `turn` has it started."""
        if not self._greeted:
            why = "the process that runs programs is not there yet"
            return _to_checker([messages.Executed(asked.ticket, Cause.OURS, why)])
        return _to_checker(self.errands.ask(asked, now))

    def report(self, told: ev.Reported, now: float) -> list[ev.Action]:
        """Somebody says how a server is."""
        names = self.externals.targets(told.check, told.server)
        reports = self.externals.report(names, told.up, told.share, told.reason, now)
        return [ev.Send(Process.CHECKER, reports, FOREVER)]

    def greet_checker(self, now: float) -> list[ev.Action]:
        """What a checker that starts is to know beside its targets."""
        known = self.externals.known(now)
        return [ev.Send(Process.CHECKER, known, FOREVER)] if known.reports else []

    def turn(
        self, scene: Scene, events: Iterable[messages.Event], now: float
    ) -> tuple[list[Change], list[ev.Action]]:
        """After whatever happened: `events` are the journal's new lines."""
        told: list[Change] = []
        for event in events:
            told += self.hooks.happened(event, now)
        names = self.tracking.names(Kind.SERVICE)
        if names:
            self.tracking.services_seen(self._seen(names, scene, now), now)
        told += self.tracking.changes()
        runs: list[messages.Run] = []
        if self._greeted:
            runs, given_up = self.hooks.start(
                lambda kind, subject: _holds(scene, kind, subject), now
            )
            told += given_up
            runs += self._schedule.start(now)
            runs += self.errands.start(now)
        actions: list[ev.Action] = [ev.Send(Process.RUNNER, run, FOREVER) for run in runs]
        return told, actions + self._save(now)

    def deadline(self) -> float | None:
        """When `turn` is to be called at the latest."""
        due = [self.tracking.deadline()]
        if self._unsaved() != self._saved:
            due.append(self._save_at)
        if self._greeted:
            due += [self._schedule.deadline(), self.hooks.deadline()]
        return min((at for at in due if at is not None), default=None)

    def waiting(self) -> str:
        """What keeps this node from being ready, or nothing."""
        unknown = [t for t in self.tracking.unknown() if t.kind is not Kind.SERVICE]
        if not unknown:
            return ""
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        return f"{unknown[0]}{more}: no result yet"

    def _runner_is(self, state: messages.ProcessState, now: float) -> list[Change]:
        """It started, beat, or died."""
        was, self.runner = self.runner, state
        if state.alive or was is None or not was.alive:
            return []
        self._greeted = False
        self._schedule.lost(now)
        self.hooks.lost(now)
        if not state.ended:
            return []  # it was let go
        reason = f"{state.ended}; a new one takes its place"
        inputs = {"restarts": str(state.restarts)}
        return [Change(DIED, Process.RUNNER.value, reason, inputs)]

    def _tell_watch(self) -> list[ev.Action]:
        return [ev.Send(Process.RUNNER, self._watch, FOREVER)] if self._greeted else []

    def _save(self, now: float) -> list[ev.Action]:
        """Note what is still to be told, for a director after this one. That nothing is goes at
        once: it must not be told twice."""
        pending = self._unsaved()
        if pending == self._saved or (pending and now < self._save_at):
            return []
        self._saved, self._save_at = pending, now + SAVE_EVERY
        return [ev.SaveHooks(pending)]

    def _unsaved(self) -> tuple[Pending, ...]:
        return self.hooks.pending()[:SAVED]

    def _seen(self, names: Iterable[str], scene: Scene, now: float) -> dict[str, Seen]:
        """The tracked services, here and at the peers; nothing while these may not have spoken."""
        if now < self._peers_known_at:
            return {}
        known = scene.peers.known.values() if scene.peers else ()
        alive = [(k.node.name, k.presence) for k in known if k.alive and k.presence is not None]
        found = {}
        for name in names:
            weights = scene.services.weights.get(name)
            if weights is None:
                continue
            settled = all(s.health.health is not Health.UNKNOWN for s in weights.servers)
            below = not weights.quorum_met
            up = tuple(node for node, said in alive if said.services.get(name))
            found[name] = Seen(below if settled or not below else None, weights.reason, up)
        return found


def _to_checker(answers: Iterable[messages.Executed]) -> list[ev.Action]:
    return [ev.Send(Process.CHECKER, answer, FOREVER) for answer in answers]


def _holds(scene: Scene, kind: str, subject: str) -> bool | None:
    """Whether what an event told is still so; None: not known now."""
    if kind in ("quorum_lost", "quorum_gained"):
        weights = scene.services.weights.get(subject)
        return False if weights is None else weights.quorum_met == (kind == "quorum_gained")
    if kind in ("server_down", "server_up"):
        return _server_holds(scene.services, kind, subject)
    return _router_holds(scene.routers, kind, subject)


def _server_holds(services: Services, kind: str, subject: str) -> bool | None:
    name, _, endpoint = subject.partition("/")
    weights = services.weights.get(name)
    server = next(
        (s for s in weights.servers if str(s.server.endpoint) == endpoint) if weights else iter(()),
        None,
    )
    if server is None:
        return False
    if server.health.health is Health.UNKNOWN:
        return None
    up = is_in(server.health.health)
    return up == (kind == "server_up")


def _router_holds(routers: tuple[messages.Router, ...], kind: str, subject: str) -> bool | None:
    """A router that is not there has stopped."""
    name, _, family = subject.partition("/")
    states = {r.state for r in routers if r.instance == name and family in ("", f"ipv{r.family}")}
    if RouterStateName.INIT in states:
        return None if kind != "stopped" else True
    if not states:
        return kind == "stopped" or None
    return kind in {state.value for state in states}


def _patience(config: Config) -> Mapping[str, float]:
    """By service: how long its checks take at most to see a failure, here or at a peer."""
    checks = {check.name: check for check in config.checks}
    return {service.name: _slowest(service, checks) for service in config.services}


def _slowest(service: VirtualService, checks: Mapping[str, Check]) -> float:
    slowest = max((_notice(checks[name]) for name in service.check.checks), default=0.0)
    return slowest + peers.INTERVAL + MARGIN


def _notice(check: Check) -> float:
    """From a server's death to the verdict: a slot away, then `fall` probes that all time out."""
    return check.interval + check.fall * check.timeout + (check.fall - 1) * check.fast_interval
