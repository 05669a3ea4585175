"""When a server is safe to reboot: what is left on it, and what speaks against it."""

import pytest

from hadirector.core import director_events as ev
from hadirector.core import draining, ipvs, messages
from hadirector.core.address import Address
from hadirector.core.director import Director
from hadirector.core.draining import Left, Seen
from hadirector.core.messages import Process
from hadirector.core.overrides import Subject
from hadirector.core.requests import OrderKind, OrderServer
from tests.core import farm
from tests.core.desk import DONE, settled
from tests.core.farm import KEY, ONE

ABOUT = Subject("web", ONE.address)


def drained(kind: OrderKind = OrderKind.DRAIN) -> Director:
    """At second 1; the kernel was told."""
    director = settled()
    director.handle(ev.Asked("t", OrderServer(kind, f"web/{ONE}", "root", 1001.0)), 1.0)
    director.handle(DONE, 1.0)
    return director


def router(instance: str, state: messages.RouterStateName, address: str) -> messages.Router:
    return messages.Router(
        instance=instance,
        family=4,
        state=state,
        priority=100,
        effective_priority=100,
        master=Address("198.51.100.2"),
        since=0.0,
        reason="",
        inputs={},
        addresses=(address,),
        counters={},
        leased=False,
    )


def read(director: Director, use: ipvs.DestinationUse, at: float, *, there: bool = True) -> None:
    usage = ipvs.Usage({}, {(KEY, ONE): use})
    director.handle(ev.KernelRead({KEY: farm.entry(0 if there else None, 1)}, usage, 0.0), at)


def left(director: Director, now: float, seen: Seen | None = None) -> Left:
    found = draining.survey(director, ABOUT, {ONE: seen} if seen else {}, now)
    assert len(found) == 1
    return found[0]


def test_a_server_that_nobody_drained_is_not_safe_even_without_connections() -> None:
    director = settled()

    assert left(director, 5.0).why_not == "it is not drained"


def test_active_connections_hold_a_tcp_server_and_inactive_ones_and_templates_do_not() -> None:
    director = drained()
    found = []
    for use, at in (((2, 9, 4), 3.0), ((1, 9, 4), 4.0), ((0, 9, 4), 5.0)):
        read(director, ipvs.DestinationUse(*use), at)
        found.append(left(director, at))

    assert [one.why_not for one in found] == ["2 connections are left", "1 connection is left", ""]
    assert found[0] == Left("web/10.0.1.11:80", 0, 2, 9, 4, "2 connections are left", oldest=2.0)
    assert found[2] == Left("web/10.0.1.11:80", 0, 0, 9, 4, "")


def test_a_disabled_server_is_safe_when_its_connections_are_gone() -> None:
    director = drained(OrderKind.DISABLE)
    read(director, ipvs.DestinationUse(), 3.0, there=False)

    assert left(director, 3.0) == Left("web/10.0.1.11:80", None, 0, 0, 0, "")


def test_what_was_counted_before_or_right_after_the_order_says_nothing() -> None:
    director = drained()
    before = left(director, 1.5)
    read(director, ipvs.DestinationUse(), 1.5)

    assert before.why_not == left(director, 2.5).why_not == "its connections are being counted"


def test_of_a_udp_service_inactive_connections_count() -> None:
    assert draining.holding(Left("x", 0, 0, 3, 0, ""), "udp") == 3
    assert draining.holding(Left("x", 0, 1, 3, 0, ""), "tcp") == 1


@pytest.mark.parametrize(("address", "knows"), [("192.0.2.10/24", False), ("192.0.2.99/24", True)])
def test_a_backup_does_not_know_what_is_left(address: str, knows: bool) -> None:
    director = drained()
    backup = router("front", messages.RouterStateName.BACKUP, address)
    master = router("other", messages.RouterStateName.MASTER, "192.0.2.10/24")
    routers = (backup, master) if knows else (backup,)
    director.handle(ev.From(Process.ELECTION, messages.Routers(routers), float("inf")), 3.0)
    read(director, ipvs.DestinationUse(), 3.0)

    found = left(director, 3.0)

    assert found.elsewhere is not knows
    assert found.why_not == (
        "" if knows else "this node is backup of front: ask its master, 198.51.100.2"
    )


def test_a_backup_says_so_before_anything_is_ordered() -> None:
    director = settled()
    backup = router("front", messages.RouterStateName.BACKUP, "192.0.2.10/24")
    director.handle(ev.From(Process.ELECTION, messages.Routers((backup,)), 99.0), 1.0)

    assert left(director, 2.0).elsewhere


def test_the_oldest_connection_is_as_old_as_the_order_or_as_it_was_first_seen() -> None:
    director = drained()
    read(director, ipvs.DestinationUse(active=1), 9.0)

    assert left(director, 9.0).oldest == 8.0
    seen = left(director, 9.0, Seen(longest=70.0, first=0.5))
    assert (seen.oldest, seen.longest) == (8.5, 70.0)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([], None),
        ([(0.0, 5)], None),
        ([(0.0, 8), (10.0, 4)], 10.0),
        ([(0.0, 4), (10.0, 4)], None),
        ([(0.0, 4), (10.0, 0)], 0.0),
        ([(-100.0, 100), (0.0, 6), (10.0, 4)], 20.0),
    ],
)
def test_the_end_is_told_by_how_many_ended_lately(
    samples: list[tuple[float, int]], expected: float | None
) -> None:
    assert draining.eta(samples, 10.0) == expected
