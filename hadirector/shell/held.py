"""Held connections: raw non-blocking sockets that say nothing, and whose end is told.

A connection costs one descriptor, one registration, about 1 KB here and what the kernel keeps.
Keep-alives let a connection outlive the tables of firewalls between, and end one whose server is
gone without a word; that takes seconds, and is no substitute for probes.
"""

import asyncio
import errno
import socket
from collections.abc import Callable

from hadirector.core import address
from hadirector.core.held import Broken, End, Event, Hold, Stands
from hadirector.core.pacing import Cause
from hadirector.shell.probes import dial

Told = Callable[[Event], None]

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_KEEP_ALIVE = (  # seconds to the first, seconds between, how many unanswered ones
    (socket.TCP_KEEPIDLE, 15),
    (socket.TCP_KEEPINTVL, 5),
    (socket.TCP_KEEPCNT, 3),
)
_READ = 4096  # bytes a turn
_GREETING = 64 << 10  # bytes: who says more does not let a connection be idle
_OPENING = 5.0  # seconds for a connection to stand: a silent server keeps no descriptor


class HeldSockets:
    """The connections, by number; `told` is called on a later turn of the loop."""

    def __init__(self, told: Told) -> None:
        self._loop = asyncio.get_running_loop()
        self._told = told
        self._held: dict[int, _Held] = {}

    def hold(self, wanted: Hold) -> None:
        """Open a connection; an error is an event, never an exception."""
        self._held[wanted.number] = _Held(self._loop, wanted, self._happened)

    def release(self, number: int) -> None:
        """Close one; it is not heard of any more."""
        one = self._held.pop(number, None)
        if one is not None:
            one.close()

    def close(self) -> None:
        """Close them all."""
        for number in tuple(self._held):
            self.release(number)

    def _happened(self, event: Event) -> None:
        if isinstance(event, Broken):
            self.release(event.number)
        self._told(event)


class _Held:
    """One connection."""

    __slots__ = ("_fd", "_greeting", "_loop", "_number", "_opening", "_sock", "_told")

    def __init__(self, loop: asyncio.AbstractEventLoop, wanted: Hold, told: Told) -> None:
        self._loop = loop
        self._number = wanted.number
        self._told = told
        self._greeting = 0  # bytes read
        self._sock: socket.socket | None = None
        self._fd = -1
        self._opening: asyncio.Handle | None = loop.call_later(_OPENING, self._end, End.FAILED)
        try:
            self._connect(wanted)
        except OSError as error:
            # Not from within `hold`: who asks for it may not be ready for its end.
            self._opened()
            self._opening = loop.call_soon(self._end, _end_of(error, End.FAILED))

    def close(self) -> None:
        self._opened()
        sock, self._sock = self._sock, None
        if sock is not None:
            self._loop.remove_writer(self._fd)
            self._loop.remove_reader(self._fd)
            sock.close()

    def _connect(self, wanted: Hold) -> None:
        endpoint = wanted.endpoint
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        self._sock = socket.socket(_FAMILIES[address.family(endpoint.address)], kind)
        self._fd = self._sock.fileno()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEP_ALIVE:
            self._sock.setsockopt(socket.IPPROTO_TCP, option, value)
        if wanted.source is not None:
            dial.bind(self._sock, wanted.source)
        code = self._sock.connect_ex((endpoint.address, endpoint.port))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, "connect")
        self._loop.add_writer(self._fd, self._connected)

    def _connected(self) -> None:
        assert self._sock is not None
        self._loop.remove_writer(self._fd)
        self._opened()
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            return self._end(_end_of(OSError(code, "connect"), End.FAILED))
        self._loop.add_reader(self._fd, self._readable)
        self._told(Stands(self._number))

    def _readable(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError as error:
            return self._end(_end_of(error, End.RESET))
        self._greeting += len(data)
        if not data:
            self._end(End.CLOSED)
        elif self._greeting > _GREETING:
            self._end(End.CHATTY)

    def _opened(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None

    def _end(self, end: End) -> None:
        self._told(Broken(self._number, end))


def _end_of(error: OSError, otherwise: End) -> End:
    return End.OURS if dial.outcome_of(error).cause is Cause.OURS else otherwise
