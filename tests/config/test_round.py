"""Servers that are where requests come in."""

from pathlib import Path

import pytest

from tests.config.files import told

HEAD = """\
nodes: {lb1: {priority: 150, address: 10.0.1.1}, lb2: {priority: 100, address: 10.0.1.2}}
vrrp:
  instances:
    front: {interface: eth0, virtual_router_id: 51, virtual_addresses: [192.0.2.10/24]}
virtual_services:
  api: {address: "192.0.2.10:443", real_servers: [10.0.1.12:443]}
"""


def one(servers: str, more: str = "") -> str:
    return f"{HEAD}  web: {{address: '192.0.2.10:80', real_servers: [{servers}]{more}}}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            one("192.0.2.10:8080"),
            "virtual_services.web.real_servers: 192.0.2.10:8080 is a virtual address, on the "
            "master: name a server",
        ),
        (
            one("192.0.2.10:443"),
            "virtual_services.web.real_servers: 192.0.2.10:443 is where api takes requests: "
            "name a server",
        ),
        (
            one("10.0.1.11:80", ", fallback: '192.0.2.10:80'"),
            "virtual_services.web.fallback: 192.0.2.10:80 is where web takes requests: "
            "name a server",
        ),
    ],
    ids=["virtual address", "another service", "fallback"],
)
def test_a_server_where_requests_come_in_is_refused(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert [line.partition(" error: ")[2] for line in told(tmp_path, text, "lb1")] == [expected]


def test_a_server_on_a_host_of_its_own_is_fine(tmp_path: Path) -> None:
    assert told(tmp_path, one("10.0.1.11:80"), "lb1") == []


def test_a_service_beside_every_virtual_address_is_warned_of(tmp_path: Path) -> None:
    text = one("10.0.1.11:80").replace("'192.0.2.10:80'", "'192.0.2.77:80'")

    assert ["is on no instance" in line for line in told(tmp_path, text, "lb1")] == [True]
