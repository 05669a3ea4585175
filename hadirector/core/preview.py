"""What a reload would do: the steps in IPVS with the connections they touch, and the rest in words.

The steps are those of the director itself: its own services, verdicts and orders with the other
configuration, planned against the kernel as it was read last. `reload` takes the same way.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from hadirector.core import differences, maglev, plan, preview_pair
from hadirector.core.address import Endpoint
from hadirector.core.departures import Place, lets_linger
from hadirector.core.director import Director
from hadirector.core.duration import spell
from hadirector.core.ipvs import Entry, Forward, ServiceKey, Table, Usage
from hadirector.core.kernel_table import KernelTable
from hadirector.core.services import Services
from hadirector.core.settings.cluster import Config


@dataclass(frozen=True, slots=True)
class Effect:
    """A step, and what hangs on it now: `connections` of clients, `persistent` clients; `note` says
    what becomes of them, empty where nothing does."""

    text: str
    service: str  # its name in the configuration
    connections: int = 0
    persistent: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """All of it; `changes` is the summary a reload would write, `moved` the share of an mh
    service's clients that get another server, `unwritten` why a reload would do none of the steps
    at first."""

    nothing: bool
    changes: str
    steps: tuple[Effect, ...] = ()
    moved: Mapping[str, float] = field(default_factory=dict)
    elections: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    unwritten: str = ""


def build(
    director: Director, config: Config, now: float, present: Collection[str] | None = None
) -> Preview:
    """What this configuration would change on this node, which has one already. `present` are the
    interfaces this host has; None: nobody looked."""
    old = director.config
    assert old is not None, "a director that answers has a configuration"
    twin = director.services.copy()
    actual = director.kernel.actual or {}
    twin.configure(config, actual, now, director.orders.overrides.rulings(config.services, now))
    told = _of_ipvs(old, config, twin, director.kernel, now)
    peers = director.peers.known if director.peers else {}
    usage = director.kernel.usage
    return replace(
        told,
        elections=tuple(preview_pair.elections(old, config, peers, usage, present)),
        peers=tuple(preview_pair.others(old, config, peers)),
        unwritten=_unwritten(director.kernel, now),
    )


def _of_ipvs(
    old: Config, config: Config, twin: Services, kernel: KernelTable, now: float
) -> Preview:
    both = (*old.services, *config.services)
    names = {key: service.name for service in both for key in service.keys}
    actual = kernel.actual or {}
    steps, leaving = kernel.preview(twin.entries), kernel.departing(old, config, now)
    left = {place: until - now for place, until in leaving.items()}
    same = replace(config, path=old.path, digest=old.digest) == old
    return Preview(
        nothing=same and not steps,
        changes="nothing changed" if same else differences.between(old, config),
        steps=tuple(_effect(step, names, kernel.usage, actual, left) for step in steps),
        moved=_moved(twin.entries, actual, names),
    )


def _unwritten(kernel: KernelTable, now: float) -> str:
    if kernel.pause is not None:
        left = spell(max(1.0, round(kernel.pause.until - now)))
        return f"IPVS is paused: a reload writes nothing to it before the pause ends, in {left}"
    if kernel.actual is None:
        return f"IPVS was not read: {kernel.trouble or kernel.hindrance}"
    return ""


def _effect(
    step: plan.Operation,
    names: Mapping[ServiceKey, str],
    usage: Usage,
    actual: Table,
    left: Mapping[Place, float],
) -> Effect:
    """`left`: seconds for those who leave the configuration. Who is taken out for another reason,
    as by its checks or an order, has none."""
    key = plan.service_of(step)
    places = _places(step, actual)
    found = (usage.destinations.get(place) for place in places)
    uses = [use for use in found if use is not None]
    connections = sum(use.active + use.inactive for use in uses)
    persistent = sum(use.persistent for use in uses)
    linger = max((left.get(place, 0.0) for place in places), default=0.0)
    if key in actual and not lets_linger(actual[key].service):
        linger = 0.0
    note = _note(step, connections, persistent, linger) if connections or persistent else ""
    return Effect(plan.describe(step), names.get(key, ""), connections, persistent, note)


def _places(step: plan.Operation, actual: Table) -> list[Place]:
    """The servers in the kernel that a step is about."""
    key = plan.service_of(step)
    match step:
        case plan.AddService() | plan.AddDestination():
            return []
        case plan.DeleteService() | plan.EditService():
            return [(key, each) for each in actual[key].destinations] if key in actual else []
        case plan.EditDestination(_, destination) | plan.DeleteDestination(_, destination):
            return [(key, destination.endpoint)]


def _note(step: plan.Operation, connections: int, persistent: int, linger: float) -> str:
    match step:
        case plan.DeleteService() | plan.DeleteDestination():
            if not connections:
                return f"{persistent} persistent clients get another server"
            if not linger:
                return f"{connections} connections are cut"
            return (
                f"weight 0 first: {connections} connections may end within "
                f"{spell(round(linger))}, what is left is cut"
            )
        case plan.EditDestination(_, after, before):
            if after.weight == 0 and before.weight:
                bound = f"; {persistent} persistent clients leave it" if persistent else ""
                return f"{connections} connections go on{bound}"
            if (after.forward, after.tunnel) != (before.forward, before.tunnel):
                was = Forward(before.forward).name.lower()
                return f"{connections} connections go on by {was}"
        case plan.EditService(after_service, before_service):
            if persistent and after_service.flags != before_service.flags:
                return f"{persistent} persistent clients are bound until their time is over"
        case _:
            pass
    return ""


def _moved(desired: Table, actual: Table, names: Mapping[ServiceKey, str]) -> dict[str, float]:
    shares = {}
    for key, entry in desired.items():
        before = actual.get(key)
        if before is None or "mh" not in (entry.service.scheduler, before.service.scheduler):
            continue
        if before.service.scheduler != entry.service.scheduler:
            shares[names[key]] = 1.0
        elif (old := _weights(before)) != (new := _weights(entry)):
            shares[names[key]] = maglev.moved(old, new)
    return shares


def _weights(entry: Entry) -> dict[Endpoint, int]:
    return {endpoint: one.weight for endpoint, one in entry.destinations.items()}
