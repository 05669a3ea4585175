"""Check type ping: an ICMP echo request and its reply, without a capability.

Linux lets a process of a group in net.ipv4.ping_group_range open a datagram socket for echoes only
(icmp(7)): the kernel fills in the identifier and gives back replies to it and nothing else, so one
socket of each family serves all probes. The director widens the range where a check asks for it
(core/sysctls). A raw socket, handed over open, could send anything from any address: never here.

    echo request (RFC 792, RFC 4443):  type, code, checksum, identifier, sequence, data
                                       8 or 128, 0, by the kernel, by the kernel, ours, ours
"""

import asyncio
import errno
import itertools
import secrets
import socket
import struct

from hadirector.core import address
from hadirector.core.address import Address
from hadirector.core.duration import spell
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Target
from hadirector.shell.probes import base, dial

DATA = b"hadirector"  # 10 bytes, then a secret of 8: a reply that was not asked for is none
READS = 256  # replies a turn

_HEADER = struct.Struct("!BBHHH")
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_SOCKETS = {
    4: (socket.AF_INET, socket.IPPROTO_ICMP),
    6: (socket.AF_INET6, socket.IPPROTO_ICMPV6),
}
_FORBIDDEN = "net.ipv4.ping_group_range does not let this process ping"


class PingEngine:
    """All echoes under way, by family and sequence number."""

    def __init__(self, trouble: dial.Trouble = dial.no_trouble) -> None:
        self._loop = asyncio.get_running_loop()
        self._trouble = trouble
        self._secret = secrets.token_bytes(8)
        self._sockets: dict[int, socket.socket] = {}
        self._numbers = itertools.cycle(range(1 << 16))
        self._waiting: dict[tuple[int, int], _Echo] = {}

    def start(self, target: Target, done: base.Done) -> base.Running:
        """Begin; an error is an outcome, never an exception."""
        server = target.at.address
        family = address.family(server)
        try:
            key = (family, self._free(family))
            sock = self._socket(family)
            request = _HEADER.pack(_REQUEST[family], 0, 0, 0, key[1]) + DATA + self._secret
            sock.sendto(request, (server, 0))
        except OSError as error:
            outcome = _outcome_of(error)
            return base.Soon(self._loop.call_soon(done, outcome))
        echo = _Echo(self, key, server, target.check.timeout, done)
        self._waiting[key] = echo
        return echo

    def close(self) -> None:
        """Give the sockets back; nobody waits any more."""
        for echo in tuple(self._waiting.values()):
            echo.cancel()
        for sock in self._sockets.values():
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()

    def forget(self, key: tuple[int, int]) -> None:
        """This one has ended."""
        self._waiting.pop(key, None)

    def trouble(self, server: Address) -> str:
        """Why our own link may be the reason for silence."""
        return self._trouble(server)

    def _free(self, family: int) -> int:
        for _ in range(1 << 16):
            number = next(self._numbers)
            if (family, number) not in self._waiting:
                return number
        raise OSError(errno.ENOBUFS, "65,536 pings are under way")

    def _socket(self, family: int) -> socket.socket:
        sock = self._sockets.get(family)
        if sock is None:
            kind, protocol = _SOCKETS[family]
            sock = socket.socket(kind, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, protocol)
            self._sockets[family] = sock
            self._loop.add_reader(sock.fileno(), self._readable, sock, family)
        return sock

    def _readable(self, sock: socket.socket, family: int) -> None:
        for _ in range(READS):
            try:
                data, sender = sock.recvfrom(256)
            except OSError:
                return
            echo = self._answered(data, sender[0], family)
            if echo is not None:
                echo.end(base.good("echo reply"))

    def _answered(self, data: bytes, sender: str, family: int) -> "_Echo | None":
        if len(data) < _HEADER.size or data[_HEADER.size :] != DATA + self._secret:
            return None
        kind, _, _, _, number = _HEADER.unpack_from(data)
        echo = self._waiting.get((family, number))
        right = echo is not None and kind == _REPLY[family] and echo.server == sender
        return echo if right else None


class _Echo:
    """One that is waited for."""

    __slots__ = ("_done", "_engine", "_key", "_timeout", "_timer", "server")

    def __init__(
        self,
        engine: PingEngine,
        key: tuple[int, int],
        server: Address,
        timeout: float,
        done: base.Done,
    ) -> None:
        self.server = server
        self._engine = engine
        self._key = key
        self._timeout = timeout
        self._done: base.Done | None = done
        self._timer = asyncio.get_running_loop().call_later(timeout, self._expired)

    def cancel(self) -> None:
        self._done = None
        self._timer.cancel()
        self._engine.forget(self._key)

    def end(self, outcome: Outcome) -> None:
        done = self._done
        self.cancel()
        if done is not None:
            done(outcome)

    def _expired(self) -> None:
        trouble = self._engine.trouble(self.server)
        text = f"no echo reply within {spell(self._timeout)}"
        self.end(Outcome(Cause.OURS, trouble) if trouble else Outcome(Cause.SILENT, text))


def _outcome_of(error: OSError) -> Outcome:
    if error.errno == errno.EACCES:
        return Outcome(Cause.OURS, _FORBIDDEN)
    return dial.outcome_of_start(error)
