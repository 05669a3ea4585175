"""Exchanges over UDP: one datagram out, the first that answers it decides.

The socket is connected, so only the server's own datagrams and the ICMP errors about it arrive.
"""

import asyncio
import socket
from collections.abc import Callable
from functools import partial

from hadirector.core.address import Address
from hadirector.core.duration import spell
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Target
from hadirector.shell.probes import base, dial
from hadirector.shell.probes.dial import outcome_of, outcome_of_start

LARGEST = 65_535  # bytes of a datagram
READS = 16  # datagrams a turn, and strange ones in all: who floods us gets no more of the loop

Begin = Callable[[Target], base.Exchange | Outcome]
"""Makes the exchange of a probe, or says at once why there can be none."""


class DatagramEngine:
    """Probes of one check type; `begin` makes the exchange of a probe, `trouble` tells of an
    unanswered one whether our own link is the reason."""

    def __init__(self, begin: Begin, trouble: dial.Trouble = dial.no_trouble) -> None:
        self._loop = asyncio.get_running_loop()
        self._begin = begin
        self._trouble = trouble

    def start(self, target: Target, done: base.Done) -> base.Running:
        """Begin; an error is an outcome, never an exception."""
        exchange = self._begin(target)
        if isinstance(exchange, Outcome):
            return base.Soon(self._loop.call_soon(done, exchange))
        finish = partial(self._ended, target.at.address, done)
        return _Exchange(self._loop, exchange, target, finish)

    def _ended(self, server: Address, done: base.Done, outcome: Outcome, heard: bool) -> None:
        # Silence can be good here, and behind a dead link of our own it is nothing.
        trouble = "" if heard else self._trouble(server)
        done(Outcome(Cause.OURS, trouble) if trouble else outcome)


class _Exchange:
    """One probe."""

    __slots__ = ("_done", "_exchange", "_fd", "_loop", "_sock", "_strange", "_target", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        exchange: base.Exchange,
        target: Target,
        done: Callable[[Outcome, bool], None],
    ) -> None:
        self._loop = loop
        self._exchange = exchange
        self._target = target
        self._done: Callable[[Outcome, bool], None] | None = done
        self._strange = 0  # datagrams that answer nothing
        self._sock: socket.socket | None = None
        self._fd = -1
        self._timer: asyncio.Handle = loop.call_later(target.check.timeout, self._expired)
        try:
            self._sock = dial.connecting(target, socket.SOCK_DGRAM)
            self._fd = self._sock.fileno()
            self._sock.send(exchange.question())
            loop.add_reader(self._fd, self._readable)
        except OSError as error:
            # Not from within `start`: who starts a probe may not be ready for its end.
            self._timer.cancel()
            self._timer = loop.call_soon(self._end, outcome_of_start(error), False)

    def cancel(self) -> None:
        self._done = None
        self._close()

    def _readable(self) -> None:
        for _ in range(READS):
            if self._sock is None:
                return
            try:
                data = self._sock.recv(LARGEST)
            except BlockingIOError:
                return
            except OSError as error:
                return self._refused(error)
            outcome = self._exchange.received(data)
            if outcome is not None:
                return self._end(outcome, True)
            self._strange += 1
            if self._strange >= READS:
                text = f"answers with {READS} datagrams that are no answer"
                return self._end(base.answered(text), True)

    def _refused(self, error: OSError) -> None:
        outcome = outcome_of(error)
        if outcome.cause is Cause.REFUSED:
            outcome = Outcome(Cause.REFUSED, "refused: ICMP says that the port is unreachable")
        self._end(outcome, outcome.cause in (Cause.REFUSED, Cause.ANSWERED))

    def _expired(self) -> None:
        self._readable()  # what came while we did something else is no silence
        if self._sock is not None:
            self._end(self._exchange.silent(spell(self._target.check.timeout)), False)

    def _end(self, outcome: Outcome, heard: bool) -> None:
        done, self._done = self._done, None
        self._close()
        if done is not None:
            done(outcome, heard)

    def _close(self) -> None:
        self._timer.cancel()
        sock, self._sock = self._sock, None
        if sock is not None:
            self._loop.remove_reader(self._fd)
            sock.close()
