"""The first line of status, and what counts as a trouble."""

from dataclasses import replace

from hadirector.core import director_events as ev
from hadirector.core import ipvs, messages, troubles
from hadirector.core.director import Director
from hadirector.core.messages import Health, Process, RouterStateName
from hadirector.core.settings.cluster import Config
from tests.core import farm
from tests.core.desk import from_checker, read
from tests.core.farm import KEY, ONE, TWO
from tests.core.test_own_processes import MASTER


def director(config: Config, *healths: Health) -> Director:
    """A director of these services at second 0, master of `front`, both servers like that."""
    made = Director("1", frozenset(), 0.0)
    made.handle(ev.Configured(config), 0.0)
    made.handle(read({}), 0.0)
    made.handle(ev.From(Process.ELECTION, messages.Routers((MASTER,)), float("inf")), 0.0)
    pairs = zip((ONE, TWO), healths, strict=False)
    made.handle(from_checker(farm.verdicts(*pairs)), 0.0)
    return made


def lines(made: Director) -> list[str]:
    told = troubles.build(made, {})
    return [troubles.headline(made, len(told)), *told]


def many(count: int) -> Config:
    services = tuple(
        replace(farm.WEB, name=f"w{n}", services=(ipvs.Service(replace(KEY, port=n), "rr"),))
        for n in range(1, count + 1)
    )
    return replace(farm.CONFIG, services=services)


def test_a_master_whose_servers_are_all_dead_is_not_told_as_well() -> None:
    assert lines(director(farm.CONFIG, Health.DOWN, Health.DOWN)) == [
        "lb1: MASTER of front; 1 service DOWN (web)",
        "web is DOWN: 0 of 2 servers up, quorum 1; 10.0.1.11:80: down, quiesced: told; "
        "10.0.1.12:80: down, quiesced: told",
    ]


def test_a_service_without_one_of_its_servers_is_a_trouble_too() -> None:
    assert lines(director(farm.CONFIG, Health.UP, Health.DOWN)) == [
        "lb1: MASTER of front; 1 service degraded (web)",
        "web is degraded: 1 of 2 servers up, quorum 1; 10.0.1.12:80: down, quiesced: told",
    ]


def test_when_nothing_is_wrong_the_line_says_so() -> None:
    assert lines(director(farm.CONFIG, Health.UP, Health.UP)) == ["lb1: MASTER of front; all well"]


def test_nothing_bad_is_said_before_every_server_has_a_verdict() -> None:
    assert lines(director(farm.CONFIG, Health.DOWN)) == ["lb1: MASTER of front; all well"]


def test_a_thousand_services_down_do_not_fill_the_screen() -> None:
    told = lines(director(many(1000), Health.DOWN, Health.DOWN))

    assert told[0] == "lb1: MASTER of front; 1000 services DOWN (w1, w2, w3, w4, w5 and 995 more)"
    assert told[-1] == "995 more services DOWN"
    assert len(told) == 7


def test_routers_of_one_instance_that_differ_are_told_apart() -> None:
    made = director(farm.CONFIG, Health.UP, Health.UP)
    six = replace(MASTER, family=6, state=RouterStateName.FAULT, reason="no link")
    made.handle(ev.From(Process.ELECTION, messages.Routers((MASTER, six)), float("inf")), 0.1)

    assert lines(made) == [
        "lb1: MASTER of front/ipv4, FAULT of front/ipv6; 1 trouble",
        "front/ipv6 is in fault: no link",
    ]


def test_a_refused_file_is_a_trouble_until_one_is_taken() -> None:
    made = director(farm.CONFIG, Health.UP, Health.UP)
    text = "x.yaml was refused at 13:09: line 3: unknown key; a restart would fail"

    made.handle(ev.Refused("line 3: unknown key", text), 1.0)
    refused = lines(made)
    made.handle(ev.Configured(farm.CONFIG), 2.0)

    assert refused == ["lb1: MASTER of front; 1 trouble", text]
    assert lines(made) == ["lb1: MASTER of front; all well"]


def test_what_a_probe_warns_of_is_a_trouble_though_the_server_passed() -> None:
    made = director(farm.CONFIG, Health.UP, Health.UP)
    good = farm.verdicts((ONE, Health.UP), (TWO, Health.UP))
    soon = tuple(
        replace(one, last=replace(one.last, warning="certificate expires in 5 days"))
        for one in good.verdicts
        if one.last is not None
    )
    made.handle(from_checker(replace(good, verdicts=soon)), 1.0)

    assert lines(made) == [
        "lb1: MASTER of front; 1 trouble",
        f"page@{ONE}, page@{TWO}: certificate expires in 5 days",
    ]
