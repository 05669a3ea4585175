"""What of another configuration parts this node from its peers until they run it too.

A router's adverts are believed only by whoever agrees about its number, version, authentication,
checksum and way. Whoever changes one of these on one node has two masters with the same addresses
until the others have it too; so it must be told before.
"""

from collections.abc import Collection, Iterator

from hadirector.core.duration import spell
from hadirector.core.listening import peers_patience
from hadirector.core.settings.cluster import Config, ConnectionSync
from hadirector.core.settings.instances import (
    Authentication,
    AuthenticationKind,
    Checksum,
    Instance,
    Signing,
    Unicast,
)

# The way to signed adverts: who differs by one step is believed all the same.
_STEPS = (None, Signing.RECEIVE_ONLY, Signing.PERMISSIVE, Signing.ENFORCE)
_SYNC = ("sync_id", "group", "port", "transport", "unicast")


def of_router(old: Instance, new: Instance) -> str:
    """A sentence when peers that run `old` do not hear `new`, else nothing."""
    changed = [f"{what} {before} -> {after}" for what, before, after in _changed(old, new)]
    if not changed:
        return ""
    patience = spell(round(peers_patience(old), 1))
    return (
        f"{new.name}: {', '.join(changed)}: peers do not hear this node until they run it too, and "
        f"two are master of the same addresses: reload all of them within {patience}"
    )


def of_links(old: Config, new: Config) -> Iterator[str]:
    """Sentences about the peer channel and connection sync."""
    if not new.peers:
        return
    if old.key_file != new.key_file and None in (old.key_file, new.key_file):
        yield (
            "key_file: the nodes do not believe each other on the peer channel until all have it: "
            "no leases, no handover, no orders meanwhile"
        )
    before = {node.name: node.address for node in old.nodes}
    for node in new.nodes:
        known = before.get(node.name)
        if (node.name in before and known != node.address) or old.peer_port != new.peer_port:
            yield (
                f"{node.name}: peer channel at {node.address or 'no address'} port "
                f"{new.peer_port}; it must be reachable there, or this node takes it for dead"
            )
    one, other = old.connection_sync, new.connection_sync
    if one is not None and (other is None or _differ(one, other)):
        names = _SYNC if other is None else tuple(_differ(one, other))
        yield (
            f"connection_sync ({', '.join(names)}): no connections pass between the nodes until "
            "all have it; what is opened meanwhile is lost in a takeover"
        )


def absent(instance: Instance, present: Collection[str]) -> Iterator[str]:
    """Sentences about interfaces it needs that this host does not have."""
    weighed = {t.name for t in instance.track_interfaces if t.weight is not None}
    needed = {
        **{v.interface: f"the interface of {v.address}" for v in instance.excluded_addresses},
        **{v.interface: f"the interface of {v.address}" for v in instance.virtual_addresses},
        **{t.name: "a tracked interface" for t in instance.track_interfaces},
    }
    needed = {name: what for name, what in needed.items() if name not in weighed}
    needed[instance.interface] = "its interface"
    for name, what in needed.items():
        if name not in present:
            there = ", ".join(sorted(set(present) - {"lo"}))
            yield f"{instance.name}: {what}, {name}, is not on this host: a fault; here are {there}"


def _changed(old: Instance, new: Instance) -> Iterator[tuple[str, str, str]]:
    """What both ends of an advert must agree about: what, before and after."""
    for what in ("virtual_router_id", "version"):
        before, after = getattr(old, what), getattr(new, what)
        if before != after:
            yield what, str(before), str(after)
    if old.version == new.version == 2 and old.advert_int != new.advert_int:
        yield "advert_int", spell(old.advert_int), spell(new.advert_int)
    if not _agree(old.authentication, new.authentication):
        yield "authentication", _spoken(old.authentication), _spoken(new.authentication)
    if old.checksum != new.checksum and Checksum.PLAIN in (old.checksum, new.checksum):
        yield "checksum", old.checksum.value, new.checksum.value
    if old.unicast != new.unicast:
        yield "adverts go", _way(old.unicast), _way(new.unicast)
    if old.interface != new.interface:
        yield "interface", old.interface, new.interface


def _agree(old: Authentication, new: Authentication) -> bool:
    ways = (old, new)
    if AuthenticationKind.PASS in (old.kind, new.kind):
        return old.kind is new.kind
    first, second = (
        _STEPS.index(way.signing if way.kind is AuthenticationKind.HMAC else None) for way in ways
    )
    return abs(first - second) <= 1


def _spoken(way: Authentication) -> str:
    if way.kind is not AuthenticationKind.HMAC or way.signing is Signing.ENFORCE:
        return way.kind.value
    return f"hmac: {way.signing.value}"


def _way(unicast: Unicast | None) -> str:
    if unicast is None:
        return "by multicast"
    return f"from {unicast.source} to {', '.join(map(str, unicast.peers))}"


def _differ(old: ConnectionSync, new: ConnectionSync) -> list[str]:
    return [name for name in _SYNC if getattr(old, name) != getattr(new, name)]
