"""A server nobody can judge keeps neither fallback nor news waiting, nor a node that can serve."""

from dataclasses import replace

import pytest

from hadirector.core import director_events as ev
from hadirector.core import ipvs
from hadirector.core.address import Address, Endpoint
from hadirector.core.director import Director
from hadirector.core.messages import Health, Process, Routers
from hadirector.core.patience import PROBES, STARTING
from hadirector.core.settings.checks import Check, CheckType
from hadirector.core.settings.services import RealServer
from tests.core import farm
from tests.core.desk import DONE, from_checker, kinds, read
from tests.core.farm import ONE, PAGE, TWO

SPARE = RealServer(endpoint=Endpoint(Address("10.0.1.99"), 80), forward=ipvs.Forward.NAT)
WEB = replace(farm.WEB, fallback=SPARE)
SLOWER = replace(PAGE, interval=20.0, timeout=2.0)
REPORTED = replace(PAGE, type=CheckType.EXTERNAL, max_age=60.0)


def started(check: Check = PAGE) -> Director:
    """At second 0, of a new service; the first server turns out dead at second 1."""
    director = Director("1", frozenset(), 0.0)
    config = replace(farm.CONFIG, checks=(check,), services=(WEB,))
    director.handle(ev.Configured(config), 0.0)
    director.handle(read({}), 0.0)
    director.handle(DONE, 0.0)
    director.handle(ev.From(Process.ELECTION, Routers(()), 1.0), 1.0)
    director.handle(from_checker(farm.verdicts((ONE, Health.DOWN), at=1.0)), 1.0)
    director.handle(DONE, 1.0)
    return director


@pytest.mark.parametrize(
    ("check", "wait"),
    [
        (PAGE, PROBES * 1.5 + STARTING),
        (SLOWER, PROBES * 22.0 + STARTING),
        (REPORTED, 60.0 + STARTING),
    ],
    ids=["by its probes", "rare probes", "by its age"],
)
def test_the_fallback_serves_once_a_verdict_is_overdue(check: Check, wait: float) -> None:
    director = started(check)

    director.handle(ev.Woken(), wait - 0.1)
    before = director.services.weights["web"].fallback
    told = kinds(director.handle(ev.Woken(), wait))

    assert (before, director.services.weights["web"].fallback) == (None, 1)
    assert {("quorum_lost", "web"), ("service_state", "web")} <= set(told)


@pytest.mark.parametrize(("first", "ready"), [(Health.UP, True), (Health.DOWN, False)])
def test_a_node_gets_ready_without_a_server_nobody_can_judge_if_the_others_suffice(
    first: Health, ready: bool
) -> None:
    director = started()
    end = PROBES * 1.5 + STARTING
    director.handle(from_checker(farm.verdicts((ONE, first), at=2.0)), 2.0)
    director.handle(DONE, 2.0)
    before = director.readiness()

    for message in (ev.From(Process.ELECTION, Routers(()), end), from_checker(farm.verdicts())):
        director.handle(message, end)
    director.handle(DONE, end)

    assert not before.ready
    assert "1 servers wait for a verdict: web/10.0.1.12:80" in before.reason
    assert director.readiness().ready == ready


def test_peers_are_not_told_that_a_server_nobody_judged_is_well() -> None:
    director = started()

    sent = director.handle(from_checker(farm.verdicts()), 100.0)

    assert not director.checker.silent
    views = [action.presence.view for action in sent if isinstance(action, ev.SendPresence)]
    assert [view.settled for view in views] == [False]


def test_a_late_verdict_counts_as_any_other() -> None:
    director = started()
    director.handle(ev.Woken(), 100.0)

    director.handle(from_checker(farm.verdicts((TWO, Health.UP), at=101.0)), 101.0)

    decided = director.services.weights["web"]
    assert ([server.effective for server in decided.servers], decided.fallback) == ([0, 1], None)
