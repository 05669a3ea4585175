"""Plans for virtual routes and rules."""

from dataclasses import replace

from hadirector.core import routing
from hadirector.core.address import Address
from hadirector.core.routing import Belonging, Key, Put, Route, Rule, Take, key_of
from hadirector.core.settings.instances import VirtualRoute, VirtualRule

GATEWAY = Address("192.0.2.1")
ROUTE = Route(4, "203.0.113.0/24", GATEWAY, "eth0", Address("192.0.2.10"), 254, 0)
ROUTE6 = Route(6, "2001:db8:1::/48", None, "eth0", Address("2001:db8::10"), 254, 1024)
PLAIN6 = replace(ROUTE6, source=None, to="2001:db8:2::/48")
RULE = Rule(4, "192.0.2.10/32", None, 100, 1000)


def held(*ones: Belonging) -> dict[Key, Belonging]:
    return {key_of(one): one for one in ones}


def test_settings_become_what_the_kernel_has() -> None:
    route = VirtualRoute("default", GATEWAY, None, None, None, None)
    route6 = VirtualRoute("default", None, "eth1", None, 100, None, onlink=True)

    assert routing.route_of(route, 4, "eth0") == Route(
        4, "0.0.0.0/0", GATEWAY, None, None, 0, 0, home="eth0"
    )
    assert routing.route_of(route6, 6, "eth0") == Route(
        6, "::/0", None, "eth1", None, 100, 1024, onlink=True, home="eth0"
    )
    rule = VirtualRule("default", "10.0.0.0/8", 100, None)
    assert routing.rule_of(rule, 4) == Rule(4, None, "10.0.0.0/8", 100, 16384)


def test_what_is_missing_is_put_in_order_and_what_is_there_is_left_alone() -> None:
    assert routing.place([ROUTE, RULE], held()) == [Put(ROUTE), Put(RULE)]
    assert routing.place([ROUTE, RULE], held(ROUTE, RULE)) == []


def test_an_interface_the_kernel_filled_in_makes_no_difference_and_another_does() -> None:
    asked = replace(ROUTE, interface=None)

    assert routing.place([asked], held(ROUTE)) == []
    other = replace(ROUTE, interface="eth9")
    assert routing.place([ROUTE], held(other)) == [Take(other), Put(ROUTE)]


def test_another_gateway_or_source_is_changed_by_taking_and_putting() -> None:
    for other in (
        replace(ROUTE, via=Address("192.0.2.3")),
        replace(ROUTE, source=None),
        replace(ROUTE, onlink=True),
    ):
        assert routing.place([ROUTE], held(other)) == [Take(other), Put(ROUTE)]


def test_another_metric_is_another_route() -> None:
    other = replace(ROUTE, metric=5)

    assert routing.reconcile([ROUTE], held(other)) == [Take(other), Put(ROUTE)]


def test_in_doubt_all_are_written_again_and_sources_of_ipv6_renewed() -> None:
    everything: list[Belonging] = [ROUTE, ROUTE6, PLAIN6, RULE]

    assert routing.place(everything, held(*everything), doubtful=True) == [
        Put(ROUTE),
        Put(ROUTE6, replace=True),
        Put(PLAIN6),
        Put(RULE),
    ]


def test_what_goes_goes_in_the_opposite_order_and_only_if_it_is_there() -> None:
    assert routing.drop([ROUTE, ROUTE6, RULE], held(ROUTE, RULE)) == [Take(RULE), Take(ROUTE)]


def test_left_overs_go_first() -> None:
    left = Rule(4, "192.0.2.99/32", None, 100, 1000)

    assert routing.reconcile([ROUTE], held(left)) == [Take(left), Put(ROUTE)]


def test_they_are_named_as_ip_route_prints_them() -> None:
    assert str(ROUTE) == "route 203.0.113.0/24 via 192.0.2.1 dev eth0 src 192.0.2.10 table main"
    assert str(Route(6, "::/0", None, "eth1", None, 0, 1024)) == "route default dev eth1"
    assert str(RULE) == "rule 1000: from 192.0.2.10 lookup 100"
    assert str(Rule(6, None, "2001:db8::/32", 254, 5)) == "rule 5: to 2001:db8::/32 lookup main"
