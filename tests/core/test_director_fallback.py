"""The fallback across reload, restart and death: what serves goes on serving."""

from dataclasses import replace

import pytest

from hadirector.core import director_events as ev
from hadirector.core import ipvs, plan
from hadirector.core.address import Address, Endpoint
from hadirector.core.director import Director
from hadirector.core.messages import Health
from hadirector.core.settings.checks import CheckRule, Combine
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.services import RealServer
from tests.core import farm
from tests.core.desk import DONE, from_checker, kinds, read, steps
from tests.core.farm import KEY, ONE, TWO

SPARE = RealServer(endpoint=Endpoint(Address("10.0.1.99"), 80), forward=ipvs.Forward.NAT)
OTHER = RealServer(endpoint=Endpoint(Address("10.0.1.98"), 80), forward=ipvs.Forward.NAT)
NEW = RealServer(endpoint=Endpoint(Address("10.0.1.13"), 80), forward=ipvs.Forward.NAT)
WEB = replace(farm.WEB, fallback=SPARE)
CONFIG = replace(farm.CONFIG, services=(WEB,))
DOWN = farm.verdicts((ONE, Health.DOWN), (TWO, Health.DOWN))


def spare_serves() -> Director:
    """Both servers are down, quiesced, and the spare has the connections."""
    director = Director("1", frozenset(), 0.0)
    director.handle(ev.Configured(CONFIG), 0.0)
    director.handle(read({}), 0.0)
    director.handle(DONE, 0.0)
    director.handle(from_checker(DOWN), 0.0)
    director.handle(DONE, 0.0)
    assert director.services.weights["web"].fallback == 1
    return director


def left_in_the_kernel() -> dict[ipvs.ServiceKey, ipvs.Entry]:
    servers = dict(farm.entry(0, 0).destinations)
    return {KEY: ipvs.Entry(WEB.services[0], servers | {SPARE.endpoint: SPARE.destination(1)})}


def with_service(**changes: object) -> Config:
    return replace(CONFIG, digest="d2", services=(replace(WEB, **changes),))  # type: ignore[arg-type]  # any field


def test_a_reload_that_adds_a_server_leaves_the_fallback_serving() -> None:
    director = spare_serves()

    actions = director.handle(
        ev.Configured(with_service(real_servers=(*WEB.real_servers, NEW))), 1.0
    )

    assert steps(actions) == (plan.AddDestination(KEY, NEW.destination(0)),)
    assert director.services.weights["web"].fallback == 1


def test_a_reload_that_renames_the_check_leaves_the_fallback_serving() -> None:
    director = spare_serves()
    renamed = replace(farm.PAGE, name="front page")
    service = replace(WEB, check=CheckRule(Combine.ALL, ("front page",)))

    actions = director.handle(
        ev.Configured(replace(CONFIG, digest="d2", checks=(renamed,), services=(service,))), 1.0
    )

    assert steps(actions) == ()


def test_another_fallback_takes_over_from_one_that_serves_before_that_one_goes() -> None:
    director = spare_serves()
    new = (*WEB.real_servers, NEW)

    actions = director.handle(ev.Configured(with_service(fallback=OTHER, real_servers=new)), 1.0)

    assert steps(actions) == (
        plan.AddDestination(KEY, NEW.destination(0)),
        plan.AddDestination(KEY, OTHER.destination(1)),
        plan.DeleteDestination(KEY, SPARE.destination(1)),
    )


@pytest.mark.parametrize("early", [False, True], ids=["read first", "a verdict first"])
def test_a_director_that_starts_adopts_a_fallback_that_serves(early: bool) -> None:
    director = Director("1", frozenset({KEY}), 0.0)
    director.handle(ev.Configured(CONFIG), 0.0)
    first = from_checker(farm.verdicts((ONE, Health.DOWN)))
    if early:
        director.handle(first, 0.0)

    found = director.handle(read(left_in_the_kernel()), 0.1)
    waiting = director.handle(first, 0.2)
    settled = director.handle(from_checker(farm.verdicts((TWO, Health.DOWN))), 0.3)

    assert [steps(actions) for actions in (found, waiting, settled)] == [(), (), ()]
    assert ("service_state", "web") not in kinds(settled)


def test_an_adopted_fallback_goes_once_a_server_is_up() -> None:
    director = Director("1", frozenset({KEY}), 0.0)
    director.handle(ev.Configured(CONFIG), 0.0)
    director.handle(read(left_in_the_kernel()), 0.1)

    actions = director.handle(from_checker(farm.verdicts((TWO, Health.UP))), 0.2)

    assert [type(step) for step in steps(actions)] == [
        plan.EditDestination,
        plan.DeleteDestination,
    ]
