"""Every mistake: its line, its column, what is wrong and the fix, word for word."""

from pathlib import Path

import pytest

from hadirector.config.load import load
from hadirector.config.problem import Problem
from tests.config.files import config_of, load_text, told

SERVICE = """\
checks: {port: {type: tcp}, page: {type: http, port: 80}}
virtual_services:
  web:
    check: {any: [port, page]}
"""
INSTANCE = """\
nodes: {lb1: {address: 198.51.100.1}, lb2: {address: 198.51.100.2, priority: 90}}
vrrp:
  instances:
    front:
"""
SEALED = """\
key_file: /k
nodes: {lb1: {address: 198.51.100.1}, lb2: {address: 198.51.100.2}}
connection_sync: {interface: eth1, transport: authenticated, """
A, B, C = "      interface: eth0\n", "      virtual_router_id: 51\n", "      virtual_addresses: "

TOP = [
    ("stat_dir: /x", "1:1 error: unknown key 'stat_dir' (did you mean 'state_dir'?)"),
    ("cluster: a\ncluster: b", "2:1 error: 'cluster' is given twice, first in line 1: keep one"),
    ("peer: {port: 010}", "1:14 error: peer.port: '010' is not a whole number: write 10, "
     "without leading zeros"),
    ('peer: {port: "10"}', '1:14 error: peer.port: "10" is not a whole number: remove the quotes'),
    ("peer: {port: 1_0}", "1:14 error: peer.port: '1_0' is not a whole number"),
    ("peer: {port: 10:22}", "1:14 error: peer.port: '10:22' is not a whole number"),
    ("peer: {port: 65536}", "1:14 error: peer.port: 65536 is out of range: 1 to 65535"),
    ("peer: 8849", "1:7 error: peer: needs keys of its own: {key: value}"),
    ("peer:", "1:1 error: peer: has no value: write one, or remove the key"),
    ("peer: {port: [1]}", "1:14 error: peer.port: needs one value, not a list"),
    ("timeouts: {tcp: 10:22}", "1:17 error: timeouts.tcp: '10:22' is not a duration: write "
     "seconds (0.5, 30) or a number with ms, s, m or h (500ms, 5m)"),
    ("timeouts: {udp: 1500ms}", "1:17 error: timeouts.udp: 1500ms is not whole seconds, which it "
     "must be here"),
    ("vip_lease: on", "1:12 error: vip_lease: 'on' is not a duration: write seconds (0.5, 30) or "
     "a number with ms, s, m or h (500ms, 5m); or write auto or off"),
    ("vip_lease: 1s", "1:12 error: vip_lease: 1s is out of range: 2s to 1h; or write auto or off"),
    ("state_dir: var", "1:12 error: state_dir: 'var' is not an absolute path: begin it with '/'"),
    ("api: {http: 127.0.0.1}", "1:13 error: api.http: '127.0.0.1' has no port: write 127.0.0.1:80"),
    (f"api: {{socket: /{'s' * 107}}}", f"1:15 error: api.socket: /{'s' * 107} is too long for a "
     "unix socket: at most 107 bytes"),
    ("cluster: !!str shop", "1:10 error: YAML tags are not used here: "
     "remove 'tag:yaml.org,2002:str'"),
    ("nodes: {lb1: {priority: 0}}", "1:25 error: nodes.lb1.priority: 0 is out of range: 1 to 255"),
    ("nodes: {lb1: {address: 10.0.0.1}, lb2: {address: 10.0.0.1}}", "1:50 error: nodes.lb2.address:"
     " 10.0.0.1 is the address of lb1 too: each node has its own"),
    ("scripts: {s: {command: /bin/true}}", "1:24 error: scripts.s.command: needs a list, no shell "
     "is used: [/usr/local/bin/program, argument]"),
    ("hooks: [{events: [mastr], command: [/n]}]", "1:19 error: hooks.events: 'mastr' is none of "
     "master, backup, fault, stopped, server_down, server_up, quorum_lost, quorum_gained (did you "
     "mean 'master'?)"),
    ("connection_sync: {interface: eth0, sync_id: 256}", "1:45 error: connection_sync.sync_id: 256 "
     "is out of range: 0 to 255"),
    ("connection_sync: {sync_id: 1}", "1:18 error: connection_sync: 'interface' is missing: add "
     "'interface: eth1'"),
    ("connection_sync: {interface: eth0, group: 10.0.0.1}", "1:43 error: connection_sync.group: "
     "10.0.0.1 is not a multicast group: take one such as 224.0.0.81"),
    ("connection_sync: {interface: eth0, unicast: {lb1: 10.0.2.1}}\n"
     "nodes: {lb1: {address: 10.0.0.1}}", "1:36 error: connection_sync.unicast: "
     "the kernels speak multicast only: write 'transport: authenticated', or remove it"),
    ("connection_sync: {interface: eth0, transport: authenticated}", "1:47 error: connection_sync."
     "transport: authenticated needs keys: add 'key_file: /etc/hadirector/cluster.key'"),
    (f"{SEALED}unicast: {{lb1: 10.0.2.1}}}}", "3:71 error: connection_sync.unicast: has none for "
     "lb2: add 'lb2: ADDRESS', its address on that interface"),
    (f"{SEALED}unicast: {{lb1: 10.0.2.1, lb2: fd00::2}}}}", "3:71 error: connection_sync.unicast: "
     "has IPv4 and IPv6: give every node one of the same family"),
    (f"{SEALED}unicast: {{lb1: 10.0.2.1, lb2: 10.0.2.1}}}}", "3:71 error: connection_sync.unicast: "
     "has an address twice: each node has its own"),
    ("checks: {c: {type: htp, body: x}}", "1:20 error: checks.c.type: 'htp' is none of tcp, http, "
     "https, tls, udp, dns, smtp, expect, exec, ping, agent, external (did you mean 'http'?)"),
    ("checks: {c: {type: tcp, path: /}}", "1:25 error: unknown key 'path' in checks.c: known here "
     "are as_client, connect, fall, fast_interval, held, interval, port, rise, source, timeout, "
     "type"),
    ("checks: {c: {type: http, held: yes}}", "1:32 error: checks.c.held: 'yes' is not true or "
     "false: write one of these, unquoted"),
    ("checks: {c: {type: http, status: [200-99]}}", "1:35 error: checks.c.status: '200-99' is no "
     "HTTP status: write 200 or 200-299"),
    ('checks: {c: {type: http, body: "("}}', "1:32 error: checks.c.body: is not a regular "
     "expression: missing ), unterminated subpattern at position 0"),
    ("checks: {c: {type: tcp, fast_interval: 2s}}", "1:40 error: checks.c.fast_interval: 2s is "
     "longer than interval, 1s: make it at most that"),
]  # fmt: skip

SYNTAX = [
    ("a: b: c", "1:5 error: not YAML: mapping values are not allowed in this context: indent the "
     "line like its neighbours, or quote a ': '"),
    ("a:\n\tb: 1", "2:1 error: not YAML: found character that cannot start any token (while "
     "scanning for the next token): indent with spaces, not tabs"),
    ("api: {http: [2001:db8::1]:80}", "1:26 error: not YAML: did not find expected ',' or '}' "
     '(while parsing a flow mapping): quote an IPv6 endpoint: "[2001:db8::10]:80"'),
    ("a: *b", "1:4 error: *b stands for nothing: there is no &b above it"),
    ("a: &b [*b]", "1:8 error: *b stands inside &b itself: write the value out"),
    ("--- {}\n--- {}", "2:1 error: a second document: remove the '---', one file is one"),
    ("- a", "1:1 error: a configuration is 'key: value' lines, not a list or word"),
    ("", "1:1 error: the file is empty: it needs settings"),
    ("# nothing", "1:1 error: the file is empty: it needs settings"),
    ("a: \x01", "1:4 error: not YAML: control characters are not allowed: remove it"),
    ("a: " + "[" * 40, "1:35 error: more than 32 levels deep: this is no configuration"),
    ("[a]: b", "1:1 error: a key must be a plain word, not a list or mapping"),
]  # fmt: skip

INSTANCES = [
    (A + B, "5:7 error: vrrp.instances.front: 'virtual_addresses' is missing: add "
     "'virtual_addresses: [192.0.2.10/24]'"),
    (B + C + "[192.0.2.10/24]", "5:7 error: vrrp.instances.front: 'interface' is missing: add "
     "'interface: eth0'"),
    (A + B + C + "[192.0.2.256/24]", "7:27 error: vrrp.instances.front.virtual_addresses: "
     "'192.0.2.256' is no address: write it as 192.0.2.10/24 or 2001:db8::10/64"),
    (A + B + C + "[192.0.2.10/33]", "7:27 error: vrrp.instances.front.virtual_addresses: "
     "'192.0.2.10/33': the prefix length is a number from 1 to 32"),
    (A + B + C + "[192.0.2.10/24, 192.0.2.10/32]", "7:42 error: "
     "vrrp.instances.front.virtual_addresses: 192.0.2.10 is in vrrp.instances.front, line 7, "
     "already: keep one"),
    (A + B + C + "[198.51.100.1/24]", "7:27 error: vrrp.instances.front.virtual_addresses: "
     "198.51.100.1 is node lb1's own address: take one that is nobody's"),
    (A + B + C + "[192.0.2.10/24]\n      excluded_addresses: ['2001:db8::1/64']", "7:26 error: "
     "vrrp.instances.front.virtual_addresses: has no IPv6 address to go with those in "
     "excluded_addresses: move one here"),
    (A + B + C + f"[{', '.join(f'10.0.{n // 200}.{n % 200}/24' for n in range(256))}]", "7:26 "
     "error: vrrp.instances.front.virtual_addresses: 256 IPv4 addresses do not fit an advert: at "
     "most 255; move the others to excluded_addresses"),
    (A + B + C + "[192.0.2.10]", "7:27 warning: vrrp.instances.front.virtual_addresses: "
     "192.0.2.10 has no prefix: /32 is taken; write it, or the network's"),
    (A + B + C + "[192.0.2.10/24]\n      advert_int: 15ms", "8:19 error: "
     "vrrp.instances.front.advert_int: 15ms: version 3 counts hundredths of a second: write 10ms"),
    (A + B + C + "[192.0.2.10/24]\n      advert_int: 41s", "8:19 error: "
     "vrrp.instances.front.advert_int: 41s is out of range: 10ms to 40.95s in version 3"),
    (A + B + C + "[192.0.2.10/24]\n      track_scripts: [disk]", "8:23 error: "
     "vrrp.instances.front.track_scripts: no script is named 'disk': the file has no script"),
    (A + B + C + "[192.0.2.10/24]\n      priority: 255", "8:17 warning: "
     "vrrp.instances.front.priority: 255 says that this node owns the addresses for good: take "
     "254 or less"),
    (A + B + C + "[192.0.2.10/24]\n      priority: {lb1: 1}", "8:17 warning: "
     "vrrp.instances.front.priority: 1 is what a node says that wants to be replaced: take 2 or "
     "more"),
    (A + B + C + "[192.0.2.10/24]\n      priority: {lb1: 90}", "8:17 warning: "
     "vrrp.instances.front.priority: lb1 and lb2 both have 90: the higher address decides which of "
     "them is master; give each its own"),
    (A + B + C + "[192.0.2.10/24]\n    back: {interface: eth0, virtual_router_id: 51, "
     "virtual_addresses: [192.0.2.11/24]}", "8:48 error: vrrp.instances.back.virtual_router_id: "
     "51 is taken on eth0 by front (IPv4): take another number"),
    ("      interface: {lb1: eth0}\n" + B + C + "[192.0.2.10/24]", "5:18 error: "
     "vrrp.instances.front.interface: has none for lb2: add 'lb2: eth0'"),
    ("      interface: a-name-of-16-car\n" + B + C + "[192.0.2.10/24]", "5:18 error: "
     "vrrp.instances.front.interface: 'a-name-of-16-car' is no interface name: at most 15 "
     "characters without '/', ':' and spaces"),
    (A + B + C + "[192.0.2.10/24]\n  sync_groups: {g: [front, bck]}", "8:28 error: "
     "vrrp.sync_groups.g: no instance is named 'bck': there are front"),
    (A + B + C + "[192.0.2.10/24]\n    back: {interface: eth1, virtual_router_id: 52, "
     "priority: {lb1: 99, lb2: 120}, virtual_addresses: [10.0.1.254/24]}\n  sync_groups: {g: "
     "[front, back]}", "9:20 error: vrrp.sync_groups.g: front and back move together: give them "
     "the same 'priority' on each node"),
    (A + B + C + "[192.0.2.10/24]\n    back: {interface: eth1, virtual_router_id: 52, "
     "preempt: never, virtual_addresses: [10.0.1.254/24]}\n  sync_groups: {g: "
     "[front, back]}", "9:20 error: vrrp.sync_groups.g: front and back move together: give them "
     "the same 'preempt'"),
]  # fmt: skip

V, R = "    address: 192.0.2.10:80\n", "    real_servers: [10.0.1.11:80]\n"

SERVICES = [
    (R, "4:5 error: virtual_services.web: 'address' is missing: add 'address: 192.0.2.10:80'"),
    (V, "4:5 error: virtual_services.web: 'real_servers' is missing: add "
     "'real_servers: [10.0.1.11:80]'"),
    (V + "    real_servers: [10.0.1.11:80, 10.0.1.11:80]", "6:34 error: "
     "virtual_services.web.real_servers: 10.0.1.11:80 is in line 6 already: keep one"),
    (V + "    real_servers: [10.0.1.011:80]", "6:20 error: virtual_services.web.real_servers: "
     "'10.0.1.011' is no IPv4 or IPv6 address"),
    (V + '    real_servers: ["[2001:db8::1]:80"]', "6:20 error: virtual_services.web.real_servers:"
     " [2001:db8::1]:80 is IPv6 and the service IPv4, which only 'forward: tun' can bridge"),
    (V + "    forward: dr\n    real_servers: [10.0.1.11:8080]", "7:20 error: "
     "virtual_services.web.real_servers: dr leaves the port as the client sent it, 80, and never "
     "reaches 10.0.1.11:8080: write 10.0.1.11:80, or 'forward: nat'"),
    (V + R + "    scheduler: wcl", "7:16 error: virtual_services.web.scheduler: 'wcl' is none of "
     "rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh, twos (did you mean 'wlc'?)"),
    (V + R + "    scheduler_flags: [sh-port]", "7:23 error: virtual_services.web.scheduler_flags: "
     "'sh-port' is for scheduler sh, not wlc: remove it"),
    (V + R + "    scheduler: sh", "7:16 warning: virtual_services.web.scheduler: sh refuses "
     "clients whose server has weight 0 (drained, or failed and quiesced): add "
     "'scheduler_flags: [sh-fallback]'"),
    (V + R + "    fallback: 10.0.1.11:80", "7:15 error: virtual_services.web.fallback: "
     "10.0.1.11:80 is a real server already: name another, or remove it there"),
    (V + R + "    quorum: 2", "7:13 error: virtual_services.web.quorum: 2 of 1 servers can never "
     "be up: lower it"),
    (V + R + "    one_packet: true", "7:17 error: virtual_services.web.one_packet: is for UDP, not "
     "tcp: remove it, or write 'protocol: udp'"),
    (V + R + "    floor: 1.5", "7:12 error: virtual_services.web.floor: 1.5 is "
     "out of range: 0 to 1"),
    (V + "    forward: tun\n    tun: {checksum: csum}\n    real_servers: [10.0.1.11]",
     "7:21 error: virtual_services.web.tun.checksum: ipip has no csum: remove it"),
    (V + "    forward: tun\n    tun: {type: gre, checksum: remcsum}\n    real_servers: [10.0.1.11]",
     "7:32 error: virtual_services.web.tun.checksum: gre has no remcsum: remove it"),
    (V + "    persistence: {engine: sip}\n    real_servers: [10.0.1.11]",
     "6:27 error: virtual_services.web.persistence.engine: sip tells calls over UDP apart: "
     "write 'protocol: udp', or remove it"),
    (V + R + "    scheduler: lc\n    slow_start: 30s", "8:17 warning: "
     "virtual_services.web.slow_start: scheduler lc heeds no weights: it does nothing; use wlc or "
     "wrr"),
    (V + R + "    scheduler: mh\n    scheduler_flags: [mh-fallback]\n    slow_start: 30s",
     "9:17 warning: virtual_services.web.slow_start: scheduler mh places clients by weight: each "
     "step moves some of them"),
    (V + R + "    scheduler: ovf\n    slow_start: 30s", "8:17 error: "
     "virtual_services.web.slow_start: scheduler ovf takes a weight for a number of connections: "
     "use wlc or wrr"),
    (V + R + "    feedback: {}", "7:15 error: virtual_services.web.feedback: no check of this "
     "service is of type agent, exec or external: add the 'check: NAME' of one"),
    (V + R + "    feedback: {check: page}", "7:23 error: virtual_services.web.feedback.check: page "
     "is of type http: name one of type agent, exec or external"),
    (V + "    real_servers: [{address: 10.0.1.11:80, tun: {type: gre}}]", "6:44 error: "
     "virtual_services.web.real_servers.tun: is for 'forward: tun' only: remove it, or change "
     "forward"),
    (V + "    real_servers: [{address: 10.0.1.11:80, lower_threshold: 5}]", "6:61 error: "
     "virtual_services.web.real_servers.lower_threshold: 5 is above upper_threshold, 0: make it at "
     "most that"),
    (V + R + "  more:\n    check: port\n" + V + R, "9:14 error: virtual_services.more.address: tcp "
     "192.0.2.10:80 is in web, line 5, already: keep one"),
    ("    address: 192.0.2.20-10:80\n" + R, "5:14 error: virtual_services.web.address: "
     "'192.0.2.20-10:80': the addresses are no range: the lower one first"),
    ("    address: 192.0.2.10:0\n" + R, "5:14 error: virtual_services.web.address: tcp "
     "192.0.2.10:0: every port (0) needs persistence: add 'persistence: {timeout: 5m}'"),
    ("    address: {fwmark: 7}\n    real_servers: [10.0.1.11]", "4:12 error: "
     "virtual_services.web.check: port needs a 'port', as servers of this service have none of "
     "their own"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TOP)
def test_a_mistake_is_told_with_its_place_and_fix(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in told(tmp_path, text)
    assert len([line for line in told(tmp_path, text) if " error: " in line]) == 1


@pytest.mark.parametrize(("text", "expected"), SYNTAX)
def test_text_that_is_not_a_configuration_is_told_in_one_line(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert told(tmp_path, text) == [expected]


@pytest.mark.parametrize(("text", "expected"), INSTANCES)
def test_a_mistake_in_an_instance_is_told(tmp_path: Path, text: str, expected: str) -> None:
    assert told(tmp_path, INSTANCE + text) == [expected]


@pytest.mark.parametrize(("text", "expected"), SERVICES)
def test_a_mistake_in_a_service_is_told(tmp_path: Path, text: str, expected: str) -> None:
    assert told(tmp_path, SERVICE + text) == [expected]


def test_nodes_of_equal_priority_are_told_once_however_many_instances_inherit_it(
    tmp_path: Path,
) -> None:
    text = INSTANCE.replace("priority: 90", "priority: 100") + A + B + C + "[192.0.2.10/24]\n"
    text += "    back: {interface: eth0, virtual_router_id: 52, virtual_addresses: [192.0.2.11/24]}"

    expected = (
        "1:78 warning: nodes.lb2.priority: lb1 and lb2 both have 100: the higher address decides "
        "which of them is master; give each its own"
    )
    assert [told(tmp_path, text, node) for node in ("lb1", "lb2")] == [[expected]] * 2


def test_a_node_of_the_priority_that_wants_to_be_replaced_is_told_once(tmp_path: Path) -> None:
    text = INSTANCE.replace("priority: 90", "priority: 1") + A + B + C + "[192.0.2.10/24]\n"

    expected = (
        "1:78 warning: nodes.lb2.priority: 1 is what a node says that wants to be replaced: take 2 "
        "or more"
    )
    assert [told(tmp_path, text, node) for node in ("lb1", "lb2")] == [[expected]] * 2


def test_the_parts_without_a_mistake_are_fine(tmp_path: Path) -> None:
    assert told(tmp_path, INSTANCE + A + B + C + "[192.0.2.10/24]") == []
    assert told(tmp_path, SERVICE + V + R) == []


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = "clustr: a\npeer: {port: 0}\nvirtual_services: {web: {chek: x, address: 1}}\nfoo: [1]\n"

    assert told(tmp_path, text) == [
        "1:1 error: unknown key 'clustr' (did you mean 'cluster'?)",
        "2:14 error: peer.port: 0 is out of range: 1 to 65535",
        "3:25 error: virtual_services.web: 'real_servers' is missing: add "
        "'real_servers: [10.0.1.11:80]'",
        "3:26 error: unknown key 'chek' in virtual_services.web (did you mean 'check'?)",
        "3:44 error: virtual_services.web.address: '1' is no address and port: write "
        '192.0.2.10:80, "[2001:db8::10]:80", 192.0.2.10-19:80 or 192.0.2.10:8000-8003',
        "4:1 error: unknown key 'foo': known here are api, checks, cluster, connection_sync, "
        "hooks, ipvs, key_file, linger, nodes, peer, runtime_dir, scripts, state_dir, timeouts, "
        "vip_lease, virtual_services, vrrp",
    ]


def test_an_unknown_node_is_told_with_the_nodes_there_are(tmp_path: Path) -> None:
    text = "nodes: {lb1: {address: 10.0.0.1}, lb2: {address: 10.0.0.2}}"

    assert told(tmp_path, text, node="lb3") == [
        "1:1 error: no node is named 'lb3' (did you mean 'lb2'?): name one with --node: lb1, lb2"
    ]


def test_a_host_that_is_no_node_is_told_to_name_one(tmp_path: Path) -> None:
    text = "nodes: {a: {address: 10.0.0.1}, b: {address: 10.0.0.2}}"

    assert told(tmp_path, text) == [
        "1:1 error: this host, 'lb1.example.net', is none of the nodes: name one with --node: a, b"
    ]


@pytest.mark.parametrize("name", ["lb1", "lb1.example.net"])
def test_a_node_finds_itself_by_first_label_or_full_host_name(tmp_path: Path, name: str) -> None:
    assert config_of(tmp_path, f"nodes: {{other: {{address: 10.0.0.1}}, {name}: "
                     "{address: 10.0.0.2}}").node == name  # fmt: skip


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "main.yaml"
    (tmp_path / "main.yaml").mkdir()

    assert [str(p) for p in problems_of(missing)] == [
        f"{missing}: error: cannot be read: No such file or directory"
    ]
    assert [str(p) for p in problems_of(tmp_path / "main.yaml")] == [
        f"{tmp_path / 'main.yaml'}: error: cannot be read: Is a directory"
    ]


def test_text_that_is_not_utf8_is_told_where_it_breaks(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    expected = [f"{path}:2:6: error: not UTF-8: save the file as UTF-8"]

    path.write_bytes(b"cluster: a\n# caf\xe9\n")
    assert [str(p) for p in problems_of(path)] == expected

    path.write_bytes(b"\xef\xbb\xbfcluster: \xc3\xa4\n# caf\xe9\n")
    assert [str(p) for p in problems_of(path)] == expected


def test_a_billion_laughs_stop_at_the_bound(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    assert told(tmp_path, "\n".join(lines)) == [
        "6:55 error: more than 1000000 values once aliases (*name) are written out"
    ]


def test_a_mistake_behind_aliases_is_told_for_each_that_uses_it(tmp_path: Path) -> None:
    text = "checks:\n  a: &a {type: tcp, rise: 0}\n  b: *a\n  c: {<<: *a, fall: 3}\n"

    assert told(tmp_path, text) == [
        "2:27 error: checks.a.rise: 0 is out of range: 1 to 1000",
        "2:27 error: checks.b.rise: 0 is out of range: 1 to 1000",
        "2:27 error: checks.c.rise: 0 is out of range: 1 to 1000",
    ]


def test_a_file_with_an_error_gives_no_configuration_and_one_with_a_warning_does(
    tmp_path: Path,
) -> None:
    assert load_text(tmp_path, "peer: {port: 0}").config is None
    assert load_text(tmp_path, "checks: {unused: {type: tcp}}").config is not None


def problems_of(path: Path) -> tuple[Problem, ...]:
    return load(str(path), host="lb1").problems


def test_servers_of_another_family_and_connection_sync_exclude_each_other(tmp_path: Path) -> None:
    text = (
        "virtual_services:\n  web: {address: '[2001:db8::10]:80', forward: tun, "
        "real_servers: [10.0.1.11]}\n"
    )

    assert told(tmp_path, text) == []
    assert told(tmp_path, text + "connection_sync: {interface: eth1}\n") == [
        "2:67 error: virtual_services.web.real_servers: 10.0.1.11:80 is of another family than the "
        "service, which the kernel cannot have beside connection_sync: take one of the two out"
    ]
