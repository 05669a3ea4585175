"""Conversations over TCP: a raw non-blocking socket on the loop, no task and no future per probe.

    start -> connecting -> sending -> receiving -> done
                 `------------`-----------`-----> done (deadline, error, closed, cancelled)

A probe costs one socket, one or two registrations and one timer: 50-70 us of CPU, against 300
with a client library.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from functools import partial

from hadirector.core import address
from hadirector.core.address import Address, Endpoint
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Check, Target
from hadirector.shell.probes import base
from hadirector.shell.probes.own_link import NO_WAY

READ = 16 << 10  # bytes per turn: a fast sender gets no more of the loop than others
DRAIN = 64 << 10  # bytes thrown away before closing: unread ones would make the close a reset
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

_ANSWERS = {errno.ECONNRESET: "reset", errno.EPIPE: "reset"}
_UNREACHABLE = {
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
    errno.ETIMEDOUT: "no answer",
}
_OURS = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EADDRNOTAVAIL,  # no local port is free
        errno.EAGAIN,  # the same, as Linux says it for a connect
        errno.EPERM,  # a local firewall rule
        errno.EAFNOSUPPORT,
    }
)


_UNANSWERED = frozenset({Cause.PARTIAL, Cause.SILENT, Cause.UNREACHABLE, Cause.OURS})

Trouble = Callable[[Address], str]
"""Why nothing gets to a server from here; empty: nothing known."""


def _none(_: Address) -> str:
    return ""


def outcome_of(error: OSError) -> Outcome:
    """What an error of the socket says about the server, or about us."""
    number = error.errno or 0
    text = os.strerror(number) if number else str(error)
    if number == errno.ECONNREFUSED:
        return Outcome(Cause.REFUSED, "refused")
    if number in _ANSWERS:
        return base.answered(_ANSWERS[number])
    if number in _OURS:
        return Outcome(Cause.OURS, text)
    return Outcome(Cause.UNREACHABLE, _UNREACHABLE.get(number, text))


def outcome_of_start(error: OSError) -> Outcome:
    """The same for an error that the first system calls gave at once."""
    if error.errno in NO_WAY:
        return Outcome(Cause.OURS, os.strerror(error.errno))
    return outcome_of(error)


class StreamEngine:
    """Probes of one check type; `begin` makes the conversation of a probe, `trouble` tells of an
    unanswered one whether our own link is the reason."""

    def __init__(
        self, begin: Callable[[Check, Endpoint], base.Conversation], trouble: Trouble = _none
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._begin = begin
        self._trouble = trouble

    def start(self, target: Target, done: base.Done) -> base.Running:
        """Begin; an error is an outcome, never an exception."""
        port = target.check.port or target.endpoint.port
        endpoint = Endpoint(target.endpoint.address, port)
        talk = self._begin(target.check, endpoint)
        finish = partial(self._ended, endpoint.address, done)
        return _Stream(self._loop, talk, endpoint, target.check.timeout, finish)

    def _ended(self, server: Address, done: base.Done, outcome: Outcome) -> None:
        trouble = self._trouble(server) if outcome.cause in _UNANSWERED else ""
        done(Outcome(Cause.OURS, trouble) if trouble else outcome)


class _Stream:
    """One probe."""

    __slots__ = (
        "_done",
        "_fd",
        "_loop",
        "_received",
        "_sock",
        "_talk",
        "_timeout",
        "_timer",
        "_unread",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        talk: base.Conversation,
        endpoint: Endpoint,
        timeout: float,
        done: base.Done,
    ) -> None:
        self._loop = loop
        self._talk = talk
        self._timeout = timeout
        self._done: base.Done | None = done
        self._received = -1  # bytes; -1 until connected
        self._unread = True  # whether more than we read may have come
        self._sock: socket.socket | None = None
        self._fd = -1
        self._timer: asyncio.Handle = loop.call_later(timeout, self._expired)
        try:
            self._connect(endpoint)
        except OSError as error:
            # Not from within `start`: who starts a probe may not be ready for its end.
            self._timer.cancel()
            self._timer = loop.call_soon(self._end, outcome_of_start(error))

    def cancel(self) -> None:
        self._done = None
        self._close()

    def _connect(self, endpoint: Endpoint) -> None:
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        self._sock = socket.socket(_FAMILIES[address.family(endpoint.address)], kind)
        self._fd = self._sock.fileno()
        code = self._sock.connect_ex((endpoint.address, endpoint.port))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        self._loop.add_writer(self._fd, self._connected)

    def _connected(self) -> None:
        assert self._sock is not None
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._loop.remove_writer(self._fd)
        if code:
            return self._end(outcome_of(OSError(code, os.strerror(code))))
        self._received = 0
        sent = self._talk.opened()
        if isinstance(sent, Outcome):
            return self._end(sent)
        self._send(sent)

    def _send(self, data: bytes) -> None:
        assert self._sock is not None
        try:
            rest = data[self._sock.send(data) :]
        except BlockingIOError:
            rest = data
        except OSError as error:
            return self._end(outcome_of(error))
        if rest:
            self._loop.add_writer(self._fd, self._send, rest)
            return
        self._loop.remove_writer(self._fd)
        self._loop.add_reader(self._fd, self._readable)

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
        outcome = self._talk.received(data) if data else self._talk.closed()
        if outcome is not None:
            self._end(outcome)

    def _expired(self) -> None:
        within = base.duration(self._timeout)
        if self._received > 0:
            detail = f"answer not complete within {within}: {self._received} bytes"
            return self._end(Outcome(Cause.PARTIAL, detail))
        connected = "connected, but " if self._received == 0 else ""
        self._end(Outcome(Cause.SILENT, f"{connected}no answer within {within}"))

    def _end(self, outcome: Outcome) -> None:
        done, self._done = self._done, None
        self._close()
        if done is not None:
            done(outcome)

    def _close(self) -> None:
        self._timer.cancel()
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
