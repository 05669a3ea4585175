"""core/takeover: a peer's director asks, as the successor's lives through it."""

from dataclasses import replace

import pytest

from hadirector.core import director_events as ev
from hadirector.core.messages import OrderKind, RouterStateName
from hadirector.core.peer_messages import Answer, Prepare, TakeOver
from hadirector.core.requests import HandOver
from hadirector.core.stance import Since, Stance
from tests.core import farm
from tests.core.operations_desk import (
    BACKUP,
    FAULT,
    KEYED,
    Desk,
    master,
    router,
)

# --- asked by a peer -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stance", "state", "refusal"),
    [
        (Stance(), BACKUP, ""),
        (Stance(None, {"front": Since(0.0, "x")}), BACKUP, ""),
        (Stance(Since(0.0, "x")), BACKUP, "in standby"),
        (Stance(), FAULT, "front/ipv4 is in fault: told by the test"),
    ],
    ids=["fit", "held", "standby", "fault"],
)
def test_a_peer_is_told_whether_this_node_would(
    stance: Stance, state: RouterStateName, refusal: str
) -> None:
    desk = Desk(KEYED, stance)
    desk.routers(router("front", state), router("inside", BACKUP))

    desk.feed(ev.PeerSaid("lb2", Prepare("p", ("front",))))

    assert desk.take_said() == [("lb2", Answer("p", taken=False, refusal=refusal))]
    assert desk.orders == []


def test_a_node_that_is_not_ready_or_hands_over_itself_would_not() -> None:
    desk = Desk(replace(KEYED, services=(farm.WEB,)))
    desk.routers(router("front", BACKUP), router("inside", BACKUP))
    desk.feed(ev.PeerSaid("lb2", Prepare("p", ("front",))))
    busy = master()
    busy.ask(HandOver("front"))
    busy.take_said()
    busy.feed(ev.PeerSaid("lb2", Prepare("p", ("front",))))

    refusals = [
        said.refusal for d in (desk, busy) for _, said in d.said if isinstance(said, Answer)
    ]
    assert refusals[0].startswith("not ready: ")
    assert refusals[1] == "it is handing over itself"


def test_a_takeover_is_ordered_once_and_answered_when_the_election_has() -> None:
    desk = Desk()
    desk.routers(router("front", BACKUP), router("inside", BACKUP))
    asks = ev.PeerSaid("lb2", TakeOver("p", ("front", "inside")))

    desk.feed(asks)
    desk.feed(asks)
    assert [(o.kind, o.subject) for o in desk.orders] == [
        (OrderKind.TAKE_OVER, "front"),
        (OrderKind.TAKE_OVER, "inside"),
    ]
    assert desk.take_said() == []

    desk.obey()
    desk.feed(asks)

    assert desk.take_said() == [("lb2", Answer("p", taken=True))] * 2


def test_a_takeover_that_the_election_refuses_is_refused_with_its_reason() -> None:
    desk = Desk()
    desk.feed(ev.PeerSaid("lb2", TakeOver("p", ("front",))))

    desk.obey("front is in init: starting")

    answer = Answer("p", taken=True, refusal="front is in init: starting")
    assert desk.take_said() == [("lb2", answer)]
