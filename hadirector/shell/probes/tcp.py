"""Check type tcp: a server that accepts a connection is good."""

from hadirector.core.pacing import Outcome
from hadirector.core.settings.checks import Target
from hadirector.shell.probes import base

_GOOD = base.good("connected")


class Connect:
    """Nothing is said: the connection is closed as soon as it stands."""

    __slots__ = ()

    def opened(self) -> base.Reply:
        return _GOOD

    def received(self, data: bytes) -> base.Reply:
        return _GOOD

    def closed(self) -> Outcome:
        return _GOOD

    def missing(self) -> str:
        return ""


_CONNECT = Connect()


def begin(_target: Target) -> base.Conversation:
    """The conversation of one probe."""
    return _CONNECT
