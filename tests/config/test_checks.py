"""What checks ask: every key means what it says, and what contradicts itself is told."""

from pathlib import Path

import pytest

from hadirector.core.address import Address
from hadirector.core.settings.checks import Check
from hadirector.core.settings.questions import (
    Dialogue,
    Dns,
    JsonWanted,
    Preset,
    Smtp,
    Step,
    Tls,
    Transport,
    Udp,
)
from tests.config.files import config_of, told

NODES = "nodes: {lb1: {address: 198.51.100.1}, lb2: {address: 198.51.100.2}}\n"


def one(folder: Path, options: str) -> Check:
    return config_of(folder, f"{NODES}checks: {{c: {{{options}}}}}\n").checks[0]


def problems(folder: Path, options: str) -> list[str]:
    """What is told of a check, as `severity: text` without its path."""
    text = f"checks: {{c: {{{options}}}}}\n"
    lines = [line.partition(" ")[2] for line in told(folder, text)]
    return [line.replace("checks.c", "C", 1) for line in lines if "no service uses it" not in line]


def test_https_verifies_by_default_and_asks_for_its_host(tmp_path: Path) -> None:
    check = one(tmp_path, "type: https, host: 'shop.example:8443', ca_file: /etc/ca.pem")

    assert check.host == "shop.example:8443"
    assert check.tls == Tls(
        verify=True, ca_file="/etc/ca.pem", name="shop.example", alpn=("http/1.1",), warn_days=14
    )


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("shop.example", "shop.example"),
        ("shop.example:8443", "shop.example"),
        ("192.0.2.1:8443", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:8443", "2001:db8::1"),
    ],
)
def test_the_name_in_a_certificate_has_no_port(tmp_path: Path, host: str, name: str) -> None:
    tls = one(tmp_path, f"type: https, host: '{host}'").tls

    assert tls is not None
    assert tls.name == name


def test_a_tls_check_may_want_a_protocol_chosen(tmp_path: Path) -> None:
    check = one(tmp_path, "type: tls, verify: false, alpn: [h2], warn_days: 0")

    assert check.tls == Tls(verify=False, alpn=("h2",), must_choose=True, warn_days=0)


def test_a_probe_may_go_elsewhere_and_from_a_named_address(tmp_path: Path) -> None:
    check = one(
        tmp_path,
        "type: tcp, connect: '10.9.0.1:81', "
        "source: {lb1: [10.0.0.1, '2001:db8::1'], lb2: 10.0.0.2}",
    )

    assert (check.connect, check.port) == ("10.9.0.1", 81)
    assert check.source == ("10.0.0.1", "2001:db8::1")
    assert check.source_for(Address("2001:db8::9")) == "2001:db8::1"


def test_json_values_are_what_yaml_shows(tmp_path: Path) -> None:
    values = "{status: ok, up: true, 'a.0': 3, no: null, text: '3', /a.b: -0.5, on: 'true'}"
    check = one(tmp_path, f"type: http, json: {values}")

    assert check.json == tuple(
        JsonWanted(*pair)
        for pair in (
            *(("status", '"ok"'), ("up", "true"), ("a.0", "3"), ("no", "null")),
            *(("text", '"3"'), ("/a.b", "-0.5"), ("on", '"true"')),
        )
    )


def test_credentials_and_a_body_of_a_request(tmp_path: Path) -> None:
    options = r"""type: http, method: POST, send: '{"a": "\n"}', auth_file: /etc/hadirector/auth"""
    check = one(tmp_path, options)

    assert check.send == r'{"a": "\n"}'
    assert check.files() == ("/etc/hadirector/auth",)


def test_udp_dns_and_smtp_ask_what_is_written(tmp_path: Path) -> None:
    udp = one(tmp_path, r"""type: udp, send: {hex: "00 ff"}, expect: {hex: "00 ?? 41"}""")
    text = one(tmp_path, r"""type: udp, send: "a\r\n", expect: 'grüß'""")
    dns = one(tmp_path, "type: dns, name: Shop.Example., record: MX, expect: 10 Mail.Shop.Example.")
    reverse = one(tmp_path, "type: dns, name: 192.0.2.1, record: PTR, protocol: tcp")
    smtp = one(tmp_path, "type: smtp, starttls: true, host: mail.example, helo: lb1.example")

    assert udp.udp == Udp(b"\x00\xff", r"(?s)\A\x00.\x41")
    assert text.udp == Udp(b"a\r\n", "grüß".encode().decode("latin-1"))
    assert dns.dns == Dns("shop.example.", "MX", ("10 mail.shop.example",))
    assert reverse.dns == Dns("1.2.0.192.in-addr.arpa", "PTR", transport=Transport.TCP)
    assert (smtp.smtp, smtp.tls) == (Smtp("lb1.example"), Tls(name="mail.example", starttls=True))


def test_a_dialogue_is_a_preset_or_steps_or_one_exchange(tmp_path: Path) -> None:
    steps = one(
        tmp_path,
        r"""type: expect, dialogue: [{expect: "^220 "}, {send: "QUIT\r\n"}, {expect: "^221"}]""",
    )
    exchange = one(
        tmp_path, r"""type: expect, send: "PING\r\n", expect: PONG, tls: true, host: x"""
    )
    sip = one(tmp_path, "type: expect, preset: sip, name: ping")
    radius = one(tmp_path, "type: expect, preset: radius, secret_file: /s, auth_file: /a")

    assert steps.dialogue == Dialogue(
        steps=(Step(expect="^220 "), Step(send=b"QUIT\r\n"), Step(expect="^221"))
    )
    assert exchange.dialogue == Dialogue(steps=(Step(send=b"PING\r\n"), Step(expect="PONG")))
    assert exchange.tls == Tls(name="x")
    assert sip.dialogue == Dialogue(preset=Preset.SIP, name="ping", transport=Transport.UDP)
    assert radius.files() == ("/a", "/s")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("type: expect, preset: rediss", "error: C.preset: 'rediss' is none of ftp, imap, pop, "
         "nntp, ldap, mysql, pgsql, redis, sip, radius (did you mean 'redis'?)"),
        ("type: expect", "error: C: 'preset' is missing: add 'preset: redis', or a 'dialogue'"),
        ("type: expect, preset: ftp, send: x",
         "error: C.send: preset, send are two dialogues: keep one"),
        ("type: expect, preset: ftp, user: x",
         "error: C.user: is for the presets mysql, pgsql: remove it"),
        ("type: expect, preset: radius", "error: C: 'secret_file' is missing: add 'secret_file: "
         "/etc/hadirector/radius.secret'"),
        ("type: expect, preset: sip, tls: true, host: x",
         "error: C.tls: is for TCP, and sip asks by UDP: remove it"),
        ("type: expect, preset: pgsql, tls: true, host: x",
         "error: C.tls: is of no use: pgsql begins without TLS; remove it"),
        ("type: expect, dialogue: [{send: x, expect: y}]",
         "error: C.dialogue: a step is one thing: {send: ..} or {expect: ..}"),
        ("type: expect, dialogue: []",
         "error: C.dialogue: needs 1 to 64 steps: [{send: ..}, {expect: ..}]"),
        (r"type: expect, send: PING\r\n", r"error: C.send: has \r or \n written out: write it in "
         r'double quotes, "...\r\n"'),
        ("type: udp", "error: C: 'send' is missing: add 'send: {hex: \"00\"}'"),
        ("type: udp, send: {hex: '0'}",
         "error: C.send: '0' is no byte in hex: write two digits each"),
        ("type: udp, send: {hex: '?? 00'}",
         "error: C.send: '??' can be expected, but not sent: write the byte"),
        ("type: udp, send: {text: x}",
         "error: C.send: needs a text, or bytes in hex: {hex: \"30 0c 02\"}"),
        ("type: dns, record: A", "error: C: 'name' is missing: whose A record is asked for? add "
         "'name: example.com'"),
        ("type: dns, name: a..b", "error: C.name: 'a..b' is no name: labels of 1 to 63 characters, "
         "dots between"),
        ("type: dns, name: x.example, record: AAAA, expect: 192.0.2.1",
         "error: C.expect: 192.0.2.1 never stands in a record AAAA"),
        ("type: dns, rcode: NXDOMAIN, expect: x.example",
         "error: C.rcode: no answers come with NXDOMAIN: remove 'expect' or 'rcode'"),
        ("type: smtp, host: mail.example",
         "error: C.host: is for TLS: add 'tls: true', or remove it"),
        ("type: smtp, tls: true, starttls: true, host: x", "error: C.tls: is TLS from the first "
         "byte, and 'starttls' later: keep one of them"),
        ("type: https, host: a, verify: false, ca_file: /ca",
         "error: C.ca_file: is of no use with 'verify: false': remove one of them"),
        ("type: https", "warning: C: 'host' is missing: each server's certificate must name its "
         "address then; add 'host: NAME', or 'verify: false'"),
        ("type: http, json: ok",
         "error: C.json: needs paths and their values: {status: ok, checks.db.up: true}"),
        ("type: http, json: {}",
         "error: C.json: needs paths and their values: {status: ok, checks.db.up: true}"),
        ("type: http, json: {a..b: 1}", "error: C.json: 'a..b' is no path: write names with dots "
         "between, checks.db.0.up"),
        ("type: http, json: {a: [1]}", "error: C.json.a: needs one value: name each place of a "
         "list or object, nodes.0.state: up"),
        ("type: http, json: {a: }", "error: C.json.a: has no value: write one, null for JSON's, "
         '"" for an empty text'),
        ("type: http, send: x", "error: C.send: GET takes no body: add 'method: POST'"),
        ("type: http, auth_file: /a, headers: {Authorization: x}",
         "error: C.auth_file: is given twice, in 'auth_file' and in 'headers': keep one"),
        ("type: tcp, connect: '10.9.0.1:81', port: 82",
         "error: C.connect: names port 81, and 'port' names 82: keep one of them"),
        ("type: tcp, source: [10.0.0.1, 10.0.0.2]", "error: C.source: needs one address, or one of "
         "each family: [10.0.1.2, '2001:db8::2']"),
        ("type: tcp, source: '2001:db8::1', connect: 10.9.0.1", "error: C.source: 2001:db8::1 "
         "cannot reach 10.9.0.1: name an address of the same family"),
    ],
)  # fmt: skip
def test_a_contradiction_is_told_with_its_fix(tmp_path: Path, options: str, expected: str) -> None:
    assert problems(tmp_path, options) == [expected]
