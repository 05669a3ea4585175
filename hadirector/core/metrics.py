"""OpenMetrics text, made of the status JSON: what a dashboard draws and an alert watches.

Names begin with `hadirector_`; states are one sample for each state, 1 for the one that holds, so
that an alert reads `hadirector_router_state{state="master"} == 1`. What is not known has no
sample. Sources: the OpenMetrics specification 1.0, sections "Text Format" and "StateSet".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hadirector.core.admin import Admin
from hadirector.core.messages import Health, RouterStateName
from hadirector.core.weight import ServiceState

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Status = Mapping[str, Any]
Labels = Mapping[str, str]
Value = float | int | bool | None


@dataclass(slots=True)
class Family:
    """One metric with its samples, as lines. A counter's name has no `_total`."""

    name: str
    kind: str
    about: str
    lines: list[str] = field(default_factory=list)

    def add(self, labels: Labels, value: Value) -> None:
        """A sample; none where the value is not known."""
        if value is None:
            return
        name = f"hadirector_{self.name}{'_total' if self.kind == 'counter' else ''}"
        number = int(value) if isinstance(value, bool) else value
        self.lines.append(f"{name}{_braces(labels)} {number}")

    def add_state(self, labels: Labels, states: type[Enum], holds: str) -> None:
        """A state set: the label is called `state`, its values are those of `states`."""
        for state in states:
            self.add({**labels, "state": state.value}, state.value == holds)


def render(status: Status) -> str:
    """The whole exposition of a status (core/status.build)."""
    lines: list[str] = []
    for family in _families(status):
        if family.lines:
            lines.append(f"# TYPE hadirector_{family.name} {family.kind}")
            lines.append(f"# HELP hadirector_{family.name} {family.about}")
            lines += family.lines
    return "\n".join([*lines, "# EOF", ""])


def _families(status: Status) -> Iterator[Family]:
    yield from _of_node(status)
    yield from _of_routers(status["instances"])
    yield from _of_services(status["services"])
    yield from _of_servers(status["services"])
    yield from _of_sync(status["sync"])
    yield from _of_relay(status["sync"]["relay"])
    yield from _of_peers(status["peers"])
    yield from _of_processes(status["processes"])


def _of_node(status: Status) -> Iterator[Family]:
    build = Family("build", "gauge", "Always 1; says which node of which cluster runs what.")
    names = {key: str(status[key]) for key in ("node", "cluster", "version")}
    build.add(names, 1)
    yield build
    ready = Family("ready", "gauge", "Whether this node may take over by preference.")
    ready.add({}, status["ready"])
    yield ready
    standby = Family("standby", "gauge", "Whether an operator keeps this node out.")
    standby.add({}, status["standby"] is not None)
    yield standby
    troubles = Family("troubles", "gauge", "How many troubles `hadirector status` shows.")
    troubles.add({}, len(status["trouble"]))
    yield troubles
    loaded = Family("config_loaded_timestamp_seconds", "gauge", "When the configuration was taken.")
    loaded.add({}, status["config"]["loaded_at"])
    yield loaded
    losses = Family("losses", "counter", "What was refused or dropped between processes, by name.")
    for name, count in status["losses"].items():
        losses.add({"kind": name}, count)
    yield losses


def _of_routers(instances: Status) -> Iterator[Family]:
    state = Family("router_state", "gauge", "State of a virtual router.")
    since = Family("router_state_timestamp_seconds", "gauge", "When it entered that state.")
    priority = Family("router_priority", "gauge", "Its priority now, with what is tracked.")
    counters = Family("router_events", "counter", "Its counters, by name.")
    for name, instance in instances.items():
        for family, router in instance["routers"].items():
            labels = {"instance": name, "family": family}
            state.add_state(labels, RouterStateName, router["state"])
            since.add(labels, router["since"])
            priority.add(labels, router["effective_priority"])
            for counter, count in router["counters"].items():
                counters.add({**labels, "event": counter}, count)
    return iter((state, since, priority, counters))


def _of_services(services: Status) -> Iterator[Family]:
    state = Family("service_state", "gauge", "State of a virtual service.")
    up = Family("service_servers_up", "gauge", "How many of its servers are up.")
    quorum = Family("service_quorum", "gauge", "How many it needs.")
    for name, service in services.items():
        labels = {"service": name}
        state.add_state(labels, ServiceState, service["state"])
        up.add(labels, service["up"])
        quorum.add(labels, service["quorum"])
    return iter((state, up, quorum))


def _of_servers(services: Status) -> Iterator[Family]:
    health = Family("server_health", "gauge", "What its checks say of a server.")
    admin = Family("server_admin", "gauge", "What an operator wants of it.")
    weight = Family("server_weight", "gauge", "Its weight by the configuration.")
    effective = Family("server_effective_weight", "gauge", "Its weight in IPVS.")
    connections = Family("server_connections", "gauge", "Its connections in IPVS.")
    check = Family("server_check_duration_seconds", "gauge", "How long its last probe took.")
    for name, service in services.items():
        for address, server in service["servers"].items():
            labels = {"service": name, "server": address}
            health.add_state(labels, Health, server["health"])
            admin.add_state(labels, Admin, server["admin"])
            weight.add(labels, server["weight"])
            effective.add(labels, server["effective_weight"])
            connections.add({**labels, "state": "active"}, server["active"])
            connections.add({**labels, "state": "inactive"}, server["inactive"])
            if server["last_check"] is not None:
                check.add(labels, server["last_check"]["ms"] / 1000)
    return iter((health, admin, weight, effective, connections, check))


def _of_sync(sync: Status) -> Iterator[Family]:
    ready = Family("sync_ready", "gauge", "Whether this node has its master's connections.")
    ready.add({}, sync["ready"])
    completeness = Family("sync_completeness_ratio", "gauge", "Of the least complete standby.")
    percent = sync["completeness"]
    measure = {"measure": str(sync["measure"])}
    completeness.add(measure, None if percent is None else percent / 100)
    missing = Family("sync_missing_connections", "gauge", "Connections that standby has not.")
    missing.add(measure, sync["missing"])
    lag = Family("sync_lag_seconds", "gauge", "Since the last comparison that found it equal.")
    lag.add({}, sync["lag_s"])
    lost = Family("sync_lost", "gauge", "Datagrams known to be lost on the way to that standby.")
    lost.add({}, sync["lost"])
    known = Family("sync_known_connections", "gauge", "Connections that the syncer knows of here.")
    known.add({}, sync["known"])
    unseen = Family("sync_unseen_connections", "gauge", "So many more the kernel counts here.")
    unseen.add({}, sync["unseen"])
    refused = Family("sync_refused", "counter", "Datagrams of the sync stream refused, by flaw.")
    for flaw, count in sync["refused"].items():
        refused.add({"flaw": flaw}, count)
    return iter((ready, completeness, missing, lag, lost, known, unseen, refused))


def _of_relay(relay: Status | None) -> Iterator[Family]:
    alive = Family("relay_alive", "gauge", "Whether a peer's relay of sync records is heard.")
    lost = Family("relay_lost", "counter", "Datagrams of that relay that did not come.")
    refused = Family("relay_refused", "counter", "Datagrams refused by the relay, by flaw.")
    for name, peer in relay["peers"].items() if relay is not None else ():
        alive.add({"peer": name}, peer["alive"])
        lost.add({"peer": name}, peer["lost"])
        for flaw, count in peer["refused"].items():
            refused.add({"peer": name, "flaw": flaw}, count)
    for flaw, count in relay["strangers"].items() if relay is not None else ():
        refused.add({"peer": "", "flaw": flaw}, count)
    return iter((alive, lost, refused))


def _of_peers(peers: Status) -> Iterator[Family]:
    alive = Family("peer_alive", "gauge", "Whether a peer's director is heard.")
    ready = Family("peer_ready", "gauge", "Whether it says that it is ready.")
    for name, peer in peers.items():
        alive.add({"peer": name}, peer["alive"])
        ready.add({"peer": name}, peer["ready"])
    return iter((alive, ready))


def _of_processes(processes: Status) -> Iterator[Family]:
    alive = Family("process_alive", "gauge", "Whether a process of this daemon runs.")
    restarts = Family("process_restarts", "counter", "How often it was started anew.")
    usual = Family("process_lag_p99_seconds", "gauge", "How late its loop turned, 99 of 100 times.")
    worst = Family("process_lag_max_seconds", "gauge", "How late it turned at worst.")
    for name, process in processes.items():
        labels = {"process": name}
        alive.add(labels, process["alive"])
        restarts.add(labels, process["restarts"])
        usual.add(labels, process["lag_ms_p99"] / 1000)
        worst.add(labels, process["lag_ms_max"] / 1000)
    return iter((alive, restarts, usual, worst))


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"
