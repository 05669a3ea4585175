"""Effective weights: what each server of a service gets, and why, in one sentence each.

One pure function from what is known to what IPVS is to hold. The rules, in the order they are
asked:

1. What an operator ordered goes first: a disabled server is absent, a drained one has weight 0.
2. A server without a verdict keeps the weight it was adopted with; a new one waits at 0.
3. A server that is up has its weight (configured, or ordered), less what slow start and feedback
   hold back; never less than 1, so neither takes a server out.
4. A server that is down is quiesced (weight 0, its connections stay) or removed (its connections
   expire at their next packet), as `on_failure` says; `auto` removes where staying would hurt:
   UDP and persistent services (clients would stick to it) and servers that fell silent. Two
   things keep it in all the same:
   - nobody answers this node any more: a blind checker is not a dead server. What served keeps
     its weight, or is quiesced where a fallback can take its place;
   - the floor: so many servers are never taken out by checks alone. Who served stays before who
     did not, then who rises, then who failed last: what is in changes as little as can be.
5. The fallback has weight only while no server has one, and only after every server has had a
   verdict: a director that has just started knows nothing bad of anybody. One that serves already
   (it is in the kernel) goes on until then: nobody else would take its connections. Who is ordered
   out is not waited for, nor who has no weight and got no verdict for long.

Quorum changes no weight: below it the servers left go on serving, but the service counts as down
for tracking, status and hooks.

IPVS has whole weights, and most are 1: there is nothing between 0 and 1. While a server has less
than its whole weight, all weights of its service are multiplied, so that there is. Those found in
the kernel may be multiplied already: while one of them is kept, the others are made to match it.
"""

import math
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from enum import Enum

from hadirector.core.address import Endpoint
from hadirector.core.admin import FREE, Admin, Ruling
from hadirector.core.ipvs import HEAVIEST, Protocol, ServiceFlags
from hadirector.core.messages import Health, Verdict, Wish
from hadirector.core.server_health import ServerHealth, is_in, is_out, judge
from hadirector.core.settings.services import OnFailure, RealServer, VirtualService

STEPS = 20  # that the smallest weight has while anything is held back: 5 % each


class ServiceState(Enum):
    """up: all servers up; degraded: some out, quorum met; fallback: it serves; down: otherwise."""

    UP = "up"
    DEGRADED = "degraded"
    FALLBACK = "fallback"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class ServerWeight:
    """What a server gets: `effective` None means it is to be absent from IPVS. `kept`: checks
    alone would have taken it out. `spared`: it served, and is quiesced rather than removed as its
    silence may be our own trouble."""

    server: RealServer
    health: ServerHealth
    effective: int | None
    reason: str
    admin: Admin = Admin.ENABLED
    kept: bool = False
    spared: bool = False


@dataclass(frozen=True, slots=True)
class ServiceWeights:
    """The decision for one virtual service; `fallback` is its weight, None where it is unused.
    `unsettled` are the servers whose first verdict is waited for, `unjudged` all that have none;
    while one of `needed` has none this node is not ready. `scale`: every weight is times this."""

    state: ServiceState
    quorum_met: bool
    up: int
    reason: str
    servers: tuple[ServerWeight, ...]
    fallback: int | None
    unsettled: tuple[Endpoint, ...] = ()
    unjudged: tuple[Endpoint, ...] = ()
    needed: tuple[Endpoint, ...] = ()
    scale: int = 1

    @property
    def serving(self) -> frozenset[Endpoint]:
        """The servers that take new connections."""
        return frozenset(s.server.endpoint for s in self.servers if s.effective)

    @property
    def spared(self) -> frozenset[Endpoint]:
        """The servers that would serve but for a silence that may be our own trouble."""
        return frozenset(s.server.endpoint for s in self.servers if s.spared)


@dataclass(frozen=True, slots=True)
class Facts:
    """What counts beside verdicts, each by server.

    `rulings` are operators', `wishes` those of the servers' own; `ramps` the share of its weight
    that a server in slow start has so far; `shares` what feedback leaves a server that ever
    reported. `served` had weight until now, or is spared; `doubted` are those whose silence may be
    our own trouble. Of `overdue` no first verdict is waited for any more.
    """

    rulings: Mapping[Endpoint, Ruling] = field(default_factory=dict)
    ramps: Mapping[Endpoint, float] = field(default_factory=dict)
    shares: Mapping[Endpoint, float] = field(default_factory=dict)
    wishes: Mapping[Endpoint, Wish] = field(default_factory=dict)
    served: Set[Endpoint] = frozenset()
    doubted: Set[Endpoint] = frozenset()
    overdue: Set[Endpoint] = frozenset()


NOTHING = Facts()


@dataclass(frozen=True, slots=True)
class _Case:
    """One server, and all that is known of it."""

    server: RealServer
    health: ServerHealth
    ruling: Ruling

    @property
    def base(self) -> int:
        """The weight it is to have when nothing is wrong."""
        return self.server.weight if self.ruling.weight is None else self.ruling.weight

    @property
    def up(self) -> bool:
        """It can take connections, and may."""
        return is_in(self.health.health) and self.ruling.admin is Admin.ENABLED


@dataclass(frozen=True, slots=True)
class _Scale:
    """How many times each weight is taken, and why; those found in the kernel `finer` times."""

    times: int
    finer: int

    @property
    def words(self) -> str:
        """Empty while they are taken as they are."""
        why = "for finer steps" if self.finer > 1 else "like those in the kernel"
        return f"times {self.times} {why}" if self.times > 1 else ""


def decide(
    service: VirtualService,
    verdicts: Mapping[str, Verdict],
    adopted: Mapping[Endpoint, int],
    facts: Facts = NOTHING,
) -> ServiceWeights:
    """The weights of a service; `adopted` are weights found in the kernel, by endpoint."""
    cases = [_case(service, server, verdicts, facts) for server in service.real_servers]
    unjudged = [case for case in cases if case.health.health is Health.UNKNOWN]
    waiting = tuple(c.server.endpoint for c in unjudged if _is_awaited(c, adopted, facts))
    found = [(c, adopted.get(c.server.endpoint) or 0) for c in cases]
    adopting = any(
        weight and c.health.health is Health.UNKNOWN and c.ruling.admin is Admin.ENABLED
        for c, weight in found
    )
    like = _scale_found(found) if adopting else 1
    finer = _finer(cases, facts, like, max((weight for _, weight in found), default=0))
    scale = _Scale(like * finer, finer)
    floor = _by_floor(service, cases, adopted, facts, settled=not waiting)
    servers = tuple(_server(service, case, adopted, facts, floor, scale) for case in cases)
    up = sum(case.up for case in cases)
    anybody = any(s.effective for s in servers)
    fallback = None if anybody else _fallback(service, not waiting, adopted)
    return ServiceWeights(
        state=state(service, up, fallback),
        quorum_met=up >= service.quorum,
        up=up,
        reason=_service_reason(service, servers, up, not waiting, fallback),
        servers=servers,
        fallback=fallback,
        unsettled=waiting,
        unjudged=tuple(case.server.endpoint for case in unjudged),
        needed=waiting if up >= service.quorum else _enabled(unjudged),
        scale=scale.times,
    )


def state(service: VirtualService, up: int, fallback: int | None) -> ServiceState:
    """The state of a service with so many servers up; `fallback` is its weight while it serves."""
    if fallback is not None:
        return ServiceState.FALLBACK
    if up < service.quorum or up == 0:
        return ServiceState.DOWN
    return ServiceState.UP if up == len(service.real_servers) else ServiceState.DEGRADED


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


def _case(
    service: VirtualService, server: RealServer, verdicts: Mapping[str, Verdict], facts: Facts
) -> _Case:
    health = judge(service, server.endpoint, verdicts)
    ruling = facts.rulings.get(server.endpoint, FREE)
    asked = facts.wishes.get(server.endpoint)
    return _Case(server, health, ruling if asked is None else ruling.with_wish(asked))


def _is_awaited(case: _Case, adopted: Mapping[Endpoint, int], facts: Facts) -> bool:
    """Whether the verdict it has not got could change what the service is. One that serves with
    the weight it was found with is as good as up: nothing bad is known of it."""
    if case.ruling.admin is not Admin.ENABLED:
        return False
    endpoint = case.server.endpoint
    return endpoint not in facts.overdue or bool(adopted.get(endpoint))


def _enabled(cases: Iterable[_Case]) -> tuple[Endpoint, ...]:
    """Below its quorum a service needs each of them: what another node serves well must not move
    to one that merely gave up waiting."""
    return tuple(c.server.endpoint for c in cases if c.ruling.admin is Admin.ENABLED)


def _scale_found(found: Iterable[tuple[_Case, int]]) -> int:
    """How many times the weights found in the kernel are those that the servers are to have: a
    director before this one may have multiplied them. The highest tells: the others were held
    back."""
    known = [(case.base, weight) for case, weight in found if case.base and weight]
    if not known:
        return 1
    times = max(round(weight / base) for base, weight in known)
    return max(1, min(times, HEAVIEST // max(case.base for case, _ in found)))


def _finer(cases: Iterable[_Case], facts: Facts, scale: int, found: int) -> int:
    """How many times more each weight is taken, those found in the kernel too (up to `found`), for
    finer steps: 1 while every server has its whole weight."""
    able = [case for case in cases if case.base]
    parts = facts.ramps.keys() | facts.shares.keys()
    if not parts or not any(case.server.endpoint in parts for case in able):
        return 1
    bases = [case.base * scale for case in able]
    return max(1, min(math.ceil(STEPS / min(bases)), HEAVIEST // max(*bases, found)))


def _by_floor(
    service: VirtualService,
    cases: Iterable[_Case],
    adopted: Mapping[Endpoint, int],
    facts: Facts,
    settled: bool,
) -> frozenset[Endpoint]:
    """The failed servers that the floor keeps in."""
    if not service.floor:
        return frozenset()
    able = [case for case in cases if case.base and case.ruling.admin is Admin.ENABLED]
    configured = sum(1 for server in service.real_servers if server.weight)
    wanted = math.ceil(service.floor * configured - 1e-9)
    there = sum(
        case.up or bool(case.health.health is Health.UNKNOWN and adopted.get(case.server.endpoint))
        for case in able
    )
    # Until everybody had a verdict nobody is put in who was not: the others may be well.
    failed = [
        case
        for case in able
        if is_out(case.health.health) and (settled or case.server.endpoint in facts.served)
    ]
    failed.sort(key=lambda case: case.health.since, reverse=True)
    failed.sort(key=lambda case: case.health.health is not Health.RISING)
    failed.sort(key=lambda case: case.server.endpoint not in facts.served)
    return frozenset(case.server.endpoint for case in failed[: max(0, wanted - there)])


def _server(
    service: VirtualService,
    case: _Case,
    adopted: Mapping[Endpoint, int],
    facts: Facts,
    floor: Set[Endpoint],
    scale: _Scale,
) -> ServerWeight:
    admin = case.ruling.admin
    if admin is Admin.DISABLED:
        return _weight(case, None, f"disabled {case.ruling.why}")
    match case.health.health:
        case Health.UNKNOWN:
            return _unknown(case, adopted, scale)
        case Health.UP | Health.FALLING:
            if admin is Admin.DRAINED:
                return _weight(case, 0, f"drained {case.ruling.why}; {case.health.detail}")
            return _whole(case, facts, scale)
        case Health.DOWN | Health.RISING:
            return _failed(service, case, facts, floor, scale)


def _unknown(case: _Case, adopted: Mapping[Endpoint, int], scale: _Scale) -> ServerWeight:
    if case.ruling.admin is Admin.DRAINED:
        return _weight(case, 0, f"drained {case.ruling.why}; no verdict yet")
    found = adopted.get(case.server.endpoint)
    if found is None:
        return _weight(case, 0, "new; waits at 0 for its first verdict")
    times = f", times {scale.finer} for finer steps" if scale.finer > 1 and found else ""
    told = f"adopted with weight {found}{times}; no verdict yet"
    return _weight(case, found * scale.finer, told)


def _whole(case: _Case, facts: Facts, scale: _Scale) -> ServerWeight:
    """It is up: what it has, and what holds it back."""
    endpoint = case.server.endpoint
    doubt = "in doubt: " if case.health.health is Health.FALLING else ""
    ramp, share = facts.ramps.get(endpoint, 1.0), facts.shares.get(endpoint, 1.0)
    told = [_base_words(case)]
    told += [f"{ramp:.0%} of it in slow start"] if ramp < 1 else []
    told += [f"{share:.0%} of it by feedback"] if share < 1 else []
    told += [scale.words] if scale.words else []
    effective = round(case.base * scale.times * ramp * share)
    at_least = 1 if case.base else 0
    reason = f"{', '.join(told)}; {doubt}{case.health.detail}"
    return _weight(case, max(at_least, effective), reason)


def _failed(
    service: VirtualService, case: _Case, facts: Facts, floor: Set[Endpoint], scale: _Scale
) -> ServerWeight:
    rising = "rising" if case.health.health is Health.RISING else "down"
    endpoint, detail = case.server.endpoint, case.health.detail
    drained = f"drained {case.ruling.why}, " if case.ruling.admin is Admin.DRAINED else ""
    if drained:
        pass  # an order to take it out needs no doubt about its health
    elif endpoint in floor:
        reason = f"{rising}, kept by the floor of {service.floor:g}: {detail}"
        return _weight(case, case.base * scale.times, reason, kept=True)
    elif endpoint in facts.doubted and endpoint in facts.served:
        told = f"{rising}, but nobody else answered this node either, which may be to blame"
        if service.fallback is None:
            return _weight(
                case, case.base * scale.times, f"{told}: weight kept; {detail}", kept=True
            )
        return _weight(case, 0, f"{told}: quiesced; {detail}", spared=True)
    if removes(service, case.health):
        return _weight(case, None, f"{drained}{rising}, removed: {detail}")
    return _weight(case, 0, f"{drained}{rising}, quiesced: {detail}")


def _weight(
    case: _Case,
    effective: int | None,
    reason: str,
    *,
    kept: bool = False,
    spared: bool = False,
) -> ServerWeight:
    admin = case.ruling.admin
    return ServerWeight(case.server, case.health, effective, reason, admin, kept, spared)


def _base_words(case: _Case) -> str:
    if case.ruling.weight is None:
        return "configured weight"
    return f"weight {case.ruling.weight} {case.ruling.weight_why}"


def _fallback(
    service: VirtualService, settled: bool, adopted: Mapping[Endpoint, int]
) -> int | None:
    """Its weight while no server has one."""
    if service.fallback is None:
        return None
    return service.fallback.weight if settled else adopted.get(service.fallback.endpoint) or None


def _service_reason(
    service: VirtualService,
    servers: Iterable[ServerWeight],
    up: int,
    settled: bool,
    fallback: int | None,
) -> str:
    told = f"{up} of {len(service.real_servers)} servers up, quorum {service.quorum}"
    for admin in (Admin.DRAINED, Admin.DISABLED):
        count = sum(server.admin is admin for server in servers)
        told += f", {count} {admin.value}" if count else ""
    unjudged = sum(server.health.health is Health.UNKNOWN for server in servers) if settled else 0
    told += f", {unjudged} without a verdict" if unjudged else ""
    kept = sum(server.kept for server in servers)
    told += f", {kept} kept in although checks fail" if kept else ""
    if fallback is not None:
        until = "" if settled else " until every server has a verdict"
        return f"{told}; the fallback serves{until}"
    return told if settled else f"{told}; some have no verdict yet"
