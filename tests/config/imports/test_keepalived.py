"""keepalived.conf as our configuration: the samples of keepalived's own package, and a pair."""

from pathlib import Path

import pytest

from hadirector.cli.main import main
from hadirector.config.imports import keepalived
from hadirector.config.imports.draft import Draft
from hadirector.config.load import load_for_check

SAMPLES = sorted(Path("/usr/share/doc/keepalived/samples").glob("keepalived.conf.*"))
with_samples = pytest.mark.skipif(not SAMPLES, reason="needs keepalived's samples")


def draft_of(**texts: str) -> Draft:
    return keepalived.read(texts, "", no_file)


def no_file(path: str) -> str:
    raise FileNotFoundError(2, "No such file or directory", path)


def told(draft: Draft) -> list[str]:
    return [str(each) for each in sorted(draft.told)]


@with_samples
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name.removeprefix("keepalived."))
def test_every_sample_of_keepalived_passes_check(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "keepalived", "--config-id", "high", str(sample)]) == 0

    result = tmp_path / "result.yaml"
    result.write_text(capsys.readouterr().out)
    assert all(loaded.config is not None for loaded in load_for_check(str(result)))


@with_samples
def test_no_line_of_a_sample_can_change_without_a_change_of_what_is_written_or_told() -> None:
    for sample in SAMPLES:
        lines = sample.read_text().splitlines()
        before = outcome("\n".join(lines))
        for number, line in enumerate(lines):
            statement = line.partition("#")[0].partition("!")[0].rstrip()
            last = statement.split()[-1:]
            if not last or last[0] in ("{", "}") or "auth_pass" in statement:
                continue
            changed = [*lines[:number], statement.rstrip('"') + "9", *lines[number + 1 :]]
            assert outcome("\n".join(changed)) != before, f"{sample.name}:{number + 1}: {line}"


def outcome(text: str) -> tuple[str, list[str]]:
    draft = draft_of(sample=text)
    return draft.write(), told(draft)


PAIR = """
global_defs {{
  router_id {name}
  lvs_sync_daemon eth1 VI_1 id 7
  lvs_timeouts tcp 300 tcpfin 60 udp 100
}}
$VIP=192.0.2.10
vrrp_script up {{ script "killall -0 haproxy"
  interval 2
  weight -60
}}
vrrp_sync_group both {{
  group {{
    VI_1
    VI_2
  }}
  track_interface {{
    eth2
  }}
  notify /etc/keepalived/notify
}}
vrrp_instance VI_1
{{
  state MASTER
  interface eth0
  virtual_router_id 51
  priority {priority}
  nopreempt
  authentication {{
    auth_type PASS
    auth_pass s3cr3t
  }}
  unicast_src_ip {own}
  unicast_peer {{
    {peer}
  }}
  track_script {{
    up
  }}
  virtual_ipaddress {{
    ${{VIP}}/24
  }}
}}
vrrp_instance VI_2 {{
  interface eth1
  virtual_router_id 52
  priority {priority}
  nopreempt
  virtual_ipaddress {{
    2001:db8::1/64
  }}
}}
virtual_server $VIP 80 {{
  delay_loop 5
  lvs_sched mh
  mh-fallback
  lvs_method TUN type gue port 6080 csum
  sorry_server 10.0.1.99 80
  real_server 10.0.1.11 8080 {{
    weight 3
    inhibit_on_failure
    HTTP_GET {{
      url {{
        path /x
        status_code 200 204
        regex "^OK"
      }}
      connect_timeout 2
      retry 3
      delay_before_retry 2
    }}
  }}
}}
"""
RESULT = """\
# Imported from a, b.

nodes:
  lb1: {priority: 100, address: 198.51.100.1}
  lb2: {priority: 100, address: 198.51.100.2}

vrrp:
  instances:
    VI_1:
      interface: eth0
      virtual_router_id: 51
      priority: {lb1: 150, lb2: 100}
      version: 2
      preempt: never
      authentication: {pass: /etc/hadirector/vrrp-VI_1.pass}
      track_scripts: {up: -60}
      virtual_addresses: [192.0.2.10/24]
      track_interfaces: {eth2: fault}
      unicast: {lb1: 198.51.100.1, lb2: 198.51.100.2}
    VI_2:
      interface: eth1
      virtual_router_id: 52
      priority: {lb1: 150, lb2: 100}
      preempt: never
      virtual_addresses: ['2001:db8::1/64']
      track_interfaces: {eth2: fault}
  sync_groups:
    both: [VI_1, VI_2]

scripts:
  up:
    command: [/usr/bin/env, killall, '-0', haproxy]
    interval: 2s
    rise: 1
    fall: 1
    timeout: 2s

hooks:
  - events: [master, backup, fault, stopped]
    command: [/etc/keepalived/notify]

connection_sync: {interface: eth1, sync_id: 7}

timeouts: {tcp: 300s, tcp_fin: 60s, udp: 100s}

checks:
  http-x:
    type: http
    path: /x
    body: ^OK
    status: ['200', '204']
    interval: 5s
    fast_interval: 2s
    timeout: 2s
    rise: 1
    fall: 4

virtual_services:
  tcp-192.0.2.10-80:
    address: 192.0.2.10:80
    scheduler: mh
    scheduler_flags: [mh-fallback]
    fallback: 10.0.1.99:80
    check: http-x
    on_failure: quiesce
    forward: tun
    tun: {type: gue, port: 6080, checksum: csum}
    real_servers:
      - {address: '10.0.1.11:80', weight: 3}
"""


def test_two_directors_files_become_one_with_two_nodes() -> None:
    one = PAIR.format(name="lb1", priority=150, own="198.51.100.1", peer="198.51.100.2")
    other = PAIR.format(name="lb2", priority=100, own="198.51.100.2", peer="198.51.100.1")

    draft = draft_of(a=one, b=other)

    assert draft.write() == RESULT
    assert "s3cr3t" not in "\n".join(told(draft))
    assert "b:59: tun leaves the port: 80 is taken" in told(draft)


def test_what_is_not_known_is_told_with_its_line() -> None:
    draft = draft_of(
        a="frobnicate {\n  a\n  b\n}\nvirtual_server 192.0.2.10 80 {\n  shiny yes\n"
        "  real_server web1 80 {\n    weight 1\n  }\n}\n}\nauth_pass hunter2\n"
    )

    assert told(draft) == [
        "a:1: not carried over: 'frobnicate' up to line 4: 'a; b'",
        "a:6: not carried over: 'shiny yes'",
        "a:7: not carried over: 'real_server web1 80' 'weight 1': no address and port in numbers",
        "a:11: not carried over: '}': it closes nothing",
        "a:12: not carried over: 'auth_pass ...'",
    ]


def test_a_group_of_places_becomes_a_service_for_each_family_and_mark() -> None:
    draft = draft_of(
        a="virtual_server_group g {\n 192.0.2.10-12 80\n 192.0.2.64/26 80\n 2001:db8::1 80\n"
        " fwmark 7\n}\nvirtual_server group g {\n protocol TCP\n real_server 10.0.1.11 80 {\n }\n"
        " real_server 2001:db8:1::1 80 {\n }\n}\n"
    )

    addresses = {name: each["address"] for name, each in draft.services.items()}
    assert addresses == {
        "g": ["192.0.2.10-12:80", "192.0.2.64-127:80"],
        "g-ipv6": "[2001:db8::1]:80",
        "g-fwmark-7": {"fwmark": 7},
    }
    assert draft.services["g"]["real_servers"] == ["10.0.1.11:80"]
    assert draft.services["g-ipv6"]["real_servers"] == ["[2001:db8:1::1]:80"]


def test_included_files_are_read_and_missing_ones_are_told(tmp_path: Path) -> None:
    (tmp_path / "more.conf").write_text("virtual_server fwmark 3 {\n}\n")
    text = "include *.conf\ninclude nosuch\n"

    draft = keepalived.read({str(tmp_path / "main"): text}, "", lambda path: Path(path).read_text())

    assert list(draft.services) == ["fwmark-3"]
    assert told(draft) == [f"{tmp_path}/main:2: not carried over: 'include nosuch': no such file"]


@pytest.mark.parametrize(
    "text", ["{", "}", "a {{{", '"', "vrrp_instance", "real_server", "$A=$A\n$A"]
)
def test_no_text_breaks_it(text: str) -> None:
    for whole in (text, f"vrrp_instance a {{\n{text}\n", f"virtual_server 1.2.3.4 80 {{\n{text}"):
        draft_of(a=whole).write()
