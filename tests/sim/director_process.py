"""The director process as the simulator runs it, with a checker that finds every server up."""

from collections.abc import Callable
from dataclasses import replace
from math import inf

from hadirector.core import director as core
from hadirector.core import director_events as ev
from hadirector.core import ipvs, messages, peers, plan
from hadirector.core.messages import Health, Process, Verdict, Verdicts
from tests.sim.host import Host
from tests.sim.process import QUEUE, Loop

HEARTBEAT = 1.0  # seconds


class DirectorProcess:
    """One life of it. `emit` sends a presence to every peer; `observe` sees each journal line."""

    def __init__(
        self,
        host: Host,
        emit: Callable[[peers.Presence], None],
        observe: Callable[[messages.Event], None],
    ) -> None:
        self.host = host
        host.starts += 1
        self.core = core.Director("sim", frozenset(host.kernel.services), host.clock())
        self.loop = Loop(host.agenda, host.rng, self._turn)
        self._incarnation = host.starts
        self._sequence = 0
        self._emit = emit
        self._observe = observe
        self._inbox: list[ev.Event] = [ev.Configured(host.config)]
        host.to_director.wake = self.loop.wake
        self._beat()
        self.loop.wake(host.agenda.now)
        host.to_election.send(messages.Hello(Process.DIRECTOR, host.starts), inf)

    def put(self, event: ev.Event) -> None:
        """Something for the next turn."""
        if self.loop.alive and len(self._inbox) < QUEUE:
            self._inbox.append(event)
            self.loop.wake(self.host.agenda.now)

    def _turn(self) -> None:
        inbox, self._inbox = self._inbox, []
        inbox += [
            ev.From(Process.ELECTION, letter.message, letter.valid_until)
            for letter in self.host.to_director.read()
        ]
        for event in inbox:
            self._handle(event)
        if self.core.deadline() <= self.host.clock():
            self._handle(ev.Woken())
        self.loop.wake(self.host.when(self.core.deadline()))

    def _handle(self, event: ev.Event) -> None:
        for action in self.core.handle(event, self.host.clock()):
            self._do(action)

    def _do(self, action: ev.Action) -> None:
        match action:
            case ev.Send(Process.ELECTION, messages.Tracks(), valid_for):
                failing = messages.Tracks(self.host.failing)
                self.host.to_election.send(failing, self.host.clock() + valid_for)
            case ev.Send(Process.ELECTION, message, valid_for):
                self.host.to_election.send(message, self.host.clock() + valid_for)
            case ev.Send(Process.CHECKER, messages.Targets() as targets):
                delay = self.host.first_verdict
                self.host.agenda.after(delay, lambda: self.put(_all_up(targets)))
            case ev.SendPresence(presence):
                self._sequence += 1
                self._emit(
                    replace(presence, incarnation=self._incarnation, sequence=self._sequence)
                )
            case ev.ReadKernel():
                self.put(ev.KernelRead(self.host.kernel.services, ipvs.Usage(), 0.001))
            case ev.Apply(operations):
                kernel = self.host.kernel
                kernel.services = plan.apply_to(kernel.services, operations)
                self.put(ev.Applied(frozenset(map(plan.service_of, operations))))
            case ev.Write(event):
                self._observe(event)
            case ev.Send() | ev.SaveOwned() | ev.Settle():
                pass

    def _beat(self) -> None:
        if not self.loop.alive:
            return
        if self.loop.runs:
            self.host.to_election.send(messages.Heartbeat(0.0, 0.0), inf)
            self.put(ev.From(Process.CHECKER, messages.Heartbeat(0.0, 0.0), inf))
        self.host.agenda.after(HEARTBEAT, self._beat)


def _all_up(targets: messages.Targets) -> ev.From:
    verdicts = tuple(Verdict(t.id, Health.UP, 0.0, None) for t in targets.targets)
    return ev.From(Process.CHECKER, Verdicts(verdicts, whole=True), inf)
