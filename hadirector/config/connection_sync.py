"""`connection_sync`: which way the connections go to the other directors."""

from hadirector.config import addresses, nodes, scalars
from hadirector.config.reader import Section
from hadirector.core.address import Address, family
from hadirector.core.settings.cluster import ConnectionSync, ResyncPolicy, SyncTransport

_GROUP = Address("224.0.0.81")  # IP_VS_SYNC_GROUP


def read(root: Section, known: nodes.Nodes) -> ConnectionSync | None:
    """The section; None where there is none."""
    section = root.section("connection_sync")
    if section is None:
        return None
    interface = nodes.required_per_node(section, "interface", scalars.interface, known, "eth1")
    sync = ConnectionSync(
        interface=interface or "",
        sync_id=section.read("sync_id", scalars.integer(0, 255), 51),
        group=section.read("group", addresses.group, _GROUP),
        port=section.read("port", scalars.integer(1, 65535), 8848),
        transport=section.read("transport", scalars.choice(SyncTransport), SyncTransport.KERNEL),
        unicast=nodes.by_node(section, "unicast", addresses.address, known),
        resync=section.read("resync", scalars.choice(ResyncPolicy), ResyncPolicy.ON_JOIN),
    )
    section.close()
    _check_transport(root, section, sync)
    _check_unicast(section, sync, known)
    if sync.sync_id == 0:
        text = "0 takes in the records of every id: give the cluster a number of its own"
        section.warn(section.value_at("sync_id"), "sync_id", text)
    return sync


def _check_transport(root: Section, section: Section, sync: ConnectionSync) -> None:
    if sync.transport is SyncTransport.AUTHENTICATED:
        if not root.has("key_file"):
            text = "authenticated needs keys: add 'key_file: /etc/hadirector/cluster.key'"
            section.error(section.value_at("transport"), "transport", text)
    elif sync.unicast:
        text = "the kernels speak multicast only: write 'transport: authenticated', or remove it"
        section.error(section.key_at("unicast"), "unicast", text)


def _check_unicast(section: Section, sync: ConnectionSync, known: nodes.Nodes) -> None:
    """An address for each node, its own, and all of one family."""
    if not sync.unicast:
        return
    at = section.value_at("unicast")
    for name in known.names:
        if name not in sync.unicast:
            text = f"has none for {name}: add '{name}: ADDRESS', its address on that interface"
            section.error(at, "unicast", text)
    if len({family(address) for address in sync.unicast.values()}) > 1:
        section.error(at, "unicast", "has IPv4 and IPv6: give every node one of the same family")
    if len(set(sync.unicast.values())) < len(sync.unicast):
        section.error(at, "unicast", "has an address twice: each node has its own")
