"""What to find out for a configuration: which settings to read, whom to ask, and how.

Only so much is asked that nobody notices: one SYN of each manner for a server, given up with a
reset, and one ARP request for an address.
"""

from collections.abc import Iterator

from hadirector.core.address import Address, Family, family
from hadirector.core.doctor import host
from hadirector.core.doctor.case import AROUND, Case, servers, setting, virtual_addresses
from hadirector.core.doctor.facts import Manner, Question
from hadirector.core.doctor.forwarding import IP_FORWARD
from hadirector.core.ipvs import Forward, Protocol
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.services import RealServer, VirtualService

MOST_QUESTIONS = 512  # of one examination; who asks leaves the rest out, and says so
MOST_ARP = 512  # addresses asked for

# Anybody beyond the next router: only a default route leads there. No packet is ever sent to it.
BEYOND: dict[Family, Address] = {4: Address("240.0.0.1"), 6: Address("2000::1")}


def sysctls(config: Config, interfaces: frozenset[str]) -> tuple[str, ...]:
    """The settings checks look at; `interfaces` are this host's."""
    per_interface = (
        setting("ipv4", interface, name)
        for interface in sorted({"all"} | interfaces)
        for name in ("rp_filter", "send_redirects")
    )
    return (*IP_FORWARD.values(), host.BACKUP_ONLY, host.RMEM_MAX, *per_interface)


def destinations(config: Config) -> tuple[Address, ...]:
    """Whose route is wanted."""
    found = [server.endpoint.address for _, server in servers(config)]
    found += [node.address for node in config.peers if node.address]
    return tuple(dict.fromkeys(found))


def arp(case: Case) -> tuple[tuple[str, Address], ...]:
    """Interfaces and IPv4 addresses to ask for there: virtual ones, to hear who answers; servers
    and peers, to know whose MAC that is."""
    facts = case.facts
    wanted: list[tuple[str, Address]] = []
    virtual = dict.fromkeys(key.address for s in case.config.services for key in s.keys)
    virtual |= dict.fromkeys(each.address for _, each in virtual_addresses(case.config))
    for what in virtual:
        interface = case.interface_of(what) if what else None
        if interface is not None:
            wanted.append((interface, what))
    known = [server.endpoint.address for _, server in servers(case.config, *AROUND)]
    known += [node.address for node in case.config.peers if node.address]
    known += [peer for i in case.config.instances if i.unicast for peer in i.unicast.peers]
    known += facts.daemon.masters.values() if facts.daemon else ()
    local = facts.local()
    for what in known:
        home = case.network_of(what)
        if home is not None and what not in local:
            wanted.append((home.interface, what))
    usable = (w for w in dict.fromkeys(wanted) if family(w[1]) == 4 and w[0] in facts.links)
    return tuple(usable)[:MOST_ARP]


def questions(case: Case) -> tuple[Question, ...]:
    """The SYNs: the plain one, then that by which the forwarding method shows itself."""
    local = case.facts.local()
    found: dict[object, Question] = {}
    for service, server in servers(case.config):
        if server.endpoint.port == 0 or server.endpoint.address in local:
            continue
        for question in _of(case, service, server):
            same = (question.manner, question.server, question.target, question.tunnel)
            found.setdefault(same, question)
    return tuple(found.values())


def _of(case: Case, service: VirtualService, server: RealServer) -> Iterator[Question]:
    key, endpoint = service.keys[0], server.endpoint
    path = case.facts.paths.get(endpoint.address)
    if path is None or path.source is None or key.protocol not in (0, Protocol.TCP):
        return
    yield Question(Manner.PLAIN, service.name, endpoint, endpoint, path.source)
    if server.forward is Forward.NAT:
        outside = _outside(case, path.interface, endpoint.address)
        if outside is not None and case.is_master():
            yield Question(Manner.FAR, service.name, endpoint, endpoint, outside)
    elif server.forward in AROUND and key.address and key.address != path.source:
        target = type(endpoint)(key.address, key.port or endpoint.port)
        if family(key.address) != family(path.source):
            return
        tunnel = server.tunnel.type if server.forward is Forward.TUN else None
        yield Question(
            Manner.VIRTUAL,
            service.name,
            endpoint,
            target,
            path.source,
            tunnel,
            server.tunnel.port,
        )


def _outside(case: Case, interface: str, server: Address) -> Address | None:
    """A lasting address of this host that is not in the server's network, on another interface."""
    floating = {virtual.address for _, virtual in virtual_addresses(case.config)}
    floating |= {key.address for service in case.config.services for key in service.keys}
    home = case.network_of(server)
    for each in case.facts.addresses:
        if (
            family(each.address) == family(server)
            and each.interface not in (interface, "lo")
            and each.address not in floating
            and not each.address.startswith(("fe80:", "127.", "169.254."))
            and (home is None or each.interface != home.interface)
        ):
            return each.address
    return None
