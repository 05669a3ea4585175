"""A whole daemon on the real kernel, in a namespace and directories of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "hadirector")
PATIENCE = 60.0  # seconds for anything to come true: the lab kernel starts Python slowly


def until(
    what: str,
    holds: Callable[[], bool],
    patience: float = PATIENCE,
    instead: Callable[[], object] = str,
) -> float:
    """Wait until it holds; the seconds it took. AssertionError when it never does, with what there
    is `instead`."""
    started = time.monotonic()
    while not holds():
        late = time.monotonic() - started >= patience
        assert not late, f"never: {what} {instead()}".rstrip()
        time.sleep(0.05)
    return time.monotonic() - started


def _all_of(line: socket.socket) -> bytes:
    said = b""
    while part := line.recv(1 << 16):
        said += part
    return said


@dataclass
class Daemon:
    """`hadirector run` with this configuration; use as a context manager."""

    folder: Path
    text: str
    node: str = "lb1"
    within: tuple[str, ...] = ()  # a command that runs it elsewhere: nsenter ...
    process: "subprocess.Popen[bytes] | None" = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "log"
        self.write(self.text)

    def write(self, text: str) -> None:
        """Replace the configuration on disk."""
        own = f"state_dir: {self.folder}/state\nruntime_dir: {self.folder}/run\n"
        (self.folder / "hadirector.yaml").write_text(own + text)

    def __enter__(self) -> "Daemon":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            time.sleep(0.5)

    def start(self) -> None:
        """Start it and wait for its control socket."""
        self.launch()
        until("the daemon answers", lambda: self.ask() is not None)

    def launch(self) -> None:
        """Start it."""
        arguments = ["run", "-c", str(self.folder / "hadirector.yaml"), "--node", self.node]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.within, *COMMAND, *arguments],
                stderr=log,
                stdout=log,
            )

    def ask(self) -> dict[str, Any] | None:
        """Its status, or None while it does not answer."""
        # Not by a verb: starting Python is the dearest thing a test does in the lab kernel.
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(5.0)
                line.connect(str(self.folder / "run" / "control.sock"))
                line.sendall(b"GET /v1/status HTTP/1.0\r\nHost: daemon\r\n\r\n")
                head, _, body = _all_of(line).partition(b"\r\n\r\n")
        except OSError:
            return None
        if not head.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200")):
            return None
        told: dict[str, Any] = json.loads(body)
        return told

    @property
    def where(self) -> tuple[str, str]:
        """The option that leads a verb to it."""
        return "--socket", str(self.folder / "run" / "control.sock")

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """One verb of the command line."""
        return subprocess.run(
            [*COMMAND, *arguments, *self.where],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def pid(self, process: str) -> int:
        """The process ID of one of its processes, 0 while it has none."""
        told = self.ask()
        return int(told["processes"][process]["pid"]) if told else 0

    def pids(self) -> dict[str, int]:
        """The process IDs of all of them."""
        told = self.ask()
        assert told is not None
        return {name: int(process["pid"]) for name, process in told["processes"].items()}

    def kill(self) -> None:
        """kill -9 of every process at once: addresses stay, nobody leaves in order."""
        doomed = self.pids().values()
        for number in (signal.SIGSTOP, signal.SIGKILL):  # none of them sees another one die
            for pid in doomed:
                os.kill(pid, number)
        assert self.process is not None
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)
