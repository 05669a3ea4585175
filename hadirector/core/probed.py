"""Who is probed for whom: each place once per check, for all servers of all services.

Five hundred services on ten hosts, all checked by the page on port 8081, are ten targets. A verdict
is looked up by check and server (`target_id`); `heard_by` says for which of these a target speaks.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from hadirector.core.address import Endpoint
from hadirector.core.checker_messages import Verdict
from hadirector.core.settings.checks import Check, CheckType, Target, target_id
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.services import VirtualService

_BY_SERVER = (CheckType.EXEC, CheckType.EXTERNAL)  # they are told the server, whatever its place


@dataclass(slots=True)
class Probed:
    """`targets` by their names. By target: `users` are the services that want to know of it,
    `heard_by` the names (target_id) its verdict is looked up by, its own first."""

    targets: dict[str, Target] = field(default_factory=dict)
    users: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    heard_by: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    _checks: Mapping[str, Check] = field(default_factory=dict)
    _parts: Mapping[str, "_Part"] = field(default_factory=dict)  # by service

    def inherit(self, verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
        """What was known by name and still is; who joins a target knows what the others know."""
        found: dict[str, Verdict] = {}
        for names in self.heard_by.values():
            known = next((verdicts[name] for name in names if name in verdicts), None)
            if known is not None:
                found.update(dict.fromkeys(names, known))
        return found

    def part(self, service: VirtualService, checks: Mapping[str, Check]) -> "_Part":
        """What a service asks for: as it was, if nothing changed that matters here."""
        before = self._parts.get(service.name)
        same = before is not None and before.service == service
        if before is not None and same and all(self._checks[n] == checks[n] for n in service.asked):
            return before
        asked = [
            (_target(checks[name], server.endpoint), target_id(name, server.endpoint))
            for server in service.real_servers
            for name in service.asked
        ]
        if before is not None and before.asked == asked:  # another weight, say
            return _Part(service, before.asked)
        return _Part(service, asked)

    def follow(self, checks: Mapping[str, Check], parts: Mapping[str, "_Part"]) -> "Probed":
        """With these parts: the same targets, or others."""
        before = self._parts
        if before.keys() == parts.keys() and all(
            before[name].asked is part.asked for name, part in parts.items()
        ):
            return Probed(self.targets, self.users, self.heard_by, checks, parts)
        found = Probed(_checks=checks, _parts=parts)
        for service, part in parts.items():
            for target, name in part.asked:
                found.targets.setdefault(target.id, target)
                found.users[target.id].add(service)
                found.heard_by[target.id].update(((target.id, None), (name, None)))
        return found


@dataclass(frozen=True, slots=True)
class _Part:
    """What one service asks for: each target, and the name by which the service knows it."""

    service: VirtualService
    asked: list[tuple[Target, str]]


def targets_of(config: Config, before: Probed | None = None) -> Probed:
    """What is to be probed. Of services that are as they were `before`, nothing is worked out
    again, and where all ask for the same as before, `targets` is the very mapping of then."""
    checks = {check.name: check for check in config.checks}
    known = before or Probed()
    parts = {service.name: known.part(service, checks) for service in config.services}
    return known.follow(checks, parts)


def _target(check: Check, server: Endpoint) -> Target:
    if check.type in _BY_SERVER or check.client is not None:
        return Target(target_id(check.name, server), check, server)
    place = Target("", check, server).at
    if check.type is CheckType.PING:
        return Target(f"{check.name}@{place.address}", check, Endpoint(place.address, 0))
    return Target(target_id(check.name, place), check, place)
