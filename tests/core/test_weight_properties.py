"""What holds of effective weights whatever is known: searched, not listed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import weight
from hadirector.core.address import Address, Endpoint
from hadirector.core.admin import Admin, Ruling
from hadirector.core.ipvs import HEAVIEST, Forward, Service, ServiceFlags
from hadirector.core.messages import Health, Probe, Verdict, Wish
from hadirector.core.server_health import is_in
from hadirector.core.settings.checks import target_id
from hadirector.core.settings.services import OnFailure, RealServer, VirtualService
from tests.core.farm import KEY, WEB

BETTER = (Health.DOWN, Health.RISING, Health.FALLING, Health.UP)
SPARE = RealServer(endpoint=Endpoint(Address("10.0.1.99"), 80), forward=Forward.NAT)


@dataclass(frozen=True)
class World:
    """A service and all that is known of it."""

    service: VirtualService
    verdicts: Mapping[str, Verdict]
    adopted: Mapping[Endpoint, int]
    facts: weight.Facts

    def decide(self) -> weight.ServiceWeights:
        return weight.decide(self.service, self.verdicts, self.adopted, self.facts)


def endpoint(number: int) -> Endpoint:
    return Endpoint(Address(f"10.0.1.{number + 10}"), 80)


def some(draw: st.DrawFn, servers: list[Endpoint]) -> list[Endpoint]:
    return draw(st.lists(st.sampled_from(servers), unique=True))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    count = draw(st.integers(1, 6))
    servers = [endpoint(number) for number in range(count)]
    flags = draw(st.sampled_from((ServiceFlags.NONE, ServiceFlags.PERSISTENT)))
    service = replace(
        WEB,
        services=(Service(KEY, "wlc", flags),),
        quorum=draw(st.integers(0, count)),
        floor=draw(st.sampled_from((0.0, 0.25, 0.5, 1.0))),
        on_failure=draw(st.sampled_from(OnFailure)),
        fallback=draw(st.sampled_from((None, SPARE))),
        real_servers=tuple(
            RealServer(
                endpoint=server, forward=Forward.NAT, weight=draw(st.sampled_from((0, 1, 3, 65535)))
            )
            for server in servers
        ),
    )
    verdicts = {
        target_id("page", server): draw(judgements(server)) for server in some(draw, servers)
    }
    rulings = {
        server: Ruling(
            draw(st.sampled_from(Admin)), "by somebody", draw(st.sampled_from((None, 0, 7))), "so"
        )
        for server in some(draw, servers)
    }
    part = st.sampled_from((0.05, 0.3, 0.95))
    facts = weight.Facts(
        rulings=rulings,
        ramps={server: draw(part) for server in some(draw, servers)},
        shares={server: draw(part) for server in some(draw, servers)},
        wishes={server: draw(st.sampled_from(Wish)) for server in some(draw, servers)},
        served=frozenset(some(draw, servers)),
        doubted=frozenset(some(draw, servers)),
        overdue=frozenset(some(draw, servers)),
    )
    adopted = {server: draw(st.sampled_from((0, 1, 9))) for server in some(draw, servers)}
    return World(service, verdicts, adopted, facts)


@st.composite
def judgements(draw: st.DrawFn, server: Endpoint) -> Verdict:
    health = draw(st.sampled_from(BETTER))
    probe = Probe(is_in(health), draw(st.booleans()), "told", 1.0, 0.0)
    since = float(draw(st.integers(0, 3)))
    return Verdict(target_id("page", server), health, since, probe)


def is_up(world: World, server: weight.ServerWeight) -> bool:
    """It could take connections, and is to."""
    ruling = world.facts.rulings.get(server.server.endpoint, Ruling())
    base = server.server.weight if ruling.weight is None else ruling.weight
    wish = world.facts.wishes.get(server.server.endpoint, Wish.NONE)
    enabled = ruling.admin is Admin.ENABLED and wish is Wish.NONE
    return is_in(server.health.health) and enabled and base > 0


@given(worlds())
def test_a_healthy_server_that_may_serve_always_has_weight(world: World) -> None:
    decided = world.decide()

    assert all(server.effective for server in decided.servers if is_up(world, server))


@given(worlds())
def test_every_weight_has_its_reason_and_fits_into_ipvs(world: World) -> None:
    decided = world.decide()

    assert decided.reason
    for server in decided.servers:
        assert server.reason
        assert server.effective is None or 0 <= server.effective <= HEAVIEST


@given(worlds())
def test_what_an_operator_took_out_gets_no_new_connections(world: World) -> None:
    for server in world.decide().servers:
        if server.admin is not Admin.ENABLED:
            assert not server.effective
        if server.admin is Admin.DISABLED:
            assert server.effective is None


@given(worlds())
def test_the_floor_holds_once_everybody_has_a_verdict(world: World) -> None:
    decided = world.decide()
    if decided.unjudged:
        return
    able = [s for s in decided.servers if s.admin is Admin.ENABLED and base_of(world, s)]
    configured = sum(1 for server in world.service.real_servers if server.weight)
    wanted = min(len(able), math.ceil(world.service.floor * configured))

    assert sum(bool(server.effective) for server in decided.servers) >= wanted


def base_of(world: World, server: weight.ServerWeight) -> int:
    ruling = world.facts.rulings.get(server.server.endpoint, Ruling())
    return server.server.weight if ruling.weight is None else ruling.weight


@given(worlds())
def test_quorum_is_the_number_of_servers_up_and_changes_no_weight(world: World) -> None:
    decided = world.decide()
    other = replace(world, service=replace(world.service, quorum=0)).decide()

    up = sum(is_in(s.health.health) and s.admin is Admin.ENABLED for s in decided.servers)
    assert (decided.up, decided.quorum_met) == (up, up >= world.service.quorum)
    assert [s.effective for s in decided.servers] == [s.effective for s in other.servers]


@given(worlds())
def test_the_fallback_has_weight_only_while_no_server_has(world: World) -> None:
    decided = world.decide()
    serving = any(server.effective for server in decided.servers)

    assert not (serving and decided.fallback)
    if world.service.fallback and not serving and not decided.unsettled:
        assert decided.fallback


@given(worlds(), st.data())
def test_a_server_that_gets_better_never_loses_weight_by_that(
    world: World, data: st.DataObject
) -> None:
    """Of finer steps there may be more then, or fewer: shares of the service are compared."""
    names = sorted(world.verdicts)
    if not names:
        return
    name = data.draw(st.sampled_from(names))
    verdict = world.verdicts[name]
    better = data.draw(st.sampled_from(BETTER[BETTER.index(verdict.health) :]))
    after = replace(world, verdicts={**world.verdicts, name: replace(verdict, health=better)})

    def weight_of(decided: weight.ServiceWeights) -> float:
        found = next(s for s in decided.servers if target_id("page", s.server.endpoint) == name)
        held = found.server.endpoint in (*world.facts.ramps, *world.facts.shares)
        # One that was kept in whole may come back by slow start: in is in.
        return float(bool(found.effective)) if held else (found.effective or 0) / decided.scale

    assert weight_of(after.decide()) >= weight_of(world.decide())


@given(worlds())
def test_a_decision_stays_as_it_is_while_nothing_new_is_known(world: World) -> None:
    """What is in now counts for the next decision: that must not make it swing."""
    first = world.decide()
    again = replace(world, facts=replace(world.facts, served=in_place(first))).decide()
    third = replace(world, facts=replace(world.facts, served=in_place(again))).decide()

    assert third == again
    assert first.serving <= again.serving | frozenset(world.facts.doubted)
    assert first.spared <= again.serving | again.spared


def in_place(decided: weight.ServiceWeights) -> frozenset[Endpoint]:
    return decided.serving | decided.spared
