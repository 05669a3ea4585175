"""A check as a client reaches a server by direct routing or a tunnel at the virtual address: one
that lost that address is out, though it answers at its own. On a real kernel, by a whole daemon."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import fresh_namespace, has_ipvs, run

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not has_ipvs, reason="needs ip_vs and root")]

VIP, VIP6 = "192.0.2.10", "2001:db8::10"
IPIP, GUE, TUN6 = "192.0.2.20", "192.0.2.30", "2001:db8::20"
OTHER = 13  # the host that answers for them, where that is not the director
WAYS_OF = ("dr", "ipip", "gue", "dr6", "tun6")
EVERY = (VIP, IPIP, GUE, VIP6, TUN6)
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
SERVERS4 = "check: seen, real_servers: [192.0.2.11:80, 192.0.2.12:80]"
SERVERS6 = 'check: seen, real_servers: ["[2001:db8::11]:80", "[2001:db8::12]:80"]'
WAYS = f"""{CHECKS}
virtual_services:
  dr: {{address: "{VIP}:80", forward: dr, {SERVERS4}}}
  ipip: {{address: "{IPIP}:80", forward: tun, tun: {{type: ipip}}, {SERVERS4}}}
  gue: {{address: "{GUE}:80", forward: tun, tun: {{type: gue, port: 6080}}, {SERVERS4}}}
  dr6: {{address: "[{VIP6}]:80", forward: dr, {SERVERS6}}}
  tun6: {{address: "[{TUN6}]:80", forward: tun, tun: {{type: ipip}}, {SERVERS6}}}
"""


class Servers:
    """Two real servers on one wire with the director, each with the addresses on its loopback, and
    a third host, which answers for them on the wire, as another master does."""

    def __init__(self, *, master: bool) -> None:
        for module in ("ipip", "fou", "ip6_tunnel"):
            run("modprobe", module)
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "addr", "add", "192.0.2.1/24", "dev", "br0")
        run("ip", "addr", "add", "2001:db8::1/64", "dev", "br0", "nodad")
        for address in EVERY if master else ():  # as the election puts them on
            own = f"ip addr add {address}/{_bits(address)} dev br0 nodad"
            run(*own.split(), *(("preferred_lft", "0") if ":" in address else ()))
        run("ip", "link", "set", "br0", "up")
        self.pids: dict[int, int] = {}
        for number in (11, 12) if master else (11, 12, OTHER):
            self._start(number)

    def lose(self, number: int, address: str) -> None:
        self.inside(number, f"ip addr del {address}/{_bits(address)} dev lo")

    def have(self, number: int, address: str) -> None:
        self.inside(number, f"ip addr add {address}/{_bits(address)} dev lo")

    def inside(self, number: int, *lines: str) -> None:
        script = "set -e; " + "; ".join(lines)
        run("nsenter", "-t", str(self.pids[number]), "-n", "sh", "-c", script)

    def _start(self, number: int) -> None:
        sleeper = subprocess.Popen(["unshare", "-n", "sleep", "600"])
        own = os.readlink("/proc/thread-self/ns/net")
        there = Path(f"/proc/{sleeper.pid}/ns/net")
        until("a namespace of its own", lambda: os.readlink(there) != own)
        pair = f"ip link add s{number} type veth peer name eth0 netns {sleeper.pid}"
        run(*pair.split())
        run("ip", "link", "set", f"s{number}", "master", "br0", "up")
        lines = [
            "ip link set lo up",
            f"ip addr add 192.0.2.{number}/24 dev eth0",
            f"ip addr add 2001:db8::{number}/64 dev eth0 nodad",
            "ip link set eth0 up",
        ]
        if number == OTHER:
            lines += [f"ip addr add {at}/{_bits(at)} dev eth0 nodad" for at in EVERY]
        else:
            lines += [
                "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
                *(f"ip addr add {at}/{_bits(at)} dev lo nodad" for at in EVERY),
                "ip link set tunl0 up",
                "ip link set ip6tnl0 up",
                "sysctl -qw net.ipv4.conf.tunl0.rp_filter=0",
                "ip fou add port 6080 gue",
            ]
        self.pids[number] = sleeper.pid
        self.inside(number, *lines)
        subprocess.Popen(
            ["nsenter", "-t", str(sleeper.pid), "-n", sys.executable, *SERVE],
            stderr=subprocess.DEVNULL,
        )

    def segments(self, number: int) -> int:
        """How many TCP segments a host was sent."""
        told = Path(f"/proc/{self.pids[number]}/net/snmp").read_text().splitlines()
        names, counts = (line.split() for line in told if line.startswith("Tcp:"))
        return int(counts[names.index("InSegs")])


def _bits(address: str) -> int:
    return 128 if ":" in address else 32


def server(daemon: Daemon, service: str, number: int) -> dict[str, Any]:
    told = daemon.ask()
    assert told is not None
    servers: dict[str, dict[str, Any]] = told["services"][service]["servers"]
    return next(
        found
        for at, found in servers.items()
        if at.rpartition(":")[0].strip("[]").endswith(f"{number}")
    )


def becomes(daemon: Daemon, service: str, number: int, health: str) -> None:
    """Wait for it."""
    what = f"{service}: server {number} is {health}"
    until(what, lambda: server(daemon, service, number)["health"] == health)


def test_a_server_without_the_virtual_address_is_out_with_that_reason(tmp_path: Path) -> None:
    with fresh_namespace(), Daemon(tmp_path, CONFIG) as daemon:
        servers = Servers(master=True)
        for number in (11, 12):
            becomes(daemon, "web", number, "up")
        assert ACCEPT_LOCAL.read_text() == "1\n"
        status = Path(f"/proc/{daemon.pid('checker')}/status").read_text()
        assert "CapEff:\t0000000000000000\n" in status

        servers.lose(11, VIP)
        becomes(daemon, "web", 11, "down")
        reason = server(daemon, "web", 11)["reason"]
        assert f"no answer within 250ms as {VIP}" in reason
        assert f"is {VIP} on its loopback?" in reason
        assert server(daemon, "own", 11)["health"] == "up"
        assert server(daemon, "web", 12)["health"] == "up"

        servers.have(11, VIP)
        becomes(daemon, "web", 11, "up")
        daemon.stop()

        assert run("ipvsadm", "-Sn") == ""
        assert ACCEPT_LOCAL.read_text() == "0\n"


@pytest.mark.long
@pytest.mark.parametrize("master", [True, False], ids=["master", "backup"])
def test_by_tunnels_and_by_ipv6_it_is_the_same_on_both_nodes(tmp_path: Path, master: bool) -> None:
    with fresh_namespace():
        servers = Servers(master=master)
        for address in EVERY:
            servers.lose(11, address)
        with Daemon(tmp_path, WAYS) as daemon:
            for way, address in zip(WAYS_OF, EVERY, strict=True):
                becomes(daemon, way, 12, "up")
                becomes(daemon, way, 11, "down")
                reason = server(daemon, way, 11)["reason"]
                assert f"is {address} on its loopback?" in reason, (way, reason)

                servers.have(11, address)
                becomes(daemon, way, 11, "up")
                servers.lose(11, address)
                becomes(daemon, way, 11, "down")
                assert server(daemon, way, 12)["health"] == "up"
            assert news_of_11(daemon) == {w: ["server_up", "server_down"] for w in WAYS_OF}
            if not master:
                assert servers.segments(OTHER) == 0
            # One that forwards what it has no address for leads no probe astray, either.
            servers.inside(11, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
            time.sleep(1.0)  # several probes
            astray = [w for w in WAYS_OF if server(daemon, w, 11)["health"] != "down"]
            assert set(astray) <= (set() if master else {"ipip", "gue", "tun6"})
            daemon.stop()


def news_of_11(daemon: Daemon) -> dict[str, list[str]]:
    """What was told of that server, by service."""
    told = [json.loads(line) for line in daemon.run("events", "--json").stdout.splitlines()]
    kinds: dict[str, list[str]] = {way: [] for way in WAYS_OF}
    for event in told:
        way, _, at = event["subject"].partition("/")
        if event["kind"] in ("server_up", "server_down") and ("11]:80" in at or ".11:80" in at):
            kinds[way].append(event["kind"])
    return kinds
