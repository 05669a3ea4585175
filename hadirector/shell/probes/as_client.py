"""Probes as clients' packets go (core/as_client): to the virtual address, over a lent socket.

Silence is looked at once more: if the server's host answers at its own address, the virtual one is
what it lacks, and that is said.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from hadirector.core import address
from hadirector.core.address import Address
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Target
from hadirector.shell.marked import Marked
from hadirector.shell.probes import base, dial, tcp
from hadirector.shell.probes.stream import StreamEngine

SECOND_LOOK = 0.2  # seconds
PATIENCE = 5.0  # seconds for a socket to be lent: IPVS is read and written first

_NOT_LENT = "no socket to probe as a client was lent yet"
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

MakeEngine = Callable[[dial.Dial], base.Engine]


class AsClient:
    """Probes of one check type as a client; `make` makes its engine over a way to connect."""

    def __init__(self, make: MakeEngine, marked: Marked, trouble: dial.Trouble) -> None:
        self._engine = make(self._dial)
        self._direct = StreamEngine(tcp.begin)
        self._marked = marked
        self._trouble = trouble
        self._loop = asyncio.get_running_loop()

    def start(self, target: Target, done: base.Done) -> base.Running:
        """Begin; an error is an outcome, never an exception."""
        client = target.check.client
        assert client is not None
        missed = self._marked.missed(target.id, self._loop.time())
        if missed is not None:
            cause = Cause.WAITING if missed < PATIENCE else Cause.OURS
            outcome = Outcome(cause, _NOT_LENT)
            return base.Soon(self._loop.call_soon(done, outcome))
        running = _Running()
        ended = partial(self._ended, target, running, done)
        there = replace(target.check, connect=client.address, port=client.port)
        running.now = self._engine.start(replace(target, check=there), ended)
        return running

    def _ended(
        self, target: Target, running: "_Running", done: base.Done, outcome: Outcome
    ) -> None:
        if outcome.cause is not Cause.SILENT:
            return done(outcome)
        trouble = self._trouble(target.endpoint.address)
        if trouble:
            return done(Outcome(Cause.OURS, trouble))
        quick = replace(target.check, client=None, timeout=SECOND_LOOK)
        told = partial(self._looked, target, outcome, done)
        running.now = self._direct.start(replace(target, check=quick), told)

    def _looked(self, target: Target, outcome: Outcome, done: base.Done, second: Outcome) -> None:
        client = target.check.client
        if client is not None and second.cause in (Cause.GOOD, Cause.REFUSED, Cause.ANSWERED):
            text = f"{outcome.detail} as {client.address}, though its host answers at its own"
            fix = f"is {client.address} on its loopback?"
            outcome = replace(outcome, detail=f"{text} address: {fix}")
        done(outcome)

    def _dial(self, target: Target) -> socket.socket:
        sock = self._marked.use(target.id)
        if sock is None:
            raise dial.SourceError(errno.EAGAIN, _NOT_LENT)
        try:
            source = target.check.source_for(target.at.address)
            dial.bind(sock, source or own_source(target.endpoint.address, target.at.address))
            code = sock.connect_ex((target.at.address, target.at.port))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
        except OSError:
            sock.close()
            raise
        return sock


class _Running:
    """A probe, then perhaps the second look."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now: base.Running | None = None

    def cancel(self) -> None:
        if self.now is not None:
            self.now.cancel()


def own_source(server: Address, virtual: Address) -> Address:
    """The address of this node that reaches a server; SourceError where that is the virtual one:
    its answers would stay there."""
    with socket.socket(_FAMILIES[address.family(server)], socket.SOCK_DGRAM) as sock:
        sock.connect((server, 9))
        found = Address(sock.getsockname()[0])
    if found == virtual:
        text = f"{virtual} itself would be the source: add 'source' with another address"
        raise dial.SourceError(errno.EADDRNOTAVAIL, text)
    return found
