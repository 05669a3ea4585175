"""The director's core, its peers, its journal and the way it leaves."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from hadirector.core import director_events as ev
from hadirector.core import ipvs, messages, peers, plan, troubles
from hadirector.core.address import Address
from hadirector.core.director import Director
from hadirector.core.journal import GRAVE
from hadirector.core.messages import Health, Process, ProcessState
from hadirector.core.settings.cluster import Node
from tests.core import farm
from tests.core.desk import from_checker, kinds, read, settled
from tests.core.farm import KEY, ONE, TWO


def presence(digest: str = "d1", sequence: int = 1) -> peers.Presence:
    return peers.Presence("shop", "lb2", 1, sequence, digest, "1", True, "all well")


def from_supervisor(*states: ProcessState) -> ev.From:
    return ev.From(Process.SUPERVISOR, messages.Processes(states), float("inf"))


def test_our_own_reload_tells_that_the_peer_runs_another_configuration() -> None:
    director = settled()
    director.handle(ev.Heard(presence()), 0.1)

    actions = director.handle(ev.Configured(replace(farm.CONFIG, digest="d2")), 0.2)

    assert ("config_drift", "lb2") in kinds(actions)


def test_the_journal_goes_on_where_a_former_life_ended() -> None:
    past = messages.Event(41, -5.0, "server_down", "web", "refused")

    director = Director("1", frozenset(), 0.0, past=(past,))
    director.handle(ev.Configured(farm.CONFIG), 0.0)

    assert [e.number for e in director.journal.since(0)] == [41, 42]


def test_a_director_that_starts_tells_no_news_of_servers_that_served_all_along() -> None:
    director = Director("1", frozenset({KEY}), 0.0)
    director.handle(ev.Configured(farm.CONFIG), 0.0)

    early = director.handle(from_checker(farm.verdicts((ONE, Health.UP))), 0.0)
    first = director.handle(read({KEY: farm.entry(3, 1)}), 0.1)
    late = director.handle(from_checker(farm.verdicts((TWO, Health.UP))), 0.2)

    assert [kinds(actions) for actions in (early, first, late)] == [[], [], []]
    assert director.readiness().ready


def test_a_server_that_was_down_in_the_kernel_and_is_up_is_news_at_a_start() -> None:
    director = Director("1", frozenset({KEY}), 0.0)
    director.handle(ev.Configured(farm.CONFIG), 0.0)
    director.handle(read({KEY: farm.entry(0, 1)}), 0.1)

    actions = director.handle(from_checker(farm.verdicts((ONE, Health.UP))), 0.2)

    assert kinds(actions) == [("server_up", "web/10.0.1.11:80")]


def test_a_reload_tells_what_it_changed() -> None:
    director = settled()
    dns = replace(farm.WEB, name="dns", services=(ipvs.Service(replace(KEY, port=53), "rr"),))
    new = replace(
        farm.CONFIG,
        digest="d2",
        services=(replace(farm.WEB, quorum=2), dns),
        timeouts=ipvs.Timeouts(tcp=60),
    )

    actions = director.handle(ev.Configured(new), 0.2)

    told = next(a.event.reason for a in actions if isinstance(a, ev.Write))
    assert told == "services: +dns ~web; changed: timeouts; digest d2"


def test_a_dead_election_is_not_told_as_master_any_more() -> None:
    director = settled()
    router = messages.Router(
        "front",
        4,
        messages.RouterStateName.MASTER,
        150,
        150,
        None,
        0.0,
        "won",
        {},
        (),
        {},
        True,
    )
    election = messages.ProcessState(Process.ELECTION, 0, 0.0, 1, 0.0, 0.0, alive=False)
    director.handle(ev.From(Process.ELECTION, messages.Routers((router,)), float("inf")), 0.1)

    director.handle(ev.From(Process.SUPERVISOR, messages.Processes((election,)), float("inf")), 0.2)

    assert [r.state for r in director.routers] == [messages.RouterStateName.INIT]


def test_a_peer_that_speaks_is_alive_and_one_that_falls_silent_is_told() -> None:
    director = settled()

    heard = director.handle(ev.Heard(presence()), 0.1)
    silent = director.handle(ev.Woken(), 2.2)

    assert kinds(heard) == [("peer_up", "lb2")]
    assert ev.Send(Process.ELECTION, messages.Peers((messages.Peer("lb2", True),)), 5.0) in heard
    assert kinds(silent) == [("peer_down", "lb2")]
    assert ev.Send(Process.ELECTION, messages.Peers((messages.Peer("lb2", False),)), 5.0) in silent


def test_a_peer_that_does_not_hear_us_is_told_here_as_well_after_a_while() -> None:
    director, told = settled(), list[tuple[str, str]]()

    def hear(seconds: float, hears: tuple[str, ...] | None) -> list[str]:
        """Twice a second, for so long; the troubles about it."""
        for _ in range(int(seconds * 2)):
            now = director.turned_at + 0.5
            word = replace(presence(sequence=int(now * 2)), hears=hears)
            told.extend(kinds(director.handle(ev.Heard(word), now)))
        return [text for text in troubles.build(director, {}) if text.startswith("lb2")]

    starts = hear(2.0, ())  # it has not heard anybody yet
    apart = hear(1.0, ("lb3",))
    again = hear(0.5, ("lb3", "lb1"))

    assert starts == again == []
    assert apart == [
        "lb2 says that it does not hear this node on the peer channel: what goes there by UDP port "
        "8849 is dropped on the way"
    ]
    assert told == [("peer_up", "lb2"), ("peer_deaf", "lb2"), ("peer_hears", "lb2")]
    assert {kind for kind, _ in told} & GRAVE == {"peer_deaf"}
    assert hear(5.0, None) == []  # of a release that does not tell


def test_a_presence_names_the_peers_that_are_heard() -> None:
    director = settled()

    def hears(event: ev.Event, now: float) -> tuple[str, ...] | None:
        said = [a for a in director.handle(event, now) if isinstance(a, ev.SendPresence)]
        return said[-1].presence.hears

    assert hears(ev.Woken(), 1.0) == ()
    director.handle(ev.Heard(presence()), 1.1)
    assert hears(ev.Woken(), 2.0) == ("lb2",)
    assert hears(ev.Woken(), 4.0) == ()


def peers_told(actions: Sequence[ev.Action]) -> list[messages.Peers]:
    return [
        a.message
        for a in actions
        if isinstance(a, ev.Send) and isinstance(a.message, messages.Peers)
    ]


def test_a_director_that_starts_calls_no_peer_dead_before_it_could_have_spoken() -> None:
    director = settled()

    early = [director.handle(ev.Woken(), 0.1 * turn) for turn in range(20)]
    late = [director.handle(ev.Woken(), 0.1 * turn) for turn in range(20, 40)]

    dead = messages.Peers((messages.Peer("lb2", False),))
    assert [told for actions in early for told in peers_told(actions)] == []
    assert next(told for actions in late for told in peers_told(actions)) == dead


def test_a_peer_that_spoke_is_told_at_once_and_a_reload_does_not_unsay_it() -> None:
    director = settled()
    alive = messages.Peers((messages.Peer("lb2", True),))

    first = director.handle(ev.Heard(presence()), 0.1)
    reloaded = director.handle(ev.Configured(replace(farm.CONFIG, digest="d2")), 0.2)

    assert peers_told(first) == [alive]
    assert peers_told(reloaded) == [alive]


def test_a_reload_that_adds_a_node_waits_for_its_word_too() -> None:
    director = settled()
    director.handle(ev.Woken(), 5.0)
    lb3 = Node("lb3", 90, Address("198.51.100.3"))
    only_lb3 = replace(farm.CONFIG, digest="d2", nodes=(farm.CONFIG.nodes[0], lb3))

    reloaded = director.handle(ev.Configured(only_lb3), 5.1)
    heard = director.handle(ev.Heard(replace(presence(), node="lb3")), 5.3)

    assert peers_told(reloaded) == []
    assert peers_told(heard) == [messages.Peers((messages.Peer("lb3", True),))]


def state(process: Process, restarts: int, ended: str = "", since: float = -9.0) -> ProcessState:
    return ProcessState(process, 7, since, restarts, 0.0, 0.0, alive=True, ended=ended)


def test_a_process_that_died_is_told_once_with_how_it_died() -> None:
    director = settled()
    killed = state(Process.CHECKER, 1, "died (SIGKILL)")

    told = [
        director.handle(from_supervisor(state(Process.SUPERVISOR, 0), one), 0.1)
        for one in (state(Process.CHECKER, 0), killed, killed)
    ]

    assert [kinds(actions) for actions in told] == [[], [("process_died", "checker")], []]
    assert director.journal.since(0)[-1].reason == "died (SIGKILL); a new one takes its place"
    assert "process_died" in GRAVE


def test_a_process_that_left_in_order_is_no_death() -> None:
    director = settled()
    director.handle(from_supervisor(state(Process.CHECKER, 0)), 0.1)

    assert kinds(director.handle(from_supervisor(state(Process.CHECKER, 1)), 0.2)) == []


@pytest.mark.parametrize(
    ("told", "at", "news"),
    [("1", 0.0, False), ("2", 0.0, True), ("1", -20.0, True)],
    ids=["told by the forerunner", "another death", "of a daemon before this one"],
)
def test_a_new_director_tells_of_the_death_of_its_forerunner_and_repeats_nothing(
    told: str, at: float, news: bool
) -> None:
    past = messages.Event(41, at, "process_died", "director", "died", {"restarts": told})
    director = Director("1", frozenset(), 0.0, past=(past,))
    director.handle(ev.Configured(farm.CONFIG), 0.0)

    supervisor, died = state(Process.SUPERVISOR, 0), state(Process.DIRECTOR, 1, "died (SIGSEGV)")
    actions = director.handle(from_supervisor(supervisor, died), 0.1)

    assert (("process_died", "director") in kinds(actions)) is news


def test_another_configuration_at_the_peer_is_told_once_and_its_end_too() -> None:
    director = settled()

    told = [
        kinds(director.handle(ev.Heard(presence(digest, sequence)), 0.1))
        for sequence, digest in enumerate(("d1", "d2", "d2", "d1"), start=1)
    ]

    assert told == [
        [("peer_up", "lb2")],
        [("config_drift", "lb2")],
        [],
        [("config_same", "lb2")],
    ]


def test_an_old_or_foreign_presence_is_counted_and_changes_nothing() -> None:
    director = settled()
    director.handle(ev.Heard(presence(sequence=5)), 0.1)

    old = director.handle(ev.Heard(presence("d9", sequence=4)), 0.2)
    foreign = director.handle(ev.Heard(replace(presence("d9", 6), cluster="other")), 0.2)

    assert kinds([*old, *foreign]) == []
    assert director.peers is not None
    assert director.peers.refused == 2


def test_a_peer_whose_clock_was_set_back_is_believed_once_it_was_silent() -> None:
    director = settled()
    director.handle(ev.Heard(replace(presence(), incarnation=9)), 0.1)

    refused = director.handle(ev.Heard(replace(presence(), incarnation=3)), 0.2)
    director.handle(ev.Woken(), 2.2)
    believed = director.handle(ev.Heard(replace(presence(), incarnation=3)), 2.3)

    assert kinds(refused) == []
    assert kinds(believed) == [("peer_up", "lb2")]


def test_leaving_takes_every_service_of_ours_and_no_other() -> None:
    director = settled()
    director.handle(read({KEY: farm.entry(3, 1), **farm.stranger()}), 0.5)

    assert director.kernel.leaving() == (plan.DeleteService(KEY),)


@pytest.mark.parametrize("weights", [(3, 0), (0, 0)], ids=["degraded", "down"])
def test_a_new_director_tells_no_old_news_of_a_service_that_was_hurt_before(
    weights: tuple[int, int],
) -> None:
    director = Director("1", frozenset({KEY}), 0.0)
    director.handle(ev.Configured(farm.CONFIG), 0.0)
    director.handle(read({KEY: farm.entry(*weights)}), 0.1)

    healths = (Health.UP if weight else Health.DOWN for weight in weights)
    verdicts = farm.verdicts(*zip((ONE, TWO), healths, strict=True))
    actions = director.handle(from_checker(verdicts), 0.2)

    assert kinds(actions) == []
