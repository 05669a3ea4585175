"""The director's core and the kernel: exact actions for the stories that matter."""

from dataclasses import replace

import pytest

from hadirector.core import director_events as ev
from hadirector.core import ipvs, messages, plan
from hadirector.core.address import Endpoint
from hadirector.core.director import Director
from hadirector.core.messages import Health, Process
from tests.core import farm
from tests.core.desk import (
    DONE,
    Kernel,
    from_checker,
    kinds,
    read,
    refused,
    settled,
    started,
    steps,
)
from tests.core.farm import KEY, ONE, TWO


def test_a_configuration_is_told_to_checker_and_election_before_anything_is_read() -> None:
    director = Director("1", frozenset(), 0.0)

    actions = director.handle(ev.Configured(farm.CONFIG), 0.0)

    assert [type(a) for a in actions if not isinstance(a, ev.Write | ev.SendPresence)] == [
        ev.Settle,
        *(5 * [ev.Send]),
        ev.ReadKernel,
        *(3 * [ev.Send]),
    ]
    assert ev.Send(Process.CHECKER, farm.TARGETS, float("inf")) in actions


def test_new_servers_are_programmed_at_weight_0_and_ownership_is_noted_first() -> None:
    director = Director("1", frozenset(), 0.0)
    director.handle(ev.Configured(farm.CONFIG), 0.0)

    actions = director.handle(read({}), 0.0)

    wanted = farm.entry(0, 0)
    assert [a for a in actions if isinstance(a, ev.SaveOwned | ev.Apply)] == [
        ev.SaveOwned(frozenset({KEY})),
        ev.Apply(
            (
                plan.AddService(wanted.service),
                plan.AddDestination(KEY, wanted.destinations[ONE]),
                plan.AddDestination(KEY, wanted.destinations[TWO]),
            )
        ),
    ]


def test_adopted_servers_keep_their_kernel_weight_until_their_first_verdict() -> None:
    director = Director("1", frozenset(), 0.0)
    director.handle(ev.Configured(farm.CONFIG), 0.0)

    adopted = director.handle(read({KEY: farm.entry(2, 1)}), 0.0)
    judged = director.handle(from_checker(farm.verdicts((ONE, Health.UP))), 0.0)

    assert steps(adopted) == ()
    assert steps(judged) == (
        plan.EditDestination(
            KEY, farm.entry(3, 1).destinations[ONE], farm.entry(2, 1).destinations[ONE]
        ),
    )


def test_a_verdict_changes_the_weight_at_once_and_says_why() -> None:
    director = settled()

    actions = director.handle(from_checker(farm.verdicts((ONE, Health.DOWN))), 0.1)

    assert steps(actions) == (
        plan.EditDestination(
            KEY, farm.entry(0, 1).destinations[ONE], farm.entry(3, 1).destinations[ONE]
        ),
    )
    assert kinds(actions) == [("server_down", "web/10.0.1.11:80"), ("service_state", "web")]


def test_a_silent_server_is_removed_and_comes_back_whole() -> None:
    director = settled()

    gone = director.handle(from_checker(farm.verdicts((ONE, Health.DOWN), answered=False)), 0.1)
    director.handle(DONE, 0.1)
    back = director.handle(from_checker(farm.verdicts((ONE, Health.UP))), 0.2)

    assert steps(gone) == (plan.DeleteDestination(KEY, farm.entry(3, 1).destinations[ONE]),)
    assert steps(back) == (plan.AddDestination(KEY, farm.entry(3, 1).destinations[ONE]),)


def test_a_checker_that_starts_anew_takes_no_verdict_away() -> None:
    director = settled()

    actions = director.handle(from_checker(farm.verdicts((ONE, Health.UNKNOWN))), 0.1)

    assert steps(actions) == ()
    assert director.readiness().ready


def test_verdicts_that_come_while_operations_are_under_way_are_applied_after_them() -> None:
    director = settled()
    director.handle(from_checker(farm.verdicts((ONE, Health.DOWN))), 0.1)

    meanwhile = director.handle(from_checker(farm.verdicts((TWO, Health.DOWN))), 0.1)
    after = director.handle(DONE, 0.1)

    assert steps(meanwhile) == ()
    assert steps(after) == (
        plan.EditDestination(
            KEY, farm.entry(0, 0).destinations[TWO], farm.entry(0, 1).destinations[TWO]
        ),
    )


def test_a_flushed_table_is_repaired_at_the_next_read_and_told_as_drift() -> None:
    director = settled()

    actions = director.handle(read(farm.stranger()), 0.5)

    wanted = farm.entry(3, 1)
    assert steps(actions) == (
        plan.AddService(wanted.service),
        plan.AddDestination(KEY, wanted.destinations[ONE]),
        plan.AddDestination(KEY, wanted.destinations[TWO]),
    )
    assert kinds(actions) == [("drift", "tcp 192.0.2.10:80")]


def test_a_table_that_is_as_it_should_be_causes_nothing() -> None:
    director = settled()

    actions = director.handle(read({KEY: farm.entry(3, 1), **farm.stranger()}), 0.4)

    assert steps(actions) == ()
    assert kinds(actions) == []


def test_a_read_that_was_overtaken_by_an_apply_is_not_believed() -> None:
    director = settled()
    director.handle(from_checker(farm.verdicts((ONE, Health.DOWN))), 0.1)

    actions = director.handle(read({KEY: farm.entry(3, 1)}), 0.1)

    assert steps(actions) == ()
    assert kinds(actions) == []


def test_reads_become_sparser_as_the_table_grows() -> None:
    director = settled()

    director.handle(read({KEY: farm.entry(3, 1)}, took=0.001), 1.0)
    cheap = director.handle(ev.Woken(), 1.5)
    director.handle(read({KEY: farm.entry(3, 1)}, took=0.2), 2.0)
    dear = [director.handle(ev.Woken(), 2.0 + wait) for wait in (19.9, 20.0)]

    assert ev.ReadKernel() in cheap
    assert [ev.ReadKernel() in actions for actions in dear] == [False, True]


def test_a_service_that_left_the_configuration_is_deleted_and_a_stranger_never() -> None:
    director = settled()
    table = {KEY: farm.entry(3, 1), **farm.stranger()}
    director.handle(read(table), 0.5)

    actions = director.handle(ev.Configured(replace(farm.CONFIG, services=())), 0.6)

    assert steps(actions) == (plan.DeleteService(KEY),)


def test_a_service_left_by_a_former_life_is_deleted_when_it_is_no_longer_wanted() -> None:
    old = replace(KEY, port=81)
    table: Kernel = {old: ipvs.Entry(ipvs.Service(old, "rr"))}
    director = Director("1", frozenset({old}), 0.0)
    director.handle(ev.Configured(farm.CONFIG), 0.0)

    actions = director.handle(read(table), 0.0)

    assert steps(actions)[-1] == plan.DeleteService(old)


def test_a_reload_that_changes_nothing_of_a_service_does_not_touch_it() -> None:
    director = settled()

    actions = director.handle(ev.Configured(replace(farm.CONFIG, digest="d2")), 0.6)

    assert steps(actions) == ()
    assert kinds(actions) == [("config_reloaded", "lb1")]


def test_a_refused_configuration_changes_nothing_and_is_told() -> None:
    director = settled()

    actions = director.handle(ev.Refused("x.yaml:1:2: error: no"), 0.6)

    assert kinds(actions) == [("config_refused", "lb1")]
    assert steps(actions) == ()


def test_a_silent_checker_freezes_weights_and_is_told_once() -> None:
    director = settled()

    quiet = [kinds(director.handle(ev.Woken(), now)) for now in (4.9, 5.1, 6.0)]
    back = kinds(director.handle(from_checker(messages.Heartbeat(0.0, 0.0)), 7.0))

    assert quiet == [[], [("checker_silent", "lb1")], []]
    assert back == [("checker_back", "lb1")]
    assert director.services.entries[KEY] == farm.entry(3, 1)


def test_a_node_whose_checker_is_silent_does_not_take_over() -> None:
    director = settled()
    hears = ev.From(Process.ELECTION, messages.Routers(()), float("inf"))

    director.handle(hears, 4.9)
    before = director.readiness()
    director.handle(hears, 5.1)
    silent = director.readiness()
    director.handle(from_checker(messages.Heartbeat(0.0, 0.0)), 5.2)

    assert (before.ready, director.readiness().ready) == (True, True)
    assert silent == messages.Ready(False, "the checker is silent")


def test_a_node_that_cannot_reach_its_servers_says_so_and_does_not_take_over() -> None:
    director = settled()
    blind = messages.Blind(("this node cannot reach 10.0.1.11:80: eth1 has no carrier",))
    more = messages.Blind((*blind.reasons, "another"))

    told = [
        kinds(director.handle(from_checker(message), 0.1))
        for message in (messages.Blind(()), blind, more, messages.Blind(()))
    ]

    assert told == [[], [("checker_blind", "lb1")], [], [("checker_sees", "lb1")]]
    director.handle(from_checker(blind), 0.2)
    assert director.readiness() == messages.Ready(False, blind.reasons[0])
    assert director.services.entries[KEY] == farm.entry(3, 1)


def test_a_kernel_without_ipvs_is_told_once_and_asked_again() -> None:
    director = Director("1", frozenset(), 0.0)
    director.handle(ev.Configured(farm.CONFIG), 0.0)

    first = director.handle(ev.KernelUnreadable("no IPVS"), 0.0)
    second = director.handle(ev.KernelUnreadable("no IPVS"), 5.0)
    back = director.handle(read({}), 10.0)

    assert kinds(first) == [("ipvs_lost", "lb1")]
    assert kinds(second) == []
    assert kinds(back)[0] == ("ipvs_back", "lb1")
    assert len(steps(back)) == 3


def test_a_refused_operation_is_told_once_and_makes_the_node_not_ready() -> None:
    director = started({})
    director.handle(from_checker(farm.verdicts((ONE, Health.UP), (TWO, Health.UP))), 0.0)

    first = director.handle(refused("add web: no scheduler"), 0.0)
    director.handle(read({}), 0.5)
    second = director.handle(refused("add web: no scheduler"), 0.5)

    assert kinds(first) == [("ipvs_refused", "lb1")]
    assert kinds(second) == []
    assert director.readiness() == messages.Ready(
        False, "services not programmed: add web: no scheduler"
    )


def test_a_refusal_is_forgotten_once_a_read_shows_nothing_wrong() -> None:
    director = settled()
    director.handle(from_checker(farm.verdicts((ONE, Health.DOWN), answered=False)), 0.1)
    director.handle(refused("remove 10.0.1.11:80: no such destination"), 0.1)

    director.handle(read({KEY: farm.entry(None, 1)}), 0.5)

    assert director.readiness().ready


def test_success_with_one_service_does_not_hide_the_refusal_of_another() -> None:
    director = settled()
    other = replace(KEY, port=81)
    director.handle(from_checker(farm.verdicts((ONE, Health.DOWN))), 0.1)
    director.handle(ev.Applied(frozenset({KEY}), ((other, "no"), (KEY, "neither"))), 0.1)

    director.handle(DONE, 0.2)

    assert director.readiness().reason == "services not programmed: no"


def test_a_verdict_that_came_meanwhile_is_applied_although_the_rest_was_refused() -> None:
    director = settled()
    director.handle(from_checker(farm.verdicts((ONE, Health.DOWN))), 0.1)
    director.handle(from_checker(farm.verdicts((TWO, Health.DOWN))), 0.1)

    actions = director.handle(refused("no"), 0.2)

    assert steps(actions) == (
        plan.EditDestination(
            KEY, farm.entry(0, 0).destinations[TWO], farm.entry(0, 1).destinations[TWO]
        ),
    )


def test_a_service_whose_deletion_was_refused_stays_ours_and_is_deleted_later() -> None:
    director = settled()
    director.handle(ev.Configured(replace(farm.CONFIG, services=())), 0.1)
    director.handle(refused("busy"), 0.1)

    again = director.handle(read({KEY: farm.entry(3, 1)}), 0.5)
    director.handle(DONE, 0.5)
    gone = director.handle(read({}), 1.0)

    assert steps(again) == (plan.DeleteService(KEY),)
    assert [a for a in gone if isinstance(a, ev.SaveOwned)] == [ev.SaveOwned(frozenset())]


def test_quorum_lost_while_a_verdict_was_missing_is_told_when_it_comes() -> None:
    director = Director("1", frozenset(), 0.0)
    service = replace(farm.WEB, quorum=2)
    director.handle(ev.Configured(replace(farm.CONFIG, services=(service,))), 0.0)
    director.handle(read({}), 0.0)

    first = director.handle(from_checker(farm.verdicts((ONE, Health.DOWN))), 0.1)
    second = director.handle(from_checker(farm.verdicts((TWO, Health.UP))), 0.2)
    third = director.handle(from_checker(farm.verdicts((ONE, Health.UP))), 0.3)

    assert ("quorum_lost", "web") not in kinds(first)
    assert ("quorum_lost", "web") in kinds(second)
    assert ("quorum_gained", "web") in kinds(third)


@pytest.mark.parametrize(
    ("judged", "ready"), [((ONE,), False), ((ONE, TWO), True)], ids=["one waits", "all judged"]
)
def test_a_node_is_ready_once_every_server_had_a_verdict(
    judged: tuple[Endpoint, ...], ready: bool
) -> None:
    director = started({})

    director.handle(from_checker(farm.verdicts(*((e, Health.DOWN) for e in judged))), 0.0)

    assert director.readiness().ready is ready


def test_a_restarted_process_is_told_everything_again() -> None:
    director = settled()

    to_checker = director.handle(from_checker(messages.Hello(Process.CHECKER, 7)), 0.1)
    to_election = director.handle(
        ev.From(Process.ELECTION, messages.Hello(Process.ELECTION, 8), float("inf")), 0.1
    )

    known = farm.verdicts((ONE, Health.UP), (TWO, Health.UP)).verdicts
    told = replace(farm.TARGETS, known=known)
    assert to_checker == (ev.Send(Process.CHECKER, told, float("inf")),)
    assert [type(a.message) for a in to_election if isinstance(a, ev.Send)] == [
        messages.ElectionSettings,
        messages.Stance,
        messages.Tracks,
        messages.Ready,
    ]
    again = director.handle(
        ev.From(Process.ELECTION, messages.Hello(Process.ELECTION, 9), float("inf")), 2.1
    )
    assert messages.Peers in [type(a.message) for a in again if isinstance(a, ev.Send)]


def test_the_servers_that_wait_for_a_verdict_are_counted_across_verdicts_and_reloads() -> None:
    director = started({})
    other = replace(farm.WEB, name="other", services=(ipvs.Service(replace(KEY, port=81), "rr"),))

    told = [director.readiness().reason]
    director.handle(from_checker(farm.verdicts((ONE, Health.UP))), 0.1)
    told.append(director.readiness().reason)
    director.handle(ev.Configured(replace(farm.CONFIG, services=(farm.WEB, other))), 0.2)
    told.append(director.readiness().reason)
    director.handle(ev.Configured(replace(farm.CONFIG, services=(other,))), 0.3)
    told.append(director.readiness().reason)
    director.handle(from_checker(farm.verdicts((TWO, Health.DOWN))), 0.4)

    waits = "servers wait for a verdict:"
    assert told == [
        f"2 {waits} web/10.0.1.11:80",
        f"1 {waits} web/10.0.1.12:80",
        f"2 {waits} web/10.0.1.12:80",
        f"1 {waits} other/10.0.1.12:80",
    ]
    assert director.services.unsettled.count == 0


def test_a_checker_that_starts_again_is_told_what_was_known_and_moves_no_weight() -> None:
    director = settled()
    hello = from_checker(messages.Hello(Process.CHECKER, 2))

    greeted = director.handle(hello, 1.0)
    empty = from_checker(farm.verdicts((ONE, Health.UNKNOWN), (TWO, Health.UNKNOWN)))
    unknown = director.handle(empty, 1.1)

    (told,) = [
        a.message
        for a in greeted
        if isinstance(a, ev.Send) and isinstance(a.message, messages.Targets)
    ]
    assert told.targets == farm.TARGETS.targets
    assert [(v.target, v.health) for v in told.known] == [
        (target.id, Health.UP) for target in told.targets
    ]
    assert steps([*greeted, *unknown]) == ()
