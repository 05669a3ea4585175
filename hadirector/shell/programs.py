"""Programs under way: each with a deadline, its last words, and an end that leaves nothing behind.

At its deadline the group is told to end (SIGTERM), KILL_AFTER later it is killed. What it prints is
read at a measured pace and thrown away but for its end: a flood fills neither memory nor the CPU,
its writer waits. When the program ends, whatever it left in its group is killed; only what began a
session of its own (setsid) lives on.
"""

import asyncio
import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import msgspec

from hadirector.core.messages import Run
from hadirector.core.runner_messages import Ran, RunEnd
from hadirector.shell import child, spawn

KILL_AFTER = 0.5  # seconds from SIGTERM to SIGKILL
READ = 65_536  # bytes at once: all that a pipe holds
READ_PAUSE = 0.01  # seconds between reads
TAIL = 4096  # bytes of output kept
LINE = 200  # characters of its last line told

# The PATH of a login shell; the locale in which messages are what manuals say.
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
}
_REFUSALS = {
    errno.ENOENT: "no such file, or its first line names an interpreter that is not there",
    errno.ENOEXEC: "neither a program nor a script that begins with #!",
    errno.EACCES: "permission denied: the daemon's user must be able to execute it",
}

Told = Callable[[Ran], None]


class Programs:
    """All that run. `told` is called on the loop when one's time is up and when it is gone."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._under_way: dict[str, _UnderWay] = {}
        self._one_less = asyncio.Event()

    def start(self, run: Run) -> None:
        """Run a program; a ticket that is known already is the same one."""
        if run.ticket in self._under_way:
            return
        try:
            program = spawn.start(run.command, _ENVIRONMENT | run.environment, _given(run))
        except OSError as error:
            reason = f"could not be started here: {os.strerror(error.errno or 0)}"
            self._told(Ran(run.ticket, RunEnd.VOID, 0, reason, 0.0))
        else:
            gone = partial(self._gone, run.ticket)
            self._under_way[run.ticket] = _UnderWay(run, program, self._told, gone)

    async def end(self) -> None:
        """End them all; what cannot be killed dies with us at the latest (PR_SET_PDEATHSIG)."""
        for one in tuple(self._under_way.values()):
            one.end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * KILL_AFTER):
                while self._under_way:
                    self._one_less.clear()
                    await self._one_less.wait()

    def _gone(self, ticket: str) -> None:
        del self._under_way[ticket]
        self._one_less.set()


class _UnderWay:
    """One program until it is gone."""

    def __init__(
        self, run: Run, program: spawn.Program, told: Told, gone: Callable[[], object]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._run = run
        self._program = program
        self._told = told
        self._gone = gone
        self._since = child.now()
        self._tail = b""
        self._late = False
        self._timer = self._loop.call_later(run.timeout, self._overdue)
        self._rest: asyncio.TimerHandle | None = None
        self._loop.add_reader(program.pidfd, self._ended)
        self._loop.add_reader(program.output, self._read)

    def end(self) -> None:
        """Tell it to end, and see to it."""
        self._late = True
        self._timer.cancel()
        self._program.kill(signal.SIGTERM)
        self._timer = self._loop.call_later(KILL_AFTER, self._program.kill, signal.SIGKILL)

    def _overdue(self) -> None:
        self.end()
        self._tell(RunEnd.LATE, self._too_late, gone=False)

    def _read(self) -> None:
        """A bite of what it prints, then a pause."""
        self._loop.remove_reader(self._program.output)
        if self._bite():
            self._rest = self._loop.call_later(READ_PAUSE, self._go_on)

    def _go_on(self) -> None:
        self._loop.add_reader(self._program.output, self._read)

    def _bite(self) -> bool:
        """Whether there may be more."""
        try:
            chunk = os.read(self._program.output, READ)
        except BlockingIOError:
            return True
        self._tail = (self._tail + chunk)[-TAIL:]
        return bool(chunk)

    def _ended(self) -> None:
        status = self._program.reap()
        for reader in (self._program.pidfd, self._program.output):
            self._loop.remove_reader(reader)
        for timer in (self._timer, self._rest):
            if timer is not None:
                timer.cancel()
        self._bite()
        refused = _said(self._program.refusal)
        self._program.close()
        self._gone()
        code = os.waitstatus_to_exitcode(status)
        if refused:
            self._tell(RunEnd.REFUSED, _refusal(int(refused)))
        elif self._late:
            self._tell(RunEnd.LATE, self._too_late)
        elif code < 0:
            self._tell(RunEnd.KILLED, f"killed by {_signal(-code)}")
        else:
            self._tell(RunEnd.EXITED, f"exit {code}", code)

    @property
    def _too_late(self) -> str:
        return f"not done after {self._run.timeout:g} s, killed"

    def _tell(self, end: RunEnd, how: str, status: int = 0, *, gone: bool = True) -> None:
        line = _last_line(self._tail)
        reason = f"{how}: {line}" if line and end is not RunEnd.REFUSED else how
        took = round(child.now() - self._since, 3)
        self._told(Ran(self._run.ticket, end, status, reason, took, gone))


def _given(run: Run) -> bytes:
    """What it reads: the event it is run for, with its instant as Unix time."""
    if run.about is None:
        return b""
    at = run.about.at + time.time() - child.now()
    return msgspec.json.encode(replace(run.about, at=at)) + b"\n"


def _said(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 16)
    except BlockingIOError:
        return b""


def _refusal(number: int) -> str:
    return f"cannot be executed: {_REFUSALS.get(number) or os.strerror(number)}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time one
        return f"signal {number}"


def _last_line(output: bytes) -> str:
    """The last line that is not empty, as far as it can be printed."""
    for line in reversed(output.decode(errors="replace").splitlines()):
        text = "".join(c if c.isprintable() else " " for c in line).strip()
        if text:
            return text if len(text) <= LINE else f"{text[:LINE]}..."
    return ""
