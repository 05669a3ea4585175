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

_BY_SERVER = (CheckType.EXEC, CheckType.EXTERNAL)  # they are told the server, whatever its place


@dataclass(slots=True)
class Probed:
    """`targets` by their names. By target: `users` are the services that want to know of it,
    `heard_by` the names (target_id) its verdict is looked up by, its own first."""

    targets: dict[str, Target] = field(default_factory=dict)
    users: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    heard_by: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))

    def inherit(self, verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
        """What was known by name and still is; who joins a target knows what the others know."""
        found: dict[str, Verdict] = {}
        for names in self.heard_by.values():
            known = next((verdicts[name] for name in names if name in verdicts), None)
            if known is not None:
                found.update(dict.fromkeys(names, known))
        return found


def targets_of(config: Config) -> Probed:
    """What is to be probed."""
    checks = {check.name: check for check in config.checks}
    found = Probed()
    for service in config.services:
        for server in service.real_servers:
            for name in service.asked:
                target = _target(checks[name], server.endpoint)
                found.targets.setdefault(target.id, target)
                found.users[target.id].add(service.name)
                names = found.heard_by[target.id]
                names |= {target.id: None, target_id(name, server.endpoint): None}
    return found


def _target(check: Check, server: Endpoint) -> Target:
    if check.type in _BY_SERVER or check.client is not None:
        return Target(target_id(check.name, server), check, server)
    place = Target("", check, server).at
    if check.type is CheckType.PING:
        return Target(f"{check.name}@{place.address}", check, Endpoint(place.address, 0))
    return Target(target_id(check.name, place), check, place)
