"""What checks ask: every key means what it says, and what contradicts itself is told."""

from pathlib import Path

import pytest

from hadirector.core.address import Address
from hadirector.core.settings.checks import Check
from hadirector.core.settings.questions import JsonWanted, Tls
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
    options = """type: http, method: POST, send: '{"ping": 1}', auth_file: /etc/hadirector/auth"""
    check = one(tmp_path, options)

    assert check.send == '{"ping": 1}'
    assert check.files() == ("/etc/hadirector/auth",)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
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
