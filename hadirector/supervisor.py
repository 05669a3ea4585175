"""The supervisor: systemd's main PID. Starts, watches and restarts the other processes.

It holds every channel between them (a restarted process finds its channels as they were), the
shared note of the election and the last good configuration; it reads no configuration itself and
imports nothing heavy, so that what watches the others has little that could fail.

Rules of death: a child that exits is started again, at once the first time, later with growing
pauses; one that says it can never run here (status 3) ends the whole daemon, in order; one that
is silent for SILENCE is killed and counts as dead, unless the supervisor itself stood still (a
suspend, SIGSTOP of all): then everybody gets a new grace. SIGTERM: the election leaves first (it
hands over), then the director, the syncer, the checker.

The lock of the runtime directory is held twice. A record lock, which ends with this process, says
that a supervisor lives; a flock, which every child inherits, that one of its processes still does.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from hadirector.core import messages
from hadirector.core.errors import HadirectorError
from hadirector.core.lawful import lawful
from hadirector.core.messages import Process
from hadirector.shell import channel, child, early, log_writer, systemd

log = logging.getLogger(__name__)

# Seconds without a heartbeat: a process that hangs is dead. The election gives up on a silent
# director after 10 s: a new one is to be there before that.
SILENCE = {
    Process.ELECTION: 10.0,
    Process.DIRECTOR: 5.0,
    Process.CHECKER: 10.0,
    Process.SYNCER: 15.0,
}
LATE = 2.0  # seconds: woken later than this, we were not able to hear anybody
START_GRACE = 60.0  # seconds to the first heartbeat: imports on a starved host are slow
STEADY = 30.0  # seconds of life after which a death counts as the first again
PAUSES = (0.0, 0.2, 1.0, 5.0)  # seconds before the first, second, third and any later restart
# Seconds before a process that left in order, not told by us, is started again: a service manager
# sends SIGTERM to all at once, and ours may come after the election has left.
SIGNAL_PAUSE = 0.5
# Seconds to leave, told to; the election waits for a successor at most 160 s (adverts each 40 s).
# The unit's TimeoutStopSec is above the sum.
STOP_GRACE = {
    Process.ELECTION: 170.0,
    Process.DIRECTOR: 20.0,
    Process.SYNCER: 5.0,
    Process.CHECKER: 5.0,
}
LOCK_PATIENCE = 15.0  # seconds for what is left of a killed daemon to leave
LOCK_POLL = 0.1
START_PRIORITY = 50  # SCHED_FIFO, the one the election falls back to itself

LINKS = (
    (Process.SUPERVISOR, Process.ELECTION),
    (Process.SUPERVISOR, Process.DIRECTOR),
    (Process.SUPERVISOR, Process.SYNCER),
    (Process.SUPERVISOR, Process.CHECKER),
    (Process.DIRECTOR, Process.ELECTION),
    (Process.DIRECTOR, Process.SYNCER),
    (Process.DIRECTOR, Process.CHECKER),
)
SILENT = messages.Heartbeat(0.0, 0.0, ready=False)  # of a process not heard yet
# In the order they leave.
CHILDREN = (Process.ELECTION, Process.DIRECTOR, Process.SYNCER, Process.CHECKER)


@dataclass(slots=True)
class Ward:
    """A child under watch. Instants are CLOCK_BOOTTIME."""

    process: Process
    running: subprocess.Popen[bytes] | None = None
    pidfd: int = -1
    since: float = 0.0
    silent_from: float = 0.0  # heard last, or began to start, or was given a new grace
    greeted: bool = False  # whether it was heard at all
    restarts: int = 0
    quick_deaths: int = 0
    leaving: bool = False
    beat: messages.Heartbeat = SILENT
    hung: str = ""  # why it was killed
    ended: str = ""  # how the one before it died

    def heard(self, now: float) -> None:
        """It gave a sign of life."""
        self.greeted, self.silent_from = True, now

    def silent(self, now: float) -> bool:
        """Whether it hangs."""
        grace = SILENCE[self.process] if self.greeted else START_GRACE
        return self.running is not None and now - self.silent_from > grace


class Locked(HadirectorError):
    """The runtime directory cannot be ours; the text says why."""


@contextlib.contextmanager
def only_one(runtime_dir: str, patience: float = LOCK_PATIENCE) -> Iterator[int]:
    """Hold `runtime_dir`/lock: the descriptor, for children to inherit.

    Raises Locked at once where another supervisor lives, and after `patience` seconds where
    children of a dead one do not leave: two elections of one node would be two masters.
    """
    descriptor = _open_lock(f"{runtime_dir}/lock")
    busy = Locked(f"another hadirector runs with runtime_dir {runtime_dir}: stop it first")
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # fcntl(2): either of them, locked by another
            raise busy from None
        if not _outwait(descriptor, patience):
            raise busy
        yield descriptor
    finally:
        os.close(descriptor)


def _open_lock(path: str) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise Locked(f"{path}: {error.strerror}") from None


def _outwait(descriptor: int, patience: float) -> bool:
    """Take the flock, which children of a dead supervisor may still hold; whether we have it."""
    deadline = child.now() + patience
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if child.now() > deadline:
                return False
            if not told:
                text = f"waits for the former daemon to leave, at most {patience:.0f} s"
                sys.stderr.write(f"hadirector: {text}\n")
                told = True
            time.sleep(LOCK_POLL)
        else:
            return True


class Supervisor:
    """Runs one node. `config_blob` is the path of the last good configuration, `lock` the
    descriptor children hold to show that this daemon is not gone."""

    def __init__(self, config_blob: str, lock: int) -> None:
        self._config_blob = config_blob
        self._lock = lock
        self._wards = {process: Ward(process) for process in CHILDREN}
        self._ends: dict[tuple[Process, Process], socket.socket] = {}
        self._links: dict[Process, channel.Channel] = {}
        self._note = os.memfd_create("hadirector-note")
        self._notify = systemd.Notify()
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._seen: set[str] = set()
        self._announced = False
        self._reloading = False  # told to systemd, and not yet that it is over
        self._status = 0
        self._awake_at = child.now()

    async def run(self) -> int:
        """Until told to stop; the exit status."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_signal_handler(signal.SIGINT, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        for number in (signal.SIGUSR1, signal.SIGUSR2):  # what keepalived's operators send
            loop.add_signal_handler(number, self._log_state)
        self._open_links()
        for process in CHILDREN:
            self._start(process)
        if early.reload_asked():
            self._reload()
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._watch(), name="watch")
            await self._stopping.wait()
            watch.cancel()
            await self._leave()
        os.close(self._note)
        return self._status

    def _open_links(self) -> None:
        for one, other in LINKS:
            self._ends[(one, other)], self._ends[(other, one)] = channel.pair()
        for process in CHILDREN:
            link = channel.Channel(self._ends[(Process.SUPERVISOR, process)], process.value)
            link.start(partial(self._take, process), partial(lawful, process, Process.SUPERVISOR))
            self._links[process] = link

    def _start(self, process: Process) -> None:
        ward = self._wards[process]
        descriptors = {
            other.value: end.fileno() for (own, other), end in self._ends.items() if own is process
        }
        descriptors["lock"] = self._lock
        if process is Process.ELECTION:
            descriptors["note"] = self._note
        arguments = [f"--parent={os.getpid()}"]
        arguments += [f"--fd={name}={number}" for name, number in descriptors.items()]
        ward.running = subprocess.Popen(
            [sys.executable, "-P", "-m", f"hadirector.{process.value}", *arguments],
            pass_fds=tuple(descriptors.values()),
            env=os.environ | {"HADIRECTOR_CONFIG": self._config_blob},
            stdin=subprocess.DEVNULL,
        )
        if process is Process.ELECTION and ward.restarts:
            _hurry(ward.running.pid)
        ward.since = ward.silent_from = child.now()
        ward.greeted = False
        ward.beat = SILENT
        ward.pidfd = os.pidfd_open(ward.running.pid)
        asyncio.get_running_loop().add_reader(ward.pidfd, self._ended, process)
        self._changed.set()

    def _ended(self, process: Process) -> None:
        ward = self._wards[process]
        assert ward.running is not None
        status = ward.running.wait()
        asyncio.get_running_loop().remove_reader(ward.pidfd)
        os.close(ward.pidfd)
        ward.running = None
        self._changed.set()
        if process is Process.DIRECTOR and self._reloading:
            self._announced = self._reloading = False  # its successor's first word ends it
        if self._stopping.is_set():
            return
        if status == child.NEVER_HERE:
            log.error("process=%s cannot run here; leaving", process.value)
            self._status = 1
            self._stopping.set()
            return
        self._restart(ward, status)

    def _restart(self, ward: Ward, status: int) -> None:
        ward.restarts += 1
        steady = ward.leaving or child.now() - ward.since > STEADY
        ward.quick_deaths = 0 if steady else ward.quick_deaths + 1
        pause = PAUSES[min(max(ward.quick_deaths - 1, 0), len(PAUSES) - 1)]
        if status == 0 and not ward.leaving:
            pause = max(pause, SIGNAL_PAUSE)
        ward.ended = "" if ward.leaving else ward.hung or f"died ({_how(status)})"
        how = ward.ended or "left"
        log.warning("process=%s %s; starting again in %.1f s", ward.process.value, how, pause)
        ward.leaving, ward.hung = False, ""
        asyncio.get_running_loop().call_later(pause, self._start_unless_leaving, ward.process)

    def _start_unless_leaving(self, process: Process) -> None:
        if not self._stopping.is_set() and self._wards[process].running is None:
            self._start(process)

    def _take(self, process: Process, received: channel.Received) -> None:
        ward, message = self._wards[process], received.message
        if isinstance(message, messages.Heartbeat):
            ward.heard(child.now())
            ward.beat = message
            if process is Process.DIRECTOR and message.ready and not self._announced:
                self._announced = True
                self._notify.tell("READY=1", f"STATUS={message.status}")
        elif isinstance(message, messages.Hello):
            ward.heard(child.now())
            self._changed.set()
        elif isinstance(message, messages.Request) and message.token not in self._seen:
            self._seen = {message.token} if len(self._seen) > 1000 else self._seen | {message.token}
            self._obey(message)

    def _obey(self, request: messages.Request) -> None:
        kind = request.kind
        if kind is messages.RequestKind.RESTART:
            ward = self._wards[Process(request.subject)]
            ward.leaving = True
            # `restart` tells the child to leave everything as it is for its successor.
            order = messages.Order(messages.OrderKind.STOP, request.token, "restart")
            self._links[ward.process].send(order)
        elif kind is messages.RequestKind.RELOADING:
            self._reloading = True
            self._notify.tell("RELOADING=1", f"MONOTONIC_USEC={int(_monotonic() * 1e6)}")
        elif kind is messages.RequestKind.RELOADED:
            self._reloading = False
            self._notify.tell("READY=1", f"STATUS={request.subject}")

    def _reload(self) -> None:
        token = f"hup-{child.now():.6f}"
        order = messages.Order(messages.OrderKind.RELOAD, token)
        self._links[Process.DIRECTOR].send(order)

    def _log_state(self) -> None:
        for ward in self._wards.values():
            pid = ward.running.pid if ward.running else 0
            what = (ward.process.value, pid, child.now() - ward.since, ward.restarts)
            log.info("process=%s pid=%d up=%.0fs restarts=%d; see hadirector status", *what)

    async def _watch(self) -> None:
        """Kill what is silent, pet the watchdog, tell the director how everybody is."""
        pet = self._notify.watchdog / 3 or 1.0
        while True:
            await self._pause(min(1.0, pet))
            silent = [ward for ward in self._wards.values() if ward.silent(self._awake_at)]
            for ward in silent:
                assert ward.running is not None
                grace = self._awake_at - ward.silent_from
                ward.hung = f"was killed: silent for {grace:.0f} s"
                log.error("process=%s silent for %.0f s; killing it", ward.process.value, grace)
                ward.running.kill()
            if not silent and self._notify.watchdog:
                self._notify.tell("WATCHDOG=1")
            self._links[Process.DIRECTOR].send(self._processes())

    async def _pause(self, longest: float) -> float:
        """Until something changes, at most `longest` seconds; how late we woke, in seconds.

        Who could not be heard because we stood still is not silent: everybody gets a new grace.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await self._changed.wait()
        self._changed.clear()
        slept_from, self._awake_at = self._awake_at, child.now()
        late = self._awake_at - slept_from - longest
        if late <= LATE:
            return 0.0
        log.warning("the supervisor stood still for %.1f s", late)
        for ward in self._wards.values():
            ward.silent_from = self._awake_at
        return late

    def _processes(self) -> messages.Processes:
        own = messages.ProcessState(
            Process.SUPERVISOR, os.getpid(), _started_at, 0, 0.0, 0.0, alive=True
        )
        return messages.Processes(
            (
                own,
                *(
                    messages.ProcessState(
                        ward.process,
                        ward.running.pid if ward.running else 0,
                        ward.since,
                        ward.restarts,
                        ward.beat.lag_ms_p99,
                        ward.beat.lag_ms_max,
                        alive=ward.running is not None,
                        ended=ward.ended,
                    )
                    for ward in self._wards.values()
                ),
            )
        )

    async def _leave(self) -> None:
        """Children leave one after the other: the director forwards until the VIPs are gone."""
        self._notify.tell("STOPPING=1")
        log.info("leaving in order")
        for process in CHILDREN:
            ward = self._wards[process]
            if ward.running is None:
                continue
            self._links[process].send(
                messages.Order(messages.OrderKind.STOP, f"stop-{process.value}")
            )
            await self._wait_for_end(ward, STOP_GRACE[process])

    async def _wait_for_end(self, ward: Ward, grace: float) -> None:
        deadline = child.now() + grace
        while ward.running is not None:
            deadline += await self._pause(min(1.0, max(0.01, deadline - child.now())))
            overdue = self._awake_at > deadline or ward.silent(self._awake_at)
            if ward.running is not None and overdue:
                log.error("process=%s did not leave; killing it", ward.process.value)
                ward.running.kill()
                deadline = child.now() + 1.0


def _hurry(pid: int) -> None:
    """Let an election that died start again on a busy host as fast as on an idle one: while it
    reads its imports its peers count the seconds. It chooses its own scheduling once it runs."""
    with contextlib.suppress(OSError):  # without CAP_SYS_NICE it starts like anybody else
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(pid, policy, os.sched_param(START_PRIORITY))


def _how(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def _monotonic() -> float:
    return asyncio.get_running_loop().time()


_started_at = child.now()


def main(config_blob: str, lock: int) -> int:
    """Run the node whose last good configuration lies at `config_blob`, with what `only_one`
    gave; the exit status."""
    child.log_to_stderr(Process.SUPERVISOR)
    writer = log_writer.LogWriter()
    writer.take_over()
    try:
        return asyncio.run(Supervisor(config_blob, lock).run())
    finally:
        writer.close()
