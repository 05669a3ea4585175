"""Faults of virtual services: servers that cannot be reached as the forwarding method needs it,
addresses nobody answers for, schedulers that turn clients away."""

from collections.abc import Iterator

from hadirector.core.address import Address, Endpoint, family
from hadirector.core.doctor.case import AROUND, Case, virtual_addresses
from hadirector.core.doctor.check import Check
from hadirector.core.doctor.facts import Group
from hadirector.core.doctor.finding import Finding, run_again
from hadirector.core.ipvs import Destination, Forward, Protocol, Service, ServiceFlags
from hadirector.core.settings.cluster import Config

_HASHING = ("mh", "sh")
_LOOK = "ipvsadm -L -n"


def checks() -> tuple[Check, ...]:
    """All of this module."""
    return (
        Check("interfaces are there", (Group.NETWORK,), interface_missing),
        Check("every server can be reached", (Group.NETWORK,), unreachable),
        Check("DR servers are on a network of ours", (Group.NETWORK,), off_link, _goes_around),
        Check("ports of DR and tunnel servers", (Group.IPVS,), ports_differ),
        Check("mh and sh with weight 0", (Group.IPVS,), hash_with_weight_zero),
        Check("no director is a real server", (Group.NETWORK,), director_is_server),
        Check("somebody answers for each service", (Group.NETWORK,), address_of_nobody),
        Check(
            "virtual addresses are in a network of their interface",
            (Group.NETWORK,),
            outside_every_network,
            lambda config: bool(config.instances),
        ),
        Check(
            "virtual addresses are the daemon's alone",
            (Group.NETWORK, Group.DAEMON),
            held_without_being_master,
            lambda config: bool(config.instances),
        ),
        Check("IPVS and its schedulers", (Group.MODULES,), missing_modules),
    )


def _goes_around(config: Config) -> bool:
    return any(s.forward in AROUND for service in config.services for s in service.real_servers)


def interface_missing(case: Case) -> Iterator[Finding]:
    """Interfaces the configuration names and this host does not have."""
    users: dict[str, list[str]] = {}
    for instance in case.config.instances:
        users.setdefault(instance.interface, []).append(instance.name)
        for tracked in instance.track_interfaces:
            users.setdefault(tracked.name, []).append(f"{instance.name} (tracked)")
    for instance, virtual in virtual_addresses(case.config):
        users.setdefault(virtual.interface, []).append(f"{instance.name} ({virtual.address})")
    if case.config.connection_sync is not None:
        users.setdefault(case.config.connection_sync.interface, []).append("connection_sync")
    there = ", ".join(sorted(case.facts.links.keys() - {"lo"}))
    for name, who in users.items():
        if name in case.facts.links:
            continue
        whose = ", ".join(dict.fromkeys(who))
        yield Finding(
            "interface-missing",
            name,
            f"{whose} needs the interface {name}, and this host has none of this name: here are "
            f"{there}",
            "an instance without its interface is in fault: this node is never master of it",
            (
                f"in {case.config.path}: the right name, or one per node: "
                f"interface: {{{case.config.node}: NAME}}",
                "hadirector reload",
                "ip -brief link  (was it renamed, or is it not plugged in?)",
            ),
            run_again("ip -brief link"),
        )


def unreachable(case: Case) -> Iterator[Finding]:
    """Servers without a route, each once."""
    absent: dict[Address, str] = {}
    for service, server in case.servers():
        where = server.endpoint.address
        if where in case.facts.paths and case.facts.paths[where] is None:
            absent.setdefault(where, service.name)
    for where, name in absent.items():
        yield Finding(
            "no-route",
            str(where),
            f"this host has no route to {where}, a server of {name}",
            "neither checks nor clients' packets can reach it from here",
            (
                "ip address show; ip route show  (is the interface up, does its address have the "
                "right prefix?)",
                f"ip route replace {where} via GATEWAY",
            ),
            run_again(f"ip route get {where}"),
        )


def off_link(case: Case) -> Iterator[Finding]:
    """Direct routing only changes the MAC."""
    for service, server in case.servers(Forward.DR):
        path = case.facts.paths.get(server.endpoint.address)
        if path is None or path.gateway is None:
            continue
        yield Finding(
            "dr-off-link",
            f"{service.name}/{server.endpoint}",
            f"{server.endpoint.address} is behind the gateway {path.gateway}, and its service uses "
            "direct routing",
            "direct routing changes the MAC address only: the gateway gets a packet for the "
            "virtual address and sends it back here",
            (
                f"in {case.config.path}, for this server: forward: tun",
                f"or put it on a network of this host (now by {path.interface})",
            ),
            run_again(f"ip route get {server.endpoint.address}"),
        )


def ports_differ(case: Case) -> Iterator[Finding]:
    """Our own table cannot have this (config/servers refuses it); others' can."""
    for key, entry in case.facts.table.items():
        for endpoint, destination in entry.destinations.items():
            if key.port == 0 or destination.forward not in AROUND or endpoint.port == key.port:
                continue
            how = "-g" if destination.forward is Forward.DR else "-i"
            yield Finding(
                "dr-port",
                f"{key} -> {endpoint}",
                f"{endpoint} is to be reached by {_word(destination)}, but its port is not the "
                f"service's, {key.port}",
                f"{_word(destination)} leaves the packet as the client sent it, port "
                f"{key.port} included: port {endpoint.port} of the server never sees one",
                (
                    f"ipvsadm -d {_flag(entry.service)} -r {endpoint}",
                    f"ipvsadm -a {_flag(entry.service)} -r "
                    f"{Endpoint(endpoint.address, key.port)} {how}  (or -m for NAT)",
                ),
                run_again(_LOOK),
            )


def hash_with_weight_zero(case: Case) -> Iterator[Finding]:
    """As it is in the kernel now; and as it will be at the first drain."""
    told = set()
    for key, entry in case.facts.table.items():
        service = entry.service
        resting = [str(e) for e, d in entry.destinations.items() if d.weight == 0]
        if not _refuses(service) or not resting or len(resting) == len(entry.destinations):
            continue
        told.add(key)
        yield _refusal(
            str(key), service.scheduler, f"{', '.join(resting)} has weight 0 there now", case
        )
    for configured in case.config.services:
        first = configured.services[0]
        if _refuses(first) and not told & set(configured.keys):
            text = "a server that is drained, or fails, gets weight 0"
            yield _refusal(configured.name, first.scheduler, text, case)


def _refusal(subject: str, scheduler: str, when: str, case: Case) -> Finding:
    return Finding(
        "hash-weight-zero",
        subject,
        f"scheduler {scheduler} without {scheduler}-fallback, and {when}",
        f"{scheduler} goes on choosing a server of weight 0 for its share of the clients and "
        "refuses them, although others are there",
        (
            f"in {case.config.path}: scheduler_flags: [{scheduler}-fallback]",
            "hadirector reload  (a service of somebody else: ipvsadm -E ... "
            f"-b {scheduler}-fallback)",
        ),
        run_again(_LOOK),
    )


def _refuses(service: Service) -> bool:
    return service.scheduler in _HASHING and ServiceFlags.SCHED1 not in service.flags


def director_is_server(case: Case) -> Iterator[Finding]:
    """A server on a director of this cluster; one with its own address by NAT on this host is
    lawful: IPVS gives to the local process."""
    peers = {node.address: node.name for node in case.config.peers if node.address}
    for instance in case.config.instances:
        if instance.unicast:
            peers |= {each: "a peer" for each in instance.unicast.peers if each not in peers}
    local = case.facts.local()
    for service, server in case.servers(*AROUND):
        where = server.endpoint.address
        name = "this host" if where in local else peers.get(where)
        if name is None:
            continue
        yield Finding(
            "director-is-server",
            f"{service.name}/{server.endpoint}",
            f"the server {where} is {name}, a director of the same cluster",
            "its kernel balances too: a packet sent on to it is balanced there again, may be sent "
            "back, and the two directors pass it to each other until its TTL ends (sync makes "
            "both know the connection)",
            (
                "move the server to a host that is no director",
                "or balance by a mark that packets of the other director do not get: iptables -t "
                "mangle -A PREROUTING -d VIP -p tcp --dport PORT -m mac ! --mac-source "
                "MAC-OF-OTHER-DIRECTOR -j MARK --set-mark 7, with address: {fwmark: 7}",
            ),
            run_again(),
        )


def address_of_nobody(case: Case) -> Iterator[Finding]:
    """A service on an address that no instance takes over and this host does not have."""
    known = {virtual.address for _, virtual in virtual_addresses(case.config)}
    known |= case.facts.local()
    for service in case.config.services:
        absent = sorted({k.address for k in service.keys if k.address and k.address not in known})
        if not absent:
            continue
        where = ", ".join(absent)
        yield Finding(
            "address-of-nobody",
            service.name,
            f"no instance takes {where} over, and this host does not have it",
            "nobody answers ARP for it: clients' packets never come here",
            (
                f"in {case.config.path}, in an instance: virtual_addresses: [{absent[0]}"
                f"/{32 if family(absent[0]) == 4 else 128}]",
                "hadirector reload",
            ),
            run_again(f"ip address show to {absent[0]}"),
        )


def outside_every_network(case: Case) -> Iterator[Finding]:
    """An address whose interface has no network it is in."""
    for instance, virtual in virtual_addresses(case.config):
        full = 32 if family(virtual.address) == 4 else 128
        home = case.network_of(virtual.address)
        if home is not None and home.interface == virtual.interface:
            continue
        if virtual.interface not in case.facts.links:
            continue  # that is another finding
        if home is None and virtual.prefix < full:
            continue  # it brings its network along
        if home is None:
            what = f"{virtual.address} is in no network of this host"
            why = (
                "hosts of the segment take it for somewhere else and ask their router, which sends "
                "it here only if it has a route to this node"
            )
            fix = (
                f"ip route replace {virtual.address}/{full} via ADDRESS-OF-THE-MASTER  (on every "
                "router of the segment)",
                f"or in {case.config.path}, with the prefix of its network: "
                f"{virtual.address}/{24 if full == 32 else 64}",
            )
        else:
            what = (
                f"{virtual.address} goes on {virtual.interface}, but its network "
                f"{home.address}/{home.prefix} is on {home.interface}"
            )
            why = (
                "its hosts ask for it on the other segment, where nothing on this interface is "
                "heard or announced"
            )
            fix = (
                f"in {case.config.path}: {{address: {virtual.address}/{virtual.prefix}, "
                f"interface: {home.interface}}}",
                "hadirector reload",
            )
        yield Finding(
            "address-outside",
            f"{instance.name}/{virtual.address}",
            what,
            why,
            fix,
            run_again("ip -brief address"),
        )


def held_without_being_master(case: Case) -> Iterator[Finding]:
    """A virtual address on a node whose daemon did not put it there."""
    states = case.facts.daemon.states if case.facts.daemon else {}
    for instance, virtual in virtual_addresses(case.config):
        state = states.get(f"{instance.name}/ipv{family(virtual.address)}")
        if state not in ("backup", "fault") or not case.holds(virtual.address):
            continue
        there = next(a for a in case.facts.addresses if a.address == virtual.address)
        where = f"{there.address}/{there.prefix} dev {there.interface}"
        yield Finding(
            "address-by-hand",
            f"{instance.name}/{virtual.address}",
            f"{virtual.address} is on {there.interface}, and this node is {state} of "
            f"{instance.name}: somebody else put it there",
            "two nodes answer for it, and which of them a client reaches is chance",
            (
                f"ip address delete {where}",
                "and take it out of the host's own network configuration (/etc/network, netplan, "
                "systemd-networkd, NetworkManager)",
            ),
            run_again(f"ip address show to {virtual.address}"),
        )


def missing_modules(case: Case) -> Iterator[Finding]:
    """ip_vs, which the daemon may not load, and schedulers that are nowhere."""
    modules = case.facts.modules
    if "ip_vs" not in modules.loaded:
        there = "ip_vs" in modules.loadable
        yield Finding(
            "module-missing",
            "ip_vs",
            "the kernel module ip_vs is not loaded" + ("" if there else " and not installed"),
            "without it nothing is balanced, and the daemon's unit may not load modules",
            (
                *(() if there else ("install the kernel package that has ip_vs.ko",)),
                "modprobe ip_vs",
                "cp conf/modules-load.d/hadirector.conf /etc/modules-load.d/",
            ),
            run_again("lsmod | grep ip_vs"),
        )
    wanted = {
        s.scheduler: service.name for service in case.config.services for s in service.services
    }
    for scheduler, name in wanted.items():
        module = f"ip_vs_{scheduler}"
        if module in modules.loaded | modules.loadable:
            continue
        yield Finding(
            "module-missing",
            module,
            f"scheduler {scheduler} of {name} is not in this kernel",
            "the kernel refuses the service",
            (
                f"install the kernel package that has {module}.ko",
                f"or another scheduler in {case.config.path}: wlc",
            ),
            run_again(f"modprobe {module}"),
        )


def _word(destination: Destination) -> str:
    return "direct routing" if destination.forward is Forward.DR else "a tunnel"


def _flag(service: Service) -> str:
    """ipvsadm's option for a service with a port."""
    key = service.key
    option = {Protocol.UDP: "-u", Protocol.SCTP: "--sctp-service"}.get(Protocol(key.protocol), "-t")
    return f"{option} {Endpoint(key.address, key.port)}"
