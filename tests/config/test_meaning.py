"""What lawful values mean: durations, address forms, per-node values, checks, forwarding."""

from pathlib import Path

import pytest

from hadirector.config.problem import Place, Wrong
from hadirector.config.scalars import boolean, duration
from hadirector.config.tree import Scalar
from hadirector.core.address import Address, Endpoint
from hadirector.core.duration import spell
from hadirector.core.ipvs import Forward, Protocol, ServiceFlags, ServiceKey, TunnelType
from hadirector.core.settings.checks import CheckRule, CheckType, Combine, StatusRange
from hadirector.core.settings.cluster import LeaseMode, VipLease
from hadirector.core.settings.instances import (
    Tracked,
    TrackedFile,
    VirtualAddress,
    VirtualRoute,
    VirtualRule,
)
from hadirector.core.settings.services import Tunnel
from tests.config.files import config_of

HERE = Place("main.yaml", 1, 1)


def service(address: str, rest: str = "real_servers: [10.0.1.11:80]") -> str:
    return (
        "checks: {a: {type: tcp, port: 7}, b: {type: tcp, port: 8}}\n"
        f"virtual_services: {{web: {{check: {{all: [a, b]}}, address: {address}, {rest}}}}}\n"
    )


def instance(rest: str) -> str:
    return (
        "nodes: {lb1: {address: 198.51.100.1, priority: 150}, lb2: {address: 198.51.100.2}}\n"
        "vrrp: {instances: {front: {interface: {lb1: eth0, lb2: ens3}, virtual_router_id: 51, "
        "virtual_addresses: [192.0.2.10/24, {address: 10.0.9.1/24, interface: eth1}], "
        f"{rest}}}}}}}"
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("0", 0.0), ("1", 1.0), ("0.5", 0.5), ("500ms", 0.5), ("1s", 1.0), ("1.5s", 1.5)),
        *(("5m", 300.0), ("1h", 3600.0), ("700ms", 0.7)),
    ],
)
def test_a_duration_is_seconds_or_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert duration(0)(Scalar(HERE, text, quoted=False)) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "s", "1 s", "01s", "+1", "-1", "1d", "1S", "1e3", ".5", "1_0", "inf", "1:00", "\u0661"],
)
def test_nothing_else_is_a_duration(text: str) -> None:
    with pytest.raises(Wrong):
        duration(0)(Scalar(HERE, text, quoted=True))


@pytest.mark.parametrize("text", ["on", "off", "yes", "no", "True", "TRUE", "1", "0", "y"])
def test_only_true_and_false_are_booleans(text: str) -> None:
    with pytest.raises(Wrong):
        boolean(Scalar(HERE, text, quoted=False))
    with pytest.raises(Wrong):
        boolean(Scalar(HERE, "true", quoted=True))
    assert boolean(Scalar(HERE, "true", quoted=False)) is True


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0s"), (0.015, "15ms"), (40.95, "40.95s"), (60, "1m"), (7200, "2h")]
)
def test_a_duration_is_spelt_as_a_person_would(seconds: float, text: str) -> None:
    assert spell(seconds) == text


@pytest.mark.parametrize(
    ("address", "endpoints"),
    [
        ("192.0.2.10:80", ["192.0.2.10:80"]),
        ("[192.0.2.10:80, 192.0.2.20:81]", ["192.0.2.10:80", "192.0.2.20:81"]),
        ("192.0.2.9-11:80", ["192.0.2.9:80", "192.0.2.10:80", "192.0.2.11:80"]),
        ("192.0.2.10:8000-8002", ["192.0.2.10:8000", "192.0.2.10:8001", "192.0.2.10:8002"]),
        (
            "192.0.2.10-11:80-81",
            ["192.0.2.10:80", "192.0.2.10:81", "192.0.2.11:80", "192.0.2.11:81"],
        ),
    ],
)
def test_ranges_and_lists_are_written_out(
    tmp_path: Path, address: str, endpoints: list[str]
) -> None:
    web = config_of(tmp_path, service(address)).services[0]

    assert [str(Endpoint(key.address, key.port)) for key in web.keys] == endpoints
    assert {key.protocol for key in web.keys} == {Protocol.TCP}
    assert web.address == address.strip("[]")


def test_an_ipv6_range_counts_in_hexadecimal(tmp_path: Path) -> None:
    text = service('"[2001:DB8::9-b]:80"', 'real_servers: ["[2001:db8::1]:80"]')

    keys = config_of(tmp_path, text).services[0].keys

    assert [key.address for key in keys] == ["2001:db8::9", "2001:db8::a", "2001:db8::b"]
    assert {key.family for key in keys} == {6}


def test_a_fwmark_service_has_no_protocol_and_its_servers_no_port(tmp_path: Path) -> None:
    text = service("{fwmark: 7, family: ipv6}", 'real_servers: ["2001:db8::1"]')

    web = config_of(tmp_path, text).services[0]

    assert web.keys == (ServiceKey(6, 0, Address(""), 0, 7),)
    assert (web.protocol, web.address) == ("fwmark", "fwmark 7")
    assert web.real_servers[0].endpoint == Endpoint(Address("2001:db8::1"), 0)


def test_a_server_without_a_port_has_its_services(tmp_path: Path) -> None:
    text = service("192.0.2.10:443", "real_servers: [10.0.1.11], forward: dr")

    server = config_of(tmp_path, text).services[0].real_servers[0]

    assert (server.endpoint, server.forward) == (Endpoint(Address("10.0.1.11"), 443), Forward.DR)


def test_a_server_may_be_reached_in_its_own_way(tmp_path: Path) -> None:
    rest = (
        "forward: tun, tun: {type: gue, port: 6080}, real_servers: [10.0.1.11:80, "
        "{address: 10.0.1.12:80, forward: dr}, {address: 10.0.1.13:80, tun: {type: gre}}]"
    )

    servers = config_of(tmp_path, service("192.0.2.10:80", rest)).services[0].real_servers

    assert [(server.forward, server.tunnel) for server in servers] == [
        (Forward.TUN, Tunnel(TunnelType.GUE, 6080)),
        (Forward.DR, Tunnel()),
        (Forward.TUN, Tunnel(TunnelType.GRE, 0)),
    ]


def test_the_checksum_of_a_tunnel_is_in_ipvsadms_words(tmp_path: Path) -> None:
    rest = (
        "forward: tun, real_servers: [{address: 10.0.1.11:80, tun: {type: gre, checksum: csum}}, "
        "{address: 10.0.1.12:80, tun: {type: gue, port: 6080, checksum: remcsum}}]"
    )

    servers = config_of(tmp_path, service("192.0.2.10:80", rest)).services[0].real_servers

    assert [server.tunnel for server in servers] == [
        Tunnel(TunnelType.GRE, 0, 1),
        Tunnel(TunnelType.GUE, 6080, 2),
    ]
    assert servers[0].destination(1).tunnel_flags == 1


def test_settings_of_ipvs_are_chosen_or_left_to_the_operator(tmp_path: Path) -> None:
    text = "ipvs: {conntrack: 1, expire_nodest_conn: keep, conn_reuse_mode: 1, sloppy_tcp: keep}"

    assert config_of(tmp_path, text).ipvs == (
        ("expire_nodest_conn", None),
        ("sloppy_tcp", None),
        ("conntrack", "1"),
    )


def test_calls_of_sip_are_persistent_by_their_call_id(tmp_path: Path) -> None:
    rest = "real_servers: [10.0.1.11], protocol: udp, persistence: {timeout: 1m, engine: sip}"

    one = config_of(tmp_path, service("192.0.2.10:5060", rest)).services[0].services[0]

    assert (one.pe_name, one.timeout) == ("sip", 60)


def test_a_flag_without_a_name_is_for_any_scheduler(tmp_path: Path) -> None:
    rest = "real_servers: [10.0.1.11], scheduler: twos, scheduler_flags: [flag-2, flag-3]"

    one = config_of(tmp_path, service("192.0.2.10:80", rest)).services[0].services[0]

    assert one.flags == ServiceFlags.SCHED2 | ServiceFlags.SCHED3


def test_persistence_and_scheduler_flags_become_ipvs_flags(tmp_path: Path) -> None:
    rest = (
        "real_servers: [10.0.1.11:80], scheduler: mh, scheduler_flags: [mh-port, mh-fallback], "
        "persistence: {timeout: 1m, prefix: 24}"
    )

    one = config_of(tmp_path, service("192.0.2.10:80", rest)).services[0].services[0]

    assert one.flags == ServiceFlags.PERSISTENT | ServiceFlags.SCHED1 | ServiceFlags.SCHED2
    assert (one.scheduler, one.timeout, one.netmask) == ("mh", 60, 24)


@pytest.mark.parametrize(
    ("check", "rule"),
    [
        ("a", CheckRule(Combine.ALL, ("a",))),
        ("{all: [a, b]}", CheckRule(Combine.ALL, ("a", "b"))),
        ("{any: [a, b]}", CheckRule(Combine.ANY, ("a", "b"))),
        ("{at_least: 1, of: [a, b]}", CheckRule(Combine.AT_LEAST, ("a", "b"), 1)),
    ],
)
def test_checks_combine(tmp_path: Path, check: str, rule: CheckRule) -> None:
    text = service("192.0.2.10:80").replace("{all: [a, b]}", check)

    assert config_of(tmp_path, text).services[0].check == rule


def test_a_service_without_a_check_has_an_empty_rule(tmp_path: Path) -> None:
    text = "virtual_services: {web: {address: 192.0.2.10:80, real_servers: [10.0.1.1:80]}}"

    assert config_of(tmp_path, text).services[0].check == CheckRule(Combine.ALL, ())


def test_an_http_check_has_what_a_request_needs(tmp_path: Path) -> None:
    text = (
        "checks: {a: {type: http, port: 8, method: HEAD, headers: {X-Probe: lb}, "
        "status: [204, 301-302], interval: 100ms, timeout: 50ms}}"
    )

    check = config_of(tmp_path, text).checks[0]

    assert (check.port, check.method, check.headers) == (8, "HEAD", (("X-Probe", "lb"),))
    assert check.status == (StatusRange(204, 204), StatusRange(301, 302))
    assert check.fast_interval == 0.1  # never longer than the interval


OPTIONS_OF_LATER_TYPES = [
    "https, path: /, verify: true, ca_file: /etc/ca.pem",
    "tls, host: shop.example, warn_days: 30",
    "udp, send: ping, expect: pong",
    "dns, name: shop.example, record: AAAA, expect: '2001:db8::1'",
    "smtp, helo: lb.example, starttls: true",
    "expect, port: 25, expect: '^220'",
    "exec, command: [/usr/local/bin/check, --fast]",
    "ping",
    "agent, port: 7777",
    "external, max_age: 30s",
]


@pytest.mark.parametrize("options", OPTIONS_OF_LATER_TYPES)
def test_types_of_later_releases_are_accepted_with_their_options(
    tmp_path: Path, options: str
) -> None:
    check = config_of(tmp_path, f"checks: {{a: {{type: {options}}}}}").checks[0]

    assert check.type is CheckType(options.partition(",")[0])


def test_interface_and_priority_differ_from_node_to_node(tmp_path: Path) -> None:
    one = config_of(tmp_path, instance("priority: {lb1: 90}"), "lb1").instances[0]
    two = config_of(tmp_path, instance("priority: {lb1: 90}"), "lb2").instances[0]

    assert (one.interface, one.priority, one.peer_priorities) == ("eth0", 90, (100,))
    assert (two.interface, two.priority, two.peer_priorities) == ("ens3", 100, (90,))  # from nodes
    assert two.virtual_addresses == (
        VirtualAddress(Address("192.0.2.10"), 24, "ens3"),
        VirtualAddress(Address("10.0.9.1"), 24, "eth1"),
    )


def test_tracked_things_are_faults_or_deltas(tmp_path: Path) -> None:
    front = config_of(
        tmp_path,
        instance(
            "track_interfaces: {eth1: -20, eth2: fault}, track_processes: [named], "
            "track_files: {/run/weight: -2}, startup_delay: 3s"
        ),
    ).instances[0]

    assert front.track_interfaces == (Tracked("eth1", -20), Tracked("eth2", None))
    assert front.track_processes == (Tracked("named", None),)
    assert front.track_files == (TrackedFile("/run/weight", -2),)
    assert front.startup_delay == 3.0


def test_routes_and_rules_are_as_ip_route_has_them(tmp_path: Path) -> None:
    front = config_of(
        tmp_path,
        instance(
            "virtual_routes: [{to: 203.0.113.0/24, via: 192.0.2.1, interface: eth0, "
            "source: 192.0.2.10, table: main, metric: 10}, {to: default, via: 192.0.2.1}], "
            "virtual_rules: [{from: 192.0.2.10, table: 100, priority: 1000}]"
        ),
    ).instances[0]

    gateway = Address("192.0.2.1")
    assert front.virtual_routes == (
        VirtualRoute("203.0.113.0/24", gateway, "eth0", Address("192.0.2.10"), 254, 10),
        VirtualRoute("default", gateway, None, None, None, None),
    )
    assert front.virtual_rules == (VirtualRule("192.0.2.10/32", None, 100, 1000),)


@pytest.mark.parametrize(
    ("text", "lease"),
    [
        ("auto", VipLease(LeaseMode.AUTO)),
        ("off", VipLease(LeaseMode.OFF)),
        ("5s", VipLease(LeaseMode.SECONDS, 5.0)),
        ("5", VipLease(LeaseMode.SECONDS, 5.0)),
    ],
)
def test_the_lease_is_auto_off_or_whole_seconds(tmp_path: Path, text: str, lease: VipLease) -> None:
    assert config_of(tmp_path, f"vip_lease: {text}").vip_lease == lease


def test_a_file_without_nodes_is_for_this_host_alone(tmp_path: Path) -> None:
    config = config_of(tmp_path, "cluster: shop")

    assert (config.node, [node.name for node in config.nodes]) == ("lb1", ["lb1"])
    assert config.peers == ()


def test_the_control_socket_is_in_the_runtime_directory(tmp_path: Path) -> None:
    assert config_of(tmp_path, "runtime_dir: /run/x").api.socket == "/run/x/control.sock"


def test_aliases_and_merge_keys_stand_for_what_they_name(tmp_path: Path) -> None:
    text = "checks: {a: &a {type: tcp, rise: 3}, b: *a, c: {<<: *a, rise: 4}}"

    assert [check.rise for check in config_of(tmp_path, text).checks] == [3, 3, 4]
