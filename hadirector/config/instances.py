"""`vrrp:` -> the instances as this node runs them, and the sync groups."""

from dataclasses import dataclass, field

from hadirector.config import addresses, scalars, tracking
from hadirector.config.nodes import Nodes, by_node, per_node, required_per_node
from hadirector.config.problem import Place, Wrong, shown
from hadirector.config.reader import Section, one_of_names
from hadirector.config.tree import Mapping, Scalar, Tree
from hadirector.core.address import Address, Family, family
from hadirector.core.settings.instances import (
    Authentication,
    AuthenticationKind,
    Checksum,
    Instance,
    Preempt,
    SyncGroup,
    Unicast,
    VirtualAddress,
)

OWNER = 255  # RFC 9568 5.2.4
_COUNTED = 255  # the advert counts its addresses in one byte
_PACKET = 1500  # an advert is never fragmented
_HEADERS: dict[Family, int] = {4: 20 + 8, 6: 40 + 8}
_SIZES: dict[Family, int] = {4: 4, 6: 16}
_TRAILER = 28  # auth_hmac


@dataclass(frozen=True, slots=True)
class Scope:
    """What instances may refer to, and what they share."""

    nodes: Nodes
    scripts: tuple[str, ...]
    services: tuple[str, ...]
    keyed: bool  # there is a key_file
    routers: dict[tuple[str, Family, int], str] = field(default_factory=dict)
    addresses: dict[Address, tuple[str, Place]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Defaults:
    version: int = 3
    advert_int: float = 1.0


def read(root: Section, scope: Scope) -> tuple[tuple[Instance, ...], tuple[SyncGroup, ...]]:
    """Every instance and group that can be made; what is wrong is told."""
    vrrp = root.section("vrrp")
    if vrrp is None:
        return (), ()
    defaults = _Defaults()
    section = vrrp.section("defaults")
    if section is not None:
        defaults = _timing(section, defaults)
        section.close()
    sections = vrrp.named("instances")
    found = [_instance(name, one, defaults, scope) for name, one in sections]
    groups = _groups(vrrp, tuple(name for name, _ in sections))
    vrrp.close()
    return tuple(instance for instance in found if instance is not None), groups


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


def _instance(name: str, section: Section, defaults: _Defaults, scope: Scope) -> Instance | None:
    timing = _timing(section, defaults)
    interface = required_per_node(section, "interface", scalars.interface, scope.nodes, "eth0")
    router = section.required("virtual_router_id", scalars.integer(1, 255), "51")
    home = interface or ""
    virtual = _addresses(section, "virtual_addresses", home, scope)
    if not virtual and not section.node.entries.get("virtual_addresses"):
        text = "'virtual_addresses' is missing: add 'virtual_addresses: [192.0.2.10/24]'"
        section.error(section.at, "", text)
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
        excluded_addresses=_addresses(section, "excluded_addresses", home, scope),
        couple=section.read("couple", scalars.boolean, True),
        preempt=section.read("preempt", scalars.choice(Preempt), Preempt.WHEN_SYNCED),
        preempt_delay=section.read("preempt_delay", scalars.duration(0), 0.0),
        sync_wait=section.read("sync_wait", scalars.duration(0), 120.0),
        startup_delay=section.read("startup_delay", _auto_or_duration, None),
        unicast=_unicast(section, scope.nodes),
        track_interfaces=tracking.read_tracked(section, "track_interfaces", scalars.interface),
        track_scripts=tracking.read_tracked(section, "track_scripts", scripts),
        track_files=tracking.read_files(section),
        track_processes=tracking.read_tracked(section, "track_processes", tracking.process),
        track_services=tracking.read_tracked(section, "track_services", services),
        virtual_routes=tracking.read_routes(section),
        virtual_rules=tracking.read_rules(section),
        garp=tracking.read_garp(section),
        vmac=section.read("vmac", scalars.boolean, False),
        accept=section.read("accept", scalars.boolean, True),
        authentication=_authentication(section),
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
        chosen |= by_node(section, "priority", parse, nodes)
    else:
        one = section.read("priority", parse, None)
        chosen = {name: one or own for name, own in chosen.items()}
    return chosen.pop(nodes.me), tuple(chosen.values())


def _timing(section: Section, defaults: _Defaults) -> _Defaults:
    """Version and advert interval, which bound each other."""
    version = section.read("version", scalars.integer(2, 3), defaults.version)
    advert_int = section.read("advert_int", scalars.duration(0.01, 255), defaults.advert_int)
    if not section.has("advert_int") and not section.has("version"):
        return defaults  # what is wrong with these was told where they stand
    key = "advert_int" if section.has("advert_int") else "version"
    at, spelt = section.value_at(key), scalars.spell(advert_int)
    if version == 2 and advert_int != int(advert_int):
        section.error(at, key, f"{spelt}: version 2 counts whole seconds: write 1s, or version: 3")
    elif version == 3 and advert_int > 40.95:
        section.error(at, key, f"{spelt} is out of range: 10ms to 40.95s in version 3")
    elif version == 3 and round(advert_int * 100, 6) % 1:
        section.error(at, key, f"{spelt}: version 3 counts hundredths of a second: write 10ms")
    return _Defaults(version, advert_int)


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


def _unicast(section: Section, nodes: Nodes) -> Unicast | None:
    """`{lb1: 198.51.100.1, lb2: 198.51.100.2}`; empty is multicast."""
    tree = section.node.entries.get("unicast")
    if isinstance(tree, Mapping) and not tree.entries:
        section.find("unicast")
        return None
    found = by_node(section, "unicast", addresses.address, nodes)
    if not found or tree is None:
        return None
    for name in nodes.names:
        if isinstance(tree, Mapping) and name not in tree.entries:
            section.error(tree.at, "unicast", f"has no address for {name}: add '{name}: ADDRESS'")
    if len({family(address) for address in found.values()}) > 1:
        section.error(tree.at, "unicast", "mixes IPv4 and IPv6: take one family for all nodes")
    peers = tuple(address for name, address in found.items() if name != nodes.me)
    return Unicast(found[nodes.me], peers) if nodes.me in found else None


def _authentication(section: Section) -> Authentication:
    """`none`, `hmac` or `{pass: FILE}`."""
    if isinstance(section.node.entries.get("authentication"), Mapping):
        below = section.section("authentication")
        assert below is not None, "a mapping is a section"
        file = below.required("pass", scalars.path, "/etc/hadirector/vrrp.pass")
        below.close()
        return Authentication(AuthenticationKind.PASS, file)
    word = section.read("authentication", _none_or_hmac, "none")
    return Authentication(AuthenticationKind(word))


def _none_or_hmac(tree: Tree) -> str:
    value = scalars.plain(tree)
    if value not in ("none", "hmac"):
        raise Wrong(f"{shown(value)} is none of none, hmac, {{pass: FILE}}")
    return value


def _auto_or_duration(tree: Tree) -> float | None:
    """`auto` is None."""
    if isinstance(tree, Scalar) and tree.text == "auto":
        return None
    return scalars.duration(0)(tree)


def _lint(section: Section, instance: Instance, scope: Scope) -> None:
    """What only the whole instance shows."""
    _lint_routers(section, instance, scope)
    _lint_authentication(section, instance, scope)
    _lint_tracking(section, instance, scope)
    at = section.value_at("virtual_addresses")
    signed = _TRAILER if instance.authentication.kind is AuthenticationKind.HMAC else 0
    for kind in instance.families():
        room = (_PACKET - _HEADERS[kind] - signed) // _SIZES[kind]
        most = min(_COUNTED, room)
        count = sum(family(one.address) == kind for one in instance.virtual_addresses)
        if count > most:
            text = (
                f"{count} IPv{kind} addresses do not fit an advert: at most {most}; "
                "move the others to excluded_addresses"
            )
            section.error(at, "virtual_addresses", text)
        if not count:
            text = f"has no IPv{kind} address to go with those in excluded_addresses: move one here"
            section.error(at, "virtual_addresses", text)
    if instance.version == 2 and 6 in instance.families():
        section.error(at, "virtual_addresses", "version 2 has no IPv6: write version: 3")
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


def _lint_authentication(section: Section, instance: Instance, scope: Scope) -> None:
    kind = instance.authentication.kind
    at = section.value_at("authentication")
    if kind is AuthenticationKind.PASS and instance.version != 2:
        text = "a password is for version 2 only: write hmac, or version: 2"
        section.error(at, "authentication", text)
    if kind is AuthenticationKind.HMAC and instance.version != 3:
        section.error(at, "authentication", "hmac is for version 3 only: write version: 3")
    if kind is AuthenticationKind.HMAC and not scope.keyed:
        text = "hmac needs keys: add 'key_file: /etc/hadirector/cluster.key'"
        section.error(at, "authentication", text)
