"""Faults between this host and its neighbours on the wire: who answers for virtual addresses,
whether adverts and sync records get through, whether peers are there."""

from collections.abc import Iterator

from hadirector.core.address import Address, family
from hadirector.core.advert import OWNER
from hadirector.core.doctor.case import Case, ip_version, virtual_addresses
from hadirector.core.doctor.check import Check
from hadirector.core.doctor.facts import AdvertSeen, Group, Passage, Port
from hadirector.core.doctor.finding import Finding, NotChecked, run_again
from hadirector.core.own_sync import are_apart
from hadirector.core.settings.cluster import Config, SyncTransport
from hadirector.core.settings.instances import AuthenticationKind, Instance
from hadirector.core.signature import window

_VIRTUAL_MAC = "00:00:5e:00:01:"  # RFC 9568 7.3; the last byte is the virtual router's number
_CLOCK_WORTH_A_WORD = 0.4  # share of what is allowed


def checks() -> tuple[Check, ...]:
    """All of this module."""
    return (
        Check(
            "only directors answer for virtual addresses",
            (Group.ARP, Group.NETWORK),
            answers_of_others,
            _has_services,
        ),
        Check("adverts get through (protocol 112)", (Group.ADVERTS,), adverts_lost, _has_instances),
        Check("one master for each virtual router", (Group.ADVERTS,), two_masters, _has_instances),
        Check("clocks agree, for signed adverts", (Group.ADVERTS,), clocks_apart, _signs),
        Check("sync records get through (UDP 8848)", (Group.SYNC,), sync_filtered, _syncs),
        Check(
            "sync interfaces take packets of the same length",
            (Group.NETWORK, Group.DAEMON),
            sync_mtus_apart,
            _syncs_kernels,
        ),
        Check("peers can be reached", (Group.PEERS,), peer_unreachable, lambda c: bool(c.peers)),
    )


def _has_services(config: Config) -> bool:
    return bool(config.services)


def _has_instances(config: Config) -> bool:
    return bool(config.instances)


def _signs(config: Config) -> bool:
    return any(i.authentication.kind is AuthenticationKind.HMAC for i in config.instances)


def _syncs(config: Config) -> bool:
    return config.connection_sync is not None


def _syncs_kernels(config: Config) -> bool:
    sync = config.connection_sync
    return sync is not None and sync.transport is SyncTransport.KERNEL


def answers_of_others(case: Case) -> Iterator[Finding]:
    """ARP for a virtual address answered by a MAC that is no director's."""
    facts = case.facts
    directors = _directors(case)
    owners: dict[str, Address] = {}
    for _, server in case.servers():
        for answer in facts.arp:
            if answer.address == server.endpoint.address and answer.mac not in directors:
                owners[answer.mac] = answer.address
    virtual = {key.address for service in case.config.services for key in service.keys}
    virtual |= {each.address for _, each in virtual_addresses(case.config)}
    for answer in sorted(set(facts.arp), key=lambda a: (a.address, a.mac)):
        if answer.address not in virtual or answer.mac in directors:
            continue
        owner = owners.get(answer.mac)
        if owner is not None:
            yield _server_answers(answer.address, answer.interface, answer.mac, owner)
        elif case.is_master() or not case.config.instances:
            yield _stranger_answers(answer.address, answer.interface, answer.mac)


def _server_answers(virtual: Address, interface: str, mac: str, owner: Address) -> Finding:
    return Finding(
        "arp-answered",
        f"{owner} for {virtual}",
        f"the real server {owner} ({mac}) answers ARP for {virtual} on {interface}",
        "who believes it sends straight to that one server: not balanced, not checked, and at odds "
        "with whoever believes the director",
        (
            f"on {owner}: sysctl -w net.ipv4.conf.all.arp_ignore=1 "
            "net.ipv4.conf.all.arp_announce=2, and the address on lo: "
            f"ip address add {virtual}/32 dev lo",
            f"on {owner}, for good: hadirector agent --setup dr {virtual}",
            "on the router of the segment: let it forget what it learnt (arp -d, clear arp)",
        ),
        run_again(f"arping -D -I {interface} -c 3 {virtual}"),
    )


def _stranger_answers(virtual: Address, interface: str, mac: str) -> Finding:
    return Finding(
        "arp-answered",
        f"{mac} for {virtual}",
        f"somebody else, {mac}, answers ARP for {virtual} on {interface} as well",
        "two hosts have the same address: which of them a client reaches is chance. It is a second "
        "master, a real server that must not answer, or a stranger's address",
        (
            f"ip neigh; ip -s link  (whose MAC is {mac}?), and take {virtual} away there",
            f"on a real server: ip address add {virtual}/32 dev lo and sysctl -w "
            "net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
        ),
        run_again(f"arping -D -I {interface} -c 3 {virtual}"),
    )


def _directors(case: Case) -> frozenset[str]:
    """MACs that may answer: ours, the peers', those adverts come from, and virtual ones."""
    facts = case.facts
    peers = {node.address for node in case.config.peers if node.address}
    for instance in case.config.instances:
        peers |= set(instance.unicast.peers) if instance.unicast else set()
    peers |= set(facts.daemon.masters.values()) if facts.daemon else set()
    peers -= facts.local()
    numbers = {i.virtual_router_id for i in case.config.instances}
    return frozenset(
        {link.mac for link in facts.links.values()}
        | {answer.mac for answer in facts.arp if answer.address in peers}
        | {each.mac for each in facts.adverts if each.vrid in numbers}
        | {f"{_VIRTUAL_MAC}{number:02x}" for number in numbers}
    )


def adverts_lost(case: Case) -> Iterator[Finding | NotChecked]:
    """What is on the wire must reach programs here; what we send must get to the wire."""
    for instance in case.config.instances:
        heard = [
            a
            for a in case.facts.adverts
            if a.vrid == instance.virtual_router_id and a.interface == instance.interface
        ]
        incoming = [a for a in heard if not a.outgoing]
        if incoming and not any(a.reached for a in incoming):
            yield _filtered_in(instance, incoming[0])
        for number in instance.families():
            name = f"{instance.name}/{ip_version(number)}"
            state = case.facts.daemon.states.get(name, "") if case.facts.daemon else ""
            out = any(a.outgoing and family(a.source) == number for a in heard)
            told = any(not a.outgoing and family(a.source) == number for a in heard)
            if state == "master" and not out:
                yield _filtered_out(instance, name)
            for peer, known in (case.facts.daemon.peers if case.facts.daemon else {}).items():
                if state == "master" and known.states.get(name) == "master" and not told:
                    yield _filtered_between(instance, name, peer)


def _filtered_in(instance: Instance, advert: AdvertSeen) -> Finding:
    return Finding(
        "vrrp-filtered",
        f"{instance.name} from {advert.source}",
        f"adverts of {advert.source} arrive on {instance.interface}, and a filter of this host "
        "drops them",
        "the election does not hear the master and becomes one itself: two masters, each with the "
        "virtual addresses",
        (
            f"iptables -I INPUT -i {instance.interface} -p 112 -j ACCEPT",
            f"or: nft insert rule inet filter input iifname {instance.interface} ip protocol 112 "
            "accept",
            "look also at: ip xfrm policy; tc filter show dev " + instance.interface + " ingress",
        ),
        run_again(f"tcpdump -ni {instance.interface} proto 112; hadirector status"),
    )


def _filtered_out(instance: Instance, name: str) -> Finding:
    return Finding(
        "vrrp-filtered",
        f"{name} going out",
        f"{name} is master here, and no advert of it leaves by {instance.interface}",
        "the other nodes take it for dead and become master as well",
        (
            f"iptables -I OUTPUT -o {instance.interface} -p 112 -j ACCEPT",
            f"or: nft insert rule inet filter output oifname {instance.interface} ip protocol 112 "
            "accept",
        ),
        run_again(f"tcpdump -ni {instance.interface} proto 112"),
    )


def _filtered_between(instance: Instance, name: str, peer: str) -> Finding:
    return Finding(
        "vrrp-filtered",
        f"{name} from {peer}",
        f"{name} is master here and on {peer}, by its own word, and no advert of {peer} arrives on "
        f"{instance.interface}",
        "the segment does not carry them: a filter on the peer, a switch that prunes multicast "
        "(IGMP snooping without a querier), or two separate segments",
        (
            f"on {peer}: iptables -I OUTPUT -p 112 -j ACCEPT",
            "on the switch: switch an IGMP querier on, or snooping off, for 224.0.0.0/24",
            f"or in the configuration, for {instance.name}: unicast: {{NODE: ADDRESS, ...}}",
        ),
        run_again(f"tcpdump -ni {instance.interface} proto 112"),
    )


def two_masters(case: Case) -> Iterator[Finding]:
    """Somebody else advertises what this node advertises too, or is another router altogether."""
    for instance in case.config.instances:
        ours = {v.address for v in instance.virtual_addresses}
        seen: dict[Address, AdvertSeen] = {}
        sending = set()
        for each in case.facts.adverts:
            if (each.vrid, each.interface) != (instance.virtual_router_id, instance.interface):
                continue
            if each.outgoing:
                sending.add(family(each.source))
            elif each.priority:
                seen[each.source] = each
        for source, advert in seen.items():
            if advert.addresses and not ours & set(advert.addresses):
                yield _other_router(instance, advert)
            elif family(source) in sending and advert.reached and advert.priority != OWNER:
                yield _second_master(instance, advert)


def _other_router(instance: Instance, advert: AdvertSeen) -> Finding:
    listed = ", ".join(advert.addresses)
    return Finding(
        "vrid-taken",
        f"{instance.name} and {advert.source}",
        f"{advert.source} uses virtual router {advert.vrid} on {instance.interface} for {listed}",
        "two routers with one number on a segment: adverts are mistaken for each other by products "
        "that do not look at the list, and with virtual MACs both have the same one",
        (
            f"in {instance.name}, on every node: virtual_router_id: a number that is free here",
            "hadirector reload  (on the standby first)",
        ),
        run_again(f"tcpdump -vni {instance.interface} proto 112"),
    )


def _second_master(instance: Instance, advert: AdvertSeen) -> Finding:
    return Finding(
        "two-masters",
        f"{instance.name} and {advert.source}",
        f"{advert.source} advertises {instance.name} with priority {advert.priority}, and so does "
        "this node",
        "both hold the virtual addresses; it lasts as long as one of them does not hear the other, "
        "or refuses what it hears (another version, checksum, password or key)",
        (
            "hadirector status --json  (refused: says why adverts are not believed)",
            f"on the other node: tcpdump -ni {instance.interface} proto 112  (does it hear us?)",
        ),
        run_again("hadirector status"),
    )


def clocks_apart(case: Case) -> Iterator[Finding | NotChecked]:
    """Signed adverts carry the time: one worth a word before it is one refused."""
    for instance in case.config.instances:
        if instance.authentication.kind is not AuthenticationKind.HMAC:
            continue
        most = window(instance.advert_int)
        behind: dict[Address, float] = {}
        for each in case.facts.adverts:
            same = (each.vrid, each.interface) == (instance.virtual_router_id, instance.interface)
            if same and not each.outgoing and each.behind is not None:
                behind[each.source] = each.behind
        if not behind:
            yield NotChecked(
                "clocks agree, for signed adverts",
                f"{instance.name}: no signed advert of another node was heard (the standby hears "
                "the master's)",
            )
        for source, seconds in behind.items():
            if abs(seconds) < _CLOCK_WORTH_A_WORD * most:
                continue
            refused = abs(seconds) > most
            yield Finding(
                "clocks-apart",
                f"{instance.name} and {source}",
                f"the clock of {source} is {abs(seconds):.0f} s "
                f"{'behind' if seconds > 0 else 'ahead of'} this one's",
                f"its adverts are signed with the time and refused beyond {most} s"
                + (": they are refused, and there will be two masters" if refused else ""),
                (
                    "timedatectl set-ntp true  (on both nodes)",
                    "or: chronyc makestep",
                ),
                run_again("timedatectl timesync-status"),
            )


def sync_filtered(case: Case) -> Iterator[Finding]:
    """A datagram of our own to the sync group, that never left this host."""
    sync = case.config.connection_sync
    assert sync is not None, "applies says so"
    where, port = sync.interface, sync.port
    match case.facts.passage:
        case Passage.LOST_IN:
            chain, option, what = "INPUT", "-i", "does not get in"
        case Passage.LOST_OUT:
            chain, option, what = "OUTPUT", "-o", "must not go out"
        case Passage.PASSED | None:
            return
    yield Finding(
        "sync-filtered",
        f"{sync.group}:{port}",
        f"what goes to {sync.group}, UDP port {port}, on {where} {what}: a filter of this host "
        "drops it",
        "the standby does not learn of connections: a takeover breaks them all",
        (
            f"iptables -I {chain} {option} {where} -d {sync.group} -p udp --dport {port} -j ACCEPT",
            f"or: nft insert rule inet filter {chain.lower()} "
            f"{'iifname' if chain == 'INPUT' else 'oifname'} {where} udp dport {port} accept",
        ),
        run_again(f"tcpdump -ni {where} udp port {port}"),
    )


def sync_mtus_apart(case: Case) -> Iterator[Finding]:
    """What the longer one sends, the shorter one's card does not take."""
    sync, daemon = case.config.connection_sync, case.facts.daemon
    assert sync is not None, "applies says so"
    link = case.facts.links.get(sync.interface)
    for name, peer in daemon.peers.items() if daemon and link else ():
        assert link is not None
        if not peer.alive or not are_apart(link.mtu, peer.sync_mtu):
            continue
        shorter = "this node" if link.mtu < peer.sync_mtu else name
        yield Finding(
            "sync-mtu",
            f"{sync.interface} and {name}",
            f"{sync.interface} has an MTU of {link.mtu} here and of {peer.sync_mtu} on {name}",
            f"connection records fill a packet where there are many: those never get to {shorter}, "
            "which then lacks connections, and no resync to it ends",
            (
                f"on {shorter}: ip link set {sync.interface} mtu {max(link.mtu, peer.sync_mtu)}",
                "or, where the network between takes no more: the smaller one on both nodes",
            ),
            run_again(f"ip link show {sync.interface}  (on both)"),
        )


def peer_unreachable(case: Case) -> Iterator[Finding | NotChecked]:
    """Peers that the daemon does not hear, asked directly."""
    port = case.config.peer_port
    for node in case.config.peers:
        state = case.facts.ports.get(node.name)
        if state is None or node.address is None:
            continue
        if state is Port.SILENT and case.facts.daemon is None:
            text = f"{node.name}: somebody or a filter takes its datagrams; only a daemon gets word"
            yield NotChecked("peers can be reached", text)
            continue
        known = case.facts.daemon.peers.get(node.name) if case.facts.daemon else None
        if state is Port.SILENT and known is not None and known.trouble:
            yield _refused(case, node.name, known.trouble)
            continue
        what, why, fix = _PEER[state]
        yield Finding(
            "peer-port",
            node.name,
            f"{node.name} ({node.address}, UDP port {port}) {what}",
            f"{why}; without the peer channel there is no lease, no readiness and no resync",
            (fix.format(name=node.name, address=node.address, port=port),),
            run_again(f"tcpdump -ni any udp port {port}"),
        )


def _refused(case: Case, peer: str, trouble: str) -> Finding:
    """Datagrams come, and are not believed: no filter is in the way."""
    key_file = case.config.key_file
    same = f"on both nodes: sha256sum {key_file}  (the same file, then: hadirector reload)"
    return Finding(
        "peer-refused",
        peer,
        trouble,
        "what it says on the peer channel arrives and is not believed: no lease, no readiness, no "
        "handover and no resync",
        (
            *((same,) if key_file else ()),
            f"on both nodes: hadirector check -c {case.config.path}; hadirector status  (the same "
            "file, key_file and release?)",
        ),
        run_again("hadirector status"),
    )


_PEER = {
    Port.CLOSED: (
        "refuses: nothing listens there",
        "its daemon does not run, has another port, or another address for this node",
        "on {name}: systemctl start hadirector; ss -lun sport = :{port}",
    ),
    Port.SILENT: (
        "is silent: it takes datagrams, and this daemon does not hear it",
        "a filter here or there drops UDP to this port, or its daemon hangs",
        "here and on {name}: iptables -I INPUT -p udp --dport {port} -j ACCEPT",
    ),
    Port.UNREACHABLE: (
        "cannot be reached: no route, or its address is not there",
        "there is no way to it, or nobody answers ARP for it",
        "ip route get {address}; ping -c 3 {address}",
    ),
}
