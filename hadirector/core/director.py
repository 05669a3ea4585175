"""The director's core: configuration, services, peers and readiness of one node.

`handle(event, now)` gives ordered actions; `deadline()` says when to call it with `Woken`. Each
idea has its own module, which gives what to do and what to tell; here they meet, in the one order
that matters: what the kernel is to do goes before what is told of it.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from hadirector.core import deaths, differences, ipvs, messages, own_election, peers
from hadirector.core import director_events as ev
from hadirector.core.attendance import Attendance, Scene
from hadirector.core.checker_watch import CheckerWatch
from hadirector.core.company import Company
from hadirector.core.flaps import Flaps
from hadirector.core.hooks import Pending
from hadirector.core.journal import Journal
from hadirector.core.kernel_table import KernelTable
from hadirector.core.keys import Secrets
from hadirector.core.messages import Process
from hadirector.core.operations import Operations
from hadirector.core.orders import Orders
from hadirector.core.overrides import Override
from hadirector.core.own_election import OwnElection
from hadirector.core.own_sync import OwnSync
from hadirector.core.peer_messages import Told
from hadirector.core.peers import View
from hadirector.core.requests import OrderServer
from hadirector.core.services import Change, Outcome, Rulings, Services
from hadirector.core.settings.cluster import Config
from hadirector.core.situation import Situation
from hadirector.core.stance import Stance
from hadirector.core.takeover import Step
from hadirector.core.views import Views

LEVELS_EVERY = 1.5  # seconds between re-sent levels of the election
LEVELS_HOLD = 5.0  # seconds they are good for: three may be lost


class Director:
    """One node's director; everything in it is derived from the events handled so far."""

    def __init__(
        self,
        version: str,
        owned: frozenset[ipvs.ServiceKey],
        now: float,
        past: Iterable[messages.Event] = (),
        stance: Stance | None = None,
        left_over: Iterable[Pending] = (),
        overrides: Iterable[Override] = (),
    ) -> None:
        self.version = version
        self.journal = Journal(past)
        stance = stance or Stance()
        self.operations = Operations(stance, self._situation)
        self.attendance = Attendance(self.journal.since(0), left_over)
        self.services = Services()
        self.views = Views()
        self.orders = Orders(overrides, self.services, self._situation, now)
        self.config: Config | None = None
        self.configured_at = now
        self.company = Company(now)
        self.election = OwnElection(now)
        self.sync = OwnSync(now)
        self.turned_at = now
        self.processes: tuple[messages.ProcessState, ...] = ()
        self.kernel = KernelTable(self.services, owned, self._name, now, stance.pause)
        self.checker = CheckerWatch(self._name, now)
        self.refused = ""  # what the file on disk would do to a restart
        self._secrets = Secrets()
        self._flaps = Flaps()
        self._levels_at = now
        self._presence_at = now
        self._says: object = ({}, {})  # states and voices of the routers
        self._told: object = None  # readiness, what fails, and these, as told last

    def handle(self, event: ev.Event, now: float) -> tuple[ev.Action, ...]:
        """What to do about an event, in order."""
        self.turned_at = now
        actions = self._react(event, now)
        actions += self._attend(actions, now)
        return (*actions, *self._due(now))

    @property
    def peers(self) -> peers.Peers | None:
        """The other nodes; None before the first configuration."""
        return self.company.peers

    @property
    def routers(self) -> tuple[messages.Router, ...]:
        """Every virtual router of this node, as far as that is known."""
        return self.election.routers

    def deadline(self) -> float:
        """When `Woken` is due at the latest."""
        due = [self._levels_at, self._presence_at]
        due += [self.operations.deadline, self.orders.deadline()]
        others = (self.kernel, self.services, self.checker, self.company, self.attendance)
        due += [at for other in others if (at := other.deadline()) is not None]
        return min(due)

    def readiness(self) -> messages.Ready:
        """Whether this node may take over from a healthy master, and why (not)."""
        waits = self._waits()
        if not waits and self.config is not None:
            waits = self.sync.hindrance(self.config, self.turned_at)
        return messages.Ready(not waits, waits or "services programmed and checks settled")

    def _waits(self) -> str:
        """What services in the kernel wait for; empty when they are as they should be."""
        if self.config is None:
            return "no configuration yet"
        for text in (self.kernel.hindrance, self.election.unknown, self.checker.hindrance):
            if text:
                return text
        return self.services.unsettled.words or self.attendance.waiting()

    def _react(self, event: ev.Event, now: float) -> list[ev.Action]:
        match event:
            case ev.Configured(config, secrets):
                self._secrets = secrets.of_adverts()
                self.services.files = secrets.files
                return self._configured(config, now)
            case ev.Refused(reason):
                self.refused = event.trouble
                news = [Change("config_refused", self._name(), reason)] if reason else []
                return self._tell(news, now)
            case ev.KernelRead() | ev.KernelUnreadable() | ev.Applied() | ev.Paused():
                told = self._carry_out(self.kernel.handle(event, now), now)
                return [*told, *self.checker.lend(self.services, self.kernel.has)]
            case ev.From(sender, message):
                return self._from(sender, message, now)
            case ev.Heard() | ev.PeerRefused():
                return self._heard(event, now)
            case ev.PeerSaid() | ev.Asked() | ev.StanceSaved() | ev.OverridesSaved():
                return self._operators(event, now)
            case ev.Noticed(kind, subject, reason):
                return self._tell([Change(kind, subject, reason)], now)
            case ev.Reported():
                return self.attendance.report(event, now)
            case ev.Woken():
                return []
        assert_never(event)

    # Configuration

    def _configured(self, config: Config, now: float) -> list[ev.Action]:
        before, self.config, self.configured_at = self.config, config, now
        self.refused = ""
        company = self.company.configure(config, now)
        self.kernel.configured(before, config, now)
        changes = self.services.configure(
            config, self.kernel.actual or {}, now, self._rulings(config, now)
        )
        changes += company
        operations = self._carry_out(self.operations.configured(config), now)
        kind = "config_reloaded" if before else "config_loaded"
        told = differences.between(before, config) if before else differences.size(config)
        return [
            *self._tell([Change(kind, config.node, f"{told}; digest {config.digest[:12]}")], now),
            *self._tell(changes, now),
            *operations,
            ev.Settle(config),
            *self.attendance.configure(config, now, self.services.targets().targets),
            *self._settings(now),
            *self.sync.settings(config, self._secrets, now),
            *self.checker.teach(self.services, anew=False),
            *self.kernel.follow_all(),
            *self.checker.lend(self.services, self.kernel.has),
            *self._presence(now),
        ]

    # Messages

    def _from(self, sender: Process, message: messages.Message, now: float) -> list[ev.Action]:
        told: list[ev.Action] = []
        if sender is Process.CHECKER:
            told = self._tell(self.checker.spoke(now), now)
        if sender in (Process.RUNNER, Process.SYNCER):
            return self._from_helper(sender, message, now)
        match message:
            case messages.Hello():
                return [*told, *self._greet(sender, now)]
            case messages.Verdicts() | messages.Blind() | messages.Execute():
                return self._checked(message, told, now)
            case messages.Routers(routers):
                told += self._tell(self.election.hear(routers, now), now)
                self._routers_changed()
                told += self._carry_out(self.operations.look(now), now)
            case messages.Obeyed():
                told += self._carry_out(self.operations.obeyed(message, now), now)
            case messages.Events(events):
                told += [ev.Write(self.journal.take(event), logged=True) for event in events]
            case messages.Processes(processes):
                told += self._processes_are(processes, now)
            case _:
                pass  # heartbeats and orders are the shell's; the rest is not for us
        return told

    def _from_helper(
        self, sender: Process, message: messages.Message, now: float
    ) -> list[ev.Action]:
        """Of a process that only the director has to do with."""
        if sender is Process.RUNNER:
            changes, actions = self.attendance.take(message, now)
            return [*self._tell(changes, now), *actions]
        if isinstance(message, messages.Hello) and self.config is not None:
            return [*self.sync.settings(self.config, self._secrets, now), *self._sync_roles()]
        told = self._tell(self.sync.hear(message, now), now)
        if self.config is not None:
            known = tuple(self.peers.known.values()) if self.peers else ()
            self.sync.look(self.config, self.routers, known, now)
        return told

    def _checked(
        self,
        said: messages.Verdicts | messages.Blind | messages.Execute,
        told: list[ev.Action],
        now: float,
    ) -> list[ev.Action]:
        match said:
            case messages.Blind(reasons):
                return [*told, *self._tell(self.checker.sees(reasons), now)]
            case messages.Execute():
                return [*told, *self.attendance.execute(said, now)]
            case messages.Verdicts() if self.kernel.decidable:
                return self._weights(self.services.hear(said, now), told, now)
        self.services.remember(said)
        return told

    def _weights(self, outcome: Outcome, told: Iterable[ev.Action], now: float) -> list[ev.Action]:
        """Weights were decided: they go into the kernel before anybody is told of them."""
        keys, changes = outcome
        steps = self.kernel.follow(keys)
        return [*steps, *told, *self._tell(self._flaps.tell(changes, now), now)]

    def _processes_are(self, processes: deaths.States, now: float) -> list[ev.Action]:
        died = list(deaths.news(self.processes, processes, self.journal))
        self.processes = processes
        if any(p.process is Process.ELECTION and not p.alive for p in processes):
            self.election.died(now)
            self._routers_changed()
        return self._tell(died, now)

    def _routers_changed(self) -> None:
        self.company.moved()
        self._says = (peers.router_states(self.routers), peers.router_voices(self.routers))

    def _greet(self, sender: Process, now: float) -> list[ev.Action]:
        if self.config is None:
            return []
        if sender is Process.CHECKER:
            return [
                *self.checker.teach(self.services, anew=True),
                *self.checker.lend(self.services, self.kernel.has),
                *self.attendance.greet_checker(now),
            ]
        return self._settings(now) if sender is Process.ELECTION else []

    def _heard(self, event: ev.Heard | ev.PeerRefused, now: float) -> list[ev.Action]:
        if self.config is None:
            return []
        changes, at_once = self.company.hear(event, self.config, now)
        told = self._tell(changes, now)
        if isinstance(event, ev.Heard):
            said = event.presence
            told += self._carry_out(self.orders.heard(said.node, said.overrides, now), now)
            told += self._compare(self.config, now)
        if not at_once:
            return told
        return [*told, *self.company.level(now), *self._sync_roles()]

    def _compare(self, config: Config, now: float) -> list[ev.Action]:
        """What this node and its peers see of the servers."""
        known, out = self.peers.known if self.peers else {}, self.services.out
        changes = self.views.compare(config.node, self._view(), out.names(), known, now)
        # Without a key anybody may say that a peer sees a server.
        elsewhere = self.views.elsewhere if config.key_file is not None else {}
        told = self._tell(self._flaps.tell(changes, now), now)
        return self._weights(self.services.seen_elsewhere(elsewhere, now), told, now)

    def _view(self) -> View:
        sees = not (self.services.unjudged.count or self.checker.blind or self.checker.silent)
        return self.services.out.view(sees)

    # Operators' orders

    def _carry_out(self, steps: Iterable[Step], now: float) -> list[ev.Action]:
        actions: list[ev.Action] = []
        for step in steps:
            actions += self._tell([step], now) if isinstance(step, Change) else [step]
        return actions

    def _operators(self, event: ev.Order | ev.OverridesSaved, now: float) -> list[ev.Action]:
        match event:
            case ev.Asked(_, OrderServer()) | ev.PeerSaid(_, Told()) | ev.OverridesSaved():
                return self._ordered(self.orders.handle(event, now), now)
            case _:
                return self._carry_out(self.operations.handle(event, now), now)

    def _ordered(self, steps: list[Step], now: float) -> list[ev.Action]:
        """Orders about servers changed, or may have."""
        if self.config is None or not steps:
            return self._carry_out(steps, now)
        outcome = self.services.rule(self._rulings(self.config, now), now)
        return self._weights(outcome, self._carry_out(steps, now), now)

    def _rulings(self, config: Config, now: float) -> Rulings:
        return self.orders.overrides.rulings(config.services, now)

    def _situation(self) -> Situation | None:
        if self.config is None:
            return None
        return Situation(
            self.config,
            self.routers,
            self.peers.known if self.peers else {},
            self.readiness(),
            {name: weights.quorum_met for name, weights in self.services.weights.items()},
            self.kernel.pause is not None,
        )

    # Tracked things and hooks

    def _attend(self, actions: Iterable[ev.Action], now: float) -> list[ev.Action]:
        """What follows for them from what is being done."""
        events = [action.event for action in actions if isinstance(action, ev.Write)]
        scene = Scene(self.services, self.peers, self.routers)
        changes, further = self.attendance.turn(scene, events, now)
        return [*self._tell(changes, now), *further]

    # What is due by time, and what is told by itself

    def _due(self, now: float) -> list[ev.Action]:
        actions = self._weights(self.services.due(now), self.kernel.due(now), now)
        if now >= self.orders.deadline():
            actions += self._ordered(self.orders.due(now), now)
        actions += self._tell(self.checker.due(now), now)
        silent = self.election.look(now)
        if silent:
            self._routers_changed()
        actions += self._tell([*silent, *self._flaps.due(now)], now)
        if self.config is not None:
            if gone := self.company.age(now):
                actions += [*self._tell(gone, now), *self.company.level(now)]
                actions += self._compare(self.config, now)
            actions += self._tell(self.company.look(self.config, self.routers, now), now)
        if self.config is not None:
            actions += self._carry_out(self.operations.keep_pause(self.kernel.pause), now)
        if now >= self.operations.deadline:
            actions += self._carry_out(self.operations.due(now), now)
        orders = self.orders.digest(self.config) if self.config else ""
        levels = (self.readiness(), self.attendance.tracking.tracks(), self._says, orders)
        changed = self._told != levels
        if self.config is not None and (changed or now >= self._levels_at):
            self._told = levels
            self._levels_at = now + LEVELS_EVERY
            actions += self._levels(now)
        if self.config is not None and (changed or now >= self._presence_at):
            actions += self._presence(now)
        return actions

    def _settings(self, now: float) -> list[ev.Action]:
        """All the election is to know."""
        assert self.config is not None
        stance = self.operations.stance.level()
        settings = own_election.settings(self.config, self._secrets, stance)
        return [ev.Send(Process.ELECTION, settings, float("inf")), *self._levels(now)]

    def _levels(self, now: float) -> list[ev.Action]:
        """What changes by itself, or by the operator."""
        tracks = ev.Send(Process.ELECTION, self.attendance.tracking.tracks(), LEVELS_HOLD)
        ready = ev.Send(Process.ELECTION, self.readiness(), LEVELS_HOLD)
        return [
            self.operations.level(),
            *self.company.level(now),
            tracks,
            ready,
            *self._sync_roles(),
        ]

    def _sync_roles(self) -> list[ev.Action]:
        assert self.config is not None
        known = self.peers.known.values() if self.peers else ()
        return self.sync.roles(self.config, self.routers, known, self._waits())

    def _presence(self, now: float) -> list[ev.Action]:
        self._presence_at = now + peers.INTERVAL
        here, standby = self._situation(), self.operations.stance.standby is not None
        assert here is not None
        told = here.presence(self.version, standby)
        mtu = self.sync.synced.mtu if self.sync.synced and here.config.connection_sync else 0
        told = replace(
            told,
            overrides=self.orders.digest(here.config),
            ordered=self.orders.effect,
            view=self._view(),
            sync_mtu=mtu,
        )
        if self.election.unknown:  # no peer is to believe what we do not know ourselves
            told = replace(told, routers={}, priorities={})
        return [ev.SendPresence(told)]

    def _tell(self, changes: Iterable[Change], now: float) -> list[ev.Action]:
        return [
            ev.Write(self.journal.add(now, c.kind, c.subject, c.reason, c.inputs)) for c in changes
        ]

    def _name(self) -> str:
        return self.config.node if self.config else "node"
