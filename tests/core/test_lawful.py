"""Who may say what: the table beside the messages."""

from typing import get_args

import pytest

from hadirector.core import messages
from hadirector.core.lawful import _LEVELS, lawful
from hadirector.core.messages import Order, OrderKind, Process, Request, RequestKind

EVERYBODY = (messages.Hello, messages.Heartbeat, Order, Request)


def test_every_message_has_somebody_who_may_send_it() -> None:
    known = {kind for kinds in _LEVELS.values() for kind in kinds} | set(EVERYBODY)

    assert known == set(get_args(messages.Message))


@pytest.mark.parametrize("kind", [OrderKind.STOP, OrderKind.RELOAD])
@pytest.mark.parametrize("sender", [Process.CHECKER, Process.ELECTION, Process.DIRECTOR])
def test_only_the_supervisor_orders_a_process_to_leave_or_to_read_again(
    kind: OrderKind, sender: Process
) -> None:
    own_child = (Process.DIRECTOR, Process.RUNNER, OrderKind.STOP)
    for receiver in Process:
        assert lawful(sender, receiver, Order(kind, "t")) is ((sender, receiver, kind) == own_child)
    for receiver in (Process.CHECKER, Process.ELECTION, Process.DIRECTOR):
        assert lawful(Process.SUPERVISOR, receiver, Order(kind, "t"))


def test_only_the_director_orders_mastership_and_only_the_election() -> None:
    handover = Order(OrderKind.YIELD, "t", "front")

    allowed = [(s, r) for s in Process for r in Process if lawful(s, r, handover)]

    assert allowed == [(Process.DIRECTOR, Process.ELECTION)]


@pytest.mark.parametrize("subject", ["election", "checker", "supervisor", "", "no process"])
def test_the_director_may_ask_for_its_own_restart_and_for_nobody_elses(subject: str) -> None:
    own = Request(RequestKind.RESTART, "t", "director")

    assert lawful(Process.DIRECTOR, Process.SUPERVISOR, own)
    assert not lawful(
        Process.DIRECTOR, Process.SUPERVISOR, Request(RequestKind.RESTART, "t", subject)
    )


@pytest.mark.parametrize("kind", list(RequestKind))
def test_no_other_process_asks_the_supervisor_for_anything(kind: RequestKind) -> None:
    for sender in (Process.CHECKER, Process.ELECTION):
        request = Request(kind, "t", sender.value)
        assert not lawful(sender, Process.SUPERVISOR, request)


def test_a_level_goes_its_own_way_only() -> None:
    verdicts = messages.Verdicts((), whole=True)

    allowed = [(s, r) for s in Process for r in Process if lawful(s, r, verdicts)]

    assert allowed == [(Process.CHECKER, Process.DIRECTOR)]
