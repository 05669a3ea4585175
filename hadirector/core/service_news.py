"""What is told of virtual services and their servers: who changed sides, and how a service is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hadirector.core import weight
from hadirector.core.address import Endpoint
from hadirector.core.server_health import is_in, is_out
from hadirector.core.settings.services import VirtualService


@dataclass(frozen=True, slots=True)
class Change:
    """Something to tell: `kind` as in hooks and events, `subject` `web` or `web/10.0.1.11:80`."""

    kind: str
    subject: str
    reason: str
    inputs: dict[str, str] = field(default_factory=dict)


def of_servers(
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
        if was is not None and was.admin is not server.admin:
            subject = f"{name}/{server.server.endpoint}"
            changes.append(Change(f"server_{server.admin.value}", subject, server.reason))
        if was is not None and _side(was) == _side(server):
            continue
        served = adopted.get(server.server.endpoint)
        if (was is None or _side(was) == "unknown") and served == server.effective:
            continue
        changes += _server_change(name, was, server)
    return changes


def told_before(
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
    if is_in(server.health.health):
        return "up"
    return "down" if is_out(server.health.health) else "unknown"


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
