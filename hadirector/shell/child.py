"""What every process of a node does alike: channels by file descriptor, heartbeat, lag, leaving.

A child is started by the supervisor as
`python -m hadirector.NAME --parent PID --fd supervisor=3 --fd ...`.
It says Hello on every channel, beats once a second, and ends when its body returns, when the
supervisor orders it to stop, or when the supervisor is gone: its channel ends, and the kernel
sends SIGTERM. While the supervisor lives, SIGTERM means nothing to any but the election: the
service manager sends it to all at once, and the others leave in their turn.

A descriptor named `lock` is only held: the runtime directory is another daemon's when the last
process that has it is gone.
"""

import argparse
import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from hadirector.core import messages
from hadirector.core.lawful import lawful
from hadirector.shell import channel, log_writer, marked

log = logging.getLogger(__name__)

NEVER_HERE = 3  # exit status for the supervisor: starting this process again cannot help
HEARTBEAT = 1.0  # seconds
LAG_WINDOW = 60  # heartbeats over which lag is told
LAG_SAMPLES = 4  # per heartbeat: a stall of a quarter second cannot hide
PR_SET_PDEATHSIG = 1


def now() -> float:
    """Seconds of CLOCK_BOOTTIME: it counts suspend, and all processes of a host read the same."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class Lag:
    """How late the loop's timers fired, in ms, over the last minute."""

    samples: deque[float] = field(default_factory=lambda: deque(maxlen=LAG_WINDOW * LAG_SAMPLES))

    def p99(self) -> float:
        """The 99th percentile, ms."""
        ordered = sorted(self.samples)
        return ordered[int(len(ordered) * 0.99)] if ordered else 0.0

    def worst(self) -> float:
        """The largest, ms."""
        return max(self.samples, default=0.0)


@dataclass(slots=True)
class Child:
    """A running child: its channels, and what it tells the supervisor of itself."""

    process: messages.Process
    channels: dict[messages.Process, channel.Channel]
    descriptors: dict[str, int]
    lag: Lag = field(default_factory=Lag)
    ready: bool = False
    status: str = ""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    fault: str = ""  # why it must end without leaving in order
    parent: int | None = None  # the supervisor's process ID; None: nobody orders our leaving

    def start(self, receive: Callable[[messages.Process, channel.Received], None]) -> None:
        """Listen on every channel and say Hello; `receive(sender, received)` runs on the loop, for
        what is the sender's to say."""
        for sender, link in self.channels.items():
            lends = (sender, self.process) == (messages.Process.DIRECTOR, messages.Process.CHECKER)
            may = partial(lawful, sender, self.process)
            link.start(partial(receive, sender), may, descriptors=lends)
            link.send(messages.Hello(self.process, os.getpid()))

    def send(
        self, to: messages.Process, message: messages.Message, valid_until: float = channel.FOREVER
    ) -> None:
        """Send to a process this child has a channel to; silently nothing where it has none."""
        if to not in self.channels:
            return
        if isinstance(message, messages.Lend):
            self.channels[to].send(message, valid_until, marked.make(message))
        else:
            self.channels[to].send(message, valid_until)

    async def beat(self) -> None:
        """Heartbeats and lag samples for ever: one of the tasks of the process."""
        step = HEARTBEAT / LAG_SAMPLES
        while True:
            for _ in range(LAG_SAMPLES):
                due = now() + step
                await asyncio.sleep(step)
                self.lag.samples.append(max(0.0, (now() - due) * 1000))
            self.tell()

    def tell(self) -> None:
        """One heartbeat to the supervisor and to every other process."""
        beat = messages.Heartbeat(
            round(self.lag.p99(), 2), round(self.lag.worst(), 2), self.ready, self.status
        )
        for link in self.channels.values():
            link.send(beat)

    def obeys(self, received: channel.Received) -> bool:
        """Whether the message was the order to stop (then `stopping` is set)."""
        message = received.message
        if isinstance(message, messages.Order) and message.kind is messages.OrderKind.STOP:
            self.stopping.set()
            return True
        return False

    def terminate(self) -> None:
        """SIGTERM: the election's turn to leave is the first, any other's when nobody tells it."""
        if self.process is messages.Process.ELECTION or self.parent is None or self.orphaned():
            self.stopping.set()
        else:
            log.debug("SIGTERM: the supervisor says when to leave")

    def orphaned(self) -> bool:
        """Whether the supervisor is gone."""
        supervisor = self.channels.get(messages.Process.SUPERVISOR)
        gone = supervisor is not None and supervisor.ended.is_set()
        return gone or (self.parent is not None and os.getppid() != self.parent)

    async def follow_supervisor(self) -> None:
        """Leave when its channel ends: one of the tasks of the process."""
        if messages.Process.SUPERVISOR in self.channels:
            await self.channels[messages.Process.SUPERVISOR].ended.wait()
            self.stopping.set()

    async def outlive(self, process: messages.Process, patience: float) -> None:
        """Orphaned: wait for the end of another process, at most `patience` seconds."""
        if process in self.channels:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self.channels[process].ended.wait()


def parse_arguments(arguments: list[str]) -> tuple[dict[str, int], int | None]:
    """`--fd NAME=N` pairs, `--parent`; the command line is the supervisor's, not an operator's."""
    parser = argparse.ArgumentParser(
        description="a process of hadirector; started by its supervisor"
    )
    parser.add_argument("--fd", action="append", default=[], metavar="NAME=N")
    parser.add_argument("--parent", type=int, metavar="PID")
    options = parser.parse_args(arguments)
    pairs = (text.split("=", 1) for text in options.fd)
    return {name: int(number) for name, number in pairs}, options.parent


def log_to_stderr(process: messages.Process) -> None:
    """key=value lines with the process's name; the journal adds the time."""
    logging.basicConfig(
        stream=sys.stderr,
        level=os.environ.get("HADIRECTOR_LOG", "INFO"),
        format=f"%(levelname)s {process.value} %(message)s",
    )


def die_with_parent() -> None:
    """SIGTERM when the supervisor dies, so that children leave in order (prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def main(
    process: messages.Process,
    body: Callable[[Child], Awaitable[None]],
    confine: Callable[[], object] = lambda: None,
) -> int:
    """Run `body` as this process until it returns or is told to stop; the exit status.

    `confine` gives up privileges, before there is a second thread that would keep them. Text it
    returns is logged: what could not be given up.
    """
    log_to_stderr(process)
    descriptors, parent = parse_arguments(sys.argv[1:])
    kept = confine()
    die_with_parent()
    if parent is not None and os.getppid() != parent:
        log.warning("the supervisor was gone before this process began")
        return 1
    channels = {
        messages.Process(name): channel.Channel(socket.socket(fileno=number), name)
        for name, number in descriptors.items()
        if name in {member.value for member in messages.Process}
    }
    writer = log_writer.LogWriter(hurry=process is messages.Process.ELECTION)
    writer.take_over()
    if kept:
        log.warning("%s", kept)
    try:
        asyncio.run(_run(Child(process, channels, descriptors, parent=parent), body))
    finally:
        writer.close()
    return 0


async def _run(child: Child, body: Callable[[Child], Awaitable[None]]) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, child.terminate)
    # A terminal's Ctrl-C reaches the whole group, and so does the abort of a service manager whose
    # watchdog the supervisor missed: the supervisor dies of it, and its children leave in order.
    # SIGUSR1 and SIGUSR2 are what keepalived's operators send, to all of a name.
    ignored = (signal.SIGINT, signal.SIGHUP, signal.SIGABRT, signal.SIGUSR1, signal.SIGUSR2)
    for signal_number in ignored:
        loop.add_signal_handler(signal_number, lambda: None)
    gc.collect()
    gc.freeze()  # what start-up made stays; later collections need not walk it
    loop.set_exception_handler(partial(fail, child))
    async with asyncio.TaskGroup() as tasks:
        helping = [
            tasks.create_task(child.beat(), name="heartbeat"),
            tasks.create_task(child.follow_supervisor(), name="supervisor"),
        ]
        await body(child)
        for task in helping:
            task.cancel()
    if child.fault:
        raise RuntimeError(f"a callback failed: {child.fault}")


def fail(child: Child, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """A process that lost a callback may be deaf or blind from now on: better a new one."""
    loop.default_exception_handler(context)
    child.fault = str(context["message"])
    child.stopping.set()
