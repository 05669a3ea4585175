"""How long a service waits for first verdicts before it goes on without them.

A director that has just started knows nothing bad of anybody, so the fallback and the news wait
until every server was judged. But a verdict may never come: no route to the server, an external
check that nobody reports to, a missing file. What a few probes would have told by now is not
waited for any longer: a server without a weight that nobody judged serves nobody, whatever the
reason.

Readiness is stricter: a service below its quorum here is no better for having waited, so the node
does not take over from a healthy master (core/weight, `needed`).
"""

from collections.abc import Collection, Mapping, Set

from hadirector.core.address import Endpoint
from hadirector.core.settings.checks import Check
from hadirector.core.settings.services import VirtualService

PROBES = 3  # that could have been made
STARTING = 5.0  # seconds: the checking processes start, and spread their first probes


class Patience:
    """Of all services of a node: since when each server waits for its first verdict."""

    def __init__(self) -> None:
        self._since: dict[str, dict[Endpoint, float]] = {}

    def copy(self) -> "Patience":
        """Another one, to try something with."""
        twin = Patience()
        twin._since = dict(self._since)
        return twin

    def keep(self, services: Collection[str]) -> None:
        """The others are no longer configured."""
        self._since = {name: since for name, since in self._since.items() if name in services}

    def note(self, service: str, unjudged: Collection[Endpoint], now: float) -> None:
        """These of a service have no verdict."""
        known = self._since.pop(service, {})
        if unjudged:
            self._since[service] = {server: known.get(server, now) for server in unjudged}

    def over(
        self, service: VirtualService, checks: Mapping[str, Check], now: float
    ) -> Set[Endpoint]:
        """The servers that had their time."""
        since = self._since.get(service.name)
        if not since:
            return frozenset()
        wait = _wait(service, checks)
        return {server for server, at in since.items() if now >= at + wait}

    def next_at(
        self, service: VirtualService, checks: Mapping[str, Check], now: float
    ) -> float | None:
        """When it ends for one more of a service's servers."""
        since = self._since.get(service.name)
        if not since:
            return None
        wait = _wait(service, checks)
        return min((at + wait for at in since.values() if at + wait > now), default=None)


def _wait(service: VirtualService, checks: Mapping[str, Check]) -> float:
    """Seconds; the slowest of the checks that make the verdict counts."""
    known = (checks[name] for name in service.check.checks if name in checks)
    probing = (max(PROBES * (c.interval + c.timeout), c.max_age) for c in known)
    return max(probing, default=0.0) + STARTING
