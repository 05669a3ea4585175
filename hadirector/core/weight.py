"""Effective weights: what each server of a service gets, and why, in one sentence each.

One pure function from what is known (verdicts, the weights found in the kernel at adoption) to
what IPVS is to hold. The rules, in the order they are asked:

1. A server without a verdict keeps the weight it was adopted with; a new one waits at 0.
2. A server that is up has its configured weight.
3. A server that is down is quiesced (weight 0, its connections stay) or removed (its connections
   expire at their next packet), as `on_failure` says; `auto` removes where staying would hurt:
   UDP and persistent services (clients would stick to it) and servers that fell silent.
4. The fallback has weight only while no server has one, and only after every server has had a
   verdict: a director that has just started knows nothing bad of anybody. One that serves already
   (it is in the kernel) goes on until then: nobody else would take its connections.

Quorum changes no weight: below it the servers left go on serving, but the service counts as down
for tracking, status and hooks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from hadirector.core.address import Endpoint
from hadirector.core.ipvs import Protocol, ServiceFlags
from hadirector.core.messages import Health, Verdict
from hadirector.core.settings.checks import CheckRule, Combine, target_id
from hadirector.core.settings.services import OnFailure, RealServer, VirtualService

IN_SERVICE = frozenset({Health.UP, Health.FALLING})
OUT_OF_SERVICE = frozenset({Health.DOWN, Health.RISING})


class ServiceState(Enum):
    """up: all servers up; degraded: some out, quorum met; fallback: it serves; down: otherwise."""

    UP = "up"
    DEGRADED = "degraded"
    FALLBACK = "fallback"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """The verdicts of all checks of a server, made one. `detail` tells the check that decided."""

    health: Health
    answered: bool
    detail: str
    decided_by: Verdict | None


@dataclass(frozen=True, slots=True)
class ServerWeight:
    """What a server gets: `effective` None means it is to be absent from IPVS."""

    server: RealServer
    health: ServerHealth
    effective: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class ServiceWeights:
    """The decision for one virtual service; `fallback` is its weight, None where it is unused.
    `unsettled` are the servers without a verdict."""

    state: ServiceState
    quorum_met: bool
    up: int
    reason: str
    servers: tuple[ServerWeight, ...]
    fallback: int | None
    unsettled: tuple[Endpoint, ...] = ()


def combine(rule: CheckRule, endpoint: Endpoint, verdicts: Mapping[str, Verdict]) -> ServerHealth:
    """One health for a server from its checks: enough up is up, enough down is down."""
    if not rule.checks:
        return ServerHealth(Health.UP, True, "not checked", None)
    known = [verdicts.get(target_id(name, endpoint)) for name in rule.checks]
    needed = _needed(rule)
    good = [v for v in known if v is not None and v.health in IN_SERVICE]
    bad = [v for v in known if v is not None and v.health in OUT_OF_SERVICE]
    if len(good) >= needed:
        return _health(good, Health.UP)
    if len(bad) > len(rule.checks) - needed:
        return _health(bad, Health.DOWN)
    return ServerHealth(Health.UNKNOWN, False, "no verdict yet", None)


def decide(
    service: VirtualService,
    verdicts: Mapping[str, Verdict],
    adopted: Mapping[Endpoint, int],
) -> ServiceWeights:
    """The weights of a service; `adopted` are weights found in the kernel, by endpoint."""
    servers = tuple(
        _server(service, server, combine(service.check, server.endpoint, verdicts), adopted)
        for server in service.real_servers
    )
    up = sum(1 for s in servers if s.health.health in IN_SERVICE)
    waiting = tuple(s.server.endpoint for s in servers if s.health.health is Health.UNKNOWN)
    settled = not waiting
    anybody = any(s.effective for s in servers)
    fallback = None if anybody else _fallback(service, settled, adopted)
    return ServiceWeights(
        state=state(service, up, fallback),
        quorum_met=up >= service.quorum,
        up=up,
        reason=_service_reason(service, up, settled, fallback),
        servers=servers,
        fallback=fallback,
        unsettled=waiting,
    )


def removes(service: VirtualService, health: ServerHealth) -> bool:
    """Whether a failed server is taken out whole rather than quiesced."""
    match service.on_failure:
        case OnFailure.REMOVE:
            return True
        case OnFailure.QUIESCE:
            return False
        case OnFailure.AUTO:
            first = service.services[0]
            sticks = bool(first.flags & ServiceFlags.PERSISTENT)
            return sticks or first.key.protocol == Protocol.UDP or not health.answered


def _needed(rule: CheckRule) -> int:
    match rule.combine:
        case Combine.ALL:
            return len(rule.checks)
        case Combine.ANY:
            return 1
        case Combine.AT_LEAST:
            return rule.count


def _health(deciding: list[Verdict], settled: Health) -> ServerHealth:
    """Doubt of any deciding check shows: falling rather than up, rising rather than down."""
    doubtful = [v for v in deciding if v.health is not settled]
    chosen = doubtful[0] if doubtful else deciding[0]
    last = chosen.last
    detail = last.detail if last else "no probe yet"
    return ServerHealth(chosen.health, bool(last and last.answered), detail, chosen)


def _server(
    service: VirtualService,
    server: RealServer,
    health: ServerHealth,
    adopted: Mapping[Endpoint, int],
) -> ServerWeight:
    match health.health:
        case Health.UNKNOWN:
            found = adopted.get(server.endpoint)
            if found is not None:
                reason = f"adopted with weight {found}; no verdict yet"
                return ServerWeight(server, health, found, reason)
            return ServerWeight(server, health, 0, "new; waits at 0 for its first verdict")
        case Health.UP | Health.FALLING:
            doubt = "in doubt: " if health.health is Health.FALLING else ""
            reason = f"configured weight; {doubt}{health.detail}"
            return ServerWeight(server, health, server.weight, reason)
        case Health.DOWN | Health.RISING:
            rising = "rising" if health.health is Health.RISING else "down"
            if removes(service, health):
                return ServerWeight(server, health, None, f"{rising}, removed: {health.detail}")
            return ServerWeight(server, health, 0, f"{rising}, quiesced: {health.detail}")


def _fallback(
    service: VirtualService, settled: bool, adopted: Mapping[Endpoint, int]
) -> int | None:
    """Its weight while no server has one."""
    if service.fallback is None:
        return None
    return service.fallback.weight if settled else adopted.get(service.fallback.endpoint) or None


def state(service: VirtualService, up: int, fallback: int | None) -> ServiceState:
    """The state of a service with so many servers up; `fallback` is its weight while it serves."""
    if fallback is not None:
        return ServiceState.FALLBACK
    if up < service.quorum or up == 0:
        return ServiceState.DOWN
    return ServiceState.UP if up == len(service.real_servers) else ServiceState.DEGRADED


def _service_reason(service: VirtualService, up: int, settled: bool, fallback: int | None) -> str:
    told = f"{up} of {len(service.real_servers)} servers up, quorum {service.quorum}"
    if fallback is not None:
        until = "" if settled else " until every server has a verdict"
        return f"{told}; the fallback serves{until}"
    return told if settled else f"{told}; some have no verdict yet"
