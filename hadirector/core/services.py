"""The virtual services of a node: verdicts in, weights and the desired IPVS table out.

What changed is told as `Change`s, each with the sentence that explains it. Only the services that
a verdict concerns are decided anew, and nothing here walks the others: a server's death costs the
same beside ten other services and beside ten thousand.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hadirector.core import ipvs, weight
from hadirector.core.address import Endpoint
from hadirector.core.keys import FileText
from hadirector.core.messages import Health, Targets, Verdict, Verdicts
from hadirector.core.settings.checks import Target, target_id
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.services import VirtualService


@dataclass(frozen=True, slots=True)
class Change:
    """Something to tell: `kind` as in hooks and events, `subject` `web` or `web/10.0.1.11:80`."""

    kind: str
    subject: str
    reason: str
    inputs: dict[str, str] = field(default_factory=dict)


class Unsettled:
    """The servers that still wait for a first verdict, kept by service so that nobody counts."""

    def __init__(self) -> None:
        self.count = 0
        self._servers: dict[str, tuple[Endpoint, ...]] = {}

    def put(self, service: str, waiting: tuple[Endpoint, ...]) -> None:
        """These of the service wait now."""
        self.count += len(waiting) - len(self._servers.pop(service, ()))
        if waiting:
            self._servers[service] = waiting

    def first(self) -> str:
        """One of them, as `web/10.0.1.11:80`; empty when none waits."""
        return next((f"{name}/{servers[0]}" for name, servers in self._servers.items()), "")


class Services:
    """Every virtual service by name, with the weights decided for it."""

    def __init__(self) -> None:
        self.settings: dict[str, VirtualService] = {}
        self.weights: dict[str, weight.ServiceWeights] = {}
        self.verdicts: dict[str, Verdict] = {}
        self.entries: dict[ipvs.ServiceKey, ipvs.Entry] = {}
        self.unsettled = Unsettled()
        self.files: dict[str, FileText] = {}  # that the checks name, as they were read last
        self._adopted: dict[str, dict[Endpoint, int]] = {}
        self._targets: tuple[Target, ...] = ()
        self._users: dict[str, set[str]] = {}
        # A service is well until something else was told: a director that starts tells no news.
        self._quorum_told: dict[str, bool] = {}
        self._state_told: dict[str, weight.ServiceState] = {}

    def configure(self, config: Config, actual: ipvs.Table) -> list[Change]:
        """Take a configuration; servers without a verdict keep the weight they have in `actual`."""
        before = set(self.settings)
        self.settings = {service.name: service for service in config.services}
        self._targets, self._users = _targets(config)
        known = {target.id for target in self._targets}
        self.verdicts = {name: v for name, v in self.verdicts.items() if name in known}
        self.weights = {name: w for name, w in self.weights.items() if name in self.settings}
        self._quorum_told = {n: t for n, t in self._quorum_told.items() if n in self.settings}
        self._state_told = {n: t for n, t in self._state_told.items() if n in self.settings}
        self.entries, self.unsettled = {}, Unsettled()
        changes = [
            Change("service_removed", name, "no longer configured")
            for name in sorted(before - set(self.settings))
        ]
        return changes + self.adopt(actual)

    def adopt(self, actual: ipvs.Table) -> list[Change]:
        """Take the weights found in the kernel for servers that have no verdict yet."""
        self._adopted = {}
        for name, service in self.settings.items():
            found = _weights_found(service, actual)
            decided = self.weights.get(name)
            if service.fallback and decided is not None and decided.fallback is not None:
                # Another one takes the place of a fallback that serves.
                found.setdefault(service.fallback.endpoint, service.fallback.weight)
            self._adopted[name] = found
        return self._decide(self.settings)

    def hear(self, news: Verdicts) -> tuple[set[ipvs.ServiceKey], list[Change]]:
        """Verdicts came; the IPVS services that are to change, and what to tell."""
        concerned = sorted(self.remember(news))
        before = {k: self.entries.get(k) for name in concerned for k in self.settings[name].keys}
        changes = self._decide(concerned)
        return {key for key, was in before.items() if was != self.entries.get(key)}, changes

    def remember(self, news: Verdicts) -> set[str]:
        """Keep verdicts; the services they concern.

        A verdict of UNKNOWN (the checker started anew) never replaces a settled one: a blind
        checker is not a dead server, and its first probe will tell.
        """
        concerned: set[str] = set()
        for verdict in news.verdicts:
            before = self.verdicts.get(verdict.target)
            if verdict.target not in self._users:
                continue
            if verdict.health is Health.UNKNOWN and before is not None:
                continue
            self.verdicts[verdict.target] = verdict
            if before is None or _differs(before, verdict):
                concerned |= self._users[verdict.target]
        return concerned

    def targets(self) -> Targets:
        """All that is to be probed."""
        return Targets(self._targets, self.files)

    def _decide(self, names: Iterable[str]) -> list[Change]:
        changes: list[Change] = []
        for name in names:
            service = self.settings[name]
            adopted = self._adopted.get(name, {})
            decided = weight.decide(service, self.verdicts, adopted)
            self.unsettled.put(name, decided.unsettled)
            changes += _server_changes(name, self.weights.get(name), decided, adopted)
            changes += self._service_changes(name, decided, adopted)
            self.weights[name] = decided
            self.entries.update(_entries(service, decided))
        return changes

    def _service_changes(
        self, name: str, decided: weight.ServiceWeights, adopted: Mapping[Endpoint, int]
    ) -> list[Change]:
        """Told once every server has a verdict; before that nothing bad is known of anybody. What
        the weights found in the kernel say already is no news: a former life told it."""
        if decided.unsettled:
            return []
        changes = []
        up, unsaid = _told_before(self.settings[name], adopted)
        if decided.quorum_met != self._quorum_told.get(name, up >= self.settings[name].quorum):
            kind = "quorum_gained" if decided.quorum_met else "quorum_lost"
            changes.append(Change(kind, name, decided.reason))
        told = self._state_told.get(name, unsaid)
        if decided.state is not told:
            reason = f"{told.value} -> {decided.state.value}: {decided.reason}"
            changes.append(Change("service_state", name, reason))
        self._quorum_told[name], self._state_told[name] = decided.quorum_met, decided.state
        return changes


def _targets(config: Config) -> tuple[tuple[Target, ...], dict[str, set[str]]]:
    """Each endpoint once per check, and which services want to know of it."""
    checks = {check.name: check for check in config.checks}
    targets: dict[str, Target] = {}
    users: dict[str, set[str]] = defaultdict(set)
    for service in config.services:
        for server in service.real_servers:
            for name in service.check.checks:
                identity = target_id(name, server.endpoint)
                targets.setdefault(identity, Target(identity, checks[name], server.endpoint))
                users[identity].add(service.name)
    return tuple(targets.values()), dict(users)


def _weights_found(service: VirtualService, actual: ipvs.Table) -> dict[Endpoint, int]:
    found: dict[Endpoint, int] = {}
    for key in service.keys:
        if key in actual:
            for endpoint, destination in actual[key].destinations.items():
                found.setdefault(endpoint, destination.weight)
    return found


def _entries(
    service: VirtualService, decided: weight.ServiceWeights
) -> Mapping[ipvs.ServiceKey, ipvs.Entry]:
    destinations = {
        server.server.endpoint: server.server.destination(server.effective)
        for server in decided.servers
        if server.effective is not None
    }
    spare = service.fallback
    if spare is not None and decided.fallback is not None:
        destinations[spare.endpoint] = spare.destination(decided.fallback)
    return {one.key: ipvs.Entry(one, destinations) for one in service.services}


def _differs(before: Verdict, after: Verdict) -> bool:
    """Whether a weight or its reason could change; a mere refresh of timings does not count."""
    if before.health is not after.health:
        return True
    return (before.last and before.last.detail) != (after.last and after.last.detail)


def _server_changes(
    name: str,
    before: weight.ServiceWeights | None,
    after: weight.ServiceWeights,
    adopted: Mapping[Endpoint, int],
) -> list[Change]:
    """Servers that changed sides. A first verdict that only confirms the weight found in the
    kernel is no news: the server served all along."""
    changes = []
    old = {server.server.endpoint: server for server in before.servers} if before else {}
    for server in after.servers:
        was = old.get(server.server.endpoint)
        if was is not None and _side(was) == _side(server):
            continue
        served = adopted.get(server.server.endpoint)
        if (was is None or _side(was) == "unknown") and served == server.effective:
            continue
        changes += _server_change(name, was, server)
    return changes


def _told_before(
    service: VirtualService, adopted: Mapping[Endpoint, int]
) -> tuple[int, weight.ServiceState]:
    """How many servers were up and how the service was, by what its kernel table says; all well
    where there is no table yet."""
    if not adopted:
        return len(service.real_servers), weight.ServiceState.UP
    up = sum(1 for s in service.real_servers if (adopted.get(s.endpoint) if s.weight else True))
    spare = adopted.get(service.fallback.endpoint) if service.fallback else None
    return up, weight.state(service, up, spare or None)


def _side(server: weight.ServerWeight) -> str:
    """up, down or unknown: what hooks and events tell; rising and falling are not told."""
    if server.health.health in weight.IN_SERVICE:
        return "up"
    return "down" if server.health.health in weight.OUT_OF_SERVICE else "unknown"


def _server_change(
    name: str, was: weight.ServerWeight | None, server: weight.ServerWeight
) -> list[Change]:
    side = _side(server)
    if side == "unknown":
        return []
    decided_by = server.health.decided_by
    inputs = {"weight": "absent" if server.effective is None else str(server.effective)}
    if was is not None:
        inputs["weight_before"] = "absent" if was.effective is None else str(was.effective)
    if decided_by is not None and decided_by.last is not None:
        inputs["check"] = decided_by.target.partition("@")[0]
        inputs["probe_ms"] = f"{decided_by.last.ms:.1f}"
    subject = f"{name}/{server.server.endpoint}"
    return [Change(f"server_{side}", subject, server.reason, inputs)]
