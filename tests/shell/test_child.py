"""What every process does alike: it leaves when the supervisor says so, or is gone; not before."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from hadirector.core import messages
from hadirector.core.messages import Process
from hadirector.shell import channel

PROGRAM = """
import logging, sys
from hadirector.core.messages import Process
from hadirector.shell import child

async def body(process):
    process.start(lambda sender, received: process.obeys(received))
    for number in range(LINES):
        logging.info("line %d %s", number, "x" * 100)
    print("up", flush=True)
    await process.stopping.wait()
    print("left", flush=True)

sys.exit(child.main(Process.NAME, body))
"""
PATIENCE = 20.0  # seconds


@dataclass
class Started:
    """A child with this test as its supervisor."""

    process: subprocess.Popen[str]
    link: socket.socket

    def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def alive_after(self, seconds: float) -> bool:
        """Whether it runs on."""
        time.sleep(seconds)
        return self.process.poll() is None

    def order_stop(self) -> None:
        """Tell it to leave."""
        raw = channel.encode(messages.Order(messages.OrderKind.STOP, "stop"))
        self.link.send(channel._HEADER.pack(1, 0, 1) + raw)

    def beats(self) -> int:
        """Heartbeats that came since the last look."""
        count = 0
        while True:
            try:
                raw = self.link.recv(channel.PART)
            except BlockingIOError:
                return count
            count += isinstance(channel.decode(raw[16:]).message, messages.Heartbeat)


@contextmanager
def started(
    name: Process, parent: int, lines: int = 0, stderr: int | None = None
) -> Iterator[Started]:
    """The program as this process of a node."""
    ours, theirs = channel.pair()
    ours.setblocking(False)
    program = PROGRAM.replace("NAME", name.name).replace("LINES", str(lines))
    arguments = [f"--fd=supervisor={theirs.fileno()}", f"--parent={parent}"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        pass_fds=(theirs.fileno(),),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    theirs.close()
    try:
        yield Started(process, ours)
    finally:
        process.kill()
        process.communicate()
        ours.close()


@pytest.mark.parametrize("name", [Process.DIRECTOR, Process.CHECKER])
def test_a_signal_does_not_make_it_leave_before_its_turn(name: Process) -> None:
    with started(name, os.getpid()) as it:
        assert it.line() == "up"
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGABRT):
            it.process.send_signal(number)

        assert it.alive_after(0.5)
        it.order_stop()
        assert it.line() == "left"
        assert it.process.wait(PATIENCE) == 0


def test_the_election_leaves_first_and_so_at_the_signal() -> None:
    with started(Process.ELECTION, os.getpid()) as it:
        assert it.line() == "up"
        it.process.send_signal(signal.SIGTERM)

        assert it.line() == "left"
        assert it.process.wait(PATIENCE) == 0


def test_the_end_of_the_supervisors_channel_is_the_order_to_leave() -> None:
    with started(Process.CHECKER, os.getpid()) as it:
        assert it.line() == "up"
        it.link.close()

        assert it.line() == "left"
        assert it.process.wait(PATIENCE) == 0


def test_a_child_whose_supervisor_died_before_it_could_ask_for_the_signal_does_not_start() -> None:
    with started(Process.CHECKER, parent=1) as it:
        assert it.line() == ""
        assert it.process.wait(PATIENCE) == 1


def test_a_log_nobody_reads_does_not_stop_the_heart() -> None:
    with started(Process.DIRECTOR, os.getpid(), lines=5000, stderr=subprocess.PIPE) as it:
        assert it.line() == "up"  # 500 KB of log lines: the pipe holds 64
        it.beats()

        assert it.alive_after(2.5)
        assert it.beats() >= 1
        it.order_stop()
        assert it.line() == "left"
        assert it.process.wait(PATIENCE) == 0
