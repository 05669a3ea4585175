"""Doctor's checks over hand-made facts: each fault is found, and its healthy twin is not."""

from dataclasses import replace
from pathlib import Path

import pytest

from hadirector.core import ipvs
from hadirector.core.address import Address, Endpoint
from hadirector.core.doctor.case import Case
from hadirector.core.doctor.examine import examine
from hadirector.core.doctor.facts import (
    Answer,
    ArpAnswer,
    Asked,
    Conntrack,
    Daemon,
    Facts,
    Managed,
    Managers,
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
from tests.core.clinic import (
    DR,
    FAR,
    HEALTHY,
    NAT,
    OTHER_MAC,
    OURS,
    OWN,
    PEER,
    SERVER_MAC,
    STANDBY,
    TEXT,
    THEIRS,
    TUN,
    VIP,
    VIRTUAL_DR,
    VIRTUAL_TUN,
    found,
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return config_of(tmp_path, TEXT)


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
