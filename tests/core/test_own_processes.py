"""What a director says of processes that hang or died, and of peers it never heard."""

import json
from dataclasses import replace
from typing import Any

import pytest

from hadirector.core import director_events as ev
from hadirector.core import messages, peers, status
from hadirector.core.address import Address
from hadirector.core.director import Director
from hadirector.core.messages import Process, ProcessState, RouterStateName
from hadirector.core.settings.cluster import LeaseMode, VipLease
from tests.core import farm
from tests.core.desk import from_checker, kinds, settled

MASTER = messages.Router(
    instance="front",
    family=4,
    state=RouterStateName.MASTER,
    priority=150,
    effective_priority=150,
    master=Address("198.51.100.1"),
    since=0.0,
    reason="won",
    inputs={},
    addresses=("192.0.2.10/24",),
    counters={},
    leased=True,
)


def report(director: Director, at: float) -> tuple[ev.Action, ...]:
    word = ev.From(Process.ELECTION, messages.Routers((MASTER,)), float("inf"))
    return director.handle(word, at)


def turn(director: Director, begin: float, end: float) -> list[ev.Action]:
    """Let it turn each half second, as it does; the checker speaks all the time."""
    steps = range(round(begin * 2), round(end * 2) + 1)
    alive = from_checker(messages.Heartbeat(0.0, 0.0))
    return [action for step in steps for action in director.handle(alive, step / 2)]


def told(director: Director) -> Any:
    return json.loads(json.dumps(status.build(director, status.Shell(), 0.0, {})))


def presence(actions: "list[ev.Action] | tuple[ev.Action, ...]") -> dict[str, str]:
    return [a.presence.routers for a in actions if isinstance(a, ev.SendPresence)][-1]


def test_an_election_that_hangs_is_not_told_as_master_to_anybody() -> None:
    director = settled()
    report(director, 0.5)

    actions = turn(director, 0.5, 4.0)

    assert kinds(actions) == [("election_silent", "election")]
    router = director.routers[0]
    assert (router.state, router.leased) == (RouterStateName.INIT, False)
    assert "silent for more than 3 s" in router.reason
    assert any("the election is silent" in text for text in told(director)["trouble"])
    assert not director.readiness().ready
    assert presence(actions) == {}


def test_an_election_that_speaks_again_is_believed_and_that_is_told() -> None:
    director = settled()
    report(director, 0.5)
    turn(director, 0.5, 4.0)

    actions = report(director, 4.5)

    assert kinds(actions) == [("election_back", "election")]
    assert director.routers == (MASTER,)
    assert director.readiness().ready
    assert presence(actions) == {"front/ipv4": "master"}


def test_a_director_that_stood_still_itself_does_not_blame_the_election() -> None:
    director = settled()
    report(director, 0.5)

    news = kinds(director.handle(ev.Woken(), 30.0))

    assert ("election_silent", "election") not in news
    assert director.routers == (MASTER,)


def test_an_election_that_never_spoke_is_told_after_the_time_a_start_takes() -> None:
    director = settled()

    assert ("election_silent", "election") not in kinds(turn(director, 0.5, 14.5))
    assert ("election_silent", "election") in kinds(turn(director, 15.0, 16.0))


def test_a_dead_election_holds_no_lease_and_is_not_ready() -> None:
    director = settled()
    report(director, 0.5)
    dead = ProcessState(Process.ELECTION, 0, 0.0, 1, 0.0, 0.0, alive=False, ended="died (SIGKILL)")

    director.handle(ev.From(Process.SUPERVISOR, messages.Processes((dead,)), float("inf")), 0.6)

    assert not director.routers[0].leased
    assert "died" in director.readiness().reason
    assert told(director)["trouble"] == [
        "the election process is not running: died (SIGKILL); a new one starts"
    ]


def test_a_process_that_was_started_again_is_a_trouble_for_a_minute() -> None:
    director = settled()
    fresh = ProcessState(Process.CHECKER, 7, 5.0, 2, 0.0, 0.0, alive=True, ended="died (SIGKILL)")
    turn(director, 0.5, 5.0)
    director.handle(ev.From(Process.SUPERVISOR, messages.Processes((fresh,)), float("inf")), 5.1)

    early = told(director)["trouble"]
    turn(director, 65.5, 66.0)

    assert early == ["the checker process died (SIGKILL) and was started again, restart 2"]
    assert "checker process" not in " ".join(told(director)["trouble"])


def test_a_process_that_left_in_order_is_no_trouble() -> None:
    director = settled()
    fresh = ProcessState(Process.CHECKER, 7, 0.0, 1, 0.0, 0.0, alive=True)
    director.handle(ev.From(Process.SUPERVISOR, messages.Processes((fresh,)), float("inf")), 0.1)

    assert told(director)["trouble"] == []


@pytest.mark.parametrize(
    ("mode", "says"),
    [(LeaseMode.AUTO, "virtual addresses are permanent"), (LeaseMode.OFF, "wrong on either side")],
)
def test_a_peer_that_never_spoke_is_told_with_what_it_means(mode: LeaseMode, says: str) -> None:
    director = settled()
    director.handle(ev.Configured(replace(farm.CONFIG, vip_lease=VipLease(mode))), 0.1)

    early = kinds(turn(director, 0.5, 9.5))
    late = kinds(turn(director, 10.0, 12.0))
    again = kinds(turn(director, 12.5, 14.0))

    assert ("peer_missing", "lb2") not in early + again
    assert late.count(("peer_missing", "lb2")) == 1
    trouble = [text for text in told(director)["trouble"] if "lb2 was never heard" in text]
    assert len(trouble) == 1
    assert says in trouble[0]


def test_a_peer_that_spoke_in_time_is_never_missed() -> None:
    director = settled()

    word = peers.Presence("shop", "lb2", 1, 1, "d1", "1", True, "all well")
    turn(director, 0.5, 11.0)
    director.handle(ev.Heard(word), 11.1)

    assert not any("never heard" in text for text in told(director)["trouble"])
