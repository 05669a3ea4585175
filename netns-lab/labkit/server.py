"""A real server: a small HTTP server that tells its name and does as it is told.

`GET /who` answers the name, `GET /healthz` answers OK. A connection stays open unless the request
says `Connection: close`. Each server is a process of its own, so that killing it is a real death.
"""

import mmap
import os
import selectors
import signal
import socket
import struct
import time
from pathlib import Path

from labkit.node import Node

NAT_PORT = 8080
DIRECT_PORT = 8000
SERVING, FAILING, HANGING = range(3)
_STAMP = struct.Struct("=dHH")


class RealServer:
    """The handle on one server; `start` may be called again after `kill`."""

    def __init__(self, node: Node, directory: Path, probers: frozenset[str]) -> None:
        """`probers`: addresses whose connections are checks, recorded for `probes`."""
        self.node = node
        self.name = node.name
        self.ports: tuple[int, ...] = (NAT_PORT, DIRECT_PORT)
        self._mood = mmap.mmap(-1, mmap.PAGESIZE)
        self._log = directory / f"{self.name}.probes"
        self._log.touch()
        self._probers = probers
        self._pid = 0

    def start(self) -> None:
        """Begins to listen."""
        self._mood[0] = SERVING
        self._pid = self.node.fork(self._serve)

    def kill(self) -> None:
        """kill -9: the kernel closes the port and every connection."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def behave(self, mood: int) -> None:
        """SERVING; FAILING: /healthz answers 503; HANGING: nothing is answered at all."""
        self._mood[0] = mood

    def probes(self) -> list[tuple[float, int, int]]:
        """When checks connected (monotonic seconds), to which port, and from which host number."""
        data = self._log.read_bytes()
        return list(_STAMP.iter_unpack(data[: len(data) // _STAMP.size * _STAMP.size]))

    def _serve(self) -> None:
        loop = _Server(self.name.encode(), self._mood, self._log, self._probers)
        for port in self.ports:
            loop.listen(port)
        loop.run()


class _Server:
    """One thread, one selector."""

    def __init__(self, name: bytes, mood: mmap.mmap, log: Path, probers: frozenset[str]) -> None:
        self._name = name
        self._mood = mood
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND)
        self._probers = probers
        self._selector = selectors.EpollSelector()
        self._listeners: set[int] = set()

    def listen(self, port: int) -> None:
        for family in (socket.AF_INET, socket.AF_INET6):
            listener = socket.socket(family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(("", port))
            listener.listen(1024)
            listener.setblocking(False)
            self._listeners.add(listener.fileno())
            self._selector.register(listener, selectors.EVENT_READ)

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if key.fd in self._listeners:
                    self._accept(connection)
                else:
                    self._read(connection)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, peer = listener.accept()
        except OSError:
            return
        if peer[0] in self._probers:
            host = int(peer[0].rpartition(".")[2])
            os.write(self._log, _STAMP.pack(time.monotonic(), connection.getsockname()[1], host))
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        try:
            request = connection.recv(4096)
            answer = self._answer(request)
            if answer:
                connection.send(answer)
        except OSError:
            request = b""
        if not request or not _stays_open(request):
            self._selector.unregister(connection)
            connection.close()

    def _answer(self, request: bytes) -> bytes:
        mood = self._mood[0]
        if not request or mood == HANGING:
            return b""
        if request.startswith(b"GET /healthz"):
            status, body = (b"200 OK", b"OK") if mood == SERVING else (b"503 Failing", b"no")
        else:
            status, body = b"200 OK", self._name
        return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def _stays_open(request: bytes) -> bool:
    return b" HTTP/1.1\r\n" in request and b"connection: close" not in request.lower()
