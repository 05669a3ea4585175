"""What holds a server's weight back for a while: slow start after it came back, and feedback.

Slow start is for a server that was out (its checks failed, or an operator had it out) and comes
back while the director looks on: connections would all go to the one that has none. It is not for
a first verdict: a director that starts, or takes over, finds servers that served all along. Only
one whose weight in the kernel is less than the others', as they are configured, was in the middle
of a slow start when its director ended, and goes on with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hadirector.core import feedback
from hadirector.core.address import Endpoint
from hadirector.core.admin import FREE, Admin
from hadirector.core.messages import Health, Verdict
from hadirector.core.server_health import is_in, is_out
from hadirector.core.settings.checks import target_id
from hadirector.core.settings.services import VirtualService
from hadirector.core.weight import STEPS, Facts, ServerWeight, ServiceWeights


@dataclass(slots=True)
class _Service:
    """By server: since when it starts slowly, and what feedback makes of its reports."""

    ramps: dict[Endpoint, float]
    dampers: dict[Endpoint, feedback.Damper]


class Easing:
    """Of all services of a node."""

    def __init__(self) -> None:
        self._services: dict[str, _Service] = {}

    def copy(self) -> "Easing":
        """Another one, to try something with."""
        twin = Easing()
        twin._services = {
            name: _Service(dict(known.ramps), dict(known.dampers))
            for name, known in self._services.items()
        }
        return twin

    def keep(self, settings: Mapping[str, VirtualService]) -> None:
        """Forget what is no longer configured."""
        for name, known in list(self._services.items()):
            service = settings.get(name)
            servers = {s.endpoint for s in service.real_servers} if service else set()
            if service is None:
                del self._services[name]
                continue
            slow = servers if service.slow_start else set()
            fed = servers if service.feedback else set()
            known.ramps = {e: at for e, at in known.ramps.items() if e in slow}
            known.dampers = {e: d for e, d in known.dampers.items() if e in fed}

    def reported(
        self, service: VirtualService, verdicts: Mapping[str, Verdict], now: float
    ) -> None:
        """Take the newest report of each server's agent; the lowest where it has several."""
        settings = service.feedback
        if settings is None:
            return
        dampers = self._of(service.name).dampers
        for server in service.real_servers:
            known = dampers.get(server.endpoint)
            found = [
                (verdict.last.share, verdict.last.at)
                for check in settings.checks
                if (verdict := verdicts.get(target_id(check, server.endpoint))) is not None
                and verdict.last is not None
                and verdict.last.share is not None
                and now - verdict.last.at <= feedback.SILENT
            ]
            if not found:
                continue
            share, at = min(found)
            if known is None:
                dampers[server.endpoint] = feedback.begin(share, at, settings, now)
            else:
                dampers[server.endpoint] = feedback.report(known, share, at, settings, now)

    def decided(
        self,
        service: VirtualService,
        before: ServiceWeights | None,
        after: ServiceWeights,
        begun: Mapping[Endpoint, float],
        now: float,
    ) -> bool:
        """Servers that came back start slowly, those that went do no more; who has its first
        verdict goes on from the share that was `begun`. Whether the decision is to be made again.
        """
        if not service.slow_start or before is None:
            return False
        ramps = self._of(service.name).ramps
        was = {server.server.endpoint: server for server in before.servers}
        changed = False
        for server in after.servers:
            endpoint = server.server.endpoint
            if not _in(server):
                changed |= ramps.pop(endpoint, None) is not None
            elif endpoint in was and _out(was[endpoint]) and endpoint not in ramps:
                ramps[endpoint] = now
                changed = True
            elif endpoint in begun and endpoint in was and _unjudged(was[endpoint]):
                ramps[endpoint] = now - begun[endpoint] * service.slow_start
                changed = True
        return changed

    def ramps(self, service: VirtualService, now: float) -> dict[Endpoint, float]:
        """The share that each server in slow start has so far; who has all of it is done."""
        known = self._services.get(service.name)
        if known is None or not known.ramps:
            return {}
        shares = {e: _ramp(now - at, service.slow_start) for e, at in known.ramps.items()}
        known.ramps = {e: at for e, at in known.ramps.items() if shares[e] < 1}
        return {endpoint: share for endpoint, share in shares.items() if share < 1}

    def shares(self, service: VirtualService, now: float) -> dict[Endpoint, float]:
        """What feedback leaves each server that ever reported; the others have all."""
        if service.feedback is None:
            return {}
        dampers = self._of(service.name).dampers
        for endpoint, damper in dampers.items():
            dampers[endpoint] = feedback.step(damper, service.feedback, now)
        return {endpoint: damper.applied for endpoint, damper in dampers.items()}

    def next_at(self, service: VirtualService, now: float) -> float | None:
        """When its weights change by time alone, at the earliest."""
        known = self._services.get(service.name)
        if known is None:
            return None
        due = []
        if known.ramps:
            due.append(now + max(0.1, service.slow_start / STEPS))
        if known.dampers:
            due.append(now + feedback.TICK)
        return min(due, default=None)

    def _of(self, name: str) -> _Service:
        return self._services.setdefault(name, _Service({}, {}))


def begun(
    service: VirtualService, adopted: Mapping[Endpoint, int], facts: Facts
) -> dict[Endpoint, float]:
    """The share of their weights that servers had in the kernel, of those that had less than
    others; what feedback holds back is no slow start, and unknown before an agent's first word."""
    if not service.slow_start:
        return {}
    found: dict[Endpoint, float] = {}
    for server in service.real_servers:
        endpoint, ruling = server.endpoint, facts.rulings.get(server.endpoint, FREE)
        share = facts.shares.get(endpoint) if service.feedback is not None else 1.0
        base = server.weight if ruling.weight is None else ruling.weight
        weight = adopted.get(endpoint)
        if weight and base and share is not None:
            found[endpoint] = weight / (base * share)
    most = max(found.values(), default=1.0)
    return {e: part / most for e, part in found.items() if part <= (1 - 1 / STEPS) * most}


def _ramp(passed: float, whole: float) -> float:
    """In steps, from the smallest to all of it after `whole` seconds."""
    return min(1.0, max(1, int(STEPS * passed / whole + 1e-6)) / STEPS)


def _unjudged(server: ServerWeight) -> bool:
    return server.admin is Admin.ENABLED and server.health.health is Health.UNKNOWN


def _in(server: ServerWeight) -> bool:
    return server.admin is Admin.ENABLED and is_in(server.health.health)


def _out(server: ServerWeight) -> bool:
    """It was out, and that was known: a server without a verdict was not."""
    if server.kept:  # it had its weight all the time
        return False
    return server.admin is not Admin.ENABLED or is_out(server.health.health)
