"""`vrrp:` -> the instances as this node runs them, and the sync groups."""

from dataclasses import dataclass, field
from itertools import pairwise

from hadirector.config import addresses, routing, scalars, tracking, wire
from hadirector.config.nodes import NO_PRIORITY, Nodes, by_node, per_node, required_per_node
from hadirector.config.problem import Place
from hadirector.config.reader import Section, one_of_names
from hadirector.config.tree import Mapping, Scalar, Tree
from hadirector.core.address import Address, Family, family
from hadirector.core.advert import OWNER
from hadirector.core.priority import LAST_RESORT
from hadirector.core.settings.instances import (
    Checksum,
    Instance,
    Preempt,
    SyncGroup,
    VirtualAddress,
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What instances may refer to, and what they share."""

    nodes: Nodes
    scripts: tuple[str, ...]
    services: tuple[str, ...]
    key_file: str | None
    tables: routing.Tables = None
    routers: dict[tuple[str, Family, int], str] = field(default_factory=dict)
    addresses: dict[Address, tuple[str, Place]] = field(default_factory=dict)
    devices: dict[int, tuple[str, str]] = field(default_factory=dict)  # virtual MACs, by VRID


def read(root: Section, scope: Scope) -> tuple[tuple[Instance, ...], tuple[SyncGroup, ...]]:
    """Every instance and group that can be made; what is wrong is told."""
    vrrp = root.section("vrrp")
    if vrrp is None:
        return (), ()
    defaults = wire.Timing()
    section = vrrp.section("defaults")
    if section is not None:
        defaults = wire.timing(section, defaults)
        section.close()
    sections = vrrp.named("instances")
    found = [_instance(name, one, defaults, scope) for name, one in sections]
    groups = _groups(vrrp, tuple(name for name, _ in sections))
    lawful = tuple(instance for instance in found if instance is not None)
    _lint_groups(vrrp, groups, {instance.name: instance for instance in lawful})
    vrrp.close()
    return lawful, groups


def _lint_groups(
    vrrp: Section, groups: tuple[SyncGroup, ...], instances: dict[str, Instance]
) -> None:
    """Who moves together must not want different masters: each would yield to the other."""
    for group in groups:
        whole = vrrp.section("sync_groups")
        members = [instances[name] for name in group.instances if name in instances]
        for one, other in pairwise(members):
            wants = f"{one.name} and {other.name} move together: give them the same"
            assert whole is not None, "the groups were read from it"
            at = whole.value_at(group.name)
            ranks = [(i.priority, *i.peer_priorities) for i in (one, other)]
            if ranks[0] != ranks[1]:
                whole.error(at, group.name, f"{wants} 'priority' on each node")
            if one.preempt is not other.preempt:
                whole.error(at, group.name, f"{wants} 'preempt'")


def _groups(vrrp: Section, known: tuple[str, ...]) -> tuple[SyncGroup, ...]:
    """`sync_groups: {director: [front, inside]}`; an instance is in one group at most."""
    whole = vrrp.section("sync_groups")
    if whole is None:
        return ()
    taken: dict[str, str] = {}
    groups = []
    for name in whole.names():
        members = whole.each(name, one_of_names(known, "instance"))
        for member in members:
            if member in taken:
                text = f"{member} is in {taken[member]} already: one group may hold it, once"
                whole.error(whole.value_at(name), name, text)
            taken[member] = name
        if len(members) == 1 == len(whole.items(name)):
            whole.warn(whole.value_at(name), name, "a group of one moves with nothing: add others")
        groups.append(SyncGroup(name, members))
    return tuple(groups)


def _instance(name: str, section: Section, defaults: wire.Timing, scope: Scope) -> Instance | None:
    timing = wire.timing(section, defaults)
    interface = required_per_node(section, "interface", scalars.interface, scope.nodes, "eth0")
    router = section.required("virtual_router_id", scalars.integer(1, 255), "51")
    home = interface or ""
    virtual = _addresses(section, "virtual_addresses", home, scope)
    if not virtual and not section.node.entries.get("virtual_addresses"):
        text = "'virtual_addresses' is missing: add 'virtual_addresses: [192.0.2.10/24]'"
        section.error(section.at, "", text)
    excluded = _addresses(section, "excluded_addresses", home, scope)
    families = tuple(sorted({family(v.address) for v in virtual + excluded}))
    priority, peer_priorities = _priorities(section, scope.nodes)
    scripts = one_of_names(scope.scripts, "script")
    services = one_of_names(scope.services, "virtual service")
    instance = Instance(
        name=name,
        interface=home,
        virtual_router_id=router or 0,
        priority=priority,
        peer_priorities=peer_priorities,
        version=timing.version,
        advert_int=timing.advert_int,
        virtual_addresses=virtual,
        excluded_addresses=excluded,
        couple=section.read("couple", scalars.boolean, True),
        preempt=section.read("preempt", scalars.choice(Preempt), Preempt.WHEN_SYNCED),
        preempt_delay=section.read("preempt_delay", scalars.duration(0), 0.0),
        sync_wait=section.read("sync_wait", scalars.duration(0), 120.0),
        startup_delay=section.read("startup_delay", _auto_or_duration, None),
        unicast=wire.unicast(section, scope.nodes),
        track_interfaces=tracking.read_tracked(section, "track_interfaces", scalars.interface),
        track_scripts=tracking.read_tracked(section, "track_scripts", scripts),
        track_files=tracking.read_files(section),
        track_processes=tracking.read_tracked(section, "track_processes", tracking.process),
        track_services=tracking.read_tracked(section, "track_services", services),
        virtual_routes=routing.read_routes(section, scope.nodes, families, scope.tables),
        virtual_rules=routing.read_rules(section, families, scope.tables),
        garp=tracking.read_garp(section),
        vmac=section.read("vmac", scalars.boolean, False),
        accept=section.read("accept", scalars.boolean, True),
        authentication=wire.authentication(section, scope.key_file),
        checksum=section.read("checksum", scalars.choice(Checksum), Checksum.AUTO),
    )
    section.close()
    if interface is None or router is None:
        return None
    _lint(section, instance, scope)
    return instance


def _priorities(section: Section, nodes: Nodes) -> tuple[int, tuple[int, ...]]:
    """This node's, and those of the others in the order of `nodes`."""
    parse = scalars.integer(1, OWNER)
    chosen = {node.name: node.priority for node in (*nodes.all, nodes.mine)}
    if isinstance(section.find("priority"), Mapping):
        written = by_node(section, "priority", parse, nodes)
    else:
        one = section.read("priority", parse, None)
        written = {} if one is None else dict.fromkeys(chosen, one)
    if LAST_RESORT in written.values():
        section.warn(section.value_at("priority"), "priority", NO_PRIORITY)
    chosen |= written
    _lint_priorities(section, chosen, nodes)
    return chosen.pop(nodes.me), tuple(chosen.values())


def _lint_priorities(section: Section, chosen: dict[str, int], nodes: Nodes) -> None:
    """Equal ones are lawful, and mostly a copy that nobody edited."""
    first: dict[int, str] = {}
    for name, priority in chosen.items():
        other = first.setdefault(priority, name)
        if other == name or priority == OWNER:  # of which there is worse to tell
            continue
        text = (
            f"{other} and {name} both have {priority}: the higher address decides which of them "
            "is master; give each its own"
        )
        if section.has("priority"):
            section.warn(section.value_at("priority"), "priority", text)
        elif name in nodes.places:
            section.problems.warn(nodes.places[name], f"nodes.{name}.priority: {text}")
        return


def _addresses(
    section: Section, key: str, interface: str, scope: Scope
) -> tuple[VirtualAddress, ...]:
    found = []
    for item in section.items(key):
        virtual = _virtual_address(section, key, item, interface, scope.nodes)
        if virtual is None:
            continue
        first = scope.addresses.setdefault(virtual.address, (section.path, item.at))
        if first[1] != item.at:
            text = f"{virtual.address} is in {first[0]}, line {first[1].line}, already: keep one"
            section.error(item.at, key, text)
        owner = scope.nodes.owner(virtual.address)
        if owner is not None:
            text = f"{virtual.address} is node {owner}'s own address: take one that is nobody's"
            section.error(item.at, key, text)
        found.append(virtual)
    return tuple(found)


def _virtual_address(
    section: Section, key: str, item: Tree, interface: str, nodes: Nodes
) -> VirtualAddress | None:
    """Short form `192.0.2.10/24`, or `{address: .., interface: ..}`."""
    if isinstance(item, Mapping):
        long = section.under(key, item)
        assert long is not None, "a mapping is a section"
        pair = long.required("address", addresses.with_prefix, "10.0.9.1/24")
        interface = per_node(long, "interface", scalars.interface, nodes) or interface
        long.close()
    else:
        pair = section.value(key, item, addresses.with_prefix, None)
    if pair is None:
        return None
    address, prefix = pair
    if prefix is None:
        prefix = 128 if family(address) == 6 else 32
        text = f"{address} has no prefix: /{prefix} is taken; write it, or the network's"
        section.warn(item.at, key, text)
    return VirtualAddress(address, prefix, interface)


def _auto_or_duration(tree: Tree) -> float | None:
    """`auto` is None."""
    if isinstance(tree, Scalar) and tree.text == "auto":
        return None
    return scalars.duration(0)(tree)


def _lint(section: Section, instance: Instance, scope: Scope) -> None:
    """What only the whole instance shows."""
    _lint_routers(section, instance, scope)
    _lint_tracking(section, instance, scope)
    _lint_vmac(section, instance, scope)
    wire.lint(section, instance)
    if instance.priority == OWNER:
        text = "255 says that this node owns the addresses for good: take 254 or less"
        section.warn(section.value_at("priority"), "priority", text)


def _lint_routers(section: Section, instance: Instance, scope: Scope) -> None:
    for kind in instance.families():
        key = (instance.interface, kind, instance.virtual_router_id)
        other = scope.routers.setdefault(key, instance.name)
        if other != instance.name:
            text = (
                f"{instance.virtual_router_id} is taken on {instance.interface} by {other} "
                f"(IPv{kind}): take another number"
            )
            section.error(section.value_at("virtual_router_id"), "virtual_router_id", text)


def _lint_vmac(section: Section, instance: Instance, scope: Scope) -> None:
    """Its device is named by the number alone."""
    if not instance.vmac:
        return
    other = scope.devices.setdefault(
        instance.virtual_router_id, (instance.name, instance.interface)
    )
    if other[1] != instance.interface:
        text = (
            f"its device would be named as that of {other[0]}, which has the same "
            "virtual_router_id on another interface: take another number"
        )
        section.error(section.value_at("vmac"), "vmac", text)
    if instance.unicast is not None:
        text = "unicast adverts go from the interface's own MAC: only its announcements teach it"
        section.warn(section.value_at("vmac"), "vmac", text)


def _lint_tracking(section: Section, instance: Instance, scope: Scope) -> None:
    """What is tracked and can never count."""
    if instance.track_services and len(scope.nodes.all) < 2:
        text = "there is no other node to take over, so it never counts: add the peer to nodes"
        section.warn(section.key_at("track_services"), "track_services", text)
    if instance.priority != OWNER:
        return
    for key in ("track_interfaces", "track_scripts", "track_processes", "track_services"):
        if any(tracked.weight is not None for tracked in getattr(instance, key)):
            text = "lowers nothing at priority 255: write 'fault' instead of the number"
            section.warn(section.key_at(key), key, text)
