"""core/election: what operators want of it: handover, hold, standby."""

from dataclasses import replace

import pytest

from hadirector.core import messages
from hadirector.core.election_types import Note
from hadirector.core.mastership import SUCCESSOR_SETTLES
from tests.core.electorate import (
    FRONT,
    Electorate,
    links,
    order,
    pair,
    settings,
    words,
)


def test_a_handover_moves_mastership_and_it_stays_moved_until_released() -> None:
    electorate = pair()
    electorate.tell("lb1", messages.Stance(held=("front",)))
    electorate.tell("lb1", order(messages.OrderKind.YIELD, "front", "1"))
    electorate.tell("lb1", order(messages.OrderKind.YIELD, "front", "1"))  # once is once
    electorate.run(60.0)
    assert electorate.holders() == ["lb2"]

    electorate.tell("lb1", messages.Stance())
    electorate.run(5.0)

    assert electorate.holders() == ["lb1"]


def test_a_new_process_holds_back_as_it_is_told_to() -> None:
    electorate = pair()
    del electorate.nodes["lb1"]
    electorate.run(5.0)
    assert electorate.holders() == ["lb2"]

    electorate.join("lb1", settings(FRONT))
    electorate.tell("lb1", messages.Stance(held=("front",)))
    electorate.run(60.0)

    assert electorate.holders() == ["lb2"]


@pytest.mark.parametrize("stance", [messages.Stance(held=("front",)), messages.Stance(True)])
def test_not_even_an_owner_of_the_addresses_begins_before_it_knows_that_it_gave_them_away(
    stance: messages.Stance,
) -> None:
    electorate = Electorate()
    owner = replace(FRONT, priority=255)
    told = replace(settings(owner), stance=stance)

    electorate.join("lb1", told)

    assert electorate.holders() == []
    electorate.join("lb3", settings(owner))
    assert electorate.holders() == ["lb3"]


def test_an_order_is_obeyed_once_and_answered_as_often_as_it_comes() -> None:
    electorate = pair()
    yields = order(messages.OrderKind.YIELD, "front", "1")

    first, again = electorate.tell("lb1", yields), electorate.tell("lb1", yields)

    assert first[0] == messages.Obeyed("1")
    assert words(first) == ["front advert 0", "front leaving"]
    assert again == (messages.Obeyed("1"),)
    assert electorate.nodes["lb1"].routers()[0].leaving


@pytest.mark.parametrize(
    ("node", "kind", "subject", "why"),
    [
        ("lb1", messages.OrderKind.YIELD, "nosuch", "no such instance or sync group"),
        ("lb2", messages.OrderKind.YIELD, "front", "front is not master here"),
        ("lb2", messages.OrderKind.TAKE_OVER, "front", "front is in fault: eth0 is down"),
    ],
)
def test_an_order_that_cannot_be_obeyed_is_refused_with_its_reason(
    node: str, kind: messages.OrderKind, subject: str, why: str
) -> None:
    electorate = pair()
    if kind is messages.OrderKind.TAKE_OVER:
        electorate.tell("lb2", links(2, eth0=False))

    actions = electorate.tell(node, order(kind, subject))

    assert actions[0] == messages.Obeyed("t", why)
    assert words(actions) == [f"{subject} order_refused"]
    assert electorate.holders() == ["lb1"]


def test_a_resigned_mastership_is_not_adopted_by_the_next_process() -> None:
    electorate = pair()

    actions = electorate.tell("lb1", order(messages.OrderKind.YIELD, "front"))

    assert [a.sent_at for a in actions if isinstance(a, Note)] == [None]


def test_an_ordered_takeover_happens_at_once() -> None:
    electorate = pair()
    electorate.tell("lb1", order(messages.OrderKind.YIELD, "front"))

    electorate.tell("lb2", order(messages.OrderKind.TAKE_OVER, "front"))
    electorate.run(SUCCESSOR_SETTLES)

    assert electorate.holders() == ["lb2"]


def test_a_master_in_standby_is_replaced_and_stays_out_until_it_ends() -> None:
    electorate = pair()

    actions = electorate.tell("lb1", messages.Stance(standby=True))
    electorate.run(60.0)
    assert words(actions) == ["front advert 1"]
    assert electorate.holders() == ["lb2"]

    electorate.tell("lb1", messages.Stance())
    electorate.run(5.0)
    assert electorate.holders() == ["lb1"]


@pytest.mark.parametrize(
    ("able", "holders"), [(("front",), []), (("inside",), ["lb1"]), ((), ["lb1"])]
)
def test_a_node_in_standby_stays_out_while_another_live_one_could_be_master(
    able: tuple[str, ...], holders: list[str]
) -> None:
    electorate = pair()
    electorate.tell("lb1", messages.Stance(standby=True))
    electorate.run(10.0)
    del electorate.nodes["lb2"]

    electorate.tell("lb1", messages.Peers((messages.Peer("lb2", True, able),)))
    electorate.run(20.0)
    assert electorate.holders() == holders

    electorate.tell("lb1", messages.Peers((messages.Peer("lb2", False, able),)))
    electorate.run(5.0)
    assert electorate.holders() == ["lb1"]


def test_a_node_in_standby_stays_out_until_it_is_known_who_else_is_there() -> None:
    electorate = Electorate()
    electorate.join("lb1", settings(FRONT))
    electorate.tell("lb1", messages.Stance(standby=True))
    electorate.run(9.0)
    assert electorate.holders() == []

    electorate.tell("lb1", messages.Peers(()))
    electorate.run(5.0)

    assert electorate.holders() == ["lb1"]


def test_a_node_in_standby_does_not_rely_on_what_a_silent_director_said_of_others() -> None:
    electorate = Electorate()
    electorate.silent = {"lb1"}
    electorate.join("lb1", settings(FRONT))
    electorate.tell("lb1", messages.Stance(standby=True))
    electorate.tell("lb1", messages.Peers((messages.Peer("lb2", True, ("front",)),)))
    electorate.run(9.0)
    assert electorate.holders() == []

    electorate.run(8.0)

    assert electorate.holders() == ["lb1"]
