"""What is said about belongings that others remove, and that the kernel refuses."""

import pytest

from hadirector.core.address import Address
from hadirector.core.election_types import PlacedAddress
from hadirector.core.routing import Route, Rule
from hadirector.core.upkeep import FIGHT, WINDOW, Upkeep

T0 = 1000.0
VIP = PlacedAddress(Address("192.0.2.10"), 24, "eth0", None)
ROUTE = Route(4, "203.0.113.0/24", Address("192.0.2.1"), "eth0", None, 254, 0)
RULE = Rule(4, "192.0.2.10/32", None, 100, 1000)


def kinds(upkeep: Upkeep, now: float, *things: PlacedAddress | Route | Rule) -> list[str]:
    return [told.kind for told in upkeep.restored(things or (VIP,), now)]


def test_a_single_removal_is_told_with_its_count() -> None:
    upkeep = Upkeep()

    (first,) = upkeep.restored((VIP,), T0)
    (second,) = upkeep.restored((VIP,), T0 + 5)

    assert (first.kind, first.reason) == (
        "vip_restored",
        "192.0.2.10 on eth0 was gone and is back",
    )
    assert (first.inputs, second.inputs) == ({"times": "1"}, {"times": "2"})
    assert upkeep.troubles == ()
    assert upkeep.deadline is None


def test_many_at_once_are_one_line() -> None:
    many = [PlacedAddress(Address(f"10.0.0.{n}"), 24, "eth1", None) for n in range(1, 6)]

    (told,) = Upkeep().restored(many, T0)

    assert told.reason == "10.0.0.1, 10.0.0.2, 10.0.0.3 and 2 more on eth1 were gone and are back"


def test_a_fight_is_told_once_with_what_to_do_and_stays_in_the_status() -> None:
    upkeep = Upkeep()

    told = [kinds(upkeep, T0 + n) for n in range(FIGHT + 20)]

    assert told == [["vip_restored"]] * (FIGHT - 1) + [["vip_contested"]] + [[]] * 20
    assert upkeep.troubles == ("another program keeps removing 192.0.2.10 on eth0",)


def test_a_fight_that_is_over_is_told_with_its_count() -> None:
    upkeep = Upkeep()
    for n in range(FIGHT + 1):
        upkeep.restored((VIP,), T0 + n)
    last = T0 + FIGHT

    assert upkeep.deadline == last + WINDOW
    assert upkeep.calm(last + WINDOW - 0.1) == []
    (told,) = upkeep.calm(last + WINDOW)

    assert told.kind == "vip_undisturbed"
    assert told.reason == "192.0.2.10 on eth0 undisturbed for 60 s, after 6 removals"
    assert list(upkeep.troubles) == []
    assert upkeep.deadline is None
    assert kinds(upkeep, last + WINDOW + 1) == ["vip_restored"]


def test_rare_removals_never_are_a_fight() -> None:
    upkeep = Upkeep()

    told = [kinds(upkeep, T0 + n * WINDOW / (FIGHT - 2)) for n in range(20)]

    assert told == [["vip_restored"]] * 20


def test_addresses_routes_and_rules_are_counted_apart() -> None:
    upkeep = Upkeep()

    assert kinds(upkeep, T0, VIP, ROUTE, RULE) == [
        *("vip_restored", "route_restored", "rule_restored")
    ]
    told = [kinds(upkeep, T0 + n, ROUTE) for n in range(FIGHT)]
    assert told[-2:] == [["route_contested"], []]
    assert kinds(upkeep, T0 + 9) == ["vip_restored"]


def test_restored_addresses_are_announced_at_most_once_a_second() -> None:
    upkeep = Upkeep()

    told = [upkeep.may_announce(T0 + n / 10) for n in range(25)]

    assert [n for n, may in enumerate(told) if may] == [0, 10, 20]


def test_a_refusal_is_told_until_it_is_another_and_when_it_ends() -> None:
    upkeep = Upkeep()
    held = (ROUTE, RULE)

    (refused,) = upkeep.refuse({ROUTE: "no gateway"}, held)
    again = upkeep.refuse({ROUTE: "no gateway"}, held)
    (changed,) = upkeep.refuse({ROUTE: "no link"}, held)
    trouble = upkeep.troubles
    (mended,) = upkeep.refuse({}, held)

    assert refused.kind == "route_refused"
    assert refused.reason == "route 203.0.113.0/24 via 192.0.2.1 dev eth0 table main: no gateway"
    assert again == []
    assert changed.reason.endswith(": no link")
    assert trouble == (changed.reason,)
    assert (mended.kind, upkeep.troubles) == ("route_accepted", ())


@pytest.mark.parametrize("held", [(), (RULE,)])
def test_what_is_refused_to_others_or_given_up_is_nobodys_trouble(held: tuple[Rule, ...]) -> None:
    upkeep = Upkeep()
    upkeep.refuse({ROUTE: "no gateway"}, (ROUTE,))

    assert upkeep.refuse({ROUTE: "no gateway"}, held) == []
    assert upkeep.troubles == ()
