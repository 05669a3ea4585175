"""The virtual services of a node: verdicts and orders in, weights and the desired IPVS table out.

What changed is told as `Change`s, each with the sentence that explains it. Only the services that
something concerns are decided anew, and nothing here walks the others: a server's death costs the
same beside ten other services and beside ten thousand. What changes by time alone (slow start,
feedback, the end of a hold) is decided at `deadline`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from hadirector.core import as_client, ipvs, service_news, weight
from hadirector.core.address import Endpoint
from hadirector.core.admin import Ruling
from hadirector.core.deafness import Deafness
from hadirector.core.easing import Easing, begun
from hadirector.core.keys import FileText
from hadirector.core.messages import Health, Targets, Verdict, Verdicts
from hadirector.core.patience import Patience
from hadirector.core.probed import Probed, targets_of
from hadirector.core.server_health import ASKS, recall, wish
from hadirector.core.service_news import (
    Change as Change,  # who tells of services takes it from here
)
from hadirector.core.settings.checks import Check
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.services import VirtualService
from hadirector.core.views import Out

Outcome = tuple[set[ipvs.ServiceKey], list[Change]]
"""The IPVS services that are to change, and what to tell."""

Rulings = Mapping[str, Mapping[Endpoint, Ruling]]
"""What operators ordered, by service."""

NO_RULINGS: Rulings = {}


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

    @property
    def words(self) -> str:
        """How many wait, and one of them as `web/10.0.1.11:80`; empty when none waits."""
        first = next((f"{name}/{servers[0]}" for name, servers in self._servers.items()), "")
        return f"{self.count} servers wait for a verdict: {first}" if self.count else ""


class Services:
    """Every virtual service by name, with the weights decided for it."""

    def __init__(self) -> None:
        self.settings: dict[str, VirtualService] = {}
        self.weights: dict[str, weight.ServiceWeights] = {}
        self.verdicts: dict[str, Verdict] = {}
        self.entries: dict[ipvs.ServiceKey, ipvs.Entry] = {}
        self.unsettled = Unsettled()  # those without which this node is not ready
        self.unjudged = Unsettled()  # all of them
        self.out = Out()
        self.files: dict[str, FileText] = {}  # that the checks name, as they were read last
        self._adopted: dict[str, dict[Endpoint, int]] = {}
        self._rulings: Rulings = {}
        self._deafness = Deafness()
        self._wishing: set[str] = set()  # the targets whose servers' own operators want something
        self._easing = Easing()
        self._patience = Patience()
        self._due: dict[str, float] = {}  # by service: when time alone may change its weights
        self.paths: tuple[as_client.Path, ...] = ()  # of probes as clients' packets go
        self._probed = Probed()
        self._checks: dict[str, Check] = {}
        # A service is well until something else was told: a director that starts tells no news.
        self._quorum_told: dict[str, bool] = {}
        self._state_told: dict[str, weight.ServiceState] = {}
        self._kept_told: set[str] = set()

    def copy(self) -> "Services":
        """Another one, to try a configuration with."""
        twin = Services()
        twin.settings, twin.weights = dict(self.settings), dict(self.weights)
        twin.verdicts, twin.entries = dict(self.verdicts), dict(self.entries)
        twin.files, twin._rulings = self.files, self._rulings
        twin._probed, twin._checks, twin.paths = self._probed, self._checks, self.paths
        twin._adopted, twin._easing = dict(self._adopted), self._easing.copy()
        twin._deafness, twin._patience = self._deafness.copy(), self._patience.copy()
        twin._wishing, twin._due = set(self._wishing), dict(self._due)
        twin._quorum_told, twin._state_told = dict(self._quorum_told), dict(self._state_told)
        twin._kept_told = set(self._kept_told)
        return twin

    def configure(
        self, config: Config, actual: ipvs.Table, now: float, rulings: Rulings = NO_RULINGS
    ) -> list[Change]:
        """Take a configuration; servers without a verdict keep the weight they have in `actual`.

        What did not change of a service was decided already, and stays: a reload of 37,000 servers
        for the sake of one decides that one's service.
        """
        settings = {service.name: service for service in config.services}
        settled = self._settled(settings, config, rulings)
        self._rulings = rulings
        before, self.settings = set(self.settings), settings
        self._checks = {check.name: check for check in config.checks}
        self._probe(targets_of(config, self._probed))
        self.weights = {name: w for name, w in self.weights.items() if name in self.settings}
        self._quorum_told = {n: t for n, t in self._quorum_told.items() if n in self.settings}
        self._state_told = {n: t for n, t in self._state_told.items() if n in self.settings}
        self._kept_told &= self.settings.keys()
        self._easing.keep(self.settings)
        self._patience.keep(self.settings)
        self._due = {}  # of a settled one time has nothing to say
        kept = {key for name in settled for key in settings[name].keys}
        entries = {key: entry for key, entry in self.entries.items() if key in kept}
        self.paths = as_client.paths_of(config)
        self.entries = dict(path.entry for path in self.paths) | entries
        self.unsettled, self.unjudged, self.out = Unsettled(), Unsettled(), Out()
        for name in settled:
            self.out.put(name, self.weights[name])
        changes = [
            Change("service_removed", name, "no longer configured")
            for name in sorted(before - set(self.settings))
        ]
        return changes + self._adopt(actual, now, [n for n in settings if n not in settled])

    def _probe(self, wanted: Probed) -> None:
        """Take what is to be probed; where it is the same as before, what is known stays."""
        before, self._probed = self._probed, wanted
        targets = wanted.targets
        if targets is before.targets:
            return
        self.verdicts = wanted.inherit(self.verdicts)
        self._deafness.keep({name: target.at.address for name, target in targets.items()})
        self._wishing &= targets.keys()

    def _settled(
        self, settings: Mapping[str, VirtualService], config: Config, rulings: Rulings
    ) -> set[str]:
        """The services that are decided, and that nothing of this concerns."""
        checks = {c.name for c in config.checks if self._checks.get(c.name) == c}
        return {
            name
            for name, service in settings.items()
            if name in self.weights
            and name not in self._due  # time has something to say
            and not self.weights[name].unjudged
            and self.settings.get(name) == service
            and checks.issuperset(service.asked)
            and self._rulings.get(name) == rulings.get(name)
        }

    def adopt(self, actual: ipvs.Table, now: float) -> list[Change]:
        """Take the weights found in the kernel for servers that have no verdict yet."""
        return self._adopt(actual, now, list(self.settings))

    def _adopt(self, actual: ipvs.Table, now: float, names: list[str]) -> list[Change]:
        self._adopted = {n: found for n, found in self._adopted.items() if n in self.settings}
        for name in names:
            service = self.settings[name]
            found = _weights_found(service, actual)
            decided = self.weights.get(name)
            if service.fallback and decided is not None and decided.fallback is not None:
                # Another one takes the place of a fallback that serves.
                found.setdefault(service.fallback.endpoint, service.fallback.weight)
            self._adopted[name] = found
        return self._decide(names, now)

    def hear(self, news: Verdicts, now: float) -> Outcome:
        """Verdicts came."""
        return self._again(sorted(self.remember(news)), now)

    def rule(self, rulings: Rulings, now: float) -> Outcome:
        """All that operators want of servers now."""
        before, self._rulings = self._rulings, rulings
        names = sorted(before.keys() | rulings.keys())
        changed = [n for n in names if before.get(n, {}) != rulings.get(n, {})]
        return self._again([n for n in changed if n in self.settings], now)

    def seen_elsewhere(self, seen: Mapping[str, bool], now: float) -> Outcome:
        """Whether peers can reach those that are out here: who is seen there is not dead, and this
        node is deaf; who is not seen there either is."""
        before, self._deafness.seen_elsewhere = self._deafness.seen_elsewhere, seen
        names = before.keys() | seen.keys()
        changed = {n.partition("/")[0] for n in names if before.get(n) != seen.get(n)}
        services = sorted(changed & self.settings.keys())
        return self._again([n for n in services if self._is_alone(n)], now)

    def due(self, now: float) -> Outcome:
        """Time passed."""
        return self._again([name for name, at in self._due.items() if now >= at], now)

    def deadline(self) -> float | None:
        """When `due` has something to do."""
        return min(self._due.values(), default=None)

    def remember(self, news: Verdicts) -> set[str]:
        """Keep verdicts; the services they concern.

        A verdict of UNKNOWN (the checker started anew) never replaces a settled one: a blind
        checker is not a dead server, and its first probe will tell.
        """
        concerned: set[str] = set()
        for verdict in news.verdicts:
            names = self._probed.heard_by.get(verdict.target)
            if not names:
                continue
            before = self.verdicts.get(next(iter(names)))
            if verdict.health is Health.UNKNOWN and before is not None:
                continue
            if before is not None:
                verdict = recall(verdict, before)
            self.verdicts.update(dict.fromkeys(names, verdict))
            wishes = verdict.last is not None and verdict.last.wish in ASKS
            (self._wishing.add if wishes else self._wishing.discard)(verdict.target)
            self._deafness.hear(verdict)
            if before is None or _differs(before, verdict):
                concerned |= self._probed.users[verdict.target]
        return concerned

    def targets(self) -> Targets:
        """All that is to be probed."""
        return Targets(tuple(self._probed.targets.values()), self.files)

    def known(self) -> tuple[Verdict, ...]:
        """The last verdict of each target: a checker that starts anew goes on from there."""
        found = ((name, self.verdicts.get(name)) for name in self._probed.targets)
        return tuple(
            verdict if verdict.target == name else replace(verdict, target=name)
            for name, verdict in found
            if verdict is not None and verdict.last is not None
        )

    def _again(self, names: Iterable[str], now: float) -> Outcome:
        """Decide these anew."""
        keys = [key for name in names for key in self.settings[name].keys]
        before = {key: self.entries.get(key) for key in keys}
        changes = self._decide(names, now)
        return {key for key, was in before.items() if was != self.entries.get(key)}, changes

    def _decide(self, names: Iterable[str], now: float) -> list[Change]:
        changes: list[Change] = []
        for name in names:
            service, before = self.settings[name], self.weights.get(name)
            adopted = self._adopted.get(name, {})
            self._easing.reported(service, self.verdicts, now)
            facts = self._facts(service, now)
            decided = weight.decide(service, self.verdicts, adopted, facts)
            began = begun(service, adopted, facts) if before and before.unjudged else {}
            if self._easing.decided(service, before, decided, began, now):
                decided = weight.decide(service, self.verdicts, adopted, self._facts(service, now))
            self.unsettled.put(name, decided.needed)
            self.unjudged.put(name, decided.unjudged)
            self._patience.note(name, decided.unjudged, now)
            self.out.put(name, decided)
            changes += service_news.of_servers(name, before, decided, adopted)
            changes += self._service_changes(name, decided, adopted)
            self.weights[name] = decided
            self.entries.update(_entries(service, decided))
            self._await(service, decided, now)
        return changes

    def _is_alone(self, name: str) -> bool:
        weights = self.weights.get(name)
        return weights is not None and any(server.health.alone for server in weights.servers)

    def _facts(self, service: VirtualService, now: float) -> weight.Facts:
        before = self.weights.get(service.name)
        adopted = self._adopted.get(service.name, {})
        served = set(before.serving | before.spared) if before else set()
        for known in before.servers if before else ():
            if known.health.health is Health.UNKNOWN and adopted.get(known.server.endpoint):
                served.add(known.server.endpoint)
        wishes = {
            server.endpoint: wish(service.asked, server.endpoint, self.verdicts)
            for server in (service.real_servers if self._wishing else ())
        }
        return weight.Facts(
            rulings=self._rulings.get(service.name, {}),
            ramps=self._easing.ramps(service, now),
            shares=self._easing.shares(service, now),
            wishes=wishes,
            served=served,
            doubted=self._deafness.doubted(service, self.verdicts, before, now),
            overdue=self._patience.over(service, self._checks, now),
        )

    def _await(self, service: VirtualService, decided: weight.ServiceWeights, now: float) -> None:
        ends = (
            self._deafness.next_at(decided, now),
            self._easing.next_at(service, now),
            self._patience.next_at(service, self._checks, now),
        )
        due = [at for at in ends if at is not None]
        self._due.pop(service.name, None)
        if due:
            self._due[service.name] = min(due)

    def _service_changes(
        self, name: str, decided: weight.ServiceWeights, adopted: Mapping[Endpoint, int]
    ) -> list[Change]:
        """Told once no verdict is waited for; before that nothing bad is known of anybody. What
        the weights found in the kernel say already is no news: a former life told it."""
        if decided.unsettled:
            return []
        changes = []
        up, unsaid = service_news.told_before(self.settings[name], adopted)
        if decided.quorum_met != self._quorum_told.get(name, up >= self.settings[name].quorum):
            kind = "quorum_gained" if decided.quorum_met else "quorum_lost"
            changes.append(Change(kind, name, decided.reason))
        told = self._state_told.get(name, unsaid)
        if decided.state is not told:
            reason = f"{told.value} -> {decided.state.value}: {decided.reason}"
            changes.append(Change("service_state", name, reason))
        kept = any(server.kept for server in decided.servers)
        if kept and name not in self._kept_told:
            changes.append(Change("servers_kept", name, decided.reason))
        self._kept_told = self._kept_told | {name} if kept else self._kept_told - {name}
        self._quorum_told[name], self._state_told[name] = decided.quorum_met, decided.state
        return changes


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
    if (before.health, before.alone) != (after.health, after.alone):
        return True
    one, other = before.last, after.last
    if one is None or other is None:
        return one is not other
    # A share moves weights by and by, when time passes: only the first one is news.
    return (one.detail, one.wish, one.share is None) != (
        other.detail,
        other.wish,
        other.share is None,
    )
