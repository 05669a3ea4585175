"""Slow start, feedback and holds in the services of a node: when they begin, and when they end."""

import itertools
from dataclasses import replace

from hadirector.core import ipvs
from hadirector.core.address import Address, Endpoint
from hadirector.core.admin import Admin, Ruling
from hadirector.core.deafness import GRACE, HOLD
from hadirector.core.messages import Health, Probe, Verdict, Verdicts, Wish
from hadirector.core.services import Services
from hadirector.core.settings.checks import target_id
from hadirector.core.settings.services import Feedback, RealServer, VirtualService
from tests.core import farm
from tests.core.farm import KEY, ONE, TWO

SLOW = replace(farm.WEB, slow_start=20.0)
FED = replace(farm.WEB, feedback=Feedback(checks=("page",)))
OUT = {"web": {ONE: Ruling(Admin.DRAINED, "by root")}}


def services(service: VirtualService, *, up: bool = True) -> Services:
    """At second 0, with a first verdict of each server."""
    made = Services()
    made.configure(replace(farm.CONFIG, services=(service,)), {}, 0.0)
    if up:
        made.hear(farm.verdicts((ONE, Health.UP), (TWO, Health.UP)), 0.0)
    return made


def weights(made: Services) -> list[int | None]:
    return [server.effective for server in made.weights["web"].servers]


def reasons(made: Services) -> list[str]:
    return [server.reason for server in made.weights["web"].servers]


def said(share: float | None = None, wish: Wish = Wish.NONE, at: float = 0.0) -> Verdicts:
    """What an agent on the first server says."""
    probe = Probe(True, True, "told", 1.0, at, share=share, wish=wish)
    return Verdicts((Verdict(target_id("page", ONE), Health.UP, 0.0, probe),), whole=False)


def silence(*alone: bool, at: float = 1.0) -> Verdicts:
    """Both servers fall silent."""
    probe = Probe(False, False, "no answer", 500.0, at)
    return Verdicts(
        tuple(
            Verdict(target_id("page", server), Health.DOWN, at, probe, one)
            for server, one in zip((ONE, TWO), alone, strict=True)
        ),
        whole=False,
    )


def test_a_recovered_server_gets_its_weight_in_steps_and_then_all_is_as_configured() -> None:
    made = services(SLOW)
    made.hear(farm.verdicts((ONE, Health.DOWN)), 1.0)
    made.hear(farm.verdicts((ONE, Health.UP)), 10.0)
    seen = [(10.0, weights(made))]

    while (due := made.deadline()) is not None:
        made.due(due)
        seen.append((due, weights(made)))

    steps = [found[0] for _, found in seen[:-1]]
    assert steps == sorted(step for step in steps if step is not None)
    assert (seen[0][1], reasons(made)[0]) == ([3, 20], "configured weight; told")
    assert seen[10][1] == [30, 20]
    assert seen[-1] == (30.0, [3, 1])


def test_slow_start_is_told_in_the_reason() -> None:
    made = services(SLOW)
    made.hear(farm.verdicts((ONE, Health.DOWN)), 1.0)
    made.hear(farm.verdicts((ONE, Health.UP)), 10.0)

    made.due(15.0)

    assert reasons(made) == [
        "configured weight, 25% of it in slow start, times 20 for finer steps; told",
        "configured weight, times 20 for finer steps; told",
    ]


def test_the_first_verdict_and_doubt_cause_no_slow_start() -> None:
    made = services(SLOW)

    made.hear(farm.verdicts((ONE, Health.FALLING)), 1.0)
    made.hear(farm.verdicts((ONE, Health.UP)), 2.0)

    assert (weights(made), made.deadline()) == ([3, 1], None)


def test_an_adopted_server_starts_at_once_at_its_whole_weight() -> None:
    made = services(SLOW, up=False)
    made.adopt({KEY: farm.entry(3, 1)}, 0.0)

    made.hear(farm.verdicts((ONE, Health.UP), (TWO, Health.UP)), 0.5)

    assert (weights(made), made.deadline()) == ([3, 1], None)


def test_a_slow_start_goes_on_over_a_restart_of_the_director() -> None:
    made = services(SLOW, up=False)
    made.adopt({KEY: farm.entry(60, 5)}, 100.0)  # 3 and 1, times 20; the second has a quarter
    seen = [weights(made)]

    made.hear(farm.verdicts((TWO, Health.UP)), 100.5)
    seen.append(weights(made))
    made.hear(farm.verdicts((ONE, Health.UP)), 101.5)
    seen.append(weights(made))
    reason = reasons(made)[1]
    while (due := made.deadline()) is not None:
        made.due(due)
        seen.append(weights(made))
        ended = due

    shares = [(two or 0) / (one or 1) * 3 for one, two in seen]
    assert (shares[0], reason) == (
        0.25,
        "configured weight, 30% of it in slow start, times 20 for finer steps; told",
    )
    assert shares == sorted(shares)
    assert max(b - a for a, b in itertools.pairwise(shares)) <= 0.1
    assert (seen[-1], ended) == ([3, 1], 115.5)


def test_what_feedback_or_an_operator_held_back_is_no_slow_start() -> None:
    fed = services(replace(SLOW, feedback=Feedback(checks=("page",))), up=False)
    fed.adopt({KEY: farm.entry(60, 5)}, 100.0)
    ordered = services(SLOW, up=False)
    ordered.rule({"web": {ONE: Ruling(Admin.ENABLED, "by root", weight=1)}}, 0.0)
    ordered.adopt({KEY: farm.entry(1, 1)}, 100.0)

    for made in (fed, ordered):
        made.hear(farm.verdicts((ONE, Health.UP), (TWO, Health.UP)), 100.5)

    assert (weights(fed), weights(ordered)) == ([3, 1], [1, 1])


def test_an_enabled_server_starts_slowly_and_one_drained_again_does_no_more() -> None:
    made = services(SLOW)
    made.rule(OUT, 1.0)
    drained = weights(made)
    made.rule({}, 2.0)
    enabled = weights(made)
    made.rule(OUT, 3.0)

    assert (drained, enabled, weights(made)) == ([0, 1], [3, 20], [0, 1])
    assert made.deadline() is None


def test_a_reload_goes_on_with_a_slow_start() -> None:
    made = services(SLOW)
    made.hear(farm.verdicts((ONE, Health.DOWN)), 1.0)
    made.hear(farm.verdicts((ONE, Health.UP)), 10.0)

    made.configure(replace(farm.CONFIG, digest="d2", services=(SLOW,)), {}, 20.0)

    assert weights(made) == [30, 20]
    made.configure(replace(farm.CONFIG, services=(farm.WEB,)), {}, 21.0)
    assert (weights(made), made.deadline()) == ([3, 1], None)


def test_the_first_report_is_followed_at_once_and_a_later_one_by_and_by() -> None:
    made = services(FED)
    before = weights(made)
    made.hear(said(0.5), 1.0)
    first = weights(made)
    made.hear(said(0.1, at=2.0), 2.0)
    for second in range(3, 9):
        made.hear(said(0.1, at=float(second)), float(second))
        made.due(float(second))

    assert (before, first) == ([3, 1], [30, 20])
    later = weights(made)[0]
    assert later is not None
    assert 6 < later < 30
    assert "of it by feedback" in reasons(made)[0]


def test_the_wish_of_a_servers_own_operator_is_obeyed_and_told() -> None:
    made = services(FED)
    told = [
        made.hear(said(wish=wish), at)[1] for wish, at in ((Wish.DRAIN, 1.0), (Wish.MAINT, 2.0))
    ]
    back = made.hear(said(), 3.0)[1]

    assert [[change.kind for change in one] for one in (*told, back)] == [
        ["server_drained", "service_state"],
        ["server_disabled"],
        ["server_enabled", "service_state"],
    ]
    assert told[0][0].reason == "drained by its own operator (agent says drain); told"


def test_while_nobody_answers_this_node_weights_stay_for_a_time_and_that_is_told() -> None:
    made = services(farm.WEB)

    _, told = made.hear(silence(True, True), 1.0)
    held = weights(made)
    state = made.weights["web"].quorum_met
    made.due(1.0 + GRACE)
    later = weights(made)
    deadline = made.deadline()
    made.due(1.0 + HOLD)

    assert (held, later, state, deadline) == ([3, 1], [3, 1], False, 1.0 + HOLD)
    assert "servers_kept" in [change.kind for change in told]
    assert weights(made) == [None, None]


def test_the_fallback_serves_meanwhile_and_connections_stay() -> None:
    made = services(replace(farm.WEB, fallback=farm.WEB.real_servers[0]))
    spare = replace(farm.WEB.real_servers[0], endpoint=replace(ONE, port=99))
    made = services(replace(farm.WEB, fallback=spare))

    made.hear(silence(True, True), 1.0)

    assert (weights(made), made.weights["web"].fallback) == ([0, 0], 3)


def test_as_soon_as_another_server_answers_a_silent_one_is_dead() -> None:
    made = services(farm.WEB)
    made.hear(silence(True, True), 1.0)

    made.hear(silence(False, True), 1.5)

    assert weights(made) == [None, 1]


def test_a_server_that_never_served_gets_no_weight_by_a_hold() -> None:
    made = services(farm.WEB, up=False)

    made.hear(silence(True, True), 1.0)

    assert weights(made) == [None, None]


def test_the_floor_keeps_the_server_that_failed_last_and_tells_it() -> None:
    made = services(replace(farm.WEB, floor=0.5))

    made.hear(farm.verdicts((TWO, Health.DOWN), at=1.0), 1.0)
    _, told = made.hear(farm.verdicts((ONE, Health.DOWN), at=2.0), 2.0)

    assert weights(made) == [3, 0]
    assert reasons(made)[0] == "down, kept by the floor of 0.5: told"
    assert "servers_kept" in [change.kind for change in told]
    made.hear(farm.verdicts((TWO, Health.UP), at=3.0), 3.0)
    assert weights(made) == [0, 1]


def test_a_peer_that_sees_the_server_keeps_it_in_and_one_that_does_not_either_ends_the_hold() -> (
    None
):
    seen, unseen = services(farm.WEB), services(farm.WEB)
    for made in (seen, unseen):
        made.hear(silence(True, True), 1.0)

    names = (f"web/{ONE}", f"web/{TWO}")
    seen.seen_elsewhere(dict.fromkeys(names, True), 1.2)
    seen.due(1.0 + HOLD)
    unseen.seen_elsewhere(dict.fromkeys(names, False), 1.2)

    assert (weights(seen), weights(unseen)) == ([3, 1], [None, None])


def test_a_silent_server_is_dead_after_a_moment_when_the_others_were_dead_before() -> None:
    made = services(farm.WEB)
    made.hear(farm.verdicts((TWO, Health.DOWN), at=1.0), 1.0)

    made.hear(silence(True, False, at=50.0), 50.0)
    at_once = weights(made)
    made.due(50.0 + GRACE)

    assert (at_once, weights(made)) == ([3, None], [None, None])


def test_a_single_host_is_dead_when_it_is_silent() -> None:
    made = services(replace(farm.WEB, real_servers=farm.WEB.real_servers[:1]))

    made.hear(silence(True, True), 1.0)

    assert weights(made) == [None]


def test_a_server_that_was_kept_stays_in_while_it_rises() -> None:
    made = services(farm.WEB)
    made.hear(silence(True, True), 1.0)

    made.hear(farm.verdicts((ONE, Health.RISING), at=4.0), 4.0)
    rising = weights(made)
    made.hear(farm.verdicts((ONE, Health.UP), at=4.2), 4.2)

    assert (rising, weights(made)) == ([3, 1], [3, 1])


SPARE = RealServer(endpoint=Endpoint(Address("10.0.1.99"), 80), forward=ipvs.Forward.NAT)
STICKY = ipvs.Service(KEY, "rr", ipvs.ServiceFlags.PERSISTENT)
SAVED = replace(farm.WEB, fallback=SPARE, services=(STICKY,))


def one_silent(server: Endpoint, at: float) -> Verdicts:
    probe = Probe(False, False, "no answer", 500.0, at)
    verdict = Verdict(target_id("page", server), Health.DOWN, at, probe, True)
    return Verdicts((verdict,), whole=False)


def test_beside_a_fallback_who_fell_silent_with_others_stays_until_the_hold_ends() -> None:
    made = services(SAVED)

    made.hear(one_silent(ONE, 10.0), 10.0)
    first = weights(made)
    made.hear(one_silent(TWO, 10.2), 10.2)
    both = weights(made)
    made.due(10.0 + GRACE)
    later = weights(made)
    made.hear(farm.verdicts((ONE, Health.RISING), at=20.0), 20.0)
    rising = weights(made)
    made.due(10.2 + HOLD)

    assert (first, both, later, rising) == ([0, 1], [0, 0], [0, 0], [0, 0])
    assert made.weights["web"].fallback == 1
    assert weights(made) == [0, None]
