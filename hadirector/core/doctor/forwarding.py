"""Faults on the way of packets: into this host, through it, to the servers and back to clients."""

from collections.abc import Iterator

from hadirector.core.address import Address, Endpoint, Family, family
from hadirector.core.doctor.case import (
    AROUND,
    Case,
    network_of,
    setting,
    virtual_addresses,
)
from hadirector.core.doctor.case import device_of as reached_by
from hadirector.core.doctor.check import Check
from hadirector.core.doctor.facts import Answer, Asked, Group, Manner
from hadirector.core.doctor.finding import Finding, NotChecked, run_again
from hadirector.core.ipvs import Forward, TunnelType
from hadirector.core.server_setup import (
    TUNNEL_NAMES,
    Tunnel,
    device_of,
    setup_command,
    unwrapping,
)
from hadirector.core.settings.cluster import Config
from hadirector.core.sysctls import nat_families
from hadirector.core.vmac import name_of

IP_FORWARD: dict[Family, str] = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
_STRICT = "1"
_SYSCTL_D = "/etc/sysctl.d/91-director.conf"
_IP_TCP = {4: 40, 6: 60}  # bytes of the headers of a segment without options
_OUTER_IP = {4: 20, 6: 40}
_INNER = {TunnelType.IPIP: 0, TunnelType.GRE: 4, TunnelType.GUE: 12}  # UDP 8, GUE 4


def checks() -> tuple[Check, ...]:
    """All of this module."""
    return (
        Check("forwarding is on for NAT", (Group.SYSCTLS,), not_forwarding, _has_nat),
        Check(
            "rp_filter lets clients in", (Group.SYSCTLS, Group.NETWORK), reverse_path, _has_services
        ),
        Check(
            "no redirects to NAT servers on the clients' network",
            (Group.SYSCTLS, Group.NETWORK),
            redirects,
            _has_nat,
        ),
        Check("NAT servers answer by way of this node", (Group.SERVERS,), return_route, _has_nat),
        Check(
            "DR and tunnel servers take packets for their virtual address",
            (Group.SERVERS,),
            deaf_to_virtual_address,
            _goes_around,
        ),
        Check("segments fit into tunnels", (Group.SERVERS,), tunnel_mtu, _has_tunnels),
        Check("every server is asked", (Group.SERVERS,), not_asked, _has_services),
    )


def _has_services(config: Config) -> bool:
    return bool(config.services)


def _has_nat(config: Config) -> bool:
    return bool(nat_families(config.services))


def _goes_around(config: Config) -> bool:
    return any(s.forward in AROUND for service in config.services for s in service.real_servers)


def _has_tunnels(config: Config) -> bool:
    return any(
        s.forward is Forward.TUN for service in config.services for s in service.real_servers
    )


def not_forwarding(case: Case) -> Iterator[Finding]:
    """NAT servers' answers are forwarded packets."""
    for number in sorted(nat_families(case.config.services)):
        name = IP_FORWARD[number]
        if case.sysctl(name) != "0":
            continue
        yield Finding(
            "ip-forward",
            name,
            f"{name} is 0, and services use NAT over IPv{number}",
            "servers answer through this host, and it drops what is not addressed to itself: "
            "clients get no answer"
            + ("" if case.facts.daemon else " (the daemon, which does not run, would set it)"),
            (f"sysctl -w {name}=1", f"echo '{name} = 1' >> {_SYSCTL_D}"),
            run_again(f"sysctl {name}"),
        )


def reverse_path(case: Case) -> Iterator[Finding]:
    """The strict check drops what comes in where the way back does not go out."""
    beyond = case.facts.beyond.get(4)
    seen = set()
    for service in case.config.services:
        for key in service.keys:
            interface = case.interface_of(key.address) if key.family == 4 else None
            if interface is None or interface in seen or beyond is None:
                continue
            seen.add(interface)
            both = [setting("ipv4", each, "rp_filter") for each in ("all", interface)]
            # The kernel takes the greater of the two (ip-sysctl.rst).
            if max(map(case.sysctl, both)) != _STRICT or beyond.interface == interface:
                continue
            yield Finding(
                "rp-filter",
                interface,
                f"rp_filter is strict on {interface}, where clients' packets for {key.address} "
                f"come in, and the default route leads out of {beyond.interface}",
                "the kernel drops packets of clients beyond a router: the way back to them goes "
                "by another interface (counted as TcpExtIPReversePathFilter)",
                (
                    *(f"sysctl -w {name}=2" for name in both[:1]),
                    f"echo '{both[0]} = 2' >> {_SYSCTL_D}",
                ),
                run_again("nstat -az TcpExtIPReversePathFilter"),
            )


def redirects(case: Case) -> Iterator[Finding]:
    """One network for clients and NAT servers: a redirect teaches servers the way around us."""
    seen = set()
    for service, server in case.servers(Forward.NAT):
        path = case.facts.paths.get(server.endpoint.address)
        fronts = {case.interface_of(key.address) for key in service.keys if key.family == 4}
        if path is None or path.interface not in fronts or path.interface in seen:
            continue
        seen.add(path.interface)
        both = [setting("ipv4", each, "send_redirects") for each in ("all", path.interface)]
        if not any(case.sysctl(name) == "1" for name in both):  # either switches it on
            continue
        yield Finding(
            "redirects",
            path.interface,
            f"clients and NAT servers are both on {path.interface}, and send_redirects is on",
            "the kernel tells servers of the shorter way to clients (ICMP redirect): their answers "
            "then bypass this host, unchanged, and clients drop them",
            tuple(f"sysctl -w {name}=0" for name in both)
            + tuple(f"echo '{name} = 0' >> {_SYSCTL_D}" for name in both),
            run_again(f"sysctl {both[0]} {both[1]}"),
        )


def return_route(case: Case) -> Iterator[Finding | NotChecked]:
    """Asked from the clients' side, a NAT server must answer by the servers' side of this host."""
    title = "NAT servers answer by way of this node"
    nat = {server.endpoint for _, server in case.servers(Forward.NAT)}
    plain = _by_server(case, Manner.PLAIN)
    far = _by_server(case, Manner.FAR)
    silent = [e for e in plain if e in nat and plain[e].answer is Answer.NOTHING]
    if silent:
        text = f"no answer at all from {_listed(silent)}"
        yield NotChecked(title, f"{text}: see hadirector status for its checks")
    unasked = [e for e in plain if e in nat and e not in far and e not in silent]
    if unasked and case.is_master():
        text = "no address here outside the servers' own network to ask from"
        yield NotChecked(
            title, f"{_listed(unasked)}: {text}: try hadirector trace --client ADDRESS"
        )
    if unasked and not case.is_master():
        yield NotChecked(title, "this node is not master: their way back leads to the one that is")
    for endpoint, asked in far.items():
        path = case.facts.paths.get(endpoint.address)
        if endpoint in silent or endpoint not in nat or path is None:
            continue
        came = asked.interface if asked.answer is not Answer.NOTHING else ""
        ways = _ways_back(case, endpoint.address, path.interface)
        if came and came in ways:
            continue
        if came == path.interface:
            yield _by_own_address(case, asked, path.interface)
        else:
            yield _astray(case, asked, path.interface)


def _ways_back(case: Case, server: Address, interface: str) -> set[str]:
    """Where answers come in that were sent to an address the next master has too. One with a
    virtual MAC tells itself apart from this node's own: it has a device of its own."""
    home, number = case.network_of(server), family(server)
    found = set()
    for instance, virtual in virtual_addresses(case.config):
        if reached_by(instance, virtual) != interface or home is None:
            continue
        if network_of(virtual.address, (home,)) is None:
            continue
        own = instance.vmac and interface == instance.interface
        found.add(name_of(instance.virtual_router_id, number) if own else interface)
    return found or {interface}


def _by_own_address(case: Case, asked: Asked, interface: str) -> Finding:
    where = asked.question.server.address
    gateway = _gateway(case, where, interface)
    return Finding(
        "gateway-not-virtual",
        f"{asked.question.service}/{asked.question.server}",
        f"{where} answers by the MAC of this node's {interface}, not by that of {gateway}",
        "its gateway is this node's own address, or it has not learnt the virtual MAC: it works "
        "until the next failover, and then its answers go to a node that is master no more",
        (
            f"on {where}: ip route replace default via {gateway}",
            f"on {where}, if that is its gateway: ip neigh flush to {gateway}",
        ),
        run_again(f"on {where}: ip route get {asked.question.source} from {where}; ip neigh"),
    )


def _astray(case: Case, asked: Asked, interface: str) -> Finding:
    where = asked.question.server.address
    source = asked.question.source
    gateway = _gateway(case, where, interface)
    told = (
        "it answers another way"
        if asked.answer is Answer.NOTHING
        else f"its answer came in by {asked.interface} (from {asked.mac}) instead of {interface}"
    )
    return Finding(
        "return-route",
        f"{asked.question.service}/{asked.question.server}",
        f"{where} answers this host's {interface}, but asked from {source} {told}",
        "a NAT server's answers must come back through the director, which gives them the virtual "
        "address as source; on another way they reach clients with the server's, and are refused",
        (f"on {where}: ip route replace default via {gateway}",),
        run_again(f"on {where}: ip route get {source} from {where}"),
    )


def _gateway(case: Case, server: Address, interface: str) -> Address | str:
    """The address of ours that the server should have as its gateway: a virtual one, if any."""
    virtual = [v.address for _, v in virtual_addresses(case.config) if v.interface == interface]
    home = case.network_of(server)
    own = home.address if home else "THE-DIRECTOR"
    return next((v for v in virtual if family(v) == family(server)), own)


def deaf_to_virtual_address(case: Case) -> Iterator[Finding | NotChecked]:
    """A server that is well at its own address and says nothing, or no, at the virtual one."""
    plain = _by_server(case, Manner.PLAIN)
    asked_so = set()
    for asked in case.facts.asked:
        question = asked.question
        direct = plain.get(question.server)
        if question.manner is not Manner.VIRTUAL or direct is None:
            continue
        asked_so.add(question.server)
        if direct.answer is Answer.NOTHING and asked.answer is not Answer.OPEN:
            title = f"{question.service}/{question.server}: takes packets for {question.target}"
            yield NotChecked(title, "no answer at all from it: see hadirector status")
        elif asked.answer is Answer.NOTHING:
            yield _deaf(asked)
        elif asked.answer is Answer.REFUSED and direct.answer is Answer.OPEN:
            yield _not_listening(asked)
    rest = [s.endpoint for _, s in case.servers(*AROUND) if s.endpoint in plain]
    rest = [each for each in dict.fromkeys(rest) if each not in asked_so]
    if rest:
        title = "DR and tunnel servers take packets for their virtual address"
        yield NotChecked(title, f"{_listed(rest)}: no MAC address of it is known, or no way there")


def _deaf(asked: Asked) -> Finding:
    question = asked.question
    where, virtual = question.server.address, question.target.address
    four = family(virtual) == 4
    commands = [f"ip address add {virtual}/{32 if four else 128} dev lo"]
    tunnel, device, how = None, "", "direct routing"
    if question.tunnel is not None:
        how = f"the {question.tunnel.name.lower()} tunnel"
        outer, kind = family(question.server.address), TUNNEL_NAMES[question.tunnel]
        tunnel = Tunnel(family(virtual), outer, kind, question.tunnel_port)
        device = device_of(tunnel) or ""
        commands = [*unwrapping(tunnel), *commands]
    if four and device:
        names = (f"net.ipv4.conf.{name}.rp_filter=0" for name in ("all", device))
        commands.append(f"sysctl -w {' '.join(names)}")
    if four:
        silent = "net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2"
        commands.append(f"sysctl -w {silent}")
    return Finding(
        "server-deaf",
        f"{question.service}/{question.server}",
        f"{where} answers at its own address, and not at all to a packet for {question.target} "
        f"brought by {how}",
        "the server drops it: it does not have the virtual address (on lo)"
        + (", or nothing there that unwraps the tunnel" if tunnel else "")
        + (", or its rp_filter does not like the packet's source" if four else ""),
        (
            *(f"on {where}: {command}" for command in commands),
            f"or all of it on {where}: {setup_command(virtual, tunnel)}",
        ),
        run_again(f"on {where}: tcpdump -ni any host {virtual}"),
    )


def _not_listening(asked: Asked) -> Finding:
    question = asked.question
    where = question.server.address
    return Finding(
        "server-listens-elsewhere",
        f"{question.service}/{question.server}",
        f"{where} takes connections at its own address and refuses them at {question.target}",
        "its program listens at its own address only; checks find it well, clients are refused",
        (f"on {where}: let the program listen on {question.target} as well (or on any address)",),
        run_again(f"on {where}: ss -ltn"),
    )


def tunnel_mtu(case: Case) -> Iterator[Finding]:
    """Full segments of clients, with the tunnel's header, must fit on the way to the server."""
    for asked in case.facts.asked:
        question = asked.question
        path = case.facts.paths.get(question.server.address)
        if question.tunnel is None or path is None or asked.mss == 0:
            continue
        inner, outer = family(question.target.address), family(question.server.address)
        room = path.mtu - _OUTER_IP[outer] - _INNER[question.tunnel]
        largest = asked.mss + _IP_TCP[inner]
        if largest <= room:
            continue
        best = room - _IP_TCP[inner]
        where = question.server.address
        yield Finding(
            "tunnel-mtu",
            f"{question.service}/{question.server}",
            f"{where} tells clients to send segments of {asked.mss} bytes; with the tunnel's "
            f"header that makes {largest + path.mtu - room}, and {path.interface} takes {path.mtu}",
            "each upload begins with packets that do not fit: it goes on only if this host's ICMP "
            "'fragmentation needed' gets back to the client, which many firewalls forbid",
            (
                f"on {where}: ip route replace default via ITS-GATEWAY advmss {best}",
                f"or a larger MTU between director and server: ip link set {path.interface} mtu "
                f"{largest + path.mtu - room}",
            ),
            run_again(f"on {where}: ip route show"),
        )


def not_asked(case: Case) -> Iterator[NotChecked]:
    """Of very many servers the first are asked."""
    if case.facts.left_out:
        count = len(case.facts.asked) + case.facts.left_out
        text = f"{case.facts.left_out} of {count} questions were left out"
        yield NotChecked("every server is asked", f"{text}: the same holds for most, as a rule")


def _by_server(case: Case, manner: Manner) -> dict[Endpoint, Asked]:
    return {a.question.server: a for a in case.facts.asked if a.question.manner is manner}


def _listed(endpoints: list[Endpoint]) -> str:
    told = [str(each) for each in endpoints[:5]]
    return ", ".join(told) + (f" and {len(endpoints) - 5} more" if len(endpoints) > 5 else "")
