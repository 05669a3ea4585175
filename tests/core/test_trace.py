"""Trace over hand-made packets: legs, ladder, and where they stop."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hadirector.core import ipvs
from hadirector.core.address import Address, Endpoint
from hadirector.core.doctor.case import Case
from hadirector.core.doctor.facts import (
    Answer,
    ArpAnswer,
    Asked,
    Facts,
    LocalAddress,
    Manner,
    Question,
)
from hadirector.core.doctor.facts import Path as Way
from hadirector.core.trace import ladder
from hadirector.core.trace.hop import Evidence, Hop, Verdict
from hadirector.core.trace.packets import (
    ArpSeen,
    Icmp,
    Outer,
    Scene,
    Seen,
    Spot,
    Stage,
    Trouble,
)
from hadirector.core.trace.verdict import is_fine, judge
from hadirector.core.trace.walk import Leg, follow
from tests.config.files import config_of

CLIENT = Endpoint(Address("192.0.2.100"), 40000)
VIP = Address("192.0.2.10")
WEB, DIRECT, TUNNEL = (Endpoint(VIP, port) for port in (80, 81, 82))
NAT = Endpoint(Address("10.0.1.11"), 8080)
DR = Endpoint(Address("192.0.2.12"), 81)
TUN = Endpoint(Address("192.0.2.13"), 82)
OWN, FRONT = Address("10.0.1.1"), Address("192.0.2.1")
MAC = "02:00:00:00:00:12"
TEXT = f"""\
cluster: shop
nodes: {{lb1: {{priority: 150, address: {OWN}}}}}
vrrp:
  instances:
    front: {{interface: eth0, virtual_router_id: 51, virtual_addresses: [{VIP}/24]}}
virtual_services:
  web: {{address: "{WEB}", real_servers: ["{NAT}"]}}
  direct: {{address: "{DIRECT}", forward: dr, real_servers: ["{DR}"]}}
  tunnel: {{address: "{TUNNEL}", forward: tun, real_servers: ["{TUN}"]}}
"""
SCENE = Scene(
    CLIENT.address,
    (
        Stage("web", 6, (WEB,), (Spot(NAT, ipvs.Forward.NAT),)),
        Stage("direct", 6, (DIRECT,), (Spot(DR, ipvs.Forward.DR, MAC),)),
        Stage("tunnel", 6, (TUNNEL,), (Spot(TUN, ipvs.Forward.TUN),)),
    ),
)
KEY = ipvs.ServiceKey(4, 6, VIP, 80)
TABLE: ipvs.Table = {
    KEY: ipvs.Entry(
        ipvs.Service(KEY, "rr"), {NAT: ipvs.Destination(NAT, ipvs.Forward.NAT, weight=1)}
    )
}
FACTS = Facts(
    sysctls={"net.ipv4.ip_forward": "1"},
    addresses=(
        LocalAddress("eth0", FRONT, 24),
        LocalAddress("eth0", VIP, 32),
        LocalAddress("eth1", OWN, 24),
    ),
    paths={NAT.address: Way("eth1", None, OWN, 1500)},
    table=TABLE,
)


class Line:
    """Packets in the order they come, 0.1 s apart."""

    def __init__(self) -> None:
        self.packets: list[Seen] = []

    def add(
        self, source: Endpoint, target: Endpoint, flags: str, *, out: bool, **more: object
    ) -> "Line":
        packet = Seen(len(self.packets) / 10, "eth1", out, 6, source, target, flags)
        self.packets.append(replace(packet, **more))  # type: ignore[arg-type]  # its own fields
        return self

    def goes_in(self, flags: str, to: Endpoint = WEB, **more: object) -> "Line":
        return self.add(CLIENT, to, flags, out=False, **more)

    def goes_on(self, flags: str, to: Endpoint = NAT, **more: object) -> "Line":
        return self.add(CLIENT, to, flags, out=True, **more)

    def comes_back(self, flags: str, **more: object) -> "Line":
        return self.add(NAT, CLIENT, flags, out=False, **more)

    def goes_back(self, flags: str, of: Endpoint = WEB, **more: object) -> "Line":
        return self.add(of, CLIENT, flags, out=True, **more)

    def is_refused(self, trouble: Trouble, sender: Address, **more: object) -> "Line":
        icmp = Icmp(trouble, sender, FRONT)
        return self.add(CLIENT, WEB, "", icmp=icmp, **{"out": False} | more)  # type: ignore[arg-type]


def syn() -> Line:
    """A SYN and its repetition at the director."""
    return Line().goes_in("S").goes_in("S")


def handshake() -> Line:
    line = Line().goes_in("S").goes_on("S").comes_back("SA").goes_back("SA")
    return line.goes_in("A", sequence=1).goes_on("A", sequence=1)


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return Evidence(Case(config_of(tmp_path, TEXT, "lb1"), FACTS))


def having(evidence: Evidence, **facts: object) -> Evidence:
    """With other facts."""
    return replace(evidence, case=Case(evidence.case.config, replace(FACTS, **facts)))  # type: ignore[arg-type]


def asked(manner: Manner, server: Endpoint, answer: Answer, interface: str = "eth1") -> Asked:
    tunnel = ipvs.TunnelType.IPIP if server == TUN and manner is Manner.VIRTUAL else None
    target = Endpoint(VIP, server.port) if manner is Manner.VIRTUAL else server
    source = FRONT if manner is Manner.FAR else OWN
    return Asked(Question(manner, "s", server, target, source, tunnel), answer, interface)


def verdict(
    evidence: Evidence, line: Line, arp: Sequence[ArpSeen] = (), dropped: int = 0
) -> Verdict:
    walk = follow(SCENE, line.packets, arp)
    return judge(SCENE, walk, replace(evidence, dropped=dropped))


def test_every_packet_has_its_leg() -> None:
    walk = follow(SCENE, handshake().packets)

    assert walk is not None
    assert [step.leg for step in walk.steps] == [
        Leg.TO_DIRECTOR,
        Leg.TO_SERVER,
        Leg.FROM_SERVER,
        Leg.TO_CLIENT,
        Leg.TO_DIRECTOR,
        Leg.TO_SERVER,
    ]
    assert (walk.stage.name, walk.server) == ("web", SCENE.stages[0].servers[0])
    assert walk.acknowledged
    assert not walk.over


def test_the_first_connection_opened_is_followed_and_another_is_not() -> None:
    other = replace(CLIENT, port=50000)
    line = Line().add(other, WEB, "A", out=False).goes_in("S").add(other, WEB, "S", out=False)

    walk = follow(SCENE, line.packets)

    assert walk is not None
    assert walk.client == CLIENT
    assert len(walk.steps) == 1


def test_what_is_for_no_service_is_not_followed() -> None:
    assert follow(SCENE, Line().goes_in("S", Endpoint(VIP, 9999)).packets) is None


@pytest.mark.parametrize(
    ("ends", "over"),
    [(["R"], True), (["FA"], False), (["FA", "back"], True)],
)
def test_a_connection_is_over_when_both_ends_or_a_reset_say_so(ends: list[str], over: bool) -> None:
    line = handshake()
    for each in ends:
        line = line.goes_back("FA") if each == "back" else line.goes_in(each, sequence=9)

    walk = follow(SCENE, line.packets)

    assert walk is not None
    assert walk.over is over


def test_a_connection_with_an_answer_is_fine() -> None:
    line = handshake().goes_in("PA", size=40, sequence=1).goes_on("PA", size=40, sequence=1)
    walk = follow(SCENE, line.comes_back("PA", size=41).goes_back("PA", size=41).packets)

    assert walk is not None
    assert is_fine(walk) == Verdict(
        Hop.NOWHERE,
        f"web: {CLIENT} by way of {WEB} to {NAT}: connected, 40 bytes went there and 41 back",
    )


def test_a_connection_around_the_director_is_fine_when_the_client_goes_on() -> None:
    line = Line().goes_in("S", DIRECT).goes_on("S", DIRECT, mac_to=MAC).goes_in("A", DIRECT)

    walk = follow(SCENE, line.packets)

    assert walk is not None
    assert is_fine(walk) is not None
    assert any("SYN ACK, not by this host" in line for line in ladder.draw(walk))


def test_the_ladder_shows_each_leg_with_its_addresses() -> None:
    walk = follow(SCENE, syn().goes_on("S", mac_to=MAC).comes_back("RA").packets)

    assert walk is not None
    assert ladder.draw(walk) == [
        "    seconds  client           director             server",
        "     0.0000    |------ SYN ------>|                  |    eth1  "
        "192.0.2.100:40000 > 192.0.2.10:80",
        "     0.1000    |--- SYN again --->|                  |    eth1  "
        "192.0.2.100:40000 > 192.0.2.10:80",
        "     0.2000    |                  |------ SYN ------>|    eth1  "
        f"192.0.2.100:40000 > 10.0.1.11:8080  to {MAC}",
        "     0.3000    |                  |<---- RST ACK ----|    eth1  "
        "10.0.1.11:8080 > 192.0.2.100:40000",
    ]


def test_a_long_ladder_keeps_its_ends() -> None:
    line = Line()
    for number in range(200):
        line.goes_in("A" if number else "S", sequence=number)
    walk = follow(SCENE, line.packets)

    assert walk is not None
    drawn = ladder.draw(walk)
    assert len(drawn) == 61
    assert drawn[30] == "  ... 141 more ..."


# --- Where packets stop ---------------------------------------------------------------------------


def test_nothing_comes_to_a_node_that_is_not_master(evidence: Evidence) -> None:
    standby = having(evidence, addresses=(LocalAddress("eth0", FRONT, 24),))

    found = judge(SCENE, None, standby)

    assert (found.hop, "not master" in found.what) == (Hop.CLIENT_TO_DIRECTOR, True)


def test_nothing_comes_where_a_server_answers_arp(evidence: Evidence) -> None:
    arp = (ArpAnswer("eth0", DR.address, MAC), ArpAnswer("eth0", VIP, MAC))

    found = judge(SCENE, None, having(evidence, arp=arp))

    assert found.hop is Hop.CLIENT_TO_DIRECTOR
    assert f"the real server {DR.address} ({MAC}) answers ARP" in found.what


def test_nothing_comes_for_a_reason_unknown_here(evidence: Evidence) -> None:
    assert judge(SCENE, None, evidence).hop is Hop.CLIENT_TO_DIRECTOR


DIRECTOR_CASES: list[tuple[str, Line, dict[str, object], int]] = [
    ("no service", syn().goes_back("RA"), {"table": {}}, 0),
    ("no service", syn(), {"table": {}}, 0),
    ("weight 0", syn().is_refused(Trouble.PORT, VIP, out=True), {}, 0),
    ("rp_filter", syn(), {}, 2),
    ("a filter of this host drops", syn(), {}, 0),
    ("tcp-reset", syn().goes_back("RA"), {}, 0),
]


@pytest.mark.parametrize(("word", "line", "facts", "dropped"), DIRECTOR_CASES)
def test_it_stops_in_the_director_before_a_server_is_chosen(
    evidence: Evidence, word: str, line: Line, facts: dict[str, object], dropped: int
) -> None:
    found = verdict(having(evidence, **facts), line, dropped=dropped)

    assert found.hop is Hop.DIRECTOR
    assert word in found.cause


ASKED_FOR_MAC = [ArpSeen(0.1 * n, "eth1", True, False, NAT.address, OWN, MAC) for n in range(3)]


def test_a_server_nobody_answers_for_is_unplugged_or_down(evidence: Evidence) -> None:
    for line in (syn(), syn().goes_on("S")):
        found = verdict(evidence, line, ASKED_FOR_MAC)
        assert found.hop is Hop.DIRECTOR_TO_SERVER
        assert "MAC address of 10.0.1.11" in found.what
    answer = ArpSeen(1.0, "eth1", False, True, NAT.address, NAT.address, MAC)
    assert verdict(evidence, syn(), [*ASKED_FOR_MAC, answer]).hop is Hop.DIRECTOR


@pytest.mark.parametrize(
    ("asked_now", "hop", "word"),
    [
        ([Answer.NOTHING], Hop.SERVER, "drops"),
        ([Answer.REFUSED], Hop.SERVER, "listens"),
        ([Answer.OPEN, Answer.NOTHING], Hop.SERVER_TO_DIRECTOR, "through the director"),
        ([Answer.OPEN, Answer.OPEN], Hop.SERVER_TO_DIRECTOR, "more special"),
    ],
)
def test_where_no_answer_comes_by_nat_the_server_is_asked(
    evidence: Evidence, asked_now: list[Answer], hop: Hop, word: str
) -> None:
    manners = (Manner.PLAIN, Manner.FAR)
    told = tuple(asked(m, NAT, a) for m, a in zip(manners, asked_now, strict=False))

    found = verdict(having(evidence, asked=told), syn().goes_on("S"))

    assert found.hop is hop
    assert word in found.cause


def test_a_reset_of_the_server_means_that_nobody_listens(evidence: Evidence) -> None:
    line = syn().goes_on("S").comes_back("RA").goes_back("RA")

    found = verdict(evidence, line)

    assert (found.hop, found.what) == (Hop.SERVER, f"{NAT} refuses the connection")


@pytest.mark.parametrize(
    ("sysctls", "dropped", "word"),
    [
        ({"net.ipv4.ip_forward": "0"}, 0, "ip_forward"),
        ({"net.ipv4.ip_forward": "1"}, 3, "rp_filter"),
        ({"net.ipv4.ip_forward": "1"}, 0, "FORWARD"),
    ],
)
def test_an_answer_that_goes_no_further_stops_in_the_director(
    evidence: Evidence, sysctls: dict[str, str], dropped: int, word: str
) -> None:
    line = syn().goes_on("S").comes_back("SA")

    found = verdict(having(evidence, sysctls=sysctls), line, dropped=dropped)

    assert found.hop is Hop.DIRECTOR
    assert word in found.cause


def test_an_answer_forwarded_unchanged_is_one_ipvs_does_not_know(evidence: Evidence) -> None:
    line = syn().goes_on("S").comes_back("SA").goes_back("SA", of=NAT)

    found = verdict(evidence, line)

    assert (found.hop, "does not know" in found.cause) == (Hop.DIRECTOR, True)


def test_a_client_that_does_not_go_on_did_not_get_the_answer(evidence: Evidence) -> None:
    line = syn().goes_on("S").comes_back("SA").goes_back("SA").goes_in("S")

    assert verdict(evidence, line).hop is Hop.DIRECTOR_TO_CLIENT


def test_a_request_without_an_answer_stops_at_the_server(evidence: Evidence) -> None:
    line = handshake().goes_in("PA", size=40, sequence=1).goes_on("PA", size=40, sequence=1)

    found = verdict(evidence, line.comes_back("A").goes_back("A"))

    assert (found.hop, "does not answer" in found.cause) == (Hop.SERVER, True)


def through_tunnel(line: Line, flags: str, **more: object) -> Line:
    outer = Outer(ipvs.TunnelType.IPIP, FRONT, TUN.address)
    return line.goes_in(flags, TUNNEL, **more).goes_on(flags, TUNNEL, outer=outer, **more)


AROUND_CASES = [
    ([Answer.OPEN, Answer.NOTHING], Hop.SERVER, "virtual address (on lo)"),
    ([Answer.OPEN, Answer.REFUSED], Hop.SERVER, "listens"),
    ([Answer.OPEN, Answer.OPEN], Hop.SERVER_TO_CLIENT, "own way"),
    ([Answer.NOTHING, Answer.NOTHING], Hop.SERVER, "drops"),
]


@pytest.mark.parametrize(("answers", "hop", "word"), AROUND_CASES)
@pytest.mark.parametrize("server", [DR, TUN])
def test_where_answers_go_around_the_server_is_asked(
    evidence: Evidence, server: Endpoint, answers: list[Answer], hop: Hop, word: str
) -> None:
    manners = (Manner.PLAIN, Manner.VIRTUAL)
    told = tuple(asked(m, server, a) for m, a in zip(manners, answers, strict=True))
    line = Line().goes_in("S", DIRECT).goes_on("S", DIRECT, mac_to=MAC).goes_in("S", DIRECT)
    if server == TUN:
        line = through_tunnel(Line(), "S")

    found = verdict(having(evidence, asked=told), line)

    assert found.hop is hop
    assert word in found.cause


def test_an_error_about_a_wrapped_packet_is_a_missing_tunnel_device(evidence: Evidence) -> None:
    outer = Outer(ipvs.TunnelType.IPIP, FRONT, TUN.address)
    icmp = Icmp(Trouble.PORT, TUN.address, FRONT)
    line = through_tunnel(Line(), "S").add(CLIENT, TUNNEL, "", out=False, icmp=icmp, outer=outer)

    found = verdict(evidence, line)

    assert (found.hop, "tunnel device" in found.cause) == (Hop.SERVER, True)


def test_large_segments_sent_again_are_too_large_for_the_tunnel(evidence: Evidence) -> None:
    line = through_tunnel(Line(), "S").goes_in("A", TUNNEL, sequence=1)
    for _ in range(3):
        line.goes_in("A", TUNNEL, sequence=1, size=1460)

    found = verdict(evidence, line)

    assert (found.hop, "too large" in found.cause) == (Hop.DIRECTOR_TO_SERVER, True)


def test_datagrams_that_pass_are_fine_and_refused_ones_are_not() -> None:
    stage = replace(SCENE.stages[0], protocol=17)
    scene = Scene(CLIENT.address, (stage,))
    line = [replace(p, protocol=17, flags="") for p in Line().goes_in("").goes_on("").packets]
    back = Line().comes_back("").goes_back("").packets
    answered = [*line, *(replace(p, protocol=17) for p in back)]

    passing, waiting = follow(scene, answered), follow(scene, line)

    assert passing is not None
    assert waiting is not None
    assert is_fine(passing) is not None
    assert is_fine(waiting) is None
