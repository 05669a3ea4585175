"""One program in a session and process group of its own: how it is started, and what is left of it.

A fork of our own rather than subprocess's, for three reasons. The parent goes on at once: where
the program lies on a disk that hangs, subprocess waits with it for its execve. The child can ask to
die with its parent before it becomes the program. And its process ID is known from the start, so
that it can be killed at any moment.

Between fork and execve the child makes plain system calls only, whatever threads the parent has.
"""

import contextlib
import ctypes
import os
import signal
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_REFUSAL = 3  # where the child tells why it could not become the program
_EVERY = 2**31 - 1  # close_range(2) takes them all at once

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Program:
    """A started one. `output` is the reading end of what it prints, `refusal` of what execve(2)
    said: it ends empty when the program runs. `pidfd` becomes readable when it has ended."""

    pid: int
    pidfd: int
    output: int
    refusal: int

    def kill(self, number: signal.Signals) -> None:
        """Send a signal to its whole group; call only before `reap`."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:  # it has not made its group yet
                os.kill(self.pid, number)

    def reap(self) -> int:
        """Kill what is left of its group, and its wait status; call when `pidfd` is readable.

        Until then its process ID stays taken, so nobody else's group can be hit.
        """
        self.kill(signal.SIGKILL)
        return os.waitpid(self.pid, 0)[1]

    def close(self) -> None:
        """Let go of what it printed."""
        for descriptor in (self.pidfd, self.output, self.refusal):
            os.close(descriptor)


def start(command: tuple[str, ...], environment: dict[str, str], given: bytes) -> Program:
    """Start a program; it reads `given` from its standard input. OSError when this host has no
    room for another process or file."""
    with contextlib.ExitStack() as the_childs, contextlib.ExitStack() as on_failure:
        entry = _readable(given)
        the_childs.callback(os.close, entry)
        output, printed = os.pipe()
        the_childs.callback(os.close, printed)
        on_failure.callback(os.close, output)
        refusal, refused = os.pipe()
        the_childs.callback(os.close, refused)
        on_failure.callback(os.close, refusal)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become(command, environment, parent, (entry, printed, printed, refused))
        pidfd = _pidfd(pid)
        on_failure.pop_all()
    os.set_blocking(output, False)
    os.set_blocking(refusal, False)
    return Program(pid, pidfd, output, refusal)


def _readable(given: bytes) -> int:
    """A descriptor to read this from: memory, so that nobody has to wait for the reader."""
    if not given:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    os.write(descriptor, given)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:  # no descriptor left: a program that nobody can wait for must not run
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _become(
    command: tuple[str, ...],
    environment: dict[str, str],
    parent: int,
    descriptors: tuple[int, int, int, int],
) -> None:
    """The child's way to execve(2); it never returns."""
    try:
        for target, source in enumerate(descriptors):
            if source != target:
                os.dup2(source, target, inheritable=target != _REFUSAL)
        os.closerange(_REFUSAL + 1, _EVERY)
        signal.set_wakeup_fd(-1)
        for number in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return
        _be_killed_like_anybody()
        os.chdir("/")
        os.execve(command[0], command, environment)
    except OSError as error:
        os.write(_REFUSAL, str(error.errno).encode())
    finally:
        os._exit(127)


def _be_killed_like_anybody() -> None:
    """The daemon is spared when memory runs out; a script that eats it must not be."""
    with contextlib.suppress(OSError):
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(descriptor, b"0")
