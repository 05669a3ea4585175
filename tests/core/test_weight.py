"""Effective weights as tables: what is known of a service, what each server gets, and why."""

from dataclasses import replace

import pytest

from hadirector.core import server_health, weight
from hadirector.core.address import Address, Endpoint
from hadirector.core.admin import Admin, Ruling
from hadirector.core.ipvs import HEAVIEST, Forward, Protocol, Service, ServiceFlags, ServiceKey
from hadirector.core.messages import Health, Probe, Verdict
from hadirector.core.settings.checks import CheckRule, Combine, target_id
from hadirector.core.settings.services import OnFailure, RealServer, VirtualService
from hadirector.core.weight import ServiceState

ONE = Endpoint(Address("10.0.1.11"), 80)
TWO = Endpoint(Address("10.0.1.12"), 80)
SPARE = Endpoint(Address("10.0.1.99"), 80)
KEY = ServiceKey(4, Protocol.TCP, Address("192.0.2.10"), 80)

WEB = VirtualService(
    name="web",
    address="192.0.2.10:80",
    protocol="tcp",
    services=(Service(KEY, "wlc"),),
    forward=Forward.NAT,
    check=CheckRule(Combine.ALL, ("page",)),
    quorum=1,
    floor=0.0,
    on_failure=OnFailure.AUTO,
    slow_start=0.0,
    fallback=RealServer(endpoint=SPARE, forward=Forward.NAT),
    real_servers=(
        RealServer(endpoint=ONE, forward=Forward.NAT, weight=3),
        RealServer(endpoint=TWO, forward=Forward.NAT),
    ),
)


def verdict(
    endpoint: Endpoint, health: Health, *, check: str = "page", answered: bool = True
) -> dict[str, Verdict]:
    """A verdict by target, as `Services` keeps them."""
    name = target_id(check, endpoint)
    ok = server_health.is_in(health)
    return {name: Verdict(name, health, 0.0, Probe(ok, answered, "told", 1.0, 0.0))}


def effective(decided: weight.ServiceWeights) -> list[int | None]:
    return [server.effective for server in decided.servers]


def test_servers_that_are_up_have_their_configured_weight() -> None:
    verdicts = verdict(ONE, Health.UP) | verdict(TWO, Health.FALLING)

    decided = weight.decide(WEB, verdicts, {})

    assert effective(decided) == [3, 1]
    assert (decided.state, decided.quorum_met, decided.fallback) == (ServiceState.UP, True, None)
    assert decided.servers[1].reason == "configured weight; in doubt: told"


@pytest.mark.parametrize(
    ("on_failure", "answered", "flags", "expected"),
    [
        (OnFailure.AUTO, True, ServiceFlags.NONE, 0),
        (OnFailure.AUTO, False, ServiceFlags.NONE, None),
        (OnFailure.AUTO, True, ServiceFlags.PERSISTENT, None),
        (OnFailure.QUIESCE, False, ServiceFlags.PERSISTENT, 0),
        (OnFailure.REMOVE, True, ServiceFlags.NONE, None),
    ],
)
def test_a_server_that_is_down_is_quiesced_or_removed_as_on_failure_says(
    on_failure: OnFailure, answered: bool, flags: ServiceFlags, expected: int | None
) -> None:
    service = replace(WEB, on_failure=on_failure, services=(Service(KEY, "wlc", flags),))
    verdicts = verdict(ONE, Health.DOWN, answered=answered) | verdict(TWO, Health.UP)

    decided = weight.decide(service, verdicts, {})

    assert effective(decided) == [expected, 1]
    assert decided.state is ServiceState.DEGRADED


def test_auto_removes_a_failed_server_of_a_udp_service() -> None:
    udp = Service(replace(KEY, protocol=Protocol.UDP), "rr")

    decided = weight.decide(replace(WEB, services=(udp,)), verdict(ONE, Health.DOWN), {})

    assert effective(decided) == [None, 0]


def test_a_rising_server_is_still_out() -> None:
    decided = weight.decide(WEB, verdict(ONE, Health.RISING) | verdict(TWO, Health.UP), {})

    assert effective(decided) == [0, 1]
    assert decided.servers[0].reason == "rising, quiesced: told"


def test_without_a_verdict_an_adopted_server_keeps_its_weight_and_a_new_one_waits_at_0() -> None:
    decided = weight.decide(WEB, {}, {ONE: 7})

    assert effective(decided) == [7, 0]
    assert decided.fallback is None


@pytest.mark.parametrize(
    ("found", "facts", "expected"),
    [
        ({ONE: 60, TWO: 20}, weight.NOTHING, [60, 20]),
        ({ONE: 60, TWO: 6}, weight.NOTHING, [60, 6]),
        ({ONE: 3, TWO: 1}, weight.NOTHING, [3, 1]),
        ({TWO: 1}, weight.Facts(shares={ONE: 0.5}), [30, 20]),
        ({ONE: 60, TWO: 20}, weight.Facts(shares={ONE: 0.5}), [30, 20]),
        ({TWO: 60000}, weight.Facts(shares={ONE: 0.5}), [32768, 60000]),
    ],
)
def test_beside_a_weight_found_in_the_kernel_the_others_have_theirs_in_proportion(
    found: dict[Endpoint, int], facts: weight.Facts, expected: list[int]
) -> None:
    decided = weight.decide(WEB, verdict(ONE, Health.UP), found, facts)

    assert effective(decided) == expected


def test_once_all_are_judged_what_was_found_in_the_kernel_counts_no_more() -> None:
    both = verdict(ONE, Health.UP) | verdict(TWO, Health.UP)

    assert effective(weight.decide(WEB, both, {ONE: 60, TWO: 20})) == [3, 1]


def test_the_fallback_serves_only_after_every_server_had_a_verdict() -> None:
    one_down = verdict(ONE, Health.DOWN)

    waiting = weight.decide(WEB, one_down, {})
    settled = weight.decide(WEB, one_down | verdict(TWO, Health.DOWN), {})

    assert (waiting.state, waiting.fallback) == (ServiceState.DOWN, None)
    assert (settled.state, settled.fallback) == (ServiceState.FALLBACK, 1)


@pytest.mark.parametrize("admin", [Admin.DRAINED, Admin.DISABLED])
def test_the_fallback_does_not_wait_for_a_verdict_of_who_is_ordered_out(admin: Admin) -> None:
    facts = weight.Facts(rulings={TWO: Ruling(admin, "by root")})

    decided = weight.decide(WEB, verdict(ONE, Health.DOWN), {TWO: 1}, facts)

    assert (decided.state, decided.fallback) == (ServiceState.FALLBACK, 1)
    assert (decided.unsettled, decided.unjudged) == ((), (TWO,))


@pytest.mark.parametrize(("found", "fallback"), [({}, 1), ({TWO: 0}, 1), ({TWO: 1}, None)])
def test_the_fallback_waits_no_longer_for_an_overdue_verdict_of_who_has_no_weight(
    found: dict[Endpoint, int], fallback: int | None
) -> None:
    facts = weight.Facts(overdue={TWO})

    decided = weight.decide(WEB, verdict(ONE, Health.DOWN), found, facts)

    assert decided.fallback == fallback
    assert bool(decided.unsettled) is (fallback is None)
    assert ("1 without a verdict" in decided.reason) is (fallback is not None)


@pytest.mark.parametrize(
    ("adopted", "expected"),
    [({SPARE: 1}, 1), ({SPARE: 5}, 5), ({SPARE: 0}, None), ({}, None), ({SPARE: 1, ONE: 2}, None)],
    ids=["serves", "by its own weight", "at 0", "not there", "a server serves"],
)
def test_a_fallback_found_serving_stays_until_every_server_had_a_verdict(
    adopted: dict[Endpoint, int], expected: int | None
) -> None:
    decided = weight.decide(WEB, verdict(TWO, Health.DOWN), adopted)

    assert decided.fallback == expected
    serves = decided.state is ServiceState.FALLBACK
    assert serves is (expected is not None)
    assert ("the fallback serves until every server has a verdict" in decided.reason) is serves


def test_below_quorum_the_servers_left_go_on_serving() -> None:
    service = replace(WEB, quorum=2)

    decided = weight.decide(service, verdict(ONE, Health.UP) | verdict(TWO, Health.DOWN), {})

    assert effective(decided) == [3, 0]
    assert (decided.state, decided.quorum_met) == (ServiceState.DOWN, False)


@pytest.mark.parametrize(
    ("rule", "healths", "expected"),
    [
        (CheckRule(Combine.ALL, ("a", "b")), (Health.UP, Health.DOWN), Health.DOWN),
        (CheckRule(Combine.ALL, ("a", "b")), (Health.UP, None), Health.UNKNOWN),
        (CheckRule(Combine.ALL, ("a", "b")), (Health.UP, Health.FALLING), Health.FALLING),
        (CheckRule(Combine.ANY, ("a", "b")), (Health.DOWN, Health.UP), Health.UP),
        (CheckRule(Combine.ANY, ("a", "b")), (Health.DOWN, None), Health.UNKNOWN),
        (CheckRule(Combine.ANY, ("a", "b")), (Health.DOWN, Health.RISING), Health.RISING),
        (CheckRule(Combine.AT_LEAST, ("a", "b"), 2), (Health.UP, Health.DOWN), Health.DOWN),
        (CheckRule(Combine.AT_LEAST, ("a", "b"), 1), (Health.UP, Health.DOWN), Health.UP),
        (CheckRule(Combine.ALL, ()), (None, None), Health.UP),
    ],
)
def test_several_checks_make_one_health(
    rule: CheckRule, healths: tuple[Health | None, Health | None], expected: Health
) -> None:
    verdicts: dict[str, Verdict] = {}
    for name, health in zip(("a", "b"), healths, strict=True):
        if health is not None:
            verdicts |= verdict(ONE, health, check=name)

    assert server_health.combine(rule, ONE, verdicts).health is expected


@pytest.mark.parametrize("base", [1, 10, 19, 20, 100, HEAVIEST])
@pytest.mark.parametrize("part", ["ramps", "shares"])
def test_slow_start_and_feedback_hold_back_their_part_of_any_weight(base: int, part: str) -> None:
    servers = tuple(replace(server, weight=base) for server in WEB.real_servers)
    service = replace(WEB, real_servers=servers)
    held_back = {ONE: 0.3}
    facts = weight.Facts(ramps=held_back) if part == "ramps" else weight.Facts(shares=held_back)

    decided = weight.decide(service, verdict(ONE, Health.UP) | verdict(TWO, Health.UP), {}, facts)

    one, two = effective(decided)
    assert one is not None
    assert two == base * decided.scale <= HEAVIEST
    assert one / two == pytest.approx(0.3, abs=0.03)
    assert "30% of it" in decided.servers[0].reason
