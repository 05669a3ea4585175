"""The election process as the simulator runs it: core/election with a shell of dictionaries."""

from collections.abc import Callable
from math import inf
from typing import assert_never

from hadirector.core import election_types as et
from hadirector.core import messages
from hadirector.core.address import Address, Family
from hadirector.core.election import Election
from tests.sim.host import Host
from tests.sim.process import PACKETS, Letter, Loop

RECONCILE_EVERY = 2.0  # seconds between looks at the kernel without a cause
HEARTBEAT = 2.0  # seconds; in truth 1, and the director has 3 s of patience
OVERDUE = 0.05  # seconds at most that a heartbeat is late by after a standstill

Observer = Callable[["ElectionProcess", et.Input, tuple[et.Action, ...]], None]


class ElectionProcess:
    """One life of it. `observe` is called after each input handled, with its actions; what the
    network and its clients see goes through `emit`."""

    def __init__(self, host: Host, observe: Observer, emit: Callable[[et.Action], None]) -> None:
        self.host = host
        self.core = Election(dict(host.note))
        self.loop = Loop(host.agenda, host.rng, self._turn)
        self.stopped = False  # left in order
        self.halted = False  # the lease thread too: SIGSTOP, or the whole node asleep
        self.knows = False  # settings are known: the kernel may be touched
        self.reconciled = False  # what former processes left is gone or adopted
        self.duels: set[tuple[str, str, str]] = set()  # told of, and not over yet
        self.die_after: int | None = None  # actions still done before a death in their middle
        self._observe = observe
        self._emit = emit
        self._inbox: list[et.Input] = [host.links()]
        self._reconcile_at = host.agenda.now + RECONCILE_EVERY
        host.to_election.wake = host.stop_order.wake = self.loop.wake
        self._lease_thread()
        host.agenda.after(HEARTBEAT, self._beat)
        self.loop.wake(host.agenda.now)

    def put(self, what: et.Input) -> None:
        """Something for the next turn; a socket that is full takes no more."""
        if self.loop.alive and len(self._inbox) < PACKETS:
            self._inbox.append(what)
            self.loop.wake(self.host.agenda.now)

    def relink(self) -> None:
        """Links or addresses changed: told on the next turn."""
        if self.loop.alive:
            self._inbox = [one for one in self._inbox if not isinstance(one, et.Links)]
            self._inbox.append(self.host.links())
            self.loop.wake(self.host.agenda.now)

    def wanted(self) -> dict[tuple[Address, str], et.PlacedAddress]:
        """The addresses its core wants held now."""
        return {(p.address, p.interface): p for p in self.core.desired().addresses}

    def at_rest(self) -> bool:
        """Whether none of its routers waits for anything but its master's next advert."""
        return all(_rests(router) for router in self.core.routers())

    # --- turns -------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Read first, tick last (core/election_types)."""
        inbox, self._inbox = self._inbox, []
        for pipe in (self.host.stop_order, self.host.to_election):
            inbox += [opened for letter in pipe.read() if (opened := self._open(letter))]
        for what in inbox:
            self._handle(what)
        self.knows = self.knows or bool(self.core.interfaces())
        deadline = self.core.deadline()
        if deadline is not None and deadline <= self.host.clock():
            self._handle(et.Tick())
        if self.host.agenda.now >= self._reconcile_at:
            self._reconcile()
        self._sleep()

    def _sleep(self) -> None:
        deadline = self.core.deadline()
        due = inf if deadline is None else self.host.when(deadline)
        self.loop.wake(min(due, self._reconcile_at))

    def _open(self, letter: Letter) -> et.Input | None:
        """A letter as the core takes it. An expired level is not believed: of Tracks and Peers
        the last are kept, and no Ready means not ready; an old order is none."""
        message = letter.message
        match message:
            case messages.Heartbeat() | messages.Hello():
                if isinstance(message, messages.Hello):
                    self._report()
                return et.DirectorHeard()
            case messages.ElectionSettings() | messages.Stance():
                return message
            case messages.Ready() | messages.Tracks() | messages.Peers() | messages.Order():
                return message if letter.valid_until >= self.host.clock() else None
            case _:
                raise AssertionError(message)

    def _handle(self, what: et.Input) -> None:
        if not self.loop.alive:
            return
        actions = self.core.handle(what, self.host.clock())
        for action in actions:
            if self.die_after is not None:
                self.die_after -= 1
                if self.die_after < 0:
                    self.loop.kill()
                    return
            self._do(action)
        self._observe(self, what, actions)

    # --- effects -----------------------------------------------------------------------------

    def _do(self, action: et.Action) -> None:
        match action:
            case et.SendAdvert() | et.Announce() | et.AskGateway() | et.AskHolder():
                self._emit(action)
            case et.Place() | et.Drop() | et.SetLease():
                self._change(action)
            case et.Note(instance, family, sent_at):
                self._note((instance, family), sent_at)
            case et.Report():
                self._report()
            case et.Reconcile():
                self._reconcile()
            case et.Stopped():
                self._reconcile()
                self.stopped = True
                self.loop.kill()
            case messages.Obeyed():
                self.host.to_director.send(action, inf)
            case messages.Event():
                self.host.to_director.send(messages.Events((action,)), inf)
            case unreachable:
                assert_never(unreachable)

    def _change(self, action: et.Place | et.Drop | et.SetLease) -> None:
        kernel = self.host.kernel
        for address in action.addresses:
            match action:
                case et.Place():
                    kernel.put(address)
                case et.Drop():
                    kernel.remove((address.address, address.interface))
                case et.SetLease():
                    kernel.relet(address)

    def _note(self, key: tuple[str, Family], sent_at: float | None) -> None:
        if sent_at is None:
            self.host.note.pop(key, None)
        else:
            self.host.note[key] = sent_at

    def _report(self) -> None:
        self.host.to_director.send(messages.Routers(self.core.routers()), inf)

    def _reconcile(self) -> None:
        """Make the kernel's addresses those that are wanted; nobody else's are modelled."""
        self._reconcile_at = self.host.agenda.now + RECONCILE_EVERY
        if not self.knows:
            return
        self.reconciled = True
        wanted, kernel = self.wanted(), self.host.kernel
        for place in [p for p in kernel.addresses if p not in wanted]:
            kernel.remove(place)
        for place, address in wanted.items():
            held = kernel.addresses.get(place)
            if held is None or (held.lifetime is None) != (address.lifetime is None):
                kernel.put(address)

    # --- beside the loop ---------------------------------------------------------------------

    def _lease_thread(self) -> None:
        """Renew each third of the lease; not once the loop has not turned for a third of it.
        A loop that only has nothing to do turns (its heartbeat), so a blocked one is meant."""
        if not self.loop.alive:
            return
        now, held = self.host.agenda.now, self.host.kernel.addresses
        leases = [h.lifetime for h in held.values() if h.lifetime is not None]
        third = min(leases, default=2) / 3
        blocked = self.loop.blocked_since
        turns = blocked is None or (not self.halted and now - blocked < third)
        if leases and turns:
            for place in self.wanted():
                self.host.kernel.renew(place)
        self.host.agenda.after(third, self._lease_thread)

    def _beat(self) -> None:
        if not self.loop.alive:
            return
        if self.loop.runs:
            self._report()
            self.host.agenda.after(HEARTBEAT, self._beat)
        else:  # it was due while it stood still: at once when it goes on
            self.host.agenda.after(OVERDUE, self._beat)


def _rests(router: messages.Router) -> bool:
    """A master that is what it is configured to be, or a backup that follows one."""
    degraded = router.effective_priority != router.priority
    moves = "waiting" in router.reason or "preempt" in router.reason or "delay" in router.reason
    if router.state is messages.RouterStateName.BACKUP:
        return router.master is not None and not degraded and not moves
    return router.state is messages.RouterStateName.MASTER and not degraded and not router.rivals
