"""What a reload would do: the steps in IPVS with the connections they touch, and the rest in words.

The steps are those of the director itself: its own services, verdicts and orders with the other
configuration, planned against the kernel as it was read last. `reload` takes the same way.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from hadirector.core import departures, differences, maglev, partings, plan
from hadirector.core.address import Address, Endpoint
from hadirector.core.director import Director
from hadirector.core.ipvs import DestinationUse, Entry, Forward, ServiceKey, Table, Usage
from hadirector.core.services import Services
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.instances import Instance


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
    service's clients that get another server."""

    nothing: bool
    changes: str
    steps: tuple[Effect, ...] = ()
    moved: Mapping[str, float] = field(default_factory=dict)
    elections: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()


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
    elections = tuple(_elections(old, config, director.kernel.usage, present))
    return _preview(old, config, twin, director, actual, elections)


def _preview(
    old: Config,
    config: Config,
    twin: Services,
    director: Director,
    actual: Table,
    elections: tuple[str, ...],
) -> Preview:
    both = (*old.services, *config.services)
    names = {key: service.name for service in both for key in service.keys}
    steps = director.kernel.preview(twin.entries)
    usage = director.kernel.usage
    same = replace(config, path=old.path, digest=old.digest) == old
    return Preview(
        nothing=same and not steps,
        changes="nothing changed" if same else differences.between(old, config),
        steps=tuple(_effect(step, names, usage, actual, config.linger) for step in steps),
        moved=_moved(twin.entries, actual, names),
        elections=elections,
        peers=(*_peers(director, same), *partings.of_links(old, config)),
    )


def _effect(
    step: plan.Operation,
    names: Mapping[ServiceKey, str],
    usage: Usage,
    actual: Table,
    linger: float,
) -> Effect:
    key = plan.service_of(step)
    uses = _uses(step, usage, actual)
    connections = sum(use.active + use.inactive for use in uses)
    persistent = sum(use.persistent for use in uses)
    if key in actual and not departures.lets_linger(actual[key].service):
        linger = 0.0
    note = _note(step, connections, persistent, linger) if connections or persistent else ""
    return Effect(plan.describe(step), names.get(key, ""), connections, persistent, note)


def _uses(step: plan.Operation, usage: Usage, actual: Table) -> list[DestinationUse]:
    """What the kernel counts of the servers a step is about."""
    key = plan.service_of(step)
    places: Sequence[Endpoint]
    match step:
        case plan.AddService() | plan.AddDestination():
            places = ()
        case plan.DeleteService() | plan.EditService():
            places = tuple(actual[key].destinations) if key in actual else ()
        case plan.EditDestination(_, destination) | plan.DeleteDestination(_, destination):
            places = (destination.endpoint,)
    found = (usage.destinations.get((key, place)) for place in places)
    return [use for use in found if use is not None]


def _note(step: plan.Operation, connections: int, persistent: int, linger: float) -> str:
    match step:
        case plan.DeleteService() | plan.DeleteDestination():
            if not linger:
                return f"{connections} connections are cut"
            return (
                f"weight 0 first: {connections} connections may end within {linger:g} s, what is "
                "left is cut"
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


def _elections(
    old: Config, config: Config, usage: Usage, present: Collection[str] | None
) -> Iterator[str]:
    """Whose addresses, priority or peers change, and whom that makes master."""
    before = {instance.name: instance for instance in old.instances}
    for instance in config.instances:
        known = before.pop(instance.name, None)
        if known is None:
            yield f"{instance.name}: new, it begins as backup and listens first"
        elif known != instance:
            yield from _election(known, instance, present)
        if present is not None and known != instance:
            yield from partings.absent(instance, present)
    yield from (f"{name}: gone, its addresses are dropped" for name in before)
    yield from _unreachable(old, config, usage)


def _unreachable(old: Config, config: Config, usage: Usage) -> Iterator[str]:
    """Services that stay, and lose the address clients reach them by."""
    for address in sorted(_held(old) - _held(config)):
        names = [
            service.name
            for service in config.services
            if any(key.address == address for key in service.keys)
        ]
        if names:
            mine = (use for (key, _), use in usage.destinations.items() if key.address == address)
            connections = sum(use.active for use in mine)
            yield (
                f"{address}: on no instance then: {', '.join(names)} cannot be reached by it; "
                f"{connections} active connections break"
            )


def _held(config: Config) -> set[Address]:
    return {
        each.address
        for one in config.instances
        for each in (*one.virtual_addresses, *one.excluded_addresses)
    }


def _election(old: Instance, new: Instance, present: Collection[str] | None) -> list[str]:
    told = []
    gone = {v.address for v in (*old.virtual_addresses, *old.excluded_addresses)}
    come = {v.address for v in (*new.virtual_addresses, *new.excluded_addresses)}
    if gone - come:
        told.append(f"{new.name}: gives up {', '.join(sorted(gone - come))}")
    if come - gone:
        told.append(f"{new.name}: takes {', '.join(sorted(come - gone))} while it is master")
    if old.priority != new.priority:
        text = f"{new.name}: priority {old.priority} -> {new.priority}"
        highest = max(new.peer_priorities, default=0)
        if highest > new.priority:
            text += f", below a peer's {highest}: that one takes over once it is ready"
        elif old.priority < max(old.peer_priorities, default=0) and new.priority > highest:
            text += f", above the peers' {highest}: this node takes over once it is ready"
        told.append(text)
    able = present is None or new.interface in present  # else it is in fault, and says nothing
    if able and (parted := partings.of_router(old, new)):
        told.append(parted)
    return told or [f"{new.name}: changes in place: {_others(old, new)}"]


def _others(old: Instance, new: Instance) -> str:
    """What else differs, by name."""
    names = [f.name for f in fields(Instance) if getattr(old, f.name) != getattr(new, f.name)]
    return ", ".join(names)


def _peers(director: Director, same: bool) -> list[str]:
    """The others go on as they are configured until they are reloaded themselves."""
    if director.peers is None or same:
        return []
    return [
        f"{name} goes on as it is until the file is there too and it is reloaded; until then the "
        "two differ, and both tell of it"
        for name in director.peers.known
    ]
