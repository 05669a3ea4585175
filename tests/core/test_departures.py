"""What leaves the configuration goes when its connections have ended; pauses."""

from dataclasses import replace

import pytest

from hadirector.core import director_events as ev
from hadirector.core import ipvs, plan, troubles
from hadirector.core.director import Director
from hadirector.core.ipvs import Destination, DestinationUse, ServiceFlags, Usage
from hadirector.core.messages import Health, Process, Ready, Routers
from hadirector.core.settings.cluster import Config
from tests.core import farm
from tests.core.desk import DONE, from_checker, kinds, read, settled, steps
from tests.core.farm import KEY, ONE, TWO, WEB

WITHOUT_TWO = replace(farm.CONFIG, services=(replace(WEB, real_servers=WEB.real_servers[:1]),))
WITHOUT_WEB = replace(farm.CONFIG, services=())
SERVER_TWO = WEB.real_servers[1].destination(1)


def busy(table: ipvs.Table, connections: int = 5) -> ev.KernelRead:
    """A table read, whose second server has connections."""
    uses = {(KEY, TWO): DestinationUse(active=connections, persistent=1)}
    return ev.KernelRead(table, Usage({}, uses if connections else {}), 0.001)


def quiet(server: Destination) -> plan.EditDestination:
    return plan.EditDestination(KEY, replace(server, weight=0), server)


def test_a_server_that_leaves_keeps_weight_0_until_its_connections_have_ended() -> None:
    director = settled()
    director.handle(busy({KEY: farm.entry(3, 1)}), 1.0)

    assert steps(director.handle(ev.Configured(WITHOUT_TWO), 2.0)) == (quiet(SERVER_TWO),)
    director.handle(DONE, 2.0)
    assert steps(director.handle(busy({KEY: farm.entry(3, 0)}, 2), 3.0)) == ()

    ended = director.handle(busy({KEY: farm.entry(3, 0)}, 0), 4.0)

    gone = plan.DeleteDestination(KEY, replace(SERVER_TWO, weight=0))
    assert steps(ended) == (gone,)
    assert kinds(ended) == [("server_left", f"{KEY}/{TWO}")]


def test_whoever_still_has_connections_at_the_deadline_is_removed_all_the_same() -> None:
    director = settled()
    director.handle(busy({KEY: farm.entry(3, 1)}), 1.0)
    director.handle(ev.Configured(WITHOUT_TWO), 2.0)
    director.handle(DONE, 2.0)

    assert steps(director.handle(busy({KEY: farm.entry(3, 0)}), 61.0)) == ()
    late = director.handle(busy({KEY: farm.entry(3, 0)}), 62.0)

    assert [type(step) for step in steps(late)] == [plan.DeleteDestination]


def test_a_service_that_leaves_goes_on_for_the_connections_it_has() -> None:
    director = settled()
    director.handle(busy({KEY: farm.entry(3, 1)}), 1.0)

    left = steps(director.handle(ev.Configured(WITHOUT_WEB), 2.0))

    assert left == (
        quiet(SERVER_TWO),
        plan.DeleteDestination(KEY, farm.entry(3, 1).destinations[ONE]),
    )
    director.handle(DONE, 2.0)
    only_two = ipvs.Entry(WEB.services[0], {TWO: replace(SERVER_TWO, weight=0)})
    assert steps(director.handle(busy({KEY: only_two}, 0), 3.0)) == (plan.DeleteService(KEY),)


@pytest.mark.parametrize("config", [WITHOUT_TWO, WITHOUT_WEB])
def test_nobody_lingers_where_that_is_not_wanted_or_nothing_is_connected(config: Config) -> None:
    for linger, connections in ((0.0, 5), (60.0, 0)):
        director = settled()
        director.handle(busy({KEY: farm.entry(3, 1)}, connections), 1.0)

        found = steps(director.handle(ev.Configured(replace(config, linger=linger)), 2.0))

        assert len(found) == 1
        assert isinstance(found[0], plan.DeleteDestination | plan.DeleteService)


@pytest.mark.parametrize("scheduler", ["mh", "sh"])
def test_a_hash_that_refuses_clients_of_weight_0_lets_nobody_linger(scheduler: str) -> None:
    for flags in (ServiceFlags.NONE, ServiceFlags.SCHED1):
        service = replace(WEB.services[0], scheduler=scheduler, flags=flags)
        web = replace(WEB, services=(service,))
        director = settled()
        director.handle(ev.Configured(replace(farm.CONFIG, services=(web,))), 0.5)
        director.handle(DONE, 0.5)
        director.handle(busy({KEY: farm.entry(3, 1, service)}), 1.0)
        without = replace(web, real_servers=web.real_servers[:1])

        found = steps(
            director.handle(ev.Configured(replace(farm.CONFIG, services=(without,))), 2.0)
        )

        lingers = isinstance(found[0], plan.EditDestination)
        assert lingers is bool(flags)


def test_a_server_that_comes_back_meanwhile_serves_again() -> None:
    director = settled()
    director.handle(busy({KEY: farm.entry(3, 1)}), 1.0)
    director.handle(ev.Configured(WITHOUT_TWO), 2.0)
    director.handle(DONE, 2.0)

    director.handle(ev.Configured(farm.CONFIG), 3.0)
    director.handle(DONE, 3.0)
    back = director.handle(from_checker(farm.verdicts((TWO, Health.UP))), 3.0)

    assert [
        step.destination.weight for step in steps(back) if isinstance(step, plan.EditDestination)
    ]
    director.handle(DONE, 3.0)
    assert steps(director.handle(busy({KEY: farm.entry(3, 1)}), 100.0)) == ()


def test_a_pause_leaves_the_table_alone_and_makes_good_at_its_end() -> None:
    director = settled()
    assert kinds(director.handle(ev.Paused(600.0, "by hand"), 1.0)) == [("ipvs_paused", "lb1")]

    assert steps(director.handle(read({}), 2.0)) == ()
    verdict = from_checker(farm.verdicts((TWO, Health.DOWN)))
    assert steps(director.handle(verdict, 3.0)) == ()
    assert kinds(director.handle(read({}), 4.0)) == []
    ended = director.handle(ev.Paused(0.0), 5.0)

    assert kinds(ended) == [("ipvs_resumed", "lb1")]
    assert steps(ended)[:1] == (plan.AddService(WEB.services[0]),)


def test_a_paused_node_says_why_and_what_is_otherwise_in_the_kernel() -> None:
    director = settled()
    director.handle(ev.Paused(600.0, "by hand"), 1.0)
    director.handle(read({KEY: farm.entry(3, 1)}), 2.0)
    before = troubles.build(director, {})[0]
    director.handle(read({}), 4.0)
    during = troubles.build(director, {})[0]
    director.handle(ev.Paused(0.0), 5.0)

    text = "paused (by hand): no weight changes and nothing is repaired for"
    assert before == f"{text} 599 s more; `hadirector pause --end` ends it"
    assert during == (
        f"{text} 597 s more; in the kernel other than wanted, see `hadirector ipvs`: web; "
        "`hadirector pause --end` ends it"
    )
    assert not any("paused" in trouble for trouble in troubles.build(director, {}))


def test_a_pause_ends_by_itself() -> None:
    director = settled()
    director.handle(ev.Paused(10.0), 1.0)
    director.handle(read({}), 1.0)

    assert director.kernel.deadline() is not None
    ended = director.handle(ev.Woken(), 11.0)
    assert any(isinstance(action, ev.ReadKernel) for action in ended)
    assert steps(ended)[:1] == (plan.AddService(WEB.services[0]),)
    director.handle(DONE, 11.0)
    assert kinds(director.handle(read({KEY: farm.entry(3, 1)}), 11.0))[0][0] == "ipvs_resumed"


def test_a_pause_outlives_the_director_and_is_told_by_the_next_one() -> None:
    director = settled()
    began = director.handle(ev.Paused(600.0, "by hand"), 1.0)
    (stance,) = [action.stance for action in began if isinstance(action, ev.SaveStance)]

    after = Director("1", frozenset({KEY}), 100.0, stance=stance)
    after.handle(ev.Configured(farm.CONFIG), 100.0)
    found = after.handle(read({}), 100.5)
    late = after.handle(ev.Woken(), 601.0)

    text = "IPVS is still left alone for 500 s: an operator works on it: by hand"
    told = [action.event.reason for action in found if isinstance(action, ev.Write)]
    assert (steps(found), told) == ((), [text])
    assert after.readiness().reason != "IPVS is paused: an operator works on it"
    assert steps(late)[:1] == (plan.AddService(WEB.services[0]),)
    assert [a.stance.pause for a in late if isinstance(a, ev.SaveStance)] == [None]


def test_a_node_whose_table_is_paused_is_not_ready() -> None:
    director = settled()
    director.handle(ev.From(Process.ELECTION, Routers(()), 9.0), 1.0)
    before = director.readiness()

    director.handle(ev.Paused(600.0, "by hand"), 1.0)

    assert before.ready
    assert director.readiness() == Ready(False, "IPVS is paused: an operator works on it")
