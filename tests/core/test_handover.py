"""core/operations: a handover as the master's director lives through it."""

from dataclasses import replace

from hadirector.core import director_events as ev
from hadirector.core import messages
from hadirector.core.messages import OrderKind
from hadirector.core.peer_messages import Answer, Prepare, TakeOver
from hadirector.core.requests import HandOver, Outcome, Release, StandBy, Verdict
from hadirector.core.stance import Since
from tests.core.operations_desk import (
    BACKUP,
    GROUP,
    KEYED,
    KEYLESS,
    MASTER,
    READY,
    Desk,
    master,
    router,
)

HOLDS = "this node holds back, also after a reboot, until `hadirector release front`"
OUT = "this node stays out, also after a reboot, until `hadirector standby off`"

# --- a handover with a key -------------------------------------------------------------------


def test_the_successor_is_asked_then_the_own_election_yields_then_the_successor_takes_over() -> (
    None
):
    desk = master()

    desk.ask(HandOver("front", reason="new NIC"))
    assert desk.take_said() == [("lb2", Prepare("t", ("front",)))]
    assert desk.orders == []
    assert desk.level == messages.Stance()

    desk.answer()
    assert desk.orders == [messages.Order(OrderKind.YIELD, "t/front", "front")]
    assert desk.level == messages.Stance(held=("front",))
    assert desk.take_said() == []

    desk.now = 0.002
    desk.obey()
    assert desk.take_said() == [("lb2", TakeOver("t", ("front",)))]

    desk.answer(taken=True)
    desk.now = 0.03
    desk.routers(router("front", BACKUP, since=0.011), router("inside", MASTER))
    assert desk.replies == [Outcome(Verdict.DONE, ("front: lb2 took over in 9 ms", HOLDS))]
    assert desk.saved[-1].holds == {"front": Since(0.0, "handed over to lb2: new NIC")}
    assert desk.events[-1] == ("handover", "front", "lb2 took over in 9 ms")


def test_what_is_waited_for_is_told_in_each_phase() -> None:
    desk = master()

    def waits() -> str | None:
        return desk.core.operations.waits(desk.now)

    assert waits() is None
    desk.ask(HandOver("front"))
    asked = waits()
    desk.answer()
    yielding = waits()
    desk.obey()
    given_up = waits()
    desk.routers(router("front", BACKUP), router("inside", MASTER))

    assert asked == "front: lb2 is asked whether it is ready (1 s at most)"
    assert yielding == "front: this node's election is to give up (2 s at most)"
    assert given_up == (
        "front: given up, and forwarding until lb2 is heard as master (5 s at most)"
    )
    assert waits() is None


def test_questions_are_repeated_until_they_are_answered() -> None:
    desk = master()
    desk.ask(HandOver("front"))
    for tenth in (1, 2, 3):
        desk.wake(tenth * 0.101)
    assert [said for _, said in desk.take_said()] == [Prepare("t", ("front",))] * 4

    desk.answer()
    desk.obey()
    for tenth in (5, 6):
        desk.wake(tenth * 0.101)
    assert [said for _, said in desk.take_said()] == [TakeOver("t", ("front",))] * 3

    desk.answer(taken=True)
    desk.wake(0.9)
    assert desk.take_said() == []


def test_what_moves_together_is_handed_over_and_held_together() -> None:
    desk = master(GROUP)

    desk.ask(HandOver("inside"))
    desk.answer()
    desk.obey()

    assert desk.take_orders() == [(OrderKind.YIELD, "front"), (OrderKind.YIELD, "inside")]
    assert desk.level == messages.Stance(held=("front", "inside"))
    desk.routers(router("front", BACKUP), router("inside", MASTER, leaving=True))
    assert desk.replies == []
    desk.routers(router("front", BACKUP), router("inside", BACKUP))
    assert desk.replies[0].verdict is Verdict.DONE


def test_without_a_name_all_that_this_node_is_master_of_is_handed_over() -> None:
    desk = Desk()
    desk.routers(router("front", BACKUP), router("inside", MASTER))
    desk.hears(READY)

    desk.ask(HandOver())
    desk.answer()

    assert desk.take_orders() == [(OrderKind.YIELD, "inside")]


def test_of_families_that_are_not_coupled_the_one_this_node_has_is_handed_over() -> None:
    desk = Desk()
    desk.routers(router("front", BACKUP), router("front", MASTER, family=6))
    desk.hears(READY)

    desk.ask(StandBy(on=True))
    desk.answer()
    desk.obey()
    desk.routers(router("front", BACKUP), router("front", BACKUP, since=0.02, family=6))

    assert desk.take_orders() == [(OrderKind.YIELD, "front/ipv6")]
    assert ("lb2", TakeOver("t", ("front/ipv6",))) in desk.take_said()
    assert desk.replies == [Outcome(Verdict.DONE, ("front: lb2 took over in 20 ms", OUT))]


def test_a_successor_that_refuses_costs_nothing() -> None:
    desk = master()
    desk.ask(HandOver("front"))

    desk.answer("not ready: 3 servers wait for a verdict")

    text = "lb2: not ready: 3 servers wait for a verdict (--force hands over all the same)"
    assert desk.replies == [Outcome(Verdict.REFUSED, (text,))]
    assert desk.orders == []
    assert desk.saved == []


def test_a_successor_that_does_not_answer_is_none() -> None:
    desk = master()
    desk.ask(HandOver("front"))
    desk.hears(replace(READY, sequence=2))

    desk.wake(1.0)

    text = "lb2 does not answer on the peer channel (--force hands over all the same)"
    assert desk.replies == [Outcome(Verdict.REFUSED, (text,))]
    assert desk.orders == []


def test_a_successor_that_cannot_makes_this_node_go_on_at_once() -> None:
    desk = master()
    desk.ask(HandOver("front"))
    desk.answer()
    desk.obey()
    desk.take_orders()

    desk.answer("front is in fault: eth0 is down", taken=True)

    assert desk.take_orders() == [(OrderKind.TAKE_OVER, "front")]
    assert desk.level == messages.Stance()
    text = "lb2 could not take over: front is in fault: eth0 is down; this node goes on"
    assert desk.replies == [Outcome(Verdict.FAILED, (text,))]


def test_if_nobody_takes_over_the_hold_ends_and_that_is_told() -> None:
    desk = master()
    desk.ask(HandOver("front"))
    desk.answer()
    desk.obey()
    desk.routers(router("front", MASTER, leaving=True), router("inside", MASTER))

    desk.now = 1.0
    desk.routers(router("front", MASTER), router("inside", MASTER))

    text = "front: nobody took over; this node is master again"
    assert desk.replies == [Outcome(Verdict.FAILED, (text,))]
    assert desk.level == messages.Stance()
    assert desk.events[-1][0] == "handover_failed"


def test_a_report_from_before_the_order_is_not_taken_for_a_failure() -> None:
    desk = master()
    desk.ask(HandOver("front"))
    desk.answer()
    desk.obey()

    desk.routers(router("front", MASTER), router("inside", MASTER))

    assert desk.replies == []


def test_an_election_that_tells_nothing_is_not_waited_for_for_ever() -> None:
    desk = master()
    desk.ask(HandOver("front"))
    desk.answer()
    desk.wake(1.9)
    assert desk.replies == []

    desk.wake(2.0)

    assert desk.replies == [Outcome(Verdict.FAILED, ("the election does not answer",))]
    assert desk.level == messages.Stance()


def test_one_handover_at_a_time() -> None:
    desk = master()
    desk.ask(HandOver("front"))

    for request in (HandOver("inside"), Release(), StandBy(on=True)):
        desk.ask(request, "another")

    text = "a handover of front is under way"
    assert desk.replies == [Outcome(Verdict.REFUSED, (text,))] * 3


def test_answers_of_others_or_to_others_change_nothing() -> None:
    desk = master()
    desk.ask(HandOver("front"))

    desk.feed(ev.PeerSaid("lb3", Answer("t", taken=False)))
    desk.answer(token="older")
    desk.answer(taken=True)

    assert desk.orders == []


# --- without a key, and with strangers -------------------------------------------------------


def test_without_a_key_priority_0_alone_moves_it() -> None:
    desk = master(KEYLESS)

    desk.ask(HandOver("front"))
    desk.obey()
    assert desk.take_said() == []
    desk.routers(router("front", BACKUP, since=0.612), router("inside", MASTER))

    assert desk.replies == [Outcome(Verdict.DONE, ("front: lb2 took over in 612 ms", HOLDS))]


def test_beside_a_foreign_router_it_is_tried_and_told() -> None:
    desk = master(KEYED, None)

    desk.ask(HandOver("front"))
    desk.obey()
    desk.routers(router("front", BACKUP, since=1.5), router("inside", MASTER))

    warning = (
        "lb2 was never heard on the peer channel: handing over by priority 0, to whoever hears it"
    )
    lines = ("front: 192.0.2.2 took over in 1.5 s", HOLDS)
    assert desk.replies == [Outcome(Verdict.DONE, lines, (warning,))]
