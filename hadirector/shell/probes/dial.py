"""The socket of a probe: to the server, from the source that the check names.

Also what the errors of such a socket say: about the server, or about us.
"""

import errno
import os
import socket
from collections.abc import Callable

from hadirector.core import address
from hadirector.core.address import Address
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Target
from hadirector.shell.probes import base
from hadirector.shell.probes.own_link import NO_WAY

Trouble = Callable[[Address], str]
"""Why nothing gets to a server from here; empty: nothing known."""

Dial = Callable[[Target], socket.socket]
"""Makes a TCP socket on its way to where a target is probed; OSError."""

RECEIVE = 64 << 10  # bytes the kernel takes for us: it would grow to 6 MiB for who floods

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_BIND_ADDRESS_NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT: connect chooses the port, by destination
_RECVERR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}  # IP(V6)_RECVERR

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


class SourceError(OSError):
    """The source address is not this node's."""


def no_trouble(_: Address) -> str:
    """Nothing is known of our own link."""
    return ""


def connecting(target: Target, kind: socket.SocketKind) -> socket.socket:
    """A socket on its way to where the target is probed; OSError."""
    endpoint = target.at
    family = address.family(endpoint.address)
    sock = socket.socket(_FAMILIES[family], kind | socket.SOCK_NONBLOCK)
    try:
        source = target.check.source_for(endpoint.address)
        if source is not None:
            bind(sock, source)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE)
        if kind == socket.SOCK_DGRAM:
            # Without it a connected socket is told of an unreachable port, but not of a host.
            sock.setsockopt(*_RECVERR[family], 1)
        code = sock.connect_ex((endpoint.address, endpoint.port))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
    except OSError:
        sock.close()
        raise
    return sock


def to_server(target: Target) -> socket.socket:
    """The same by TCP."""
    return connecting(target, socket.SOCK_STREAM)


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
    if isinstance(error, SourceError):
        return Outcome(Cause.OURS, str(error.args[1]))
    if error.errno in NO_WAY:
        return Outcome(Cause.OURS, os.strerror(error.errno))
    return outcome_of(error)


def bind(sock: socket.socket, source: Address) -> None:
    """Connect from this address; SourceError where it is not ours."""
    sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    try:
        sock.bind((source, 0))
    except OSError as error:
        text = f"source {source} cannot be used here: {error.strerror}"
        raise SourceError(error.errno, text) from error
