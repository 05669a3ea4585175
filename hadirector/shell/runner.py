"""The runner process as the director keeps it: there while wanted, started anew when it dies.

Its channel is one of the director's like any other. A death is told at once; a runner that says
nothing for SILENCE hangs, and is killed.
"""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial

from hadirector.core import messages
from hadirector.core.lawful import lawful
from hadirector.core.messages import Process
from hadirector.shell import channel, child

log = logging.getLogger(__name__)

PAUSES = (0.2, 1.0, 5.0)  # seconds before it is started again after the first, second, any later
STEADY = 30.0  # seconds of life after which a death counts as the first again
SILENCE = 10.0  # seconds
START_GRACE = 30.0  # seconds to the first word: imports on a starved host are slow
LATE = 3.0  # seconds between two looks: so much later we stood still ourselves
LEAVE_PATIENCE = 2.0  # seconds for it to end what runs

Receive = Callable[[Process, channel.Received], None]


class Runner:
    """`receive` gets what it says and, as `Processes`, how it is. Needs a running loop."""

    def __init__(self, director: child.Child, receive: Receive) -> None:
        self._loop = asyncio.get_running_loop()
        self._channels = director.channels
        self._receive = receive
        self._wanted = False
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._gone = asyncio.Event()
        self._gone.set()
        self._leaving = False
        self._greeted = False
        self._since = self._heard_at = self._watched_at = 0.0
        self._beat = messages.Heartbeat(0.0, 0.0)
        self._deaths = 0
        self._death = ""
        self._quick = 0
        self._timer: asyncio.TimerHandle | None = None  # to the next start, look, or kill

    def want(self, wanted: bool) -> None:
        """Have it, or have it no more."""
        self._wanted = wanted
        if wanted and self._process is None and self._timer is None:
            self._start()
        elif not wanted and not self._leaving:
            self._dismiss()

    async def close(self) -> None:
        """Let it go, and see it gone."""
        self.want(False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_PATIENCE):
                await self._gone.wait()
        self._kill()

    def _start(self) -> None:
        self._timer = None
        ours, theirs = channel.pair()
        descriptor = f"{Process.DIRECTOR.value}={theirs.fileno()}"
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, "-P", "-m", "hadirector.runner"),
                        *(f"--parent={os.getpid()}", f"--fd={descriptor}"),
                    ],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                )
        except OSError as error:
            ours.close()
            log.error("process=runner not started: %s", error.strerror)
            self._timer = self._loop.call_later(PAUSES[-1], self._start)
            return
        self._gone.clear()
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._ended)
        self._since = self._heard_at = self._watched_at = child.now()
        self._greeted = False
        link = self._channels[Process.RUNNER] = channel.Channel(ours, Process.RUNNER.value)
        link.start(self._take, partial(lawful, Process.RUNNER, Process.DIRECTOR))
        self._tell()
        self._watch()

    def _take(self, received: channel.Received) -> None:
        self._heard_at, self._greeted = child.now(), True
        if isinstance(received.message, messages.Heartbeat):
            self._beat = received.message
            self._tell()
        else:
            self._receive(Process.RUNNER, received)

    def _watch(self) -> None:
        """Look at it once a second; if we stood still ourselves, it was not heard for that."""
        now = child.now()
        if now - self._watched_at > LATE:
            self._heard_at = now
        self._watched_at = now
        if now - self._heard_at > (SILENCE if self._greeted else START_GRACE):
            log.error("process=runner silent for %.0f s; killing it", now - self._heard_at)
            self._kill()
        self._timer = self._loop.call_later(1.0, self._watch)

    def _ended(self) -> None:
        assert self._process is not None
        status = self._process.wait()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._process = None
        self._gone.set()
        self._channels.pop(Process.RUNNER).close()
        self._stop_timer()
        self._death = "" if self._leaving else f"died ({_how(status)})"
        self._deaths += bool(self._death)
        self._tell()
        if self._wanted:
            self._start_again()
        self._leaving = False

    def _start_again(self) -> None:
        if self._leaving:  # it was wanted again before it had left
            self._start()
            return
        self._quick = 0 if child.now() - self._since > STEADY else self._quick + 1
        pause = PAUSES[min(max(self._quick - 1, 0), len(PAUSES) - 1)]
        log.warning("process=runner %s; starting again in %.1f s", self._death, pause)
        self._timer = self._loop.call_later(pause, self._start)

    def _dismiss(self) -> None:
        self._stop_timer()
        if self._process is not None:
            self._leaving = True
            order = messages.Order(messages.OrderKind.STOP, f"stop-{child.now():.6f}")
            self._channels[Process.RUNNER].send(order)
            self._timer = self._loop.call_later(LEAVE_PATIENCE, self._kill)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _tell(self) -> None:
        state = messages.ProcessState(
            Process.RUNNER,
            self._process.pid if self._process else 0,
            self._since,
            self._deaths,
            self._beat.lag_ms_p99,
            self._beat.lag_ms_max,
            alive=self._process is not None,
            ended=self._death,
        )
        about = messages.Processes((state,))
        self._receive(Process.RUNNER, channel.Received(about, channel.FOREVER))


def _how(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"
