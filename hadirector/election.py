"""The election process: core/election over raw sockets, rtnetlink and a timer of the kernel's.

    sockets, link and address events, timer, director, supervisor
        -> inbox -> Election.handle -> actions, done at once and in order

One task, `decide`, takes turns. In each: adverts that lie ready first (one that waited must win
against the timer it would have stopped), then the inbox, then the kernel's changes, then the tick;
last what may wait: reconciling, announcements, the director. Nothing here waits for anybody but
the kernel; what could (disk, log, lease) has a thread of its own. Nothing heavy is imported.
"""

import asyncio
import gc
import logging
import sys
from collections import deque
from functools import partial
from typing import assert_never

from hadirector.core import election_types as et
from hadirector.core import messages
from hadirector.core.address import Family
from hadirector.core.election import Election
from hadirector.core.messages import OrderKind, Process
from hadirector.shell import (
    child,
    holdings,
    links,
    news,
    realtime,
    rtnetlink,
    segments,
    survey,
    timerfd,
    vip_note,
    vrrp_socket,
    wall_clock,
)
from hadirector.shell.belongings import Belongings
from hadirector.shell.channel import Received
from hadirector.shell.lease import Lease
from hadirector.shell.netlink import KernelError
from hadirector.shell.note import Full, Note

log = logging.getLogger(__name__)

INBOX = 4096  # inputs; then packets are dropped, which come again. The rest is few: each other
# source has a bound of its own, and an order is told once
TEND = 0.1  # seconds: the loop shows it turns; a third of a lease of 1 s is more
REPORT_EVERY = 1.0  # seconds: counters move without a report
READ_EVERY = 5.0  # seconds between looks at the whole kernel
COLLECT_EVERY = 60.0  # seconds between garbage collections; there is next to none
REPAIR_SPACING = 0.05  # seconds: who removes our addresses in a loop gets 20 back a second

_NET_ADMIN, _NET_RAW = 12, 13


class ElectionProcess:
    """The running process."""

    def __init__(self, process: child.Child, note: Note) -> None:
        self._child = process
        self._note = note
        self._core = Election(note.last_adverts())
        self._settings: messages.ElectionSettings | None = None
        self._inbox: deque[et.Input] = deque()
        self._dropped = 0
        self._missing = _missing_capabilities()
        self._wake = asyncio.Event()
        self._left = asyncio.Event()
        self._stopped = False  # every router has left: nothing of ours is to stay
        self._status = 0
        self._timer = timerfd.Timer()
        self._route = rtnetlink.Route()
        self._watch = rtnetlink.Watch()
        self._table = links.Table()
        self._survey = survey.Survey(self._table, self._surveyed)
        self._lease = Lease(child.now)
        marks = vip_note.kernel_keeps_marks()
        self._belongings = Belongings(
            *(self._route, self._table, self._lease, marks), self._disturbed
        )
        self._segments = segments.Segments(self._route, self._table, self._put)
        self._clock = wall_clock.WallClock()
        self._news = news.News(partial(process.send, Process.DIRECTOR), self._routers)
        self._changed = True  # the kernel has something new to tell the core
        self._reconcile = False
        self._repair_at = 0.0
        self._ears = et.DeafEars(())
        self._ready_until: float | None = None
        self._file = vip_note.Keeper(marks, self._wake.set)

    async def run(self) -> int:
        """Until it has left in order or was told to make way; the exit status."""
        loop = asyncio.get_running_loop()
        self._table.read(self._route)
        loop.add_reader(self._timer.fileno(), self._timer_expired)
        loop.add_reader(self._watch.fileno(), self._kernel_changed)
        self._look_at_clock()
        self._lease.start()
        vrrp_socket.allow_many()
        self._child.start(self._received)
        self._child.ready, self._child.status = True, realtime.be_on_time()
        self._child.tell()
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._decide(), name="decide"),
                tasks.create_task(self._tend(), name="tend"),
                tasks.create_task(self._obey_signal(), name="signal"),
            ]
            await self._left.wait()
            for task in running:
                task.cancel()
        self._close()
        return self._status

    # --- inputs ------------------------------------------------------------------------------

    def _put(self, what: et.Input) -> None:
        if len(self._inbox) >= INBOX and isinstance(what, et.PacketReceived):
            self._dropped += 1
            return
        self._inbox.append(what)
        self._wake.set()

    def _received(self, sender: Process, received: Received) -> None:
        message = received.message
        match message:
            case messages.Order(kind=OrderKind.STOP, subject="restart"):
                self._left.set()  # everything stays as it is for the next process
            case messages.Order() if received.valid_until < child.now():
                log.warning("order=%s too late: not obeyed", message.kind.value)
            case messages.Order():
                self._put(message)
            case messages.ElectionSettings():
                self._configure(message)
            case messages.Ready():
                self._ready_until = received.valid_until if message.ready else None
                self._put(message)
            case messages.Tracks() | messages.Peers() | messages.Stance():
                self._put(message)
            case messages.Hello() if sender is Process.DIRECTOR:
                self._child.send(Process.DIRECTOR, messages.Routers(self._routers()))
                self._put(et.DirectorHeard())
            case messages.Heartbeat() if sender is Process.DIRECTOR:
                self._put(et.DirectorHeard())
            case _:
                log.debug("from=%s nothing to do with %s", sender.value, type(message).__name__)

    def _configure(self, settings: messages.ElectionSettings) -> None:
        if settings.instances and self._missing:
            log.error("VRRP needs %s: run as root or by the shipped unit", self._missing)
            self._status = child.NEVER_HERE
            self._left.set()
            return
        if self._settings is None:
            self._belongings.addresses.noted = self._file.load(settings.state_file)
        self._settings = settings
        self._belongings.configure(settings.instances)
        self._segments.expect(len(settings.instances))
        self._changed = self._reconcile = True  # other interfaces and addresses count from now on
        self._put(settings)

    async def _obey_signal(self) -> None:
        """SIGTERM, from an operator or because the supervisor is gone: leave in order. After a
        lost callback everything stays as it is for the next process."""
        await self._child.stopping.wait()
        if self._child.fault:
            self._left.set()
        else:
            self._put(messages.Order(OrderKind.STOP, "signal"))

    def _timer_expired(self) -> None:
        self._timer.clear()
        self._wake.set()

    def _kernel_changed(self) -> None:
        try:
            for change in self._watch.read():
                self._changed |= self._table.enter(change)
        except rtnetlink.Lost as error:
            log.warning("kernel events lost (%s): reading everything", error)
            self._rewatch()
        if self._changed:
            self._wake.set()

    def _rewatch(self) -> None:
        """A new subscription, then everything: what changed in between is in one of the two."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._watch.fileno())
        self._watch.close()
        self._watch = rtnetlink.Watch()
        loop.add_reader(self._watch.fileno(), self._kernel_changed)
        self._survey.begin()

    def _surveyed(self, changed: bool) -> None:
        """What is deaf is tried again at this pace, and what should be there is made so."""
        self._changed |= changed or bool(self._ears.deaf)
        self._belongings.doubt()
        self._disturbed()

    def _disturbed(self) -> None:
        self._reconcile = True
        self._wake.set()

    # --- the turn ----------------------------------------------------------------------------

    async def _decide(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._turn()
            await asyncio.sleep(0)  # an event already set does not wait: the readers need a turn

    def _turn(self) -> None:
        self._lease.turned()
        self._segments.receive()
        for _ in range(len(self._inbox)):  # what comes of these is for the next turn
            self._handle(self._inbox.popleft())
        self._follow_kernel()
        if self._deadline() <= child.now():
            self._expire_ready()
            self._handle(et.Tick())
        left = self._segments.announce(child.now())
        self._repair()
        self._news.tell(child.now())
        if self._settings is not None:
            self._file.keep(self._settings.state_file, self._belongings.own)
        self._timer.set(self._next_wake())
        if left or self._inbox:
            self._wake.set()

    def _deadline(self) -> float:
        soonest = self._core.deadline()
        instants = [at for at in (soonest, self._ready_until) if at is not None]
        return min(instants, default=float("inf"))

    def _next_wake(self) -> float | None:
        at = self._deadline()
        for also in (self._news.due_at, self._segments.announcements.deadline):
            at = at if also is None else min(at, also)
        if self._reconcile and self._settings is not None:  # put off, or asked for again
            at = min(at, self._repair_at)
        return None if at == float("inf") else at

    def _expire_ready(self) -> None:
        if self._ready_until is not None and self._ready_until <= child.now():
            self._ready_until = None
            self._handle(messages.Ready(False, "the director's word that it is has expired"))

    def _follow_kernel(self) -> None:
        """Tell the core what is new; the sockets follow the links."""
        if self._belongings.addresses.stale:
            self._belongings.addresses.stale = False
            self._survey.begin()
        if not self._changed or self._settings is None:
            return
        self._changed = False
        self._reconcile = True
        self._belongings.doubt()
        interfaces = self._core.interfaces()
        self._belongings.concern(interfaces)
        speaking = {(i.interface, f) for i in self._settings.instances for f in i.families()}
        ears = self._segments.listen(speaking, interfaces)
        if ears != self._ears:
            self._ears = ears
            self._handle(ears)
        self._segments.keep(self._belongings.devices.wanted)
        for told in self._belongings.news():
            self._handle(told)
        self._handle(et.Links(self._table.links(interfaces)))
        moved = self._table.take_moved()
        if moved:
            self._handle(et.Moved(moved))

    def _repair(self) -> None:
        """Make the kernel what it should be; a fight over something is not fought fast."""
        if not self._reconcile or self._settings is None or child.now() < self._repair_at:
            return
        self._reconcile = False
        if self._belongings.reconcile(self._core.desired()):
            self._repair_at = child.now() + REPAIR_SPACING
        for told in self._belongings.news():
            self._put(told)

    # --- actions -----------------------------------------------------------------------------

    def _handle(self, what: et.Input) -> None:
        for action in self._core.handle(what, child.now()):
            self._do(action)

    def _do(self, action: et.Action) -> None:
        match action:
            case et.SendAdvert():
                self._segments.send(action)
            case et.Place() | et.SetLease() | et.Drop():
                self._belongings.move(action)
            case et.Announce(addresses=virtual, count=count):
                self._segments.announcements.add(virtual, count, child.now())
            case et.AskGateway() | et.AskHolder():
                self._segments.ask(action, child.now())
            case et.Note(instance=instance, family=family, sent_at=sent_at):
                self._remember(instance, family, sent_at)
            case et.Report():
                self._news.changed(child.now())
            case et.Reconcile():
                self._reconcile = True
            case et.Stopped():
                self._stopped = True
                self._left.set()
            case messages.Obeyed() | messages.Event():
                self._tell(action)
            case unreachable:
                assert_never(unreachable)

    def _tell(self, what: messages.Obeyed | messages.Event) -> None:
        if isinstance(what, messages.Obeyed):
            self._child.send(Process.DIRECTOR, what)  # a peer waits for what follows on it
        else:
            self._news.add(what, child.now())

    def _remember(self, instance: str, family: Family, sent_at: float | None) -> None:
        try:
            self._note.write(instance, family, sent_at)
        except Full as error:
            log.debug("%s", error)

    # --- what is done now and then -----------------------------------------------------------

    async def _tend(self) -> None:
        report_at = read_at = collect_at = child.now()
        while True:
            await asyncio.sleep(TEND)
            now = child.now()
            self._wake.set()  # the turn shows the lease thread that the loop works
            self._look_at_clock()
            self._segments.look_for_answers(child.now())
            if now >= report_at:
                report_at = now + REPORT_EVERY
                self._child.send(Process.DIRECTOR, messages.Routers(self._routers()))
                self._tell_dropped()
            if now >= read_at or self._survey.failed:
                read_at = now + READ_EVERY
                self._survey.begin()
            if now >= collect_at:
                collect_at = now + COLLECT_EVERY
                gc.collect()

    def _routers(self) -> tuple[messages.Router, ...]:
        return holdings.seen(self._core.routers(), self._table)

    def _tell_dropped(self) -> None:
        if self._dropped:
            log.error("inbox full: %d packets dropped", self._dropped)
            self._dropped = 0

    def _look_at_clock(self) -> None:
        offset = self._clock.moved()
        if offset is not None:
            self._put(et.WallClock(offset))

    def _close(self) -> None:
        loop = asyncio.get_running_loop()
        for source in (self._timer, self._watch):
            loop.remove_reader(source.fileno())
            source.close()
        self._survey.close()
        self._news.flush()
        self._lease.close()
        if self._stopped:
            self._clear()
        self._belongings.close()
        self._segments.close()
        self._file.close()
        self._route.close()

    def _clear(self) -> None:
        """Nothing of ours stays: a renewal under way may have brought back what was dropped."""
        try:
            self._table.read(self._route)
        except KernelError as error:
            log.error("kernel not read: %s", error)
        self._belongings.clear()


def _missing_capabilities() -> str:
    missing = [
        name
        for name, number in (("CAP_NET_ADMIN", _NET_ADMIN), ("CAP_NET_RAW", _NET_RAW))
        if not realtime.has_capability(number)
    ]
    return " and ".join(missing)


async def body(process: child.Child) -> None:
    """Run with the note the supervisor keeps."""
    status = await ElectionProcess(process, Note(process.descriptors["note"])).run()
    if status:
        sys.exit(status)


if __name__ == "__main__":
    sys.exit(child.main(Process.ELECTION, body))
