"""Check type udp: a datagram, and what comes back.

Where no reply is expected there is only one sign of death: ICMP says that the port, or the host, is
unreachable. Silence counts as up then, as it does for keepalived's UDP_CHECK.
"""

from collections.abc import Callable

from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Target
from hadirector.core.settings.questions import Udp
from hadirector.shell.probes import base
from hadirector.shell.probes.reply import Reply
from hadirector.shell.probes.search import Search


def starter(search: Search) -> Callable[[Target], base.Exchange]:
    """Makes the exchange of each probe; they share the search."""

    def begin(target: Target) -> base.Exchange:
        assert target.check.udp is not None, "such a check has it from the configuration"
        return Datagram(target.check.udp, search)

    return begin


class Datagram:
    """One datagram and its reply."""

    __slots__ = ("_search", "_udp")

    def __init__(self, udp: Udp, search: Search) -> None:
        self._udp = udp
        self._search = search

    def question(self) -> bytes:
        return self._udp.send

    def received(self, data: bytes) -> Outcome | None:
        pattern = self._udp.expect
        if pattern is None:
            return base.good(f"replied with {len(data)} bytes")
        end = Reply(self._search).end(pattern, data)
        if isinstance(end, Outcome):
            return end
        if end is not None:
            return base.good("reply matches")
        return base.answered(f"reply does not match /{pattern}/: it starts {base.excerpt(data)}")

    def silent(self, within: str) -> Outcome:
        if self._udp.expect is None:
            return base.good(f"no reply within {within}, and no ICMP error: counts as up")
        return Outcome(Cause.SILENT, f"no reply within {within}")
