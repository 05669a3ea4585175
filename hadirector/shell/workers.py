"""Checkers under a checker: processes that each probe a share of the servers (core/shards).

The checker that the supervisor started divides targets among them and passes on what they say. A
worker is a checker like itself, whose director it plays. One that dies is started again and begins
anew, with the verdicts of the one before; so does one that gets targets of another. One silent
for SILENCE hangs, and is killed. The director is told of one that is away: its share of the servers
is not probed.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import islice

from hadirector.core import messages, pacing, shards
from hadirector.core.address import Family
from hadirector.core.as_client import AT_ONCE
from hadirector.core.blind import REASONS
from hadirector.core.checker_messages import Report
from hadirector.core.lawful import lawful
from hadirector.core.messages import Process
from hadirector.core.settings.checks import Target
from hadirector.core.silences import Shards
from hadirector.shell import channel, child
from hadirector.shell.marked import Marked

log = logging.getLogger(__name__)

WORKER = "HADIRECTOR_CHECKER_WORKER"  # in the environment of one: it divides nothing
PAUSES = (0.2, 1.0, 5.0)  # seconds before the first, second and any later restart
STEADY = 30.0  # seconds of life after which a death counts as the first again
SILENCE = 10.0  # seconds
START_GRACE = 30.0  # seconds to the first word: imports on a starved host are slow
LOOK = 1.0  # seconds
ABSENCE = 5.0  # seconds that one may be away before it is told: a restart takes about one

Send = Callable[[messages.Message], None]
Said = Callable[["Worker", messages.Message], None]


class Worker:
    """One process, there until `stop`. Needs a running loop."""

    def __init__(self, number: int, said: Said) -> None:
        self.number = number
        self.status = ""
        self._blind: tuple[str, ...] = ()  # what it says itself
        self._away = ""  # why it does not run
        self._absence: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._said = said
        self.targets = messages.Targets(())
        self.names: frozenset[str] = frozenset()  # of its targets
        self._process: subprocess.Popen[bytes] | None = None
        self._link: channel.Channel | None = None
        self._pidfd = -1
        self._since = self._heard_at = 0.0
        self._greeted = False
        self._quick = 0
        self._timer: asyncio.TimerHandle | None = None
        self._start()

    @property
    def blind(self) -> tuple[str, ...]:
        """What keeps its servers from being probed; one that does not run says nothing itself."""
        if not self._away:
            return self._blind
        return (f"checking process {self.number} {self._away}; its servers' weights stay",)

    def assign(self, targets: messages.Targets) -> None:
        """This is all that it is to probe; it is told by whoever assigns it."""
        self.targets = targets
        self.names = frozenset(target.id for target in targets.targets)

    def send(self, message: messages.Message, descriptors: tuple[int, ...] = ()) -> None:
        """Tell it something. One that is not there says Hello when it comes."""
        if self._link is not None:
            self._link.send(message, descriptors=descriptors)
        else:
            for descriptor in descriptors:
                os.close(descriptor)

    def stop(self) -> None:
        """End it: it has nothing that is worth a word."""
        for timer in (self._timer, self._absence):
            if timer is not None:
                timer.cancel()
        if self._process is not None:
            self._loop.remove_reader(self._pidfd)
            self._process.kill()
            self._process.wait()
            self._close()

    def _start(self) -> None:
        self._greeted = False
        if self._absence is None:
            self._absence = self._loop.call_later(ABSENCE, self._is_away, "does not answer")
        try:
            ours = self._spawn()
        except OSError as error:
            log.error("worker=%d not started: %s", self.number, error.strerror)
            # Not from within the constructor: nobody knows this worker yet.
            self._loop.call_soon(self._is_away, f"cannot be started ({error.strerror})")
            self._timer = self._loop.call_later(PAUSES[-1], self._start)
            return
        self._loop.add_reader(self._pidfd, self._ended)
        self._since = self._heard_at = child.now()
        self._link = channel.Channel(ours, f"checker {self.number}")
        self._link.start(self._take, partial(lawful, Process.CHECKER, Process.DIRECTOR))
        self._look()

    def _spawn(self) -> socket.socket:
        """A new process, watched by `_pidfd`, and our end of its channel; OSError."""
        ours, theirs = channel.pair()
        descriptor = f"{Process.DIRECTOR.value}={theirs.fileno()}"
        try:
            with theirs:
                process = subprocess.Popen(
                    [
                        *(sys.executable, "-P", "-m", "hadirector.checker"),
                        *(f"--parent={os.getpid()}", f"--fd={descriptor}"),
                    ],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    env=os.environ | {WORKER: str(self.number)},
                )
            try:
                self._pidfd = os.pidfd_open(process.pid)
            except OSError:
                process.kill()
                process.wait()
                raise
        except OSError:
            ours.close()
            raise
        self._process = process
        return ours

    def _is_away(self, why: str) -> None:
        if self._away != why and not self._greeted:
            self._away = why
            self._said(self, messages.Blind(self._blind))

    def _is_there(self) -> None:
        self._greeted = True
        self._away, self._blind = "", ()
        if self._absence is not None:
            self._absence.cancel()
            self._absence = None

    def _take(self, received: channel.Received) -> None:
        self._heard_at = child.now()
        if not self._greeted:
            self._is_there()
        match received.message:
            case messages.Heartbeat(status=status):
                self.status = status
            case messages.Blind(reasons) as message:
                self._blind = reasons
                self._said(self, message)
            case message:
                self._said(self, message)

    def _look(self) -> None:
        silent = child.now() - self._heard_at
        if silent > (SILENCE if self._greeted else START_GRACE) and self._process is not None:
            log.error("worker=%d silent for %.0f s; killing it", self.number, silent)
            self._process.kill()
        self._timer = self._loop.call_later(LOOK, self._look)

    def _ended(self) -> None:
        assert self._process is not None
        status = self._process.wait()
        self._loop.remove_reader(self._pidfd)
        self._close()
        if self._timer is not None:
            self._timer.cancel()
        self._quick = 0 if child.now() - self._since > STEADY else self._quick + 1
        pause = PAUSES[min(max(self._quick - 1, 0), len(PAUSES) - 1)]
        log.warning("worker=%d died (%d); starting again in %.1f s", self.number, status, pause)
        self._timer = self._loop.call_later(pause, self._start)
        self._greeted = False
        if self._quick > 1:
            self._is_away(f"dies again and again (status {status})")
        elif self._absence is None:
            self._absence = self._loop.call_later(ABSENCE, self._is_away, "does not run")

    def _close(self) -> None:
        os.close(self._pidfd)
        self._process = None
        if self._link is not None:
            self._link.close()
            self._link = None


class Workers:
    """All of them; `send` tells the director."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._workers: list[Worker] = []
        self._targets: dict[str, Target] = {}
        self._known: dict[str, messages.Verdict] = {}  # the last of each target
        self._reports: dict[str, Report] = {}  # the last of each target
        self._shards = Shards()
        self._lent = Marked()
        self._loans: dict[str, tuple[int, Family, int]] = {}
        self._asked: dict[int, tuple[Worker, int]] = {}  # programs, by our ticket
        self._ticket = 0

    def __len__(self) -> int:
        return len(self._workers)

    def probe(self, targets: messages.Targets, count: int) -> None:
        """Divide this among so many; 0: none."""
        fewer = 0 < count < len(self._workers)
        for worker in self._workers[count:]:
            worker.stop()
        del self._workers[count:]
        while len(self._workers) < count:
            self._workers.append(Worker(len(self._workers), self._said))
        before, self._targets = self._targets, {t.id: t for t in targets.targets}
        names = self._targets.keys()
        self._known = {
            name: verdict
            for name, verdict in self._known.items()
            if name in names and pacing.same_question(before[name], self._targets[name])
        }
        self._shards.keep(targets.targets)
        self._lent.keep(names)
        self._reports = {name: r for name, r in self._reports.items() if name in names}
        self._loans = {name: loan for name, loan in self._loans.items() if name in names}
        if count:
            self.know(v for v in targets.known if v.target not in self._known)
            parts = shards.divide(replace(targets, known=()), count)
            for worker, part in zip(self._workers, parts, strict=True):
                worker.assign(part)
                self._tell(worker)
        if fewer:
            self._tell_blind()

    def receive(self, message: messages.Message) -> None:
        """What the director says beside targets."""
        match message:
            case messages.Hello() if self._workers:
                for worker in self._workers:
                    worker.send(message)
                self._tell_blind()
            case messages.Executed(ticket):
                asked = self._asked.pop(ticket, None)
                if asked is not None:
                    asked[0].send(replace(message, ticket=asked[1]))
            case messages.Reports(reports):
                self._reports |= {r.target: r for r in reports if r.target in self._targets}
                for worker in self._workers:
                    self._report_to(worker, reports)
            case _:
                pass  # not for us

    def lend(self, message: messages.Lend, descriptors: tuple[int, ...]) -> None:
        """Hand each socket on to whoever probes its target; kept for a next life of a worker."""
        self._lent.take(message, descriptors)
        loans = zip(message.marks, message.families, message.hops, strict=True)
        self._loans |= dict(zip(message.targets, loans, strict=True))
        for worker in self._workers:
            self._lend_to(worker, message.targets)

    @property
    def reports(self) -> messages.Reports:
        """The last one of each target."""
        return messages.Reports(tuple(self._reports.values()))

    def know(self, verdicts: Iterable[messages.Verdict]) -> None:
        """What was found out of targets elsewhere."""
        self._known |= {v.target: v for v in verdicts if v.last and v.target in self._targets}

    def with_known(self, targets: messages.Targets) -> messages.Targets:
        """These, and what is known of them here or was said with them."""
        known = {verdict.target: verdict for verdict in targets.known} | self._known
        found = (known.get(target.id) for target in targets.targets)
        return replace(targets, known=tuple(verdict for verdict in found if verdict))

    def _tell(self, worker: Worker) -> None:
        """All that it is to know; it may be in its first life, or in another one."""
        worker.send(self.with_known(worker.targets))
        self._lend_to(worker, self._loans)
        self._report_to(worker, self._reports.values())

    def _report_to(self, worker: Worker, reports: Iterable[Report]) -> None:
        its = tuple(report for report in reports if report.target in worker.names)
        if its:
            worker.send(messages.Reports(its))

    def _lend_to(self, worker: Worker, targets: Iterable[str]) -> None:
        names = [name for name in targets if name in worker.names]
        for some in (names[i : i + AT_ONCE] for i in range(0, len(names), AT_ONCE)):
            sockets = [(name, self._lent.copy(name)) for name in some]
            there = [(name, one) for name, one in sockets if one is not None]
            loans = [self._loans[name] for name, _ in there]
            lend = messages.Lend(
                tuple(name for name, _ in there),
                tuple(mark for mark, _, _ in loans),
                tuple(family for _, family, _ in loans),
                tuple(hops for _, _, hops in loans),
            )
            worker.send(lend, tuple(one for _, one in there))

    def statuses(self) -> list[str]:
        """What each says of itself."""
        return [worker.status for worker in self._workers]

    def _said(self, worker: Worker, message: messages.Message) -> None:
        match message:
            case messages.Verdicts():
                judged = self._shards.judge(worker.number, message.verdicts)
                self.know(v for v in judged if v.target in worker.names)
                self._send(messages.Verdicts(judged, whole=False))
            case messages.Blind():
                self._tell_blind()
            case messages.Execute(ticket=theirs):
                self._ticket += 1
                self._asked[self._ticket] = (worker, theirs)
                while len(self._asked) > 65_536:  # answers that never came
                    del self._asked[next(iter(self._asked))]
                self._send(replace(message, ticket=self._ticket))
            case messages.Hello():
                self._tell_blind()
                self._tell(worker)
            case _:
                pass

    def _tell_blind(self) -> None:
        reasons = (reason for worker in self._workers for reason in worker.blind)
        self._send(messages.Blind(tuple(islice(reasons, REASONS))))
