"""A node: a machine of the lab, made of a network, a mount and a UTS namespace.

The namespaces have no names and no files. One process, the anchor, holds them, and the kernel
kills it with its parent: whatever happens to the lab, nothing of it is left behind.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

from labkit import kernel

_NAMESPACES = (
    ("mnt", kernel.CLONE_NEWNS),
    ("uts", kernel.CLONE_NEWUTS),
    ("net", kernel.CLONE_NEWNET),
)


class Node:
    """One machine. `/run` is its own and empty; the rest of the file system is shared."""

    def __init__(self, name: str, sysctls: dict[str, str]) -> None:
        self.name = name
        ready, told = os.pipe()
        self.anchor = os.fork()
        if self.anchor == 0:
            _hold_namespaces(name, sysctls, told)
        os.close(told)
        with os.fdopen(ready, "rb") as answer:
            if answer.read() != b"ready":
                raise RuntimeError(f"{name}: namespaces could not be made (root is needed)")

    def path(self, path: str) -> Path:
        """A file of this node as seen from here."""
        return Path(f"/proc/{self.anchor}/root{path}")

    def net(self, name: str) -> Path:
        """A file of this node's /proc/net."""
        return Path(f"/proc/{self.anchor}/net/{name}")

    def enter(self) -> None:
        """Moves this process here. For children between fork and exec."""
        for name, flag in _NAMESPACES:
            fd = os.open(f"/proc/{self.anchor}/ns/{name}", os.O_RDONLY)
            kernel.setns(fd, flag)
            os.close(fd)
        os.chdir("/")

    def spawn(
        self,
        argv: Sequence[str],
        output: IO[bytes] | int = subprocess.DEVNULL,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Starts a program here, in a session of its own."""
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT if output != subprocess.PIPE else subprocess.PIPE,
            start_new_session=True,
            preexec_fn=self._enter_as_child,
        )

    def run(self, *argv: str, given: str = "", check: bool = True) -> str:
        """Runs a program here to its end and returns its output; `given` is its input."""
        done = subprocess.run(
            argv,
            input=given,
            text=True,
            capture_output=True,
            preexec_fn=self._enter_as_child,
            check=False,
            timeout=60,
        )
        if check and done.returncode:
            words = " ".join(argv)
            raise RuntimeError(f"{self.name}: {words}: {done.stderr.strip() or done.returncode}")
        return done.stdout

    def fork(self, work: Callable[[], None]) -> int:
        """Runs `work` here in a child of its own: ten times cheaper than a new interpreter."""
        pid = os.fork()
        if pid:
            return pid
        try:
            self._enter_as_child()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            work()
        except BaseException as error:
            print(f"lab: {self.name}: {error!r}", file=sys.stderr)
        finally:
            os._exit(0)

    def processes(self) -> list[int]:
        """Every process in this node's network but the anchor."""
        own = os.stat(f"/proc/{self.anchor}/ns/net").st_ino
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != self.anchor:
                with suppress(OSError):
                    if os.stat(f"/proc/{entry}/ns/net").st_ino == own:
                        found.append(int(entry))
        return found

    def signal_all(self, number: int) -> None:
        """Sends a signal to every process of the node, the stopped ones included."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self) -> None:
        """Kills what runs here and lets the namespaces go."""
        with suppress(OSError):
            for _ in range(3):  # a process may fork while we look
                self.signal_all(signal.SIGKILL)
        with suppress(OSError):
            os.kill(self.anchor, signal.SIGKILL)
            os.waitpid(self.anchor, 0)

    def _enter_as_child(self) -> None:
        kernel.die_with_parent(signal.SIGKILL)
        self.enter()


def _hold_namespaces(name: str, sysctls: dict[str, str], told: int) -> NoReturn:
    """The anchor's life."""
    try:
        kernel.die_with_parent(signal.SIGKILL)
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for _, flag in _NAMESPACES:
            kernel.unshare(flag)
        _write_hostname(name)
        kernel.mount("none", "/", "none", kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount("tmpfs", "/run", "tmpfs")
        for key, value in sysctls.items():
            Path("/proc/sys/" + key.replace(".", "/")).write_text(value)
        os.write(told, b"ready")
        os.close(told)
        while True:
            signal.pause()
    except BaseException as error:
        print(f"lab: {name}: {error}", file=sys.stderr)
    finally:
        os._exit(1)


def _write_hostname(name: str) -> None:
    Path("/proc/sys/kernel/hostname").write_text(name)
