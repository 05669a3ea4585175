"""core/operations: what speaks against a handover, and what force does."""

from dataclasses import replace

import pytest

from hadirector.core import director_events as ev
from hadirector.core import messages, peers
from hadirector.core.peer_messages import Prepare, TakeOver
from hadirector.core.requests import HandOver, Outcome, Verdict
from tests.core import farm
from tests.core.desk import DONE, from_checker
from tests.core.farm import ONE, TWO
from tests.core.operations_desk import (
    BACKUP,
    KEYED,
    MASTER,
    READY,
    UNREADY,
    Desk,
    master,
    router,
)

# --- refused at once -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("presence", "why"),
    [
        (UNREADY, "lb2 is not ready: IPVS was not read yet"),
        (replace(READY, standby=True), "lb2 is in standby"),
        (replace(READY, routers={"front/ipv4": "fault"}), "front/ipv4 is in fault on lb2"),
        (replace(READY, routers={}), "lb2 does not run front"),
    ],
)
def test_a_peer_that_is_not_fit_is_not_handed_over_to(presence: peers.Presence, why: str) -> None:
    desk = master(presence=presence)

    desk.ask(HandOver("front"))

    text = f"{why} (--force hands over all the same)"
    assert desk.replies == [Outcome(Verdict.REFUSED, (text,))]
    assert desk.events[-1] == ("handover_refused", "front", why)
    assert desk.said == []


def test_a_service_that_is_up_here_and_below_quorum_there_is_against_it() -> None:
    desk = Desk(replace(KEYED, services=(farm.WEB,)))
    desk.feed(from_checker(farm.verdicts((ONE, messages.Health.UP), (TWO, messages.Health.UP))))
    desk.feed(DONE)
    desk.routers(router("front", MASTER), router("inside", MASTER))
    desk.hears(replace(READY, services={"web": False}))

    desk.ask(HandOver("front"))

    assert desk.replies[0].lines[0].startswith("web is below quorum on lb2, and up here")


def test_a_peer_that_fell_silent_is_not_handed_over_to() -> None:
    desk = master()
    desk.wake(2.5)

    desk.ask(HandOver("front"))

    text = "lb2 is silent on the peer channel (--force hands over all the same)"
    assert desk.replies == [Outcome(Verdict.REFUSED, (text,))]


def test_a_peer_whose_signature_is_not_believed_is_named_with_that() -> None:
    desk = master(KEYED, None)
    desk.feed(ev.PeerRefused("lb2", "lb2 signs with a key we do not have (id 2)"))

    desk.ask(HandOver("front"))

    assert desk.replies[0].lines[0].startswith("lb2 signs with a key we do not have (id 2)")
    assert ("peer_refused", "lb2", "lb2 signs with a key we do not have (id 2)") in desk.events


def test_force_hands_over_all_the_same_without_asking() -> None:
    desk = master(presence=UNREADY)

    desk.ask(HandOver("front", force=True))
    desk.obey()

    assert desk.take_said() == [("lb2", TakeOver("t", ("front",)))]
    desk.routers(router("front", BACKUP, since=0.01), router("inside", MASTER))
    warnings = ("forced although lb2 is not ready: IPVS was not read yet",)
    assert desk.replies[0].warnings == warnings


def test_another_configuration_is_a_warning() -> None:
    desk = master(presence=replace(READY, digest="d2"))
    desk.ask(HandOver("front"))
    desk.answer()
    desk.obey()
    desk.routers(router("front", BACKUP), router("inside", MASTER))

    assert desk.replies[0].warnings == ("lb2 runs another configuration than this node",)


@pytest.mark.parametrize(
    ("subject", "verdict", "text"),
    [
        ("frnt", Verdict.FAILED, "no instance or sync group is named 'frnt'; known: front, inside"),
        (
            "inside",
            Verdict.REFUSED,
            "inside: this node is backup; its master is 192.0.2.2: ask there",
        ),
        ("", Verdict.REFUSED, "master of nothing here"),
    ],
)
def test_what_is_not_here_cannot_be_handed_over(subject: str, verdict: Verdict, text: str) -> None:
    desk = Desk()
    desk.routers(router("front", BACKUP), router("inside", BACKUP))
    desk.hears(READY)

    desk.ask(HandOver(subject))

    assert desk.replies == [Outcome(verdict, (text,))]


def test_of_several_peers_the_best_that_is_fit_is_asked() -> None:
    config = replace(KEYED, nodes=(*KEYED.nodes, replace(KEYED.nodes[1], name="lb3", priority=120)))
    desk = master(config)
    desk.hears(replace(READY, node="lb3", ready=False))

    desk.ask(HandOver("front"))
    assert desk.take_said() == [("lb2", Prepare("t", ("front",)))]

    desk.wake(1.0)
    desk.hears(replace(READY, sequence=3))
    desk.hears(replace(READY, node="lb3", sequence=3))
    desk.ask(HandOver("front"), "u")
    assert ("lb3", Prepare("u", ("front",))) in desk.take_said()


def test_who_is_the_best_for_every_instance_is_asked_before_one_that_is_preempted_again() -> None:
    config = replace(KEYED, nodes=(*KEYED.nodes, replace(KEYED.nodes[1], name="lb3", priority=90)))
    desk = master(config, replace(READY, priorities={"front/ipv4": 180, "inside/ipv4": 150}))
    desk.hears(
        replace(READY, node="lb3", priorities={"front/ipv4": 200, "inside/ipv4": 150}),
    )

    desk.ask(HandOver())

    assert [node for node, _ in desk.take_said()] == ["lb3"]
