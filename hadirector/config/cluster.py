"""The merged tree of a file -> Config: the top of the contract, in the order of its keys."""

from hadirector.config import (
    addresses,
    checks,
    connection_sync,
    instances,
    ipvs_settings,
    nodes,
    programs,
    scalars,
    services,
)
from hadirector.config.problem import Problems, Wrong
from hadirector.config.reader import Section
from hadirector.config.routing import Tables
from hadirector.config.tree import Mapping, Scalar, Tree, digest
from hadirector.core.address import Address, family
from hadirector.core.ipvs import Timeouts
from hadirector.core.settings.checks import Check
from hadirector.core.settings.cluster import (
    Api,
    Config,
    LeaseMode,
    VipLease,
)
from hadirector.core.settings.instances import Instance
from hadirector.core.settings.services import VirtualService

_SOCKET_PATH = 107  # sun_path less the closing zero
_KERNEL_SECONDS = 2**31 // 1000  # what IPVS's timeouts take, in jiffies of a millisecond


def read(
    tree: Mapping, path: str, me: str, problems: Problems, tables: Tables = None
) -> Config | None:
    """What node `me` runs; None when something is wrong, which `problems` then tells."""
    root = Section(tree, "", problems)
    known_nodes = nodes.read(root, me, problems)
    runtime_dir = root.read("runtime_dir", scalars.path, "/run/hadirector")
    key_file = root.read("key_file", scalars.path, None)
    scripts = programs.read_scripts(root)
    known_checks = checks.read(root, known_nodes)
    of_services = services.Scope(known_checks)
    virtual_services = services.read(root, of_services)
    scope = instances.Scope(
        nodes=known_nodes,
        scripts=_names(root, "scripts"),
        services=_names(root, "virtual_services"),
        key_file=key_file,
        tables=tables,
    )
    found_instances, sync_groups = instances.read(root, scope)
    config = Config(
        path=path,
        digest=digest(tree),
        node=me,
        cluster=root.read("cluster", scalars.name, "hadirector"),
        state_dir=root.read("state_dir", scalars.path, "/var/lib/hadirector"),
        runtime_dir=runtime_dir,
        nodes=known_nodes.all,
        peer_port=_peer_port(root),
        key_file=key_file,
        vip_lease=root.read("vip_lease", _lease, VipLease()),
        api=_api(root, runtime_dir),
        instances=found_instances,
        sync_groups=sync_groups,
        scripts=scripts,
        hooks=programs.read_hooks(root),
        connection_sync=connection_sync.read(root, known_nodes),
        timeouts=_timeouts(root),
        checks=(*known_checks.values(), *of_services.derived.values()),
        services=virtual_services,
        ipvs=ipvs_settings.read(root),
        linger=root.read("linger", scalars.duration(0, 86400), 60.0),
    )
    root.close()
    _lint(root, known_checks, virtual_services, found_instances)
    if config.connection_sync is not None:
        _lint_mixed(root, virtual_services)
    programs.lint(root, scripts, found_instances)
    return None if problems.errors else config


def _names(root: Section, key: str) -> tuple[str, ...]:
    """What a section names, right or wrong: a reference to it is not a second mistake."""
    tree = root.node.entries.get(key)
    return tuple(tree.entries) if isinstance(tree, Mapping) else ()


def _peer_port(root: Section) -> int:
    section = root.section("peer")
    if section is None:
        return 8849
    port = section.read("port", scalars.integer(1, 65535), 8849)
    section.close()
    return port


def _lease(tree: Tree) -> VipLease:
    """`auto`, `off`, or whole seconds, which is what the kernel counts lifetimes in."""
    if isinstance(tree, Scalar) and tree.text in ("auto", "off"):
        return VipLease(LeaseMode(tree.text))
    try:
        return VipLease(LeaseMode.SECONDS, float(scalars.whole_seconds(2, 3600)(tree)))
    except Wrong as wrong:
        raise Wrong(f"{wrong.text}; or write auto or off") from None


def _api(root: Section, runtime_dir: str) -> Api:
    section = root.section("api")
    socket, http = f"{runtime_dir.rstrip('/')}/control.sock", None
    at, key = root.value_at("runtime_dir"), "runtime_dir"
    if section is not None:
        socket = section.read("socket", scalars.path, socket)
        http = section.read("http", addresses.endpoint, None)
        if section.has("socket"):
            at, key = section.value_at("socket"), "api.socket"
        section.close()
    if len(socket.encode()) > _SOCKET_PATH:
        text = f"{socket} is too long for a unix socket: at most {_SOCKET_PATH} bytes"
        root.error(at, key, text)
    return Api(socket, http)


def _timeouts(root: Section) -> Timeouts:
    section = root.section("timeouts")
    if section is None:
        return Timeouts(tcp=900, tcp_fin=120, udp=300)
    seconds = scalars.whole_seconds(1, _KERNEL_SECONDS)
    timeouts = Timeouts(
        tcp=section.read("tcp", seconds, 900),
        tcp_fin=section.read("tcp_fin", seconds, 120),
        udp=section.read("udp", seconds, 300),
    )
    section.close()
    return timeouts


def _lint(
    root: Section,
    known: dict[str, Check],
    found: tuple[VirtualService, ...],
    routers: tuple[Instance, ...],
) -> None:
    """What only the whole file shows; of a wrong one some parts are missing."""
    if root.problems.errors:
        return
    used = {name.partition(" at ")[0] for service in found for name in service.asked}
    for name in known:
        if name not in used:
            at = _place(root, "checks", name)
            root.warn(at.at, f"checks.{name}", "no service uses it: it is never probed")
    virtual = {
        one.address for i in routers for one in (*i.virtual_addresses, *i.excluded_addresses)
    }
    _lint_servers(root, found, virtual)
    for service in found if virtual else ():
        lost = [key.address for key in service.keys if key.address and key.address not in virtual]
        if lost:
            section = _place(root, "virtual_services", service.name)
            text = f"{lost[0]} is on no instance: a takeover does not bring it along"
            section.warn(section.value_at("address"), "address", text)


def _lint_mixed(root: Section, found: tuple[VirtualService, ...]) -> None:
    """The kernel starts no sync thread beside such a server, and takes none beside a thread."""
    for service in () if root.problems.errors else found:
        kinds = {key.family for key in service.keys if not key.fwmark}
        odd = [s for s in service.real_servers if kinds and family(s.endpoint.address) not in kinds]
        if odd:
            text = (
                f"{odd[0].endpoint} is of another family than the service, which the kernel cannot "
                "have beside connection_sync: take one of the two out"
            )
            section = _place(root, "virtual_services", service.name)
            section.error(section.value_at("real_servers"), "real_servers", text)


def _lint_servers(root: Section, found: tuple[VirtualService, ...], virtual: set[Address]) -> None:
    """A server that is where requests come in: they would come round for ever, or to nobody."""
    taken = {(key.address, key.port): s.name for s in found for key in s.keys if key.address}
    for service in found:
        section = _place(root, "virtual_services", service.name)
        spare = (service.fallback,) if service.fallback else ()
        for key, servers in (("real_servers", service.real_servers), ("fallback", spare)):
            for server in servers:
                address, port = server.endpoint.address, server.endpoint.port
                owner = taken.get((address, port)) or taken.get((address, 0))
                if owner is not None:
                    text = f"{server.endpoint} is where {owner} takes requests: name a server"
                elif address in virtual and key == "real_servers":
                    text = f"{server.endpoint} is a virtual address, on the master: name a server"
                else:
                    continue
                section.error(section.value_at(key), key, text)


def _place(root: Section, key: str, name: str) -> Section:
    """A section that is known to be there, to point into it."""
    whole = root.section(key)
    below = whole.section(name) if whole is not None else None
    assert below is not None, "what was read from a section has it"
    return below
