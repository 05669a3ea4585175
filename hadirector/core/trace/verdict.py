"""Where packets stop, and the likeliest cause.

Packets say where; why is decided by what else is known: errors and resets among them, ARP that was
not answered, counters, settings, the IPVS table, and how the server answers when it is asked as
doctor asks.
"""

from hadirector.core.address import Endpoint, family
from hadirector.core.doctor import forwarding
from hadirector.core.doctor.facts import Answer, Asked, Manner
from hadirector.core.doctor.finding import Finding
from hadirector.core.ipvs import Forward
from hadirector.core.server_setup import TUNNEL_NAMES, Tunnel, setup_command, unwrapping
from hadirector.core.trace.arrival import not_balanced, nothing_came, reverse_path
from hadirector.core.trace.hop import Evidence, Hop, Verdict, of_finding, unanswered_arp
from hadirector.core.trace.packets import TCP, Icmp, Scene, Spot, Trouble
from hadirector.core.trace.walk import Leg, Walk

_FULL = 1300  # bytes: a segment of at least this may be too large for a tunnel


def is_fine(walk: Walk) -> Verdict | None:
    """That everything passed, where no more evidence is needed to say so."""
    server = walk.server
    if server is None:
        return None
    name = f"{walk.stage.name}: {walk.client} by way of {walk.virtual} to {server.endpoint}"
    if walk.protocol != TCP:
        passed = bool(walk.on(Leg.TO_CLIENT)) or server.forward is not Forward.NAT
        text = f"{name}: {len(walk.on(Leg.TO_DIRECTOR))} datagrams passed"
        return Verdict(Hop.NOWHERE, text) if passed and not walk.on(Leg.ERROR) else None
    if _refused_by_server(walk) or not walk.acknowledged or _stalls(walk):
        return None
    if server.forward is Forward.NAT and walk.asked and not walk.answered:
        return None
    back = f" and {walk.answered} back" if server.forward is Forward.NAT else ""
    return Verdict(Hop.NOWHERE, f"{name}: connected, {walk.asked} bytes went there{back}")


def judge(scene: Scene, walk: Walk | None, evidence: Evidence) -> Verdict:
    """The verdict on a connection that is not fine, or that there is none."""
    if walk is None:
        return nothing_came(scene, evidence)
    fine = is_fine(walk)
    if fine is not None:
        return fine
    if not walk.on(Leg.TO_SERVER):
        return not_balanced(walk, evidence)
    server = walk.server
    if server is None:
        text = f"packets leave for a server that is not one of {walk.stage.name} here"
        return Verdict(Hop.DIRECTOR_TO_SERVER, text, "the table is not the configuration's")
    told = unanswered_arp(walk, server.endpoint.address) or _error_from_beyond(walk, server)
    if told is not None:
        return told
    if server.forward is Forward.NAT:
        return _by_nat(walk, server, evidence)
    return _around(walk, server, evidence)


# --- NAT ------------------------------------------------------------------------------------------


def _by_nat(walk: Walk, server: Spot, evidence: Evidence) -> Verdict:
    if _refused_by_server(walk):
        return _refusal(server.endpoint, "")
    if not walk.on(Leg.FROM_SERVER):
        return _no_answer_by_nat(walk, server, evidence)
    if not walk.on(Leg.TO_CLIENT):
        return _not_translated(walk, server, evidence)
    if not walk.acknowledged:
        return Verdict(
            Hop.DIRECTOR_TO_CLIENT,
            f"the answer of {server.endpoint} leaves for {walk.client}, and the client does not go "
            "on",
            "it does not get there: a filter or a one-sided route between here and the client, or "
            "the client's own filter",
            (
                f"ip route get {walk.client.address} from {walk.virtual.address}",
                f"on {walk.client.address}: tcpdump -ni any host {walk.virtual.address}",
            ),
        )
    return _stalled(walk, server)


def _no_answer_by_nat(walk: Walk, server: Spot, evidence: Evidence) -> Verdict:
    where = server.endpoint
    what = f"packets leave for {where}, and no answer of it comes back"
    plain = _asked(evidence, where, Manner.PLAIN)
    if plain is None or plain.answer is Answer.NOTHING:
        return _silent(what, where, plain)
    if plain.answer is Answer.REFUSED:
        return _refusal(where, " (asked now; then it was silent)")
    for told in forwarding.return_route(evidence.case):
        if isinstance(told, Finding) and told.subject.endswith(str(where)):
            return of_finding(Hop.SERVER_TO_DIRECTOR, told, f"{what}; {told.what}")
    return Verdict(
        Hop.SERVER_TO_DIRECTOR,
        f"{what}, though it answers this host",
        f"its way to {walk.client.address} does not lead through this host: the route there is "
        "more special than the default one, or a filter on the server drops this client",
        (f"on {where.address}: ip route get {walk.client.address} from {where.address}",),
    )


def _silent(what: str, where: Endpoint, plain: Asked | None) -> Verdict:
    asked = "" if plain is None else "; it does not answer this host itself either"
    return Verdict(
        Hop.SERVER,
        what + asked,
        "the server drops them (a filter on it, a host that hangs), or they do not get there",
        (
            f"on {where.address}: tcpdump -ni any port {where.port}",
            f"ping -c 3 {where.address}",
        ),
    )


def _refusal(where: Endpoint, more: str) -> Verdict:
    return Verdict(
        Hop.SERVER,
        f"{where} refuses the connection{more}",
        f"nothing listens on port {where.port} there: the program is down, or the server's port in "
        "the configuration is wrong",
        (f"on {where.address}: ss -ltnp sport = :{where.port}",),
    )


def _not_translated(walk: Walk, server: Spot, evidence: Evidence) -> Verdict:
    """Its answer is here and goes no further."""
    came = walk.on(Leg.FROM_SERVER)[0]
    what = f"the answer of {server.endpoint} comes in on {came.interface}"
    if walk.on(Leg.UNCHANGED):
        return Verdict(
            Hop.DIRECTOR,
            f"{what} and goes on to the client with the server's address",
            "IPVS does not know the connection: the table was cleared or replaced meanwhile",
            ("hadirector ipvs --connections", "hadirector events"),
        )
    what += ", and nothing leaves for the client"
    name = forwarding.IP_FORWARD[family(server.endpoint.address)]
    if evidence.case.sysctl(name) == "0":
        text = f"{name} is 0: this host drops what is not addressed to itself"
        return Verdict(Hop.DIRECTOR, what, text, (f"sysctl -w {name}=1",))
    if evidence.dropped:
        return reverse_path(what, came.interface, evidence)
    return Verdict(
        Hop.DIRECTOR,
        what,
        "a filter of this host drops it (FORWARD of iptables or nftables)",
        ("iptables -L FORWARD -nv", "nft list ruleset"),
    )


# --- Direct routing and tunnels -------------------------------------------------------------------


def _around(walk: Walk, server: Spot, evidence: Evidence) -> Verdict:
    """Answers do not pass here, so the server is asked for one that does."""
    where = server.endpoint
    if walk.acknowledged:
        return _stalled(walk, server)
    what = f"packets leave for {where}, and the client hears nothing of it"
    virtual = _asked(evidence, where, Manner.VIRTUAL)
    plain = _asked(evidence, where, Manner.PLAIN)
    if virtual is not None and virtual.answer is Answer.REFUSED:
        return _refusal(Endpoint(where.address, walk.virtual.port), f" for {walk.virtual}")
    for told in forwarding.deaf_to_virtual_address(evidence.case):
        if isinstance(told, Finding) and told.subject.endswith(str(where)):
            return of_finding(Hop.SERVER, told, f"{what}; {told.what}")
    if virtual is not None and virtual.answer is Answer.OPEN:
        return Verdict(
            Hop.SERVER_TO_CLIENT,
            f"{what}, though it answers this host for {walk.virtual}",
            f"its own way to {walk.client.address} is broken: its route, its rp_filter for that "
            "source, or a filter that has not seen the request and drops the answer",
            (
                f"on {where.address}: ip route get {walk.client.address} "
                f"from {walk.virtual.address}",
            ),
        )
    return _silent(what, where, plain)


def _stalled(walk: Walk, server: Spot) -> Verdict:
    """Connected, and then it does not go on."""
    large = max((p.size for p in walk.on(Leg.TO_DIRECTOR)), default=0) >= _FULL
    big = next((i for i in _errors(walk) if i.trouble is Trouble.TOO_BIG), None)
    where = server.endpoint
    if big is not None or (large and _stalls(walk)):
        told = f" ({big.sender} says that only {big.mtu} bytes fit)" if big else ""
        return Verdict(
            Hop.DIRECTOR_TO_SERVER,
            f"connected with {where}, and large segments of the client are sent again and again",
            f"they are too large for the way to the server{told}, and the client does not learn "
            "it, or does not heed it: a tunnel's header takes its room",
            (
                f"on {where.address}: ip route replace default via ITS-GATEWAY advmss 1400",
                "hadirector doctor  (tunnel-mtu)",
            ),
        )
    return Verdict(
        Hop.SERVER,
        f"connected with {where}, the request ({walk.asked} bytes) is there, and no answer comes",
        "the program on the server took the connection and does not answer",
        (f"on {where.address}: ss -tnp sport = :{where.port}",),
    )


def _stalls(walk: Walk) -> bool:
    """The client sends the same data again."""
    again = [s for s in walk.steps if s.leg is Leg.TO_DIRECTOR and s.again and s.packet.size]
    return len(again) >= 2 and walk.steps[-1].packet.source == walk.client


# --- What both are told by ------------------------------------------------------------------------


def _refused_by_server(walk: Walk) -> bool:
    return any("R" in p.flags for p in walk.on(Leg.FROM_SERVER)) and not walk.acknowledged


def _asked(evidence: Evidence, server: Endpoint, manner: Manner) -> Asked | None:
    return next(
        (
            a
            for a in evidence.case.facts.asked
            if a.question.server == server and a.question.manner is manner
        ),
        None,
    )


def _errors(walk: Walk) -> list[Icmp]:
    return [packet.icmp for packet in walk.on(Leg.ERROR) if packet.icmp is not None]


def _error_from_beyond(walk: Walk, server: Spot) -> Verdict | None:
    """An ICMP error from the server or a router about what we sent there."""
    for packet in walk.on(Leg.ERROR):
        icmp = packet.icmp
        if icmp is None or packet.outgoing or icmp.trouble is Trouble.TOO_BIG:
            continue
        if walk.acknowledged:
            continue
        what = f"{icmp.sender} answers {server.endpoint}'s packets with ICMP {icmp.trouble.value}"
        at_server = icmp.sender == server.endpoint.address
        if packet.outer is not None and icmp.trouble in (Trouble.PORT, Trouble.PROTOCOL):
            # Linux says "port" where no tunnel device takes a packet, others say "protocol".
            cause = "the server has no tunnel device that is up: nobody unwraps them there"
            where, virtual = server.endpoint.address, walk.virtual.address
            kind = TUNNEL_NAMES[packet.outer.kind]
            tunnel = Tunnel(family(virtual), family(where), kind, packet.outer.port)
            fixes = (*unwrapping(tunnel), f"or all of it: {setup_command(virtual, tunnel)}")
            return Verdict(Hop.SERVER, what, cause, tuple(f"on {where}: {fix}" for fix in fixes))
        cause = "a filter of the server rejects them, or nothing listens there"
        if not at_server:
            cause = "a router on the way has no route to the server, or a filter"
        look = (f"ip route get {server.endpoint.address}",)
        return Verdict(Hop.SERVER if at_server else Hop.DIRECTOR_TO_SERVER, what, cause, look)
    return None
