"""A check as a client reaches a server by direct routing or a tunnel at the virtual address: one
that lost that address is out, though it answers at its own. On a real kernel, by a whole daemon."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import fresh_namespace, has_ipvs, run

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not has_ipvs, reason="needs ip_vs and root")]

VIP, VIP6 = "192.0.2.10", "2001:db8::10"
ACCEPT_LOCAL = Path("/proc/sys/net/ipv4/conf/all/accept_local")
SERVE = ("-m", "http.server", "80", "--bind", "::", "--directory", "/proc/self/ns")
CHECKS = """
cluster: shop
nodes: {lb1: {}}
checks:
  page: {type: http, interval: 300ms, timeout: 250ms, fast_interval: 100ms, rise: 1, held: false}
  seen:
    {type: http, as_client: true, interval: 300ms, timeout: 250ms, fast_interval: 100ms, rise: 1}
  away: {type: http, port: 80, interval: 300ms, timeout: 250ms, rise: 1}
"""
CONFIG = f"""{CHECKS}
virtual_services:
  own: {{address: {VIP}:81, forward: dr, check: away, real_servers: [192.0.2.11:81]}}
  web:
    address: {VIP}:80
    forward: dr
    scheduler: rr
    check: {{all: [page, seen]}}
    real_servers: [192.0.2.11:80, 192.0.2.12:80]
"""
TUNNEL = f"""{CHECKS}
virtual_services:
  web:
    address: {VIP}:80
    forward: tun
    tun: {{type: ipip}}
    check: {{all: [page, seen]}}
    real_servers: [192.0.2.11:80, 192.0.2.12:80]
"""
IPV6 = f"""{CHECKS}
vrrp:
  instances:
    front:
      interface: br0
      virtual_router_id: 51
      advert_int: 100ms
      startup_delay: 0s
      virtual_addresses: ["{VIP6}/64"]
virtual_services:
  web:
    address: "[{VIP6}]:80"
    forward: dr
    check: {{all: [page, seen]}}
    real_servers: ["[2001:db8::11]:80", "[2001:db8::12]:80"]
"""


class Servers:
    """Two real servers on one wire with the director, each with the address on its loopback."""

    def __init__(self) -> None:
        self.pids = {}
        run("modprobe", "ipip")
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "addr", "add", "192.0.2.1/24", "dev", "br0")
        run("ip", "addr", "add", f"{VIP}/24", "dev", "br0")  # as a master has it
        run("ip", "addr", "add", "2001:db8::1/64", "dev", "br0", "nodad")
        run("ip", "link", "set", "br0", "up")
        for number in (11, 12):
            self.pids[number] = self._start(number)

    def _start(self, number: int) -> int:
        sleeper = subprocess.Popen(["unshare", "-n", "sleep", "600"])
        own = os.readlink("/proc/thread-self/ns/net")
        there = Path(f"/proc/{sleeper.pid}/ns/net")
        until("a namespace of its own", lambda: os.readlink(there) != own)
        name = f"s{number}"
        run(
            "ip",
            "link",
            "add",
            name,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            str(sleeper.pid),
        )
        run("ip", "link", "set", name, "master", "br0", "up")
        for line in (
            "ip link set lo up",
            f"ip addr add 192.0.2.{number}/24 dev eth0",
            "ip link set eth0 up",
            "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
            f"ip addr add {VIP}/32 dev lo",
            f"ip addr add 2001:db8::{number}/64 dev eth0 nodad",
            f"ip addr add {VIP6}/128 dev lo nodad",
            "ip link set tunl0 up",
            "sysctl -qw net.ipv4.conf.tunl0.rp_filter=0",
        ):
            self.inside(sleeper.pid, *line.split())
        self.server = subprocess.Popen(
            ["nsenter", "-t", str(sleeper.pid), "-n", sys.executable, *SERVE],
            stderr=subprocess.DEVNULL,
        )
        return sleeper.pid

    @staticmethod
    def inside(pid: int, *command: str) -> str:
        return run("nsenter", "-t", str(pid), "-n", *command)


@pytest.fixture
def servers() -> Iterator[Servers]:
    with fresh_namespace():
        yield Servers()


def server(daemon: Daemon, service: str, number: int) -> dict[str, Any]:
    told = daemon.ask()
    assert told is not None
    servers: dict[str, dict[str, Any]] = told["services"][service]["servers"]
    return next(
        found
        for at, found in servers.items()
        if at.rpartition(":")[0].strip("[]").endswith(f"{number}")
    )


def test_a_server_without_the_virtual_address_is_out_with_that_reason(
    servers: Servers, tmp_path: Path
) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        for number in (11, 12):
            until(
                f"server {number} is up",
                lambda n=number: server(daemon, "web", n)["health"] == "up",  # type: ignore[misc]
            )
        assert ACCEPT_LOCAL.read_text() == "1\n"
        status = Path(f"/proc/{daemon.pid('checker')}/status").read_text()
        assert "CapEff:\t0000000000000000\n" in status

        servers.inside(servers.pids[11], "ip", "addr", "del", f"{VIP}/32", "dev", "lo")
        until("it is out", lambda: server(daemon, "web", 11)["health"] == "down")
        reason = server(daemon, "web", 11)["reason"]
        assert f"no answer within 250 ms as {VIP}" in reason
        assert f"is {VIP} on its loopback?" in reason
        assert server(daemon, "own", 11)["health"] == "up"
        assert server(daemon, "web", 12)["health"] == "up"

        servers.inside(servers.pids[11], "ip", "addr", "add", f"{VIP}/32", "dev", "lo")
        until("it is back", lambda: server(daemon, "web", 11)["health"] == "up")
        daemon.stop()

    assert run("ipvsadm", "-Sn") == ""
    assert ACCEPT_LOCAL.read_text() == "0\n"


@pytest.mark.parametrize(
    ("config", "address"), [(TUNNEL, f"{VIP}/32"), (IPV6, f"{VIP6}/128")], ids=["ipip", "ipv6"]
)
def test_by_a_tunnel_and_by_ipv6_it_is_the_same(
    servers: Servers, tmp_path: Path, config: str, address: str
) -> None:
    virtual = address.partition("/")[0]
    with Daemon(tmp_path, config) as daemon:
        for number in (11, 12):
            until(
                f"server {number} is up",
                lambda n=number: server(daemon, "web", n)["health"] == "up",  # type: ignore[misc]
            )
        until("a master", lambda: f" {virtual}/" in run("ip", "addr", "show", "dev", "br0"))

        servers.inside(servers.pids[11], "ip", "addr", "del", address, "dev", "lo")
        until("it is out", lambda: server(daemon, "web", 11)["health"] == "down")
        assert f"is {virtual} on its loopback?" in server(daemon, "web", 11)["reason"]
        assert server(daemon, "web", 12)["health"] == "up"

        servers.inside(servers.pids[11], "ip", "addr", "add", address, "dev", "lo")
        until("it is back", lambda: server(daemon, "web", 11)["health"] == "up")
        daemon.stop()
