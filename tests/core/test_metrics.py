"""Metrics, as the reference parser of OpenMetrics reads them."""

import json
from dataclasses import replace
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from hadirector.core import director_events as ev
from hadirector.core import ipvs, messages, metrics, status
from hadirector.core.director import Director
from hadirector.core.messages import Health, Process
from tests.core import farm
from tests.core.farm import KEY, ONE, TWO
from tests.core.routers import FRONT

OFFSET = 1000.0
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def told() -> dict[str, Any]:
    """The status of a master with one server up and one down."""
    director = Director("1", frozenset(), 0.0)
    instance = replace(FRONT, virtual_addresses=())
    director.handle(ev.Configured(replace(farm.CONFIG, instances=(instance,))), 2.0)
    usage = ipvs.Usage({}, {(KEY, ONE): ipvs.DestinationUse(active=4, inactive=5)})
    director.handle(ev.KernelRead({KEY: farm.entry(3, 1)}, usage, 0.001), 2.0)
    news = farm.verdicts((ONE, Health.UP), (TWO, Health.DOWN), at=2.5)
    director.handle(ev.From(Process.CHECKER, news, float("inf")), 2.5)
    name = messages.RouterStateName.MASTER
    router = messages.Router("front", 4, name, 150, 130, None, 3.0, "", {}, (), {"late": 9}, True)
    director.handle(ev.From(Process.ELECTION, messages.Routers((router,)), float("inf")), 3.0)
    state = messages.ProcessState(Process.CHECKER, 42, 1.0, 2, 0.5, 1.5, alive=True)
    director.handle(ev.From(Process.SUPERVISOR, messages.Processes((state,)), float("inf")), 3.0)
    whole: dict[str, Any] = json.loads(
        json.dumps(status.build(director, status.Shell(), OFFSET, {"election": 2}))
    )
    return whole


def read(text: str) -> Samples:
    """Every sample by its name and labels; the parser refuses what is not OpenMetrics."""
    return {
        (sample.name.removeprefix("hadirector_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }


def labels(**these: str) -> frozenset[tuple[str, str]]:
    return frozenset(these.items())


def test_the_reference_parser_reads_what_status_says() -> None:
    found = read(metrics.render(told()))

    front = {"instance": "front", "family": "ipv4"}
    one, two = ({"service": "web", "server": f"10.0.1.1{n}:80"} for n in (1, 2))
    expected: dict[tuple[str, frozenset[tuple[str, str]]], float] = {
        ("router_state", labels(**front, state="master")): 1,
        ("router_state", labels(**front, state="backup")): 0,
        ("router_priority", labels(**front)): 130,
        ("router_state_timestamp_seconds", labels(**front)): 1003.0,
        ("router_events_total", labels(**front, event="late")): 9,
        ("service_state", labels(service="web", state="degraded")): 1,
        ("service_servers_up", labels(service="web")): 1,
        ("server_health", labels(**one, state="up")): 1,
        ("server_health", labels(**two, state="down")): 1,
        ("server_effective_weight", labels(**one)): 3,
        ("server_effective_weight", labels(**two)): 0,
        ("server_connections", labels(**one, state="active")): 4,
        ("server_connections", labels(**one, state="inactive")): 5,
        ("server_check_duration_seconds", labels(**one)): 0.001,
        ("process_restarts_total", labels(process="checker")): 2,
        ("process_lag_max_seconds", labels(process="checker")): 0.0015,
        ("losses_total", labels(kind="election")): 2,
        ("peer_alive", labels(peer="lb2")): 0,
    }
    assert {key: found.get(key) for key in expected} == expected


def test_what_is_not_known_has_no_sample() -> None:
    names = {name for name, _ in read(metrics.render(told()))}

    assert "sync_completeness_ratio" not in names
    assert "peer_ready" not in names


def test_a_name_with_quotes_and_line_ends_breaks_no_line() -> None:
    status_told = told()
    status_told["losses"] = {'a"b\\c\nd': 1}

    found = read(metrics.render(status_told))

    assert found["losses_total", labels(kind='a"b\\c\nd')] == 1


def test_what_connection_sync_refused_is_counted_by_its_flaw() -> None:
    status_told = told()
    peer = {"alive": True, "lost": 3, "refused": {"wrong_key": 4}}
    status_told["sync"] |= {
        "known": 70,
        "refused": {"sync_id": 2},
        "relay": {"peers": {"lb2": peer}, "strangers": {"stranger": 5}},
    }

    found = read(metrics.render(status_told))

    expected = {
        ("sync_known_connections", labels()): 70,
        ("sync_refused_total", labels(flaw="sync_id")): 2,
        ("relay_alive", labels(peer="lb2")): 1,
        ("relay_lost_total", labels(peer="lb2")): 3,
        ("relay_refused_total", labels(peer="lb2", flaw="wrong_key")): 4,
        ("relay_refused_total", labels(peer="", flaw="stranger")): 5,
    }
    assert {key: found.get(key) for key in expected} == expected
