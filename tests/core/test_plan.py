"""Plans, step by step: what is edited, what is left alone, and in which order."""

from dataclasses import replace

import pytest

from hadirector.core import plan
from hadirector.core.address import Address, Endpoint
from hadirector.core.ipvs import (
    Destination,
    Entry,
    Forward,
    Protocol,
    Service,
    ServiceFlags,
    ServiceKey,
    Table,
    TunnelType,
)

WEB = ServiceKey(4, Protocol.TCP, Address("192.0.2.10"), 80)
DNS = ServiceKey(6, Protocol.UDP, Address("2001:db8::53"), 53)
MARK = ServiceKey(4, 0, Address(""), 0, fwmark=7)
NOBODY: frozenset[ServiceKey] = frozenset()


def server(last: int, weight: int = 1) -> Destination:
    return Destination(Endpoint(Address(f"10.0.1.{last}"), 8080), Forward.NAT, weight)


def entry(service: Service, *servers: Destination) -> Entry:
    return Entry(service, {each.endpoint: each for each in servers})


def table(*entries: Entry) -> Table:
    return {each.service.key: each for each in entries}


WEB_WLC = Service(WEB, "wlc")


def test_a_new_service_is_added_before_its_servers() -> None:
    desired = table(entry(WEB_WLC, server(1), server(2)))

    steps = plan.plan(desired, {}, NOBODY)

    assert steps == (
        plan.AddService(WEB_WLC),
        plan.AddDestination(WEB, server(1)),
        plan.AddDestination(WEB, server(2)),
    )


def test_what_is_right_already_is_not_touched() -> None:
    desired = table(entry(WEB_WLC, server(1)), entry(Service(MARK, "rr"), server(3)))

    assert plan.plan(desired, desired, frozenset(desired)) == ()


@pytest.mark.parametrize(
    "after",
    [
        Service(WEB, "rr"),
        Service(WEB, "wlc", ServiceFlags.PERSISTENT, timeout=300, netmask=24),
        Service(WEB, "wlc", ServiceFlags.SCHED2),
        Service(WEB, "wlc", ServiceFlags.PERSISTENT, timeout=300, pe_name="sip"),
    ],
)
def test_a_changed_service_is_edited_and_keeps_its_servers(after: Service) -> None:
    actual = table(entry(WEB_WLC, server(1)))

    steps = plan.plan(table(entry(after, server(1))), actual, frozenset({WEB}))

    assert steps == (plan.EditService(after, before=WEB_WLC),)


@pytest.mark.parametrize(
    "after",
    [
        server(1, weight=5),
        replace(server(1), forward=Forward.DR),
        replace(server(1), upper_threshold=100, lower_threshold=80),
        replace(server(1), forward=Forward.TUN, tunnel=TunnelType.GUE, tunnel_port=6080),
    ],
)
def test_a_changed_server_is_edited_never_replaced(after: Destination) -> None:
    actual = table(entry(WEB_WLC, server(1)))

    steps = plan.plan(table(entry(WEB_WLC, after)), actual, frozenset({WEB}))

    assert steps == (plan.EditDestination(WEB, after, before=server(1)),)


def test_servers_come_and_gain_before_others_lose_and_go() -> None:
    actual = table(entry(WEB_WLC, server(1, weight=9), server(2, weight=0), server(3)))
    desired = table(entry(WEB_WLC, server(1, weight=0), server(2, weight=9), server(4)))

    steps = plan.plan(desired, actual, frozenset({WEB}))

    assert steps == (
        plan.EditDestination(WEB, server(2, weight=9), before=server(2, weight=0)),
        plan.AddDestination(WEB, server(4)),
        plan.EditDestination(WEB, server(1, weight=0), before=server(1, weight=9)),
        plan.DeleteDestination(WEB, server(3)),
    )


def test_all_servers_exchanged_leave_no_empty_moment() -> None:
    tables = [table(entry(WEB_WLC, server(1), server(2)))]

    for step in plan.plan(table(entry(WEB_WLC, server(3))), tables[0], frozenset({WEB})):
        tables.append(plan.apply_to(tables[-1], [step]))

    assert [len(each[WEB].destinations) for each in tables] == [2, 3, 2, 1]


def test_an_owned_service_no_longer_wanted_goes_last() -> None:
    actual = table(entry(WEB_WLC, server(1)), entry(Service(DNS, "rr")))
    desired = table(entry(Service(MARK, "rr"), server(2)))

    steps = plan.plan(desired, actual, frozenset({WEB, DNS}))

    assert steps == (
        plan.AddService(Service(MARK, "rr")),
        plan.AddDestination(MARK, server(2)),
        plan.DeleteService(WEB),
        plan.DeleteService(DNS),
    )


def test_a_foreign_service_is_left_alone_but_one_we_want_is_adopted() -> None:
    actual = table(entry(WEB_WLC, server(1)), entry(Service(DNS, "rr"), server(2)))
    desired = table(entry(WEB_WLC, server(3)))

    steps = plan.plan(desired, actual, NOBODY)

    assert steps == (
        plan.AddDestination(WEB, server(3)),
        plan.DeleteDestination(WEB, server(1)),
    )


def test_an_owned_service_that_is_gone_already_needs_no_step() -> None:
    assert plan.plan({}, {}, frozenset({WEB})) == ()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (plan.AddService(WEB_WLC), "add service tcp 192.0.2.10:80: scheduler wlc"),
        (
            plan.AddService(
                Service(
                    MARK,
                    "mh",
                    ServiceFlags.PERSISTENT | ServiceFlags.SCHED1 | ServiceFlags.SCHED2,
                    timeout=300,
                    netmask=24,
                )
            ),
            "add service fwmark 7: scheduler mh, persistence 300 s per /24, mh-fallback, mh-port",
        ),
        (
            plan.EditService(Service(DNS, "rr", ServiceFlags.ONE_PACKET), Service(DNS, "wrr")),
            "change service udp [2001:db8::53]:53: scheduler wrr -> rr, one packet no -> yes",
        ),
        (plan.DeleteService(WEB), "delete service tcp 192.0.2.10:80"),
        (
            plan.AddDestination(WEB, replace(server(1), upper_threshold=9, lower_threshold=8)),
            "add server 10.0.1.1:8080 to tcp 192.0.2.10:80: nat, weight 1, thresholds 9/8",
        ),
        (
            plan.EditDestination(WEB, server(1, weight=0), server(1, weight=5)),
            "change server 10.0.1.1:8080 of tcp 192.0.2.10:80: weight 5 -> 0",
        ),
        (
            plan.EditDestination(
                WEB,
                replace(server(1), forward=Forward.TUN, tunnel=TunnelType.GUE, tunnel_port=6080),
                server(1),
            ),
            "change server 10.0.1.1:8080 of tcp 192.0.2.10:80: forward nat -> tun gue port 6080",
        ),
        (
            plan.DeleteDestination(WEB, server(1)),
            "remove server 10.0.1.1:8080 from tcp 192.0.2.10:80",
        ),
    ],
)
def test_a_step_is_described_in_words(step: plan.Operation, words: str) -> None:
    assert plan.describe(step) == words


@pytest.mark.parametrize(
    "step",
    [
        plan.AddService(WEB_WLC),
        plan.EditService(Service(DNS, "rr"), Service(DNS, "wrr")),
        plan.DeleteService(DNS),
        plan.AddDestination(WEB, server(1)),
        plan.EditDestination(WEB, server(2), server(2)),
        plan.DeleteDestination(WEB, server(2)),
    ],
)
def test_the_model_refuses_what_the_kernel_would(step: plan.Operation) -> None:
    with pytest.raises(KeyError):
        plan.apply_to(table(entry(WEB_WLC, server(1))), [step])
