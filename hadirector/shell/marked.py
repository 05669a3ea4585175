"""Sockets with a firewall mark, made where that is allowed, and used again and again elsewhere.

A TCP socket that is connected to "no family" is as new (connect(2), AF_UNSPEC), its mark included:
so one that was handed over open serves every probe of its target, one after the other.
"""

import ctypes
import logging
import os
import socket
from collections.abc import Collection
from contextlib import suppress

from hadirector.core.checker_messages import Lend

log = logging.getLogger(__name__)

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_HOPS = {
    4: (socket.IPPROTO_IP, socket.IP_TTL),
    6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
}
_NO_FAMILY = bytes(16)  # struct sockaddr with AF_UNSPEC

_libc = ctypes.CDLL(None, use_errno=True)


def make(lend: Lend) -> tuple[int, ...]:
    """The sockets of this message, in its order; none where this process may not mark any."""
    made: list[int] = []
    try:
        for mark, family, hops in zip(lend.marks, lend.families, lend.hops, strict=True):
            kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
            with socket.socket(_FAMILIES[family], kind) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
                if hops:
                    sock.setsockopt(*_HOPS[family], hops)
                made.append(sock.detach())
    except OSError as error:
        log.warning("no socket to probe as a client: %s", error.strerror)
        for descriptor in made:
            os.close(descriptor)
        return ()
    return tuple(made)


class Lent(socket.socket):
    """A use of a lent socket: closing it gives it back as new."""

    def close(self) -> None:
        """Disconnect, and let go of this descriptor of it."""
        if self.fileno() >= 0:
            with suppress(OSError):
                self.shutdown(socket.SHUT_RDWR)
            _libc.connect(self.fileno(), _NO_FAMILY, len(_NO_FAMILY))
        super().close()


class Marked:
    """The sockets this process was lent, by target."""

    def __init__(self) -> None:
        self._lent: dict[str, int] = {}
        self._missed: dict[str, float] = {}

    def take(self, lend: Lend, descriptors: tuple[int, ...]) -> list[str]:
        """They came; a former one of the same target goes. The targets that missed theirs."""
        if len(descriptors) != len(lend.targets):
            for descriptor in descriptors:
                os.close(descriptor)
            return []
        for target, descriptor in zip(lend.targets, descriptors, strict=True):
            self._drop(target)
            self._lent[target] = descriptor
        return [name for name in lend.targets if self._missed.pop(name, None) is not None]

    def keep(self, targets: Collection[str]) -> None:
        """The others are no longer probed."""
        for target in self._lent.keys() - set(targets):
            self._drop(target)
        self._missed = {name: at for name, at in self._missed.items() if name in targets}

    def missed(self, target: str, now: float) -> float | None:
        """For how long it would have been of use; None: it is there."""
        if target in self._lent:
            return None
        return now - self._missed.setdefault(target, now)

    def use(self, target: str) -> Lent | None:
        """The socket of this target; None: it was not lent yet."""
        descriptor = self._lent.get(target)
        return None if descriptor is None else Lent(fileno=os.dup(descriptor))

    def copy(self, target: str) -> int | None:
        """Another descriptor of it, for somebody else."""
        descriptor = self._lent.get(target)
        return None if descriptor is None else os.dup(descriptor)

    def close(self) -> None:
        """Give them all up."""
        self.keep(())

    def _drop(self, target: str) -> None:
        descriptor = self._lent.pop(target, None)
        if descriptor is not None:
            os.close(descriptor)
