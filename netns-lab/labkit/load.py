"""The client: an open-loop load that loses nothing from its books, and connections held open."""

import json
import os
import selectors
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from labkit.node import Node

_REQUEST = b"GET /who HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n"
_FIRST_PORT, _PORTS = 10_000, 50_000
_PORTS_TRIED = 10
_BURST = 50  # requests
_PATIENCE = 3.0  # seconds for the last answers
_HELD_REQUEST = b"GET /who HTTP/1.1\r\nHost: lab\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """One request: monotonic seconds; either `server` or `error` is set."""

    start: float
    end: float
    server: str
    error: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where a load goes: one new connection each `every` seconds, given up after `timeout`."""

    address: str
    port: int
    every: float = 0.008
    timeout: float = 1.0
    count: int = 0  # stop by itself after so many; 0: go on until stopped


class Load:
    """A stream of requests from a node, whatever happens to the earlier ones.

    A context manager; the requests are complete once the block has ended.
    """

    def __init__(self, node: Node, target: Target, directory: Path, name: str = "load") -> None:
        self.target = target
        self._node = node
        self._path = directory / f"{name}-{time.monotonic_ns()}"
        self._pid = 0
        self._read_to = 0
        self.requests: list[Request] = []

    def __enter__(self) -> "Load":
        self._path.touch()
        self._pid = self._node.fork(lambda: _Generator(self.target, self._path).run())
        return self

    def __exit__(self, *_: object) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGTERM)
            self._join()

    def wait(self) -> None:
        """Until a load with a count has sent and settled all its requests."""
        self._join()

    def poll(self) -> list[Request]:
        """The requests that ended since the last poll."""
        with self._path.open("rb") as file:
            file.seek(self._read_to)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._read_to += whole
        new = []
        for line in data[:whole].decode().splitlines():
            start, end, server, error = line.split("\t")
            new.append(Request(float(start), float(end), server, error))
        self.requests += new
        return new

    def _join(self) -> None:
        os.waitpid(self._pid, 0)
        self._pid = 0
        self.poll()
        self.requests.sort(key=lambda request: request.start)

    # What the drills ask.

    def failed(self, since: float = 0.0, until: float = float("inf")) -> int:
        """Requests begun in the interval that got no answer."""
        return sum(1 for r in self.requests if r.error and since <= r.start <= until)

    def outage(self, since: float = 0.0, until: float = float("inf")) -> float:
        """Seconds between the two answers farthest apart, less the time between requests."""
        ends = sorted(r.end for r in self.requests if not r.error and since <= r.end <= until)
        gaps = [b - a for a, b in pairwise(ends)]
        return max(0.0, max(gaps, default=float("inf")) - self.target.every)

    def late(self, since: float = 0.0, until: float = float("inf")) -> float:
        """Seconds the client itself was late at worst: what it waited for a CPU is no outage.

        Everything in the lab kernel shares one CPU; a process that starts takes some of it.
        """
        starts = [r.start for r in self.requests if since <= r.start <= until]
        return max((b - a for a, b in pairwise(sorted(starts))), default=0.0) - self.target.every

    def served(self) -> Counter[str]:
        """Answers by server."""
        return Counter(r.server for r in self.requests if not r.error)

    def errors(self) -> Counter[str]:
        """Failures by kind."""
        return Counter(r.error for r in self.requests if r.error)


class _Stop(Exception):
    pass


class _Generator:
    """The child's loop: timers first, then sockets."""

    def __init__(self, target: Target, path: Path) -> None:
        self._target = target
        self._out = path.open("w", buffering=1 << 16)
        self._selector = selectors.EpollSelector()
        self._open: dict[socket.socket, float] = {}  # in order of start: the oldest is first
        self._bodies: dict[socket.socket, bytes] = {}
        # From where no earlier load was: none begins a thousand requests a second.
        self._port = int(time.monotonic() * 1000)

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._stop)
        sent, next_at, flushed_at = 0, time.monotonic(), 0.0
        try:
            while not self._target.count or sent < self._target.count or self._open:
                now = time.monotonic()
                if now >= next_at and (not self._target.count or sent < self._target.count):
                    self._begin(now)
                    sent += 1
                    next_at += self._target.every
                    if now - next_at > 1.0:  # frozen with the host: do not fire a salvo
                        next_at = now + self._target.every
                self._expire(now)
                if now - flushed_at > 0.05:
                    self._out.flush()
                    flushed_at = now
                wait = max(0.0, next_at - time.monotonic()) if sent != self._target.count else 0.05
                for key, events in self._selector.select(wait):
                    assert isinstance(key.fileobj, socket.socket)
                    self._go_on(key.fileobj, events)
        except _Stop:
            self._drain()
        self._out.close()

    def _stop(self, *_: object) -> None:
        raise _Stop

    def _drain(self) -> None:
        """No new requests; the open ones get their full time."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while self._open:
            self._expire(time.monotonic())
            for key, events in self._selector.select(0.01):
                assert isinstance(key.fileobj, socket.socket)
                self._go_on(key.fileobj, events)

    def _begin(self, now: float) -> None:
        connection = socket.socket(_family(self._target.address))
        connection.setblocking(False)
        self._open[connection] = now
        self._bodies[connection] = b""
        # A port the director still remembers would be sent to the server it had before, and not
        # counted as a new connection: left to chance the kernel picks some twice in a thousand.
        # One after the other, for a client that was late begins several within a millisecond.
        for _ in range(_PORTS_TRIED):
            self._port += 1
            with suppress(OSError):
                connection.bind(("", _FIRST_PORT + self._port % _PORTS))
                break
        try:
            connection.connect_ex((self._target.address, self._target.port))
            self._selector.register(connection, selectors.EVENT_WRITE)
        except OSError as error:
            self._end(connection, "", type(error).__name__)

    def _go_on(self, connection: socket.socket, events: int) -> None:
        if connection not in self._open:
            return
        try:
            if events & selectors.EVENT_WRITE:
                error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    self._end(connection, "", os.strerror(error))
                    return
                connection.send(_REQUEST)
                self._selector.modify(connection, selectors.EVENT_READ)
                return
            data = connection.recv(4096)
        except OSError as error:
            self._end(connection, "", type(error).__name__)
            return
        self._bodies[connection] += data
        if not data:
            self._finish(connection)

    def _finish(self, connection: socket.socket) -> None:
        head, _, body = self._bodies[connection].partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 200"):
            self._end(connection, body.decode(), "")
        else:
            self._end(connection, "", "no answer" if not head else "bad answer")

    def _expire(self, now: float) -> None:
        while self._open:
            connection, start = next(iter(self._open.items()))
            if now - start < self._target.timeout:
                return
            self._end(connection, "", "timeout")

    def _end(self, connection: socket.socket, server: str, error: str) -> None:
        start = self._open.pop(connection)
        del self._bodies[connection]
        if connection.fileno() in self._selector.get_map():
            self._selector.unregister(connection)
        connection.close()
        self._out.write(f"{start:.6f}\t{time.monotonic():.6f}\t{server}\t{error}\n")


class Held:
    """Connections held open from a node: `fresh` never sent anything, `idle` made one request,
    `active` make one each `period` seconds. `survivors` asks each of them for one more answer."""

    def __init__(
        self,
        node: Node,
        target: Target,
        kinds: dict[str, int],
        period: float = 0.5,
    ) -> None:
        self._target = target
        self._kinds = kinds
        self._period = period
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        self._pid = node.fork(lambda: self._live(orders, answers))
        os.close(orders)
        os.close(answers)
        self.opened: dict[str, Counter[str]] = self._ask(b"")
        self.total = sum(sum(found.values()) for found in self.opened.values())

    def survivors(self) -> dict[str, int]:
        """By kind, how many still answer. Ends the connections."""
        return {kind: sum(found.values()) for kind, found in self.survivors_by_server().items()}

    def survivors_by_server(self) -> dict[str, Counter[str]]:
        """By kind and server, how many still answer. Ends the connections."""
        found = self._ask(b"?")
        self.close()
        return found

    def close(self) -> None:
        if self._pid:
            os.close(self._orders)
            os.close(self._answers)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, order: bytes) -> dict[str, Counter[str]]:
        if order:
            os.write(self._orders, order)
        data = b""
        while not data.endswith(b"\n"):
            piece = os.read(self._answers, 65536)
            if not piece:
                raise RuntimeError("the client with the held connections is gone")
            data += piece
        return {kind: Counter(found) for kind, found in json.loads(data).items()}

    def _live(self, orders: int, answers: int) -> None:
        """The child's life: open, keep the active ones busy, and on an order ask them all."""
        os.close(self._orders)
        os.close(self._answers)
        held = {k: [self._connect(k) for _ in range(n)] for k, n in self._kinds.items()}
        os.write(answers, _counts(held, lambda c: c[1]))
        active = [c[0] for c in held.get("active", []) if c]
        poller = selectors.DefaultSelector()
        poller.register(orders, selectors.EVENT_READ)
        turn = 0
        while not poller.select(self._period / len(active) if active else None):
            _exchange_soon(active[turn % len(active)])
            turn += 1
        if os.read(orders, 1):
            os.write(answers, self._last_words(held))

    def _connect(self, kind: str) -> tuple[socket.socket, str] | None:
        connection = socket.socket(_family(self._target.address))
        connection.settimeout(2)
        try:
            connection.connect((self._target.address, self._target.port))
            return connection, "" if kind == "fresh" else _exchange(connection)
        except OSError:
            return None

    def _last_words(self, held: dict[str, list[tuple[socket.socket, str] | None]]) -> bytes:
        """All requests are sent first, so that the dead ones wait for their time-out together. Not
        in one burst: one of 1,500 is more than the kernel queues between two nodes (1,000)."""
        everyone = [one for connections in held.values() for one in connections if one]
        for number, (connection, _) in enumerate(everyone, 1):
            _exchange_soon(connection)
            if number % _BURST == 0:
                time.sleep(0.01)
        deadline = time.monotonic() + _PATIENCE
        return _counts(held, lambda c: _answer_by(c[0], deadline))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


_Connection = tuple[socket.socket, str]


def _counts(
    held: dict[str, list[_Connection | None]], server_of: Callable[[_Connection], str | None]
) -> bytes:
    counts: dict[str, Counter[str]] = {}
    for kind, connections in held.items():
        servers = [server_of(c) if c else None for c in connections]
        counts[kind] = Counter(s for s in servers if s is not None)
    return json.dumps(counts).encode() + b"\n"


def _exchange(connection: socket.socket) -> str:
    connection.sendall(_HELD_REQUEST)
    data = connection.recv(4096)
    if not data:
        raise ConnectionResetError
    return data.partition(b"\r\n\r\n")[2].decode()


def _exchange_soon(connection: socket.socket) -> None:
    """Sends a request and takes in whatever answers have come meanwhile."""
    connection.setblocking(False)
    with suppress(OSError):
        while connection.recv(4096):
            pass
    with suppress(OSError):
        connection.send(_HELD_REQUEST)


def _answer_by(connection: socket.socket, deadline: float) -> str | None:
    connection.settimeout(max(0.01, deadline - time.monotonic()))
    try:
        data = connection.recv(4096)
    except OSError:
        return None
    return data.rpartition(b"\r\n\r\n")[2].decode() if data else None
