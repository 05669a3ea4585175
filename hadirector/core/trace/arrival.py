"""Why packets do not come in, or come in and leave for no server."""

from hadirector.core.address import Address
from hadirector.core.doctor import segment
from hadirector.core.ipvs import Entry
from hadirector.core.trace.hop import Evidence, Hop, Verdict, of_finding, unanswered_arp
from hadirector.core.trace.packets import Scene, Trouble
from hadirector.core.trace.walk import Leg, Walk


def nothing_came(scene: Scene, evidence: Evidence) -> Verdict:
    """The client's packets do not get here."""
    case = evidence.case
    text = f"no packet of {scene.client} for a virtual service came in"
    if not case.is_master():
        masters = case.facts.daemon.masters if case.facts.daemon else {}
        who = ", ".join(sorted(set(masters.values()))) or "another node"
        return Verdict(
            Hop.CLIENT_TO_DIRECTOR,
            f"{text}, and this node is not master",
            f"the master ({who}) has the virtual addresses and gets them",
            ("hadirector trace there",),
        )
    for finding in segment.answers_of_others(case):
        return of_finding(Hop.CLIENT_TO_DIRECTOR, finding, f"{text}; {finding.what}")
    virtual = next((v.address for stage in scene.stages for v in stage.virtual), Address("VIP"))
    return Verdict(
        Hop.CLIENT_TO_DIRECTOR,
        text,
        "it did not ask, it asked another address or port, or its packets end before this host: "
        "its route, what it knows of the MAC, a filter on the way",
        (
            f"on {scene.client}: ip route get {virtual}; ip neigh show {virtual}",
            "here: tcpdump -ni any host " + scene.client,
        ),
    )


def not_balanced(walk: Walk, evidence: Evidence) -> Verdict:
    """It came in and no packet left for a server."""
    entry = _entry(walk, evidence)
    refused = any("R" in packet.flags for packet in walk.on(Leg.TO_CLIENT))
    what = f"{walk.client} reaches {walk.virtual}, and nothing leaves for a server"
    if entry is None:
        how = "this host itself refuses it" if refused else "nobody takes it"
        return Verdict(
            Hop.DIRECTOR,
            f"{what}; {how}",
            f"IPVS has no service for {walk.virtual} here",
            ("hadirector ipvs", "hadirector status  (is the daemon running, is it paused?)"),
        )
    unanswered = unanswered_arp(walk)
    if unanswered is not None:
        return unanswered
    port = [p.icmp for p in walk.on(Leg.ERROR) if p.icmp and p.icmp.trouble is Trouble.PORT]
    if port or not any(d.weight for d in entry.destinations.values()):
        count = len(entry.destinations)
        return Verdict(
            Hop.DIRECTOR,
            f"{what}; it is answered with ICMP port unreachable" if port else what,
            f"no server of {walk.stage.name} has a weight: all {count} have weight 0, are at their "
            "threshold, or are taken out",
            (f"hadirector explain {walk.stage.name}", "hadirector ipvs"),
        )
    if refused:
        text = "a filter of this host rejects it (REJECT --reject-with tcp-reset)"
        return Verdict(Hop.DIRECTOR, f"{what}; it is reset", text, _FILTERS)
    if evidence.dropped:
        return reverse_path(what, walk.on(Leg.TO_DIRECTOR)[0].interface, evidence)
    return Verdict(
        Hop.DIRECTOR,
        what,
        "a filter of this host drops it before IPVS (INPUT or PREROUTING of iptables or nftables, "
        "tc ingress)",
        _FILTERS,
    )


_FILTERS = (
    "iptables -L INPUT -nv; iptables -t mangle -L PREROUTING -nv; iptables -t raw -L -nv",
    "nft list ruleset",
    "tc -s filter show dev INTERFACE ingress",
)


def reverse_path(what: str, interface: str, evidence: Evidence) -> Verdict:
    """The kernel's own filter of sources dropped some meanwhile."""
    return Verdict(
        Hop.DIRECTOR,
        what,
        f"rp_filter: the kernel dropped {evidence.dropped} packets meanwhile whose way back does "
        f"not lead out of the interface they came in by ({interface})",
        (
            "nstat -az TcpExtIPReversePathFilter",
            "sysctl -w net.ipv4.conf.all.rp_filter=2",
        ),
    )


def _entry(walk: Walk, evidence: Evidence) -> Entry | None:
    """The service of IPVS that takes it, also one by firewall mark of the same name."""
    keys = {k for s in evidence.case.config.services if s.name == walk.stage.name for k in s.keys}
    for key, entry in evidence.case.facts.table.items():
        here = (key.address, key.protocol) == (walk.virtual.address, walk.protocol)
        if (here and key.port in (0, walk.virtual.port)) or (key.fwmark and key in keys):
            return entry
    return None
