"""Doctor's checks over hand-made facts: each fault is found, and its healthy twin is not."""

from dataclasses import replace
from pathlib import Path

import pytest

from hadirector.core import ipvs
from hadirector.core.address import Address, Endpoint
from hadirector.core.doctor import wishes
from hadirector.core.doctor.case import Case
from hadirector.core.doctor.examine import CHECKS, examine
from hadirector.core.doctor.facts import (
    AdvertSeen,
    Answer,
    ArpAnswer,
    Asked,
    Conntrack,
    Daemon,
    Facts,
    Group,
    Link,
    LocalAddress,
    Managed,
    Managers,
    Manner,
    Modules,
    OwnConnection,
    Passage,
    PeerFacts,
    Port,
    ProcessFacts,
    Program,
    Question,
)
from hadirector.core.doctor.facts import (
    Path as Way,
)
from hadirector.core.settings.cluster import Config
from tests.config.files import config_of

VIP = Address("192.0.2.10")
OWN, PEER = Address("10.0.1.1"), Address("10.0.1.2")
NAT, DR, TUN = Address("10.0.1.11"), Address("192.0.2.12"), Address("192.0.2.13")
OWN_MAC, SERVER_MAC, OTHER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:12", "02:00:00:00:00:99"

TEXT = f"""\
cluster: shop
nodes: {{lb1: {{priority: 150, address: {OWN}}}, lb2: {{priority: 100, address: {PEER}}}}}
vrrp:
  defaults: {{advert_int: 1s}}
  instances:
    front:
      interface: eth0
      virtual_router_id: 51
      virtual_addresses: [{VIP}/24, {{address: 10.0.1.254/24, interface: eth1}}]
connection_sync: {{interface: eth1, sync_id: 51}}
virtual_services:
  web: {{address: "{VIP}:80", real_servers: ["{NAT}:8080"]}}
  direct: {{address: "{VIP}:81", forward: dr, real_servers: ["{DR}:81"]}}
  tunnel: {{address: "{VIP}:82", forward: tun, real_servers: ["{TUN}:82"]}}
"""

PLAIN_NAT = Question(Manner.PLAIN, "web", Endpoint(NAT, 8080), Endpoint(NAT, 8080), OWN)
FAR = replace(PLAIN_NAT, manner=Manner.FAR, source=Address("192.0.2.1"))
PLAIN_DR = Question(
    Manner.PLAIN, "direct", Endpoint(DR, 81), Endpoint(DR, 81), Address("192.0.2.1")
)
VIRTUAL_DR = replace(PLAIN_DR, manner=Manner.VIRTUAL, target=Endpoint(VIP, 81))
PLAIN_TUN = replace(PLAIN_DR, service="tunnel", server=Endpoint(TUN, 82), target=Endpoint(TUN, 82))
VIRTUAL_TUN = replace(
    PLAIN_TUN, manner=Manner.VIRTUAL, target=Endpoint(VIP, 82), tunnel=ipvs.TunnelType.IPIP
)
ASKED = (
    Asked(PLAIN_NAT, Answer.OPEN, "eth1", SERVER_MAC, 1460),
    Asked(FAR, Answer.OPEN, "eth1", SERVER_MAC, 1460),
    Asked(PLAIN_DR, Answer.OPEN, "eth0", SERVER_MAC, 1460),
    Asked(VIRTUAL_DR, Answer.OPEN, "eth0", SERVER_MAC, 1460),
    Asked(PLAIN_TUN, Answer.OPEN, "eth0", SERVER_MAC, 1440),
    Asked(VIRTUAL_TUN, Answer.OPEN, "eth0", SERVER_MAC, 1440),
)
OURS = AdvertSeen("eth0", True, Address("192.0.2.1"), OWN_MAC, 51, 150, (VIP,))
THEIRS = AdvertSeen("eth0", False, Address("192.0.2.2"), OTHER_MAC, 51, 100, (VIP,), reached=True)
HEALTHY = Facts(
    sysctls={
        "net.ipv4.ip_forward": "1",
        "net.ipv4.vs.backup_only": "0",
        "net.core.rmem_max": "8388608",
        "net.ipv4.conf.all.rp_filter": "1",
        "net.ipv4.conf.eth0.rp_filter": "0",
        "net.ipv4.conf.all.send_redirects": "0",
        "net.ipv4.conf.eth0.send_redirects": "0",
    },
    links={"eth0": Link("eth0", OWN_MAC, 1500, True), "eth1": Link("eth1", OWN_MAC, 1500, True)},
    addresses=(
        LocalAddress("eth0", Address("192.0.2.1"), 24),
        LocalAddress("eth0", VIP, 32),
        LocalAddress("eth1", OWN, 24),
        LocalAddress("eth1", Address("10.0.1.254"), 32),
    ),
    paths={
        NAT: Way("eth1", None, OWN, 1500),
        DR: Way("eth0", None, Address("192.0.2.1"), 1500),
        TUN: Way("eth0", None, Address("192.0.2.1"), 1500),
    },
    beyond={4: Way("eth0", Address("192.0.2.254"), Address("192.0.2.1"), 1500)},
    modules=Modules(frozenset({"ip_vs"}), frozenset({"ip_vs_wlc"})),
    arp=(ArpAnswer("eth0", DR, SERVER_MAC), ArpAnswer("eth1", PEER, OTHER_MAC)),
    asked=ASKED,
    adverts=(OURS,),
    passage=Passage.PASSED,
    daemon=Daemon(
        states={"front/ipv4": "master"},
        masters={"front/ipv4": Address("192.0.2.1")},
        peers={"lb2": PeerFacts(True, {"front/ipv4": "backup"})},
        processes=(ProcessFacts("election", 7, None, True, True),),
    ),
    conntrack=Conntrack(10, 65536),
)
STANDBY = replace(
    HEALTHY,
    addresses=tuple(a for a in HEALTHY.addresses if a.prefix != 32),
    adverts=(THEIRS,),
    daemon=replace(
        HEALTHY.daemon or Daemon(),
        states={"front/ipv4": "backup"},
        masters={"front/ipv4": Address("192.0.2.2")},
    ),
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return config_of(tmp_path, TEXT)


def found(config: Config, facts: Facts) -> list[tuple[str, str]]:
    """Code and subject of each finding."""
    return [(f.code, f.subject) for f in examine(config, facts).findings]


@pytest.mark.parametrize("facts", [HEALTHY, STANDBY], ids=["master", "standby"])
def test_nothing_is_found_where_all_is_well(config: Config, facts: Facts) -> None:
    assert found(config, facts) == []


def sysctl(name: str, value: str) -> Facts:
    return replace(HEALTHY, sysctls={**HEALTHY.sysctls, name: value})


def test_an_address_by_hand_makes_no_master_and_is_found(config: Config) -> None:
    facts = replace(STANDBY, addresses=HEALTHY.addresses[:3])

    assert found(config, facts) == [("address-by-hand", "front/192.0.2.10")]
    assert not Case(config, facts).is_master()  # who is not asks no server for the way back


def test_of_two_masters_neither_is_the_one_whose_servers_are_judged(config: Config) -> None:
    both = daemon(peers={"lb2": PeerFacts(True, {"front/ipv4": "master"})})
    silent = daemon(peers={"lb2": PeerFacts(False, {"front/ipv4": "master"})})

    assert not Case(config, both).is_master()
    assert Case(config, silent).is_master()
    assert Case(config, HEALTHY).is_master()
    assert Case(config, replace(HEALTHY, daemon=None)).is_master()


def test_an_interface_that_is_not_there_is_the_one_finding_about_it(config: Config) -> None:
    facts = replace(HEALTHY, links={"eth1": HEALTHY.links["eth1"]})

    assert found(config, facts) == [("interface-missing", "eth0")]
    (one,) = examine(config, facts).findings
    assert one.what == (
        "front, front (192.0.2.10) needs the interface eth0, and this host has none of this name: "
        "here are eth1"
    )


def answered(question: Question, answer: Answer, interface: str = "eth0", mss: int = 1440) -> Facts:
    """The healthy facts but for this answer."""
    one = Asked(question, answer, interface, OTHER_MAC, mss)
    return replace(
        HEALTHY, asked=tuple(one if a.question == question else a for a in HEALTHY.asked)
    )


def way(where: Address, path: Way | None) -> Facts:
    return replace(HEALTHY, paths={**HEALTHY.paths, where: path})


def table(scheduler: str, port: int, *servers: tuple[Address, int, int]) -> ipvs.Table:
    """A service of somebody else; servers are address, port and weight."""
    key = ipvs.ServiceKey(4, 6, VIP, port)
    destinations = {
        Endpoint(where, at): ipvs.Destination(Endpoint(where, at), ipvs.Forward.DR, weight)
        for where, at, weight in servers
    }
    return {key: ipvs.Entry(ipvs.Service(key, scheduler), destinations)}


def daemon(**changes: object) -> Facts:
    return replace(HEALTHY, daemon=replace(HEALTHY.daemon or Daemon(), **changes))  # type: ignore[arg-type]  # names are checked at run time


FAULTS: list[tuple[Facts, str, str]] = [
    (sysctl("net.ipv4.ip_forward", "0"), "ip-forward", "net.ipv4.ip_forward"),
    (sysctl("net.ipv4.vs.backup_only", "1"), "backup-only", "net.ipv4.vs.backup_only"),
    (sysctl("net.core.rmem_max", "212992"), "rmem-max", "net.core.rmem_max"),
    (
        replace(HEALTHY, beyond={4: Way("eth1", OWN, OWN, 1500)}),
        "rp-filter",
        "eth0",
    ),
    (way(NAT, None), "no-route", NAT),
    (way(DR, Way("eth0", Address("192.0.2.254"), OWN, 1500)), "dr-off-link", f"direct/{DR}:81"),
    (
        replace(HEALTHY, table=table("rr", 90, (DR, 91, 1))),
        "dr-port",
        f"tcp {VIP}:90 -> {DR}:91",
    ),
    (
        replace(HEALTHY, table=table("mh", 91, (DR, 91, 0), (TUN, 91, 1))),
        "hash-weight-zero",
        f"tcp {VIP}:91",
    ),
    (answered(FAR, Answer.NOTHING), "return-route", f"web/{NAT}:8080"),
    (answered(FAR, Answer.OPEN, "eth0"), "return-route", f"web/{NAT}:8080"),
    (answered(VIRTUAL_DR, Answer.NOTHING), "server-deaf", f"direct/{DR}:81"),
    (answered(VIRTUAL_TUN, Answer.NOTHING), "server-deaf", f"tunnel/{TUN}:82"),
    (answered(VIRTUAL_DR, Answer.REFUSED), "server-listens-elsewhere", f"direct/{DR}:81"),
    (answered(VIRTUAL_TUN, Answer.OPEN, mss=1441), "tunnel-mtu", f"tunnel/{TUN}:82"),
    (
        replace(HEALTHY, arp=(*HEALTHY.arp, ArpAnswer("eth0", VIP, SERVER_MAC))),
        "arp-answered",
        f"{DR} for {VIP}",
    ),
    (
        replace(HEALTHY, arp=(*HEALTHY.arp, ArpAnswer("eth0", VIP, "02:00:00:00:00:77"))),
        "arp-answered",
        f"02:00:00:00:00:77 for {VIP}",
    ),
    (replace(HEALTHY, adverts=()), "vrrp-filtered", "front/ipv4 going out"),
    (
        replace(STANDBY, adverts=(replace(THEIRS, reached=False),)),
        "vrrp-filtered",
        "front from 192.0.2.2",
    ),
    (
        daemon(peers={"lb2": PeerFacts(True, {"front/ipv4": "master"})}),
        "vrrp-filtered",
        "front/ipv4 from lb2",
    ),
    (replace(HEALTHY, adverts=(OURS, THEIRS)), "two-masters", "front and 192.0.2.2"),
    (
        replace(HEALTHY, adverts=(OURS, replace(THEIRS, addresses=(DR,)))),
        "vrid-taken",
        "front and 192.0.2.2",
    ),
    (replace(HEALTHY, passage=Passage.LOST_IN), "sync-filtered", "224.0.0.81:8848"),
    (replace(HEALTHY, passage=Passage.LOST_OUT), "sync-filtered", "224.0.0.81:8848"),
    (
        daemon(peers={"lb2": PeerFacts(True, {"front/ipv4": "backup"}, sync_mtu=1400)}),
        "sync-mtu",
        "eth1 and lb2",
    ),
    (replace(HEALTHY, ports={"lb2": Port.CLOSED}), "peer-port", "lb2"),
    (replace(HEALTHY, ports={"lb2": Port.SILENT}), "peer-port", "lb2"),
    (replace(HEALTHY, ports={"lb2": Port.UNREACHABLE}), "peer-port", "lb2"),
    (
        replace(
            daemon(peers={"lb2": PeerFacts(False, {}, "lb2's signature is wrong")}),
            ports={"lb2": Port.SILENT},
        ),
        "peer-refused",
        "lb2",
    ),
    (replace(HEALTHY, programs=(Program(9, "keepalived"),)), "rival", "keepalived"),
    (
        replace(HEALTHY, managers=Managers((Managed("systemd-networkd", "eth0", False, "f"),))),
        "addresses-removed",
        "systemd-networkd on eth0",
    ),
    (
        replace(HEALTHY, managers=Managers((Managed("NetworkManager", "eth1", False, "f"),))),
        "addresses-removed",
        "NetworkManager on eth1",
    ),
    (
        daemon(processes=(ProcessFacts("election", 7, 65536, False, True),)),
        "memory-not-locked",
        "election",
    ),
    (
        daemon(processes=(ProcessFacts("election", 7, None, True, False),)),
        "not-realtime",
        "election",
    ),
    (replace(HEALTHY, conntrack=Conntrack(59000, 65536)), "conntrack-full", "nf_conntrack"),
    (
        replace(STANDBY, own_connections=(OwnConnection(OWN, Endpoint(VIP, 80)),)),
        "own-requests",
        f"{VIP}:80",
    ),
    (
        replace(HEALTHY, modules=Modules(frozenset(), frozenset({"ip_vs", "ip_vs_wlc"}))),
        "module-missing",
        "ip_vs",
    ),
    (
        replace(HEALTHY, modules=Modules(frozenset({"ip_vs"}))),
        "module-missing",
        "ip_vs_wlc",
    ),
]


@pytest.mark.parametrize(("facts", "code", "subject"), FAULTS, ids=lambda v: str(v)[:40])
def test_a_fault_is_found_and_nothing_else(
    config: Config, facts: Facts, code: str, subject: str
) -> None:
    assert found(config, facts) == [(code, subject)]


def test_every_finding_has_a_reason_a_fix_and_how_to_look_again(config: Config) -> None:
    for facts, _, _ in FAULTS:
        for finding in examine(config, facts).findings:
            assert all((finding.what, finding.why, finding.fix, finding.again)), finding


@pytest.mark.parametrize(
    ("before", "after", "codes"),
    [
        ("192.0.2.10/24,", "192.0.2.10/24, 172.16.5.5/32,", ["address-outside"]),
        ("192.0.2.10/24,", "192.0.2.10/24, 10.0.1.77/24,", ["address-outside"]),
        ("192.0.2.10/24,", "192.0.2.10/24, 172.16.5.5/24,", []),
        (f'"{VIP}:81"', '"192.0.2.99:81"', ["address-of-nobody"]),
        (f'"{DR}:81"', f'"{PEER}:81"', ["director-is-server"]),
        (f'"{NAT}:8080"', f'"{DR}:8080"', []),
        ('80", real', '80", scheduler: sh, real', ["hash-weight-zero", "module-missing"]),
        (
            '80", real',
            '80", scheduler: sh, scheduler_flags: [sh-fallback], real',
            ["module-missing"],
        ),
    ],
)
def test_faults_of_a_configuration_are_found(
    tmp_path: Path, before: str, after: str, codes: list[str]
) -> None:
    assert before in TEXT
    config = config_of(tmp_path, TEXT.replace(before, after))

    assert [finding.code for finding in examine(config, HEALTHY).findings] == codes


@pytest.mark.parametrize(
    ("virtual", "prefix"), [("172.16.5.5/32", "172.16.5.5/24"), ("fd00:5::5/128", "fd00:5::5/64")]
)
def test_an_address_outside_every_network_gets_a_line_for_the_configuration(
    tmp_path: Path, virtual: str, prefix: str
) -> None:
    config = config_of(tmp_path, TEXT.replace(f"{VIP}/24,", f"{VIP}/24, {virtual},"))

    (finding,) = examine(config, HEALTHY).findings

    assert finding.fix[1] == f"or in {config.path}, with the prefix of its network: {prefix}"


def test_redirects_matter_only_where_clients_and_servers_share_a_network(tmp_path: Path) -> None:
    one_armed = config_of(tmp_path, TEXT.replace(f'"{NAT}:8080"', f'"{DR}:8080"'))
    two_armed = config_of(tmp_path, TEXT)
    facts = sysctl("net.ipv4.conf.all.send_redirects", "1")

    assert [code for code, _ in found(one_armed, facts)] == ["redirects"]
    assert found(two_armed, facts) == []


@pytest.mark.parametrize(("behind", "codes"), [(1.0, []), (3.0, ["clocks-apart"])])
def test_clocks_are_compared_where_adverts_are_signed(
    tmp_path: Path, behind: float, codes: list[str]
) -> None:
    text = TEXT.replace("cluster: shop", "cluster: shop\nkey_file: /run/key")
    config = config_of(
        tmp_path, text.replace("    front:", "    front:\n      authentication: hmac")
    )
    facts = replace(STANDBY, adverts=(replace(THEIRS, behind=behind),))

    assert [code for code, _ in found(config, facts)] == codes


@pytest.mark.parametrize(
    ("why", "fix"),
    [("... without CAP_BPF, which the unit may be given", "CAP_BPF"), ("... (x)", "sch_ingress")],
)
def test_an_unguarded_private_interface_is_found_where_records_are_sealed(
    tmp_path: Path, why: str, fix: str
) -> None:
    text = TEXT.replace("cluster: shop", "cluster: shop\nkey_file: /run/key")
    sealed = text.replace("sync_id: 51}", "sync_id: 51, transport: authenticated}")
    facts = daemon(unguarded=why)

    (one,) = examine(config_of(tmp_path, sealed), facts).findings

    assert (one.code, one.what) == ("sync-unguarded", why)
    assert fix in one.fix[0]
    assert found(config_of(tmp_path, text), facts) == []


def test_the_standby_is_not_asked_for_the_way_back_of_servers(config: Config) -> None:
    facts = replace(STANDBY, asked=tuple(a for a in ASKED if a.question != FAR))

    report = examine(config, facts)

    assert report.findings == ()
    assert [each.reason for each in report.not_checked] == [
        "this node is not master: their way back leads to the one that is"
    ]


INSIDE = """\
    inside:
      interface: eth1
      virtual_router_id: 52
      virtual_addresses: [10.0.1.254/24]
      vmac: true
"""


def answered_by(config: Config, interface: str) -> list[tuple[str, str]]:
    """What is found when the answer to clients comes in there."""
    asked = tuple(
        replace(one, interface=interface) if one.question.manner is Manner.FAR else one
        for one in HEALTHY.asked
    )
    return found(config, replace(HEALTHY, asked=asked))


def test_beside_a_virtual_mac_a_servers_gateway_shows_whether_it_is_virtual(
    tmp_path: Path,
) -> None:
    text = TEXT.replace(", {address: 10.0.1.254/24, interface: eth1}", "")
    config = config_of(tmp_path, text.replace("connection_sync", INSIDE + "connection_sync"))
    server = f"web/{NAT}:8080"

    assert answered_by(config, "vrrp.52") == []
    assert answered_by(config, "eth1") == [("gateway-not-virtual", server)]
    assert answered_by(config, "eth0") == [("return-route", server)]


def test_a_virtual_mac_that_no_servers_gateway_has_changes_nothing(tmp_path: Path) -> None:
    outside = INSIDE.replace("10.0.1.254/24", "10.7.0.254/24")
    config = config_of(tmp_path, TEXT.replace("connection_sync", outside + "connection_sync"))

    assert ("gateway-not-virtual", f"web/{NAT}:8080") not in answered_by(config, "eth1")
    assert ("return-route", f"web/{NAT}:8080") in answered_by(config, "vrrp.52")


def test_what_could_not_be_found_out_is_told_and_not_taken_for_healthy(config: Config) -> None:
    unknown = dict.fromkeys(Group, "not permitted")

    report = examine(config, Facts(unknown=unknown))

    assert report.findings == ()
    assert report.checked == ()
    # What this configuration does not have: signed adverts, and sealed records.
    absent = {"clocks agree, for signed adverts", "sealed records are guarded on this host"}
    titles = [check.title for check in CHECKS if check.title not in absent]
    assert [each.check for each in report.not_checked] == titles


def test_servers_are_asked_as_their_forwarding_method_has_it(config: Config) -> None:
    questions = wishes.questions(Case(config, HEALTHY))

    assert set(questions) == {PLAIN_NAT, FAR, PLAIN_DR, VIRTUAL_DR, PLAIN_TUN, VIRTUAL_TUN}


def test_virtual_addresses_servers_and_peers_are_asked_for_on_their_segment(config: Config) -> None:
    assert wishes.arp(Case(config, STANDBY)) == (
        ("eth0", VIP),
        ("eth1", Address("10.0.1.254")),
        ("eth0", DR),
        ("eth0", TUN),
        ("eth1", PEER),
        ("eth0", Address("192.0.2.2")),
    )


def not_checked(config: Config, facts: Facts) -> list[str]:
    """The reasons."""
    return [each.reason for each in examine(config, facts).not_checked]


def test_servers_that_were_too_many_to_ask_are_told(config: Config) -> None:
    assert not_checked(config, replace(HEALTHY, left_out=94)) == [
        "94 of 100 questions were left out: the same holds for most, as a rule"
    ]


def test_a_server_that_could_not_be_asked_for_the_virtual_address_is_told(config: Config) -> None:
    facts = replace(HEALTHY, asked=tuple(a for a in ASKED if a.question != VIRTUAL_DR))

    assert not_checked(config, facts) == [
        f"{DR}:81: no MAC address of it is known, or no way there"
    ]


def test_a_server_that_says_nothing_at_all_is_left_to_its_checks(config: Config) -> None:
    silent = tuple(replace(a, answer=Answer.NOTHING) for a in ASKED)

    assert found(config, replace(HEALTHY, asked=silent)) == []
    assert len(not_checked(config, replace(HEALTHY, asked=silent))) == 3
