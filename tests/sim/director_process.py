"""The director process as the simulator runs it, with a checker that finds every server up."""

from collections.abc import Callable
from math import inf

from hadirector.core import director as core
from hadirector.core import director_events as ev
from hadirector.core import ipvs, messages, plan
from hadirector.core.messages import Health, Process, Verdict, Verdicts
from hadirector.core.stance import Stance
from tests.sim.host import Host
from tests.sim.peer_channel import PeerChannel, Word
from tests.sim.process import QUEUE, Loop

DISK = (0.0005, 0.02)  # seconds to write a small file
HEARTBEAT = 3.0  # seconds; in truth 1, but the levels of each 1.5 s are signs of life as well
AWAKE = 0.5  # seconds
# Who changes IPVS here? Nobody; so its table is read fast until the node is ready, then seldom.
FIRST_READS, READ_TAKES = 3, 4.0  # reads; seconds


class DirectorProcess:
    """One life of it. `emit` sends a word to one peer; `observe` sees each journal line, `replied`
    each answer to the operator."""

    def __init__(
        self,
        host: Host,
        emit: Callable[[str, Word], None],
        observe: Callable[[messages.Event], None],
        replied: Callable[[ev.Reply], None],
    ) -> None:
        self.host = host
        host.starts += 1
        services = frozenset(host.kernel.services)
        self.core = core.Director("sim", services, host.clock(), (), host.stance)
        self.loop = Loop(host.agenda, host.rng, self._turn)
        self._channel = PeerChannel(host, emit)
        self._observe = observe
        self._replied = replied
        self._reads = 0
        self._saved_at = 0.0
        self._inbox: list[ev.Event | Word] = [ev.Configured(host.config)]
        host.to_director.wake = self.loop.wake
        self._beat()
        self.loop.wake(host.agenda.now)
        host.to_election.send(messages.Hello(Process.DIRECTOR, host.starts), inf)

    def put(self, event: ev.Event | Word) -> None:
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
        for one in inbox:
            event = self._channel.hear(one) if isinstance(one, Word) else one
            if event is not None:
                self._handle(event)
        due = self.core.deadline()
        if due <= self.host.clock():
            self._handle(ev.Woken())
            due = self.core.deadline()
        self.loop.wake(self.host.when(due))

    def _handle(self, event: ev.Event) -> None:
        for action in self.core.handle(event, self.host.clock()):
            self._do(action)

    def _do(self, action: ev.Action) -> None:
        match action:
            case ev.Send(Process.ELECTION, messages.Tracks()):
                pass  # what fails is told by faults.py alone
            case ev.Send(Process.ELECTION, message, valid_for):
                self.host.to_election.send(message, self.host.clock() + valid_for)
            case ev.Send(Process.CHECKER, messages.Targets() as targets):
                delay = self.host.first_verdict
                self.host.agenda.after(delay, lambda: self.put(_all_up(targets)))
            case ev.SendPresence() | ev.TellPeer():
                self._channel.send(action)
            case ev.SaveStance(stance):
                # By one worker, one file after the other.
                self._saved_at = max(self._saved_at, self.host.agenda.now)
                self._saved_at += self.host.rng.uniform(*DISK)
                self.host.agenda.at(self._saved_at, lambda: self._save(stance))
            case ev.Reply():
                self._replied(action)
            case ev.Write(event):
                self._observe(event)
            case ev.ReadKernel() | ev.Apply():
                self._use_kernel(action)
            case ev.Send() | ev.SaveOwned() | ev.Settle() | ev.Employ() | ev.SaveHooks():
                pass

    def _use_kernel(self, action: ev.ReadKernel | ev.Apply) -> None:
        if isinstance(action, ev.ReadKernel):
            self._reads += 1
            takes = 0.0 if self._reads <= FIRST_READS else READ_TAKES
            self.host.agenda.after(takes, self._tell_kernel)
        else:
            kernel = self.host.kernel
            kernel.services = plan.apply_to(kernel.services, action.operations)
            self.put(ev.Applied(frozenset(map(plan.service_of, action.operations))))

    def _save(self, stance: Stance) -> None:
        """By a thread: it outlives a loop that stands still, but not the process."""
        if self.loop.alive:
            self.host.stance = stance
            self.put(ev.StanceSaved())

    def _tell_kernel(self) -> None:
        if self.loop.alive:
            self.put(ev.KernelRead(self.host.kernel.services, ipvs.Usage(), 0.001))

    def _beat(self) -> None:
        if not self.loop.alive:
            return
        if self.loop.runs:
            self.host.to_election.send(messages.Heartbeat(0.0, 0.0), inf)
            self.put(ev.From(Process.CHECKER, messages.Heartbeat(0.0, 0.0), inf))
        # Who stood still speaks soon after.
        self.host.agenda.after(HEARTBEAT if self.loop.runs else AWAKE, self._beat)


def _all_up(targets: messages.Targets) -> ev.From:
    verdicts = tuple(Verdict(t.id, Health.UP, 0.0, None) for t in targets.targets)
    return ev.From(Process.CHECKER, Verdicts(verdicts, whole=True), inf)
