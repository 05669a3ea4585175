"""The checker process: probes real servers and tells the director what it found.

It is the only process real servers talk to, so it holds no capability at all. The decisions are
core/pacing.py's (when, and what counts) and core/health.py's (what it means); here are one timer
for the core's next deadline, one tick that notices when our own loop stood still, the engines,
and an outbox that sends what is new.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import assert_never

from hadirector.core import held, messages, pacing, shards
from hadirector.core.keys import FileText
from hadirector.core.settings.checks import CheckType, Target
from hadirector.core.stalls import Stalls
from hadirector.shell import channel, child, confine, outbox, workers
from hadirector.shell.held import HeldSockets
from hadirector.shell.marked import Marked
from hadirector.shell.probes import asking, base
from hadirector.shell.probes.errand import Errands
from hadirector.shell.probes.external import External
from hadirector.shell.workers import Workers

log = logging.getLogger(__name__)

IN_FLIGHT = 2048  # probes: two thousand silent servers at a timeout of 1 s do not delay the others
HELD = 20_000  # connections held idle: 20 MB here, and as much in the kernel
SPARE_DESCRIPTORS = 64  # for channels, logging and the interpreter
BLIND_GAP = 0.5  # seconds between messages about what cannot be probed from here
OUTLIVE = 190.0  # seconds: the director leaves after the election, which may take 165
COUNTS_LOGGED = 60.0  # seconds between log lines about probes that were void

Send = outbox.Send


class Checker:
    """Targets in, verdicts out. Needs a running loop; `receive` is called on it."""

    def __init__(
        self,
        send: Send,
        engines: Mapping[CheckType, base.Engine],
        in_flight: int = IN_FLIGHT,
        now: Callable[[], float] = child.now,
        room: int = 0,
        files: dict[str, FileText] | None = None,
        marked: Marked | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._errands, self._external = Errands(send), External(now)
        self._engines: dict[CheckType, base.Engine] = {
            CheckType.EXEC: self._errands,
            CheckType.EXTERNAL: self._external,
            **engines,
        }
        self._marked = Marked() if marked is None else marked
        self._files = {} if files is None else files  # what the engines read
        self._now = now
        self._schedule = pacing.Schedule(in_flight, room)
        self._held = HeldSockets(self._handle)
        self._stalls = Stalls(now())
        self._send = send
        self._outbox = outbox.Outbox(send)
        self._running: dict[int, base.Running] = {}
        self._told = False  # whether targets ever came
        self._wake: asyncio.TimerHandle | None = None
        self._wake_at = float("inf")
        self._tick = self._loop.call_later(self._stalls.TICK, self._ticked)
        self._blind_told = 0  # the changes of it that were told
        self._blind_at = 0.0  # by the loop's clock

    @property
    def counts(self) -> pacing.Counts:
        """What became of the slots so far."""
        return self._schedule.counts

    @property
    def holds(self) -> held.Holds:
        """The held connections."""
        return self._schedule.holds

    def verdicts(self) -> tuple[messages.Verdict, ...]:
        """All of them."""
        return self._schedule.verdicts()

    def status(self) -> str:
        """What became of the slots, in words."""
        counts = self.counts
        told = f"due={counts.due} done={counts.done} missed={counts.missed} late={counts.late}"
        return f"{told} void={counts.void} held={len(self.holds)}"

    def receive(self, message: messages.Message) -> None:
        """A message from the director."""
        match message:
            case messages.Targets():
                self._told = True
                self._learn(message)
                names = frozenset(target.id for target in message.targets)
                self._marked.keep(names)
                self._external.keep(names)
                self._handle(replace(message, targets=self._probed(message.targets)))
                self._outbox.send_whole(self._schedule.verdicts())
                self._tell_blind()
            case messages.Executed():
                self._errands.answered(message)
            case messages.Reports():
                for target in self._external.take(message):
                    self._handle(pacing.Look(target))
            case messages.Hello() if self._told:
                self._outbox.send_whole(self._schedule.verdicts())
                self._tell_blind()
            case _:
                pass  # not for us; the newest level of it may be for another process

    def lend(self, message: messages.Lend, descriptors: tuple[int, ...]) -> None:
        """Sockets for probes as a client."""
        for target in self._marked.take(message, descriptors):
            self._handle(pacing.Look(target))

    def close(self) -> None:
        """Abandon every probe and every timer."""
        self._tick.cancel()
        self._outbox.close()
        if self._wake is not None:
            self._wake.cancel()
        for running in self._running.values():
            running.cancel()
        self._running.clear()
        self._held.close()
        self._errands.close()
        self._marked.close()

    def _learn(self, told: messages.Targets) -> None:
        """Take what files hold; of those that cannot be read now, what they held before."""
        named = {path for target in told.targets for path in target.check.files()}
        for path in self._files.keys() - named:
            del self._files[path]
        self._files.update(told.files)

    def _probed(self, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        strange = {t.check.type.value for t in targets if t.check.type not in self._engines}
        if strange:
            log.warning("checks=%s cannot be probed, verdict unknown", ",".join(sorted(strange)))
        # Each came with a copy of its check: equal ones become one.
        checks = {t.check: t.check for t in targets}
        known = (t for t in targets if t.check.type in self._engines)
        return tuple(replace(t, check=checks[t.check]) for t in known)

    def _handle(self, event: pacing.Event) -> None:
        for action in self._schedule.handle(event, self._now()):
            match action:
                case pacing.Start():
                    self._start(action)
                case pacing.Stop(ticket):
                    self._running.pop(ticket).cancel()
                case pacing.Report():
                    self._outbox.add(action)
                case held.Hold():
                    self._held.hold(action)
                case held.Release(number):
                    self._held.release(number)
                case _:
                    assert_never(action)
        self._set_wake()

    def _start(self, start: pacing.Start) -> None:
        done = partial(self._ended, start.target.id, start.ticket, self._now())
        engine = self._engines[start.target.check.type]
        self._running[start.ticket] = engine.start(start.target, done)

    def _ended(self, target: str, ticket: int, started: float, outcome: pacing.Outcome) -> None:
        del self._running[ticket]
        now = self._now()
        stalled = self._stalls.within(started, now)
        self._handle(pacing.Ended(target, ticket, outcome, now - started, stalled))

    def _set_wake(self) -> None:
        at = self._schedule.next_at()
        wanted = float("inf") if at is None else at
        if self._wake_at <= wanted:
            return  # woken early it finds nothing to do: cheaper than a new timer for each probe
        if self._wake is not None:
            self._wake.cancel()
        self._wake, self._wake_at = None, wanted
        if at is not None:
            # The core's clock counts suspend, the loop's does not: only the distance carries over.
            delay = max(0.0, at - self._now())
            self._wake = self._loop.call_at(self._loop.time() + delay, self._woken)

    def _woken(self) -> None:
        self._wake, self._wake_at = None, float("inf")
        self._handle(pacing.Woken())

    def _ticked(self) -> None:
        self._stalls.tick(self._now())
        if self._loop.time() >= self._blind_at and self._blind_told != self._schedule.blind.changes:
            self._tell_blind()
        self._tick = self._loop.call_later(self._stalls.TICK, self._ticked)

    def _tell_blind(self) -> None:
        """What cannot be probed because of ourselves; a dead network is a thousand changes."""
        blind = self._schedule.blind
        self._blind_told, self._blind_at = blind.changes, self._loop.time() + BLIND_GAP
        self._send(messages.Blind(blind.reasons()))


def engines(
    files: Mapping[str, FileText] | None = None, marked: Marked | None = None
) -> dict[CheckType, base.Engine]:
    """One engine for each check type; `files` and lent sockets are looked at for every probe."""
    return asking.engines(files if files is not None else {}, marked)


class Front:
    """What the director talks to: the checker of this process, or several under it."""

    def __init__(self, checker: Checker, workers: Workers, cpus: int) -> None:
        self._checker = checker
        self._workers = workers
        self._cpus = cpus

    def receive(self, message: messages.Message, descriptors: tuple[int, ...] = ()) -> None:
        """A message from the director, with what was handed over."""
        if isinstance(message, messages.Lend):
            lender = self._workers.lend if len(self._workers) else self._checker.lend
            lender(message, descriptors)
        elif isinstance(message, messages.Targets):
            self._probe(message)
        else:
            self._workers.receive(message)
            if not len(self._workers):
                self._checker.receive(message)

    def status(self) -> str:
        """What became of the slots, here and in the workers."""
        told = [status for status in self._workers.statuses() if status]
        return "; ".join(told) if len(self._workers) else self._checker.status()

    def close(self) -> None:
        """End all of it."""
        self._workers.probe(messages.Targets(()), 0)
        self._checker.close()

    def _probe(self, targets: messages.Targets) -> None:
        before = len(self._workers)
        count = shards.count(shards.load(targets.targets), self._cpus, before)
        if count == 1:
            self._workers.probe(targets, 0)
            self._checker.receive(self._workers.with_known(targets))
            if before:
                self._checker.receive(self._workers.reports)
            return
        if not before:
            self._workers.know(self._checker.verdicts())
            self._checker.receive(messages.Targets(()))
        if count != before:
            log.info("workers=%d for %d targets", count, len(targets.targets))
        self._workers.probe(targets, count)


async def body(process: child.Child) -> None:
    """Run until told to stop; without a supervisor, until the director has no more use for it."""
    descriptors = confine.raise_descriptor_limit()
    # Where there are few, half of them are for held connections.
    in_flight = max(1, min(IN_FLIGHT, (descriptors - SPARE_DESCRIPTORS) // 2))
    room = max(0, descriptors - SPARE_DESCRIPTORS - in_flight)
    files: dict[str, FileText] = {}
    send = partial(process.send, messages.Process.DIRECTOR)
    lent = Marked()
    probing = engines(files, lent)
    checker = Checker(send, probing, in_flight, room=min(room, HELD), files=files, marked=lent)
    cpus = 1 if workers.WORKER in os.environ else len(os.sched_getaffinity(0))
    front = Front(checker, Workers(send), cpus)
    process.start(partial(_receive, process, front))
    process.ready = True
    process.tell()
    log.info("in_flight=%d", in_flight)
    try:
        async with asyncio.TaskGroup() as tasks:
            telling = [
                tasks.create_task(_log_voids(checker), name="voids"),
                tasks.create_task(_tell_status(process, front), name="status"),
            ]
            await process.stopping.wait()
            if process.orphaned() and not process.fault:
                await process.outlive(messages.Process.DIRECTOR, OUTLIVE)
            for task in telling:
                task.cancel()
    finally:
        front.close()


def _receive(
    process: child.Child, front: Front, sender: messages.Process, received: channel.Received
) -> None:
    if not process.obeys(received) and sender is messages.Process.DIRECTOR:
        front.receive(received.message, received.descriptors)


async def _tell_status(process: child.Child, front: Front) -> None:
    """Have the heartbeats say what became of the slots."""
    while True:
        await asyncio.sleep(child.HEARTBEAT)
        process.status = front.status()


async def _log_voids(checker: Checker) -> None:
    """Say when probes failed because of ourselves, so that verdicts are getting old, and when more
    servers are to be held than there is room for."""
    known, full = 0, False
    while True:
        await asyncio.sleep(COUNTS_LOGGED)
        void = checker.counts.void
        if void > known:
            log.warning(
                "void_probes=%d in %.0f s: this host is too busy", void - known, COUNTS_LOGGED
            )
            known = void
        if full != (full := checker.holds.refused > 0) and full:
            log.warning("held=%d connections, no room for more", len(checker.holds))


def main() -> int:
    """The process; the supervisor's command line."""
    return child.main(messages.Process.CHECKER, body, confine.drop_privileges)


if __name__ == "__main__":
    sys.exit(main())
