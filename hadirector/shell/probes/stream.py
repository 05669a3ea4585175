"""Conversations over TCP: a raw non-blocking socket on the loop, no task and no future per probe.

    start -> connecting -> sending -> receiving -> done
                 `------------`-----------`-----> done (deadline, error, closed, cancelled)

A probe costs one socket, one or two registrations and one timer: 50-70 us of CPU, against 300
with a client library.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import assert_never

from hadirector.core.address import Address
from hadirector.core.duration import spell
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Target
from hadirector.shell.probes import base, dial
from hadirector.shell.probes.dial import outcome_of, outcome_of_start

READ = 16 << 10  # bytes per turn: a fast sender gets no more of the loop than others
UNSENT = 64 << 10  # bytes waiting to be sent: who makes us say more than he reads is ill
DRAIN = 64 << 10  # bytes thrown away before closing: unread ones would make the close a reset

_UNANSWERED = frozenset({Cause.PARTIAL, Cause.SILENT, Cause.UNREACHABLE, Cause.OURS})

Begin = Callable[[Target], base.Conversation | Outcome]
"""Makes the conversation of a probe, or says at once why there can be none."""


class StreamEngine:
    """Probes of one check type; `begin` makes the conversation of a probe, `trouble` tells of an
    unanswered one whether our own link is the reason."""

    def __init__(
        self,
        begin: Begin,
        trouble: dial.Trouble = dial.no_trouble,
        connect: dial.Dial = dial.to_server,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._begin = begin
        self._trouble = trouble
        self._connect = connect

    def start(self, target: Target, done: base.Done) -> base.Running:
        """Begin; an error is an outcome, never an exception."""
        talk = self._begin(target)
        if isinstance(talk, Outcome):
            return base.Soon(self._loop.call_soon(done, talk))
        finish = partial(self._ended, target.at.address, done)
        return _Stream(self._loop, talk, target, finish, self._connect)

    def _ended(self, server: Address, done: base.Done, outcome: Outcome) -> None:
        trouble = self._trouble(server) if outcome.cause in _UNANSWERED else ""
        done(Outcome(Cause.OURS, trouble) if trouble else outcome)


class _Stream:
    """One probe."""

    __slots__ = (
        "_dial",
        "_done",
        "_fd",
        "_known",
        "_loop",
        "_received",
        "_sock",
        "_talk",
        "_target",
        "_timer",
        "_unread",
        "_unsent",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        talk: base.Conversation,
        target: Target,
        done: base.Done,
        dialled: dial.Dial,
    ) -> None:
        self._dial = dialled
        self._loop = loop
        self._talk = talk
        self._target = target
        self._done: base.Done | None = done
        self._received = -1  # bytes; -1 until connected
        self._unread = True  # whether more than we read may have come
        self._unsent = b""
        self._known: Outcome | None = None  # the verdict, when only its words are asked for
        self._sock: socket.socket | None = None
        self._fd = -1
        self._timer: asyncio.Handle = loop.call_later(target.check.timeout, self._expired)
        try:
            self._connect()
        except OSError as error:
            # Not from within `start`: who starts a probe may not be ready for its end.
            self._timer.cancel()
            self._timer = loop.call_soon(self._end, outcome_of_start(error))

    def cancel(self) -> None:
        self._done = None
        self._close()

    def _connect(self) -> None:
        self._sock = self._dial(self._target)
        self._fd = self._sock.fileno()
        self._loop.add_writer(self._fd, self._connected)

    def _connected(self) -> None:
        assert self._sock is not None
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._loop.remove_writer(self._fd)
        if code:
            return self._end(outcome_of(OSError(code, os.strerror(code))))
        self._received = 0
        self._follow(self._talk.opened())
        if self._sock is not None:
            self._loop.add_reader(self._fd, self._readable)

    def _follow(self, reply: base.Reply) -> None:
        """Do what the conversation wants."""
        match reply:
            case None:
                pass
            case bytes():
                self._send(reply)
            case Outcome():
                self._end(reply)
            case base.Parting(outcome, last):
                self._send(last)
                self._end(outcome)
            case base.Again(outcome, talk):
                self._again(outcome, talk)
            case _:
                assert_never(reply)

    def _send(self, data: bytes) -> None:
        waiting = bool(self._unsent)
        self._unsent += data
        if waiting and len(self._unsent) <= UNSENT:
            return  # the writer is waiting already
        if waiting:
            return self._end(base.answered(f"asks for {UNSENT >> 10} KiB that it does not read"))
        self._flush()
        if self._unsent and self._sock is not None:
            self._loop.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        self._flush()
        if not self._unsent and self._sock is not None:
            self._loop.remove_writer(self._fd)

    def _flush(self) -> None:
        if self._sock is None:
            return  # a parting after the end
        try:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(outcome_of(error))

    def _readable(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(READ)
        except BlockingIOError:
            return
        except OSError as error:
            return self._end(outcome_of(error))
        self._received += len(data)
        self._unread = len(data) == READ
        self._follow(self._talk.received(data) if data else self._talk.closed())

    def _again(self, outcome: Outcome, talk: base.Conversation) -> None:
        """Connect once more, with what is left of the time; the worst is what is known already."""
        self._known = outcome
        self._hang_up()
        self._talk, self._received, self._unread, self._unsent = talk, -1, True, b""
        try:
            self._connect()
        except OSError:
            self._end(outcome)

    def _expired(self) -> None:
        within = spell(self._target.check.timeout)
        if self._received > 0:
            missing = self._talk.missing()
            what = f"{missing} did not come" if missing else "answer not complete"
            detail = f"{what} within {within}: {self._received} bytes"
            return self._end(Outcome(Cause.PARTIAL, detail))
        connected = "connected, but " if self._received == 0 else ""
        self._end(Outcome(Cause.SILENT, f"{connected}no answer within {within}"))

    def _end(self, outcome: Outcome) -> None:
        done, self._done = self._done, None
        self._close()
        if done is None:
            return
        unsaid = self._known is not None and outcome.cause is not Cause.ANSWERED
        done(self._known if unsaid and self._known is not None else outcome)

    def _close(self) -> None:
        self._timer.cancel()
        self._hang_up()

    def _hang_up(self) -> None:
        sock, self._sock = self._sock, None
        if sock is None:
            return
        self._loop.remove_writer(self._fd)
        self._loop.remove_reader(self._fd)
        if self._received >= 0 and self._unread:
            _drain(sock)
        sock.close()


def _drain(sock: socket.socket) -> None:
    """Throw away what has come, so that the server sees an orderly close and logs no reset."""
    try:
        for _ in range(DRAIN // READ):
            if len(sock.recv(READ)) < READ:
                return
    except OSError:
        return
