"""What `hadirector plan` tells: the steps, whom they touch, and what the pair would do."""

from dataclasses import replace

from hadirector.core import director_events as ev
from hadirector.core import peers, plan, preview
from hadirector.core.address import Address
from hadirector.core.ipvs import DestinationUse, Usage
from hadirector.core.messages import Health
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.instances import Instance, Preempt, VirtualAddress
from hadirector.core.settings.services import OnFailure
from tests.core import farm
from tests.core.desk import DONE, from_checker, read, settled, steps
from tests.core.farm import KEY, TWO, WEB
from tests.core.test_departures import WITHOUT_TWO, busy

VIP = VirtualAddress(farm.KEY.address, 32, "eth0")
FRONT = Instance(
    name="front",
    interface="eth0",
    virtual_router_id=51,
    priority=150,
    version=3,
    advert_int=1.0,
    virtual_addresses=(VIP,),
    peer_priorities=(100,),
)


def with_front(front: Instance, digest: str) -> Config:
    return replace(farm.CONFIG, instances=(front,), digest=digest)


def heard(digest: str, priorities: dict[str, int] | None = None) -> ev.Heard:
    word = peers.Presence("shop", "lb2", 1, 1, digest, "1", True, "all well")
    return ev.Heard(replace(word, priorities=priorities or {}))


def of_the_pair(front: Instance, said: ev.Heard | None, now: float = 1.0) -> preview.Preview:
    """The preview of another `front` on lb1, whose peer said this."""
    director = settled()
    director.handle(ev.Configured(with_front(FRONT, "old")), 0.5)
    for event in (said,) if said is not None else ():
        director.handle(event, now)
    return preview.build(director, with_front(front, "new"), now)


def test_a_preview_names_the_steps_and_who_hangs_on_them_and_changes_nothing() -> None:
    director = settled()
    director.handle(busy({KEY: farm.entry(3, 1)}), 1.0)
    before = director.services.entries, director.config

    told = preview.build(director, WITHOUT_TWO, 2.0)

    assert (director.services.entries, director.config) == before
    (effect,) = told.steps
    assert effect.text == f"remove server {TWO} from {KEY}"
    assert (effect.service, effect.connections, effect.persistent) == ("web", 5, 1)
    assert effect.note.startswith("weight 0 first: 5 connections may end within 1m")
    assert not told.nothing
    assert told.changes == "services: ~web"
    assert (told.elections, told.peers, told.unwritten) == ((), (), "")
    assert preview.build(director, farm.CONFIG, 2.0).nothing
    applied = steps(director.handle(ev.Configured(replace(WITHOUT_TWO, linger=0.0)), 3.0))
    assert [plan.describe(step) for step in applied] == [effect.text]


def test_a_preview_of_what_runs_takes_out_nobody_who_may_stay_a_while() -> None:
    director = settled()
    director.handle(busy({KEY: farm.entry(3, 1)}), 1.0)
    director.handle(ev.Configured(WITHOUT_TWO), 2.0)
    director.handle(DONE, 2.0)
    director.handle(busy({KEY: farm.entry(3, 0)}), 3.0)

    assert preview.build(director, WITHOUT_TWO, 3.5).nothing
    assert steps(director.handle(ev.Configured(WITHOUT_TWO), 4.0)) == ()


def test_a_preview_says_that_connections_are_cut_where_a_hash_lets_nobody_linger() -> None:
    service = replace(WEB.services[0], scheduler="mh")
    web = replace(WEB, services=(service,))
    director = settled()
    director.handle(ev.Configured(replace(farm.CONFIG, services=(web,))), 0.5)
    director.handle(DONE, 0.5)
    director.handle(busy({KEY: farm.entry(3, 1, service)}), 1.0)
    without = replace(web, real_servers=web.real_servers[:1])

    told = preview.build(director, replace(farm.CONFIG, services=(without,)), 2.0)

    assert [effect.note for effect in told.steps] == ["5 connections are cut"]


def test_a_preview_counts_the_clients_of_mh_that_move() -> None:
    service = replace(WEB.services[0], scheduler="mh")
    web = replace(WEB, services=(service,))
    director = settled()
    director.handle(ev.Configured(replace(farm.CONFIG, services=(web,))), 0.5)
    director.handle(DONE, 0.5)
    director.handle(read({KEY: farm.entry(3, 1, service)}), 1.0)
    without = replace(web, real_servers=web.real_servers[:1])

    told = preview.build(director, replace(farm.CONFIG, services=(without,)), 2.0)

    assert 0.2 < told.moved["web"] < 0.3  # its weight was one of four


def test_a_preview_promises_no_time_to_a_server_that_its_checks_take_out() -> None:
    plain = replace(farm.CONFIG, services=(replace(WEB, on_failure=OnFailure.REMOVE),))
    floored = replace(plain, services=(replace(plain.services[0], floor=1.0),))
    director = settled()
    director.handle(ev.Configured(floored), 0.5)
    director.handle(from_checker(farm.verdicts((TWO, Health.DOWN))), 1.0)
    director.handle(DONE, 1.0)
    director.handle(busy({KEY: farm.entry(3, 1)}), 1.5)

    told = preview.build(director, plain, 2.0)

    assert [(step.text, step.note) for step in told.steps] == [
        (f"remove server {TWO} from {KEY}", "5 connections are cut")
    ]


def test_a_preview_says_that_persistent_clients_of_a_server_without_connections_move() -> None:
    director = settled()
    director.handle(busy({KEY: farm.entry(3, 1)}, 0), 1.0)
    use = {(KEY, TWO): DestinationUse(persistent=4)}
    director.handle(ev.KernelRead({KEY: farm.entry(3, 1)}, Usage({}, use), 0.001), 1.5)

    told = preview.build(director, WITHOUT_TWO, 2.0)

    assert [step.note for step in told.steps] == ["4 persistent clients get another server"]


def test_a_preview_during_a_pause_says_that_nothing_is_written() -> None:
    director = settled()
    director.handle(ev.Paused(600.0, "by hand"), 1.0)

    told = preview.build(director, WITHOUT_TWO, 31.0)

    assert told.unwritten == (
        "IPVS is paused: a reload writes nothing to it before the pause ends, in 570s"
    )
    assert [step.text for step in told.steps] == [f"remove server {TWO} from {KEY}"]


def test_a_preview_says_what_the_peer_runs_meanwhile() -> None:
    lower = replace(FRONT, priority=90)

    def said(event: ev.Heard | None, now: float = 1.0) -> str:
        (text,) = of_the_pair(lower, event, now).peers
        return text

    assert said(None) == "lb2 is not heard: what it runs is not known"
    assert said(heard("old")).startswith("lb2 goes on as it is until the file is there too")
    assert said(heard("new")) == "lb2 runs this configuration already"
    assert said(heard("else")).startswith("lb2 runs a configuration that is neither")


def test_a_preview_of_an_edit_for_the_other_node_only_says_that_the_two_will_differ() -> None:
    director = settled()
    director.handle(heard(farm.CONFIG.digest), 1.0)

    told = preview.build(director, replace(farm.CONFIG, digest="new"), 1.5)

    assert told.nothing
    assert len(told.peers) == 1


def test_a_preview_says_who_is_master_by_the_priorities_after_a_reload_here_and_on_all() -> None:
    def told(front: Instance, said: ev.Heard | None = None) -> str:
        (text,) = of_the_pair(front, said).elections
        return text

    assert told(replace(FRONT, priority=90)) == (
        "front: priority 150 -> 90, lb2 is master by priority (100, this node 90)"
    )
    assert told(replace(FRONT, priority=120)) == (
        "front: priority 150 -> 120, this node is master by priority (120, lb2 100)"
    )
    swapped = replace(FRONT, priority=100, peer_priorities=(150,))
    assert told(swapped) == (
        "front: priority 150 -> 100, reloaded here alone whoever is master stays so "
        "(lb2 has 100, too); on all nodes lb2 is master by priority (150, this node 100)"
    )
    assert told(swapped, heard("old", {"front/ipv4": 40, "other/ipv4": 200})) == (
        "front: priority 150 -> 100, reloaded here alone this node is master by priority "
        "(100, lb2 40); on all nodes lb2 is master by priority (150, this node 100)"
    )
    assert told(replace(FRONT, priority=90, preempt=Preempt.NEVER)) == (
        "front: priority 150 -> 90, whoever is master stays so (preempt: never)"
    )
    assert told(replace(FRONT, preempt_delay=5.0)) == "front: changes in place: preempt_delay"


def test_a_preview_of_another_address_says_which_node_has_it() -> None:
    other = replace(VIP, address=Address("192.0.2.99"))
    front = replace(FRONT, virtual_addresses=(other,))

    *alone, lost = of_the_pair(front, heard("old")).elections
    *both, _ = of_the_pair(front, heard("new")).elections

    assert lost.startswith("192.0.2.10: on no instance then: web cannot be reached by it")
    assert alone == [
        "front: gives up 192.0.2.10; a peer that is not reloaded takes it when it is master",
        "front: takes 192.0.2.99 while it is master, and a peer not before it is reloaded",
    ]
    assert both == [
        "front: gives up 192.0.2.10",
        "front: takes 192.0.2.99 while it is master",
    ]
