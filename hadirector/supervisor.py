"""The supervisor: systemd's main PID. Starts, watches and restarts the other processes.

It holds every channel between them (a restarted process finds its channels as they were), the
shared note of the election and the last good configuration; it reads no configuration itself and
imports nothing heavy, so that what watches the others has little that could fail.

Rules of death: a child that exits is started again, at once the first time, later with growing
pauses; one that says it can never run here (status 3) ends the whole daemon, in order; one that
is silent for SILENCE is killed and counts as dead. SIGTERM: the election leaves first (it hands
over), then the director, then the checker.
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
from collections.abc import Iterator
from dataclasses import dataclass

from hadirector.core import messages
from hadirector.core.errors import HadirectorError
from hadirector.core.messages import Process
from hadirector.shell import channel, child, systemd

log = logging.getLogger(__name__)

SILENCE = 10.0  # seconds without a heartbeat: a process that hangs is dead (DESIGN 2)
START_GRACE = 60.0  # seconds to the first heartbeat: imports on a starved host are slow
STEADY = 30.0  # seconds of life after which a death counts as the first again
PAUSES = (0.0, 0.2, 1.0, 5.0)  # seconds before the first, second, third and any later restart
STOP_GRACE = {Process.ELECTION: 130.0, Process.DIRECTOR: 15.0, Process.CHECKER: 5.0}
NEVER_HERE = 3  # exit status of a child: running it again cannot help
START_PRIORITY = 50  # SCHED_FIFO, the one the election falls back to itself

LINKS = (
    (Process.SUPERVISOR, Process.ELECTION),
    (Process.SUPERVISOR, Process.DIRECTOR),
    (Process.SUPERVISOR, Process.CHECKER),
    (Process.DIRECTOR, Process.ELECTION),
    (Process.DIRECTOR, Process.CHECKER),
)
SILENT = messages.Heartbeat(0.0, 0.0, ready=False)  # of a process not heard yet
CHILDREN = (Process.ELECTION, Process.DIRECTOR, Process.CHECKER)  # in the order they leave


@dataclass(slots=True)
class Ward:
    """A child under watch. Instants are CLOCK_BOOTTIME."""

    process: Process
    running: subprocess.Popen[bytes] | None = None
    pidfd: int = -1
    since: float = 0.0
    heard_at: float | None = None
    restarts: int = 0
    quick_deaths: int = 0
    leaving: bool = False
    beat: messages.Heartbeat = SILENT


class Locked(HadirectorError):
    """Another daemon runs with the same runtime directory."""


@contextlib.contextmanager
def only_one(runtime_dir: str) -> Iterator[None]:
    """Hold `runtime_dir`/lock; raises Locked where another daemon does."""
    descriptor = os.open(f"{runtime_dir}/lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(runtime_dir) from None
        yield
    finally:
        os.close(descriptor)


class Supervisor:
    """Runs one node. `config_blob` is the path of the last good configuration."""

    def __init__(self, config_blob: str) -> None:
        self._config_blob = config_blob
        self._wards = {process: Ward(process) for process in CHILDREN}
        self._ends: dict[tuple[Process, Process], socket.socket] = {}
        self._links: dict[Process, channel.Channel] = {}
        self._note = os.memfd_create("hadirector-note")
        self._notify = systemd.Notify()
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._seen: set[str] = set()
        self._announced = False
        self._status = 0

    async def run(self) -> int:
        """Until told to stop; the exit status."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_signal_handler(signal.SIGINT, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._open_links()
        for process in CHILDREN:
            self._start(process)
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
            link.start(lambda received, process=process: self._take(process, received))  # type: ignore[misc]  # a bound default
            self._links[process] = link

    def _start(self, process: Process) -> None:
        ward = self._wards[process]
        descriptors = {
            other.value: end.fileno() for (own, other), end in self._ends.items() if own is process
        }
        if process is Process.ELECTION:
            descriptors["note"] = self._note
        arguments = [f"--fd={name}={number}" for name, number in descriptors.items()]
        ward.running = subprocess.Popen(
            [sys.executable, "-P", "-m", f"hadirector.{process.value}", *arguments],
            pass_fds=tuple(descriptors.values()),
            env=os.environ | {"HADIRECTOR_CONFIG": self._config_blob},
            stdin=subprocess.DEVNULL,
        )
        if process is Process.ELECTION:
            _hurry(ward.running.pid)
        ward.since, ward.heard_at = child.now(), None
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
        if self._stopping.is_set():
            return
        if status == NEVER_HERE:
            log.error("process=%s cannot run here; leaving", process.value)
            self._status = 1
            self._stopping.set()
            return
        self._restart(ward, status)

    def _restart(self, ward: Ward, status: int) -> None:
        ward.restarts += 1
        steady = ward.leaving or child.now() - ward.since > STEADY
        ward.quick_deaths = 0 if steady else ward.quick_deaths + 1
        pause = PAUSES[min(ward.quick_deaths, len(PAUSES) - 1)]
        how = "left" if ward.leaving else f"died ({_how(status)})"
        log.warning("process=%s %s; starting again in %.1f s", ward.process.value, how, pause)
        ward.leaving = False
        asyncio.get_running_loop().call_later(pause, self._start_unless_leaving, ward.process)

    def _start_unless_leaving(self, process: Process) -> None:
        if not self._stopping.is_set() and self._wards[process].running is None:
            self._start(process)

    def _take(self, process: Process, received: channel.Received) -> None:
        ward, message = self._wards[process], received.message
        if isinstance(message, messages.Heartbeat):
            ward.heard_at, ward.beat = child.now(), message
            if process is Process.DIRECTOR and message.ready and not self._announced:
                self._announced = True
                self._notify.tell("READY=1", f"STATUS={message.status}")
        elif isinstance(message, messages.Hello):
            ward.heard_at = child.now()
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
            self._notify.tell("RELOADING=1", f"MONOTONIC_USEC={int(_monotonic() * 1e6)}")
        elif kind is messages.RequestKind.RELOADED:
            self._notify.tell("READY=1", f"STATUS={request.subject}")

    def _reload(self) -> None:
        token = f"hup-{child.now():.6f}"
        order = messages.Order(messages.OrderKind.RELOAD, token)
        self._links[Process.DIRECTOR].send(order)

    async def _watch(self) -> None:
        """Kill what is silent, pet the watchdog, tell the director how everybody is."""
        pet = self._notify.watchdog / 3 or 1.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(1.0, pet)):
                    await self._changed.wait()
            self._changed.clear()
            silent = [ward for ward in self._wards.values() if self._is_silent(ward)]
            for ward in silent:
                assert ward.running is not None
                log.error("process=%s silent for %.0f s; killing it", ward.process.value, SILENCE)
                ward.running.kill()
            if not silent and self._notify.watchdog:
                self._notify.tell("WATCHDOG=1")
            self._links[Process.DIRECTOR].send(self._processes())

    def _is_silent(self, ward: Ward) -> bool:
        if ward.running is None:
            return False
        if ward.heard_at is None:
            return child.now() - ward.since > START_GRACE
        return child.now() - ward.heard_at > SILENCE

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
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(1.0, max(0.01, deadline - child.now()))):
                    await self._changed.wait()
            if ward.running is not None and (child.now() > deadline or self._is_silent(ward)):
                log.error("process=%s did not leave; killing it", ward.process.value)
                ward.running.kill()
                deadline = child.now() + 1.0


def _hurry(pid: int) -> None:
    """Let the election start on a busy host as fast as on an idle one: while it reads its imports
    its peers count the seconds. It chooses its own scheduling as soon as it runs."""
    with contextlib.suppress(OSError):  # without CAP_SYS_NICE it starts like anybody else
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(pid, policy, os.sched_param(START_PRIORITY))


def _how(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def _monotonic() -> float:
    return asyncio.get_running_loop().time()


_started_at = child.now()


def main(config_blob: str, runtime_dir: str) -> int:
    """Run the node whose last good configuration lies at `config_blob`; the exit status."""
    child.log_to_stderr(Process.SUPERVISOR)
    with only_one(runtime_dir):
        return asyncio.run(Supervisor(config_blob).run())
