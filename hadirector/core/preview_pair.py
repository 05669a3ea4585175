"""What a reload of this node alone does to the pair, and what follows once the others do the same.

All nodes read one file, each by itself: until a peer is reloaded it goes on with what it has, and
its priority counts as it is. Told of masters is what the priorities say; readiness, orders and what
is tracked come on top of that.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields

from hadirector.core import partings
from hadirector.core.address import Address
from hadirector.core.ipvs import Usage
from hadirector.core.peers import Known
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.instances import Instance, Preempt

Peers = Mapping[str, Known]


def elections(
    old: Config, config: Config, peers: Peers, usage: Usage, present: Collection[str] | None
) -> Iterator[str]:
    """Whose addresses or priorities change, who is master by these, and what parts the pair.
    `present`: the interfaces of this host; None: nobody looked."""
    before = {instance.name: instance for instance in old.instances}
    behind = any(not _has(known, config) for known in peers.values())
    for instance in config.instances:
        known = before.pop(instance.name, None)
        if known is None:
            yield f"{instance.name}: new, it begins as backup and listens first"
        elif known != instance:
            told = [*_addresses(known, instance, behind), *_priority(known, instance, peers)]
            able = present is None or instance.interface in present  # else it says nothing
            if able and (parted := partings.of_router(known, instance)):
                told.append(parted)
            changed = ", ".join(_changed(known, instance))
            yield from told or [f"{instance.name}: changes in place: {changed}"]
        if present is not None and known != instance:
            yield from partings.absent(instance, present)
    for name in before:
        yield f"{name}: gone, its addresses are dropped"
    yield from _unreachable(old, config, usage)


def others(old: Config, config: Config, peers: Peers) -> Iterator[str]:
    """What each peer runs afterwards, where it is not what it was beside us."""
    if config.digest == old.digest:
        return
    for name, known in peers.items():
        said = known.presence if known.alive else None
        if said is None:
            yield f"{name} is not heard: what it runs is not known"
        elif _has(known, config):
            yield f"{name} runs this configuration already"
        elif said.digest == old.digest:
            yield (
                f"{name} goes on as it is until the file is there too and it is reloaded; until "
                "then the two differ, and both tell of it"
            )
        else:
            yield f"{name} runs a configuration that is neither this one nor the one in force here"
    yield from partings.of_links(old, config)


def _has(known: Known, config: Config) -> bool:
    return known.alive and known.presence is not None and known.presence.digest == config.digest


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


def _changed(old: Instance, new: Instance) -> Iterator[str]:
    for field in fields(Instance):
        if getattr(old, field.name) != getattr(new, field.name):
            yield field.name


def _addresses(old: Instance, new: Instance, behind: bool) -> Iterator[str]:
    gone = {v.address for v in (*old.virtual_addresses, *old.excluded_addresses)}
    come = {v.address for v in (*new.virtual_addresses, *new.excluded_addresses)}
    if gone - come:
        more = "; a peer that is not reloaded takes it when it is master" if behind else ""
        yield f"{new.name}: gives up {', '.join(sorted(gone - come))}{more}"
    if come - gone:
        more = ", and a peer not before it is reloaded" if behind else ""
        yield f"{new.name}: takes {', '.join(sorted(come - gone))} while it is master{more}"


def _priority(old: Instance, new: Instance, peers: Peers) -> Iterator[str]:
    ranks = [(each.priority, each.peer_priorities, each.preempt) for each in (old, new)]
    if ranks[0] == ranks[1]:
        return
    text = f"{new.name}: "
    if old.priority != new.priority:
        text += f"priority {old.priority} -> {new.priority}, "
    who = next(iter(peers)) if len(peers) == 1 else "a peer"
    heard = max((p for known in peers.values() for p in _heard(known, new.name)), default=0)
    alone = _master(new, heard or max(old.peer_priorities, default=0), who)
    both = _master(new, max(new.peer_priorities, default=0), who)
    if alone == both:
        yield f"{text}{alone}"
    else:
        yield f"{text}reloaded here alone {alone}; on all nodes {both}"


def _heard(known: Known, instance: str) -> Iterator[int]:
    """What counts of a living peer in the elections of an instance."""
    if known.alive and known.presence is not None:
        for router, priority in known.presence.priorities.items():
            if router.rpartition("/")[0] == instance:
                yield priority


def _master(instance: Instance, theirs: int, who: str) -> str:
    ours = instance.priority
    if not theirs:
        return "there is no peer"
    if ours == theirs:
        return f"whoever is master stays so ({who} has {theirs}, too)"
    if instance.preempt is Preempt.NEVER:
        return "whoever is master stays so (preempt: never)"
    if ours > theirs:
        return f"this node is master by priority ({ours}, {who} {theirs})"
    return f"{who} is master by priority ({theirs}, this node {ours})"
