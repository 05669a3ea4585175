"""`accept: false` on a real kernel: the address is silent, its services are not."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import fresh_namespace, has_ipvs, run
from tests.kernel.pair import Machine

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not has_ipvs, reason="needs ip_vs and root")]

VIP, VIP6 = "192.0.2.10", "2001:db8::10"
CONFIG = """
cluster: shop
nodes:
  lb1: {priority: 150}
vrrp:
  instances:
    front:
      interface: eth0
      virtual_router_id: 51
      advert_int: 100ms
      startup_delay: 0s
      accept: ACCEPT
      virtual_addresses: [192.0.2.10/24, "2001:db8::10/64"]
checks:
  port: {type: tcp, interval: 300ms, timeout: 200ms, rise: 1, fall: 2, port: 8000}
  here: {type: tcp, interval: 300ms, timeout: 200ms, rise: 1, fall: 2, port: 8100}
virtual_services:
  web: {address: 192.0.2.10:80, forward: nat, check: port, real_servers: [10.0.1.2:8000]}
  web6:
    address: "[2001:db8::10]:80"
    forward: nat
    check: port
    real_servers: ["[2001:db8:1::2]:8000"]
  echo: {address: 192.0.2.10:7, protocol: udp, forward: nat, check: port,
    real_servers: [10.0.1.2:7]}
  marked: {address: {fwmark: 7, family: ipv4}, forward: nat, check: port,
    real_servers: [10.0.1.2]}
  here: {address: 192.0.2.10:8100, forward: dr, check: here, real_servers: [192.0.2.1]}
"""
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 1.0).close()
    print("ok")
except TimeoutError:
    print("silent")
except ConnectionRefusedError:
    print("refused")
"""
ASK = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
s.sendto(b"x" * 4000, ("192.0.2.10", 7))
print(len(s.recv(65536)))
"""
ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.0.1.2", 7))
while True:
    data, to = s.recvfrom(65536)
    s.sendto(data, to)
"""


@dataclass
class Site:
    """This namespace is the director: a client on eth0, a server on eth1."""

    client: Machine
    server: Machine
    folder: Path

    def connects(self, port: int, to: str = VIP) -> str:
        """ok, silent or refused."""
        return self.client.run("/usr/bin/python3", "-c", CONNECT, to, str(port)).strip()

    def pings(self, to: str) -> bool:
        try:
            self.client.run("ping", "-c1", "-W1", to)
        except subprocess.CalledProcessError:
            return False
        return True


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with fresh_namespace():
        made = Site(Machine(), Machine(), tmp_path)
        wire("eth0", made.client, ("192.0.2.1", "192.0.2.9"), ("2001:db8::1", "2001:db8::9"))
        wire("eth1", made.server, ("10.0.1.1", "10.0.1.2"), ("2001:db8:1::1", "2001:db8:1::2"))
        made.server.run("ip", "route", "add", "default", "via", "10.0.1.1")
        made.server.run("ip", "-6", "route", "add", "default", "via", "2001:db8:1::1")
        # Clients' packets to port 99 carry the mark of a service.
        run("tc", "qdisc", "add", "dev", "eth0", "clsact")
        run(
            *("tc", "filter", "add", "dev", "eth0", "ingress", "protocol", "ip", "flower"),
            *("ip_proto", "tcp", "dst_port", "99", "action", "skbedit", "mark", "7"),
        )
        servers = [
            made.server.spawn("/usr/bin/python3", "-m", "http.server", "8000", "--bind", "::"),
            made.server.spawn("/usr/bin/python3", "-m", "http.server", "99"),
            made.server.spawn("/usr/bin/python3", "-c", ECHO),
        ]
        own = [socket.create_server(("0.0.0.0", port)) for port in (81, 8100)]
        try:
            yield made
        finally:
            for listening in own:
                listening.close()
            for process in servers:
                process.kill()
                process.wait()
            made.client.end()
            made.server.end()


def wire(name: str, machine: Machine, four: tuple[str, str], six: tuple[str, str]) -> None:
    pid = str(machine.pid)
    run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", pid)
    run("ip", "address", "add", f"{four[0]}/24", "dev", name)
    run("ip", "address", "add", f"{six[0]}/64", "dev", name, "nodad")
    run("ip", "link", "set", name, "up")
    machine.run("ip", "address", "add", f"{four[1]}/24", "dev", "eth0")
    machine.run("ip", "address", "add", f"{six[1]}/64", "dev", "eth0", "nodad")
    machine.run("ip", "link", "set", "eth0", "up")


def config(accept: str) -> str:
    return CONFIG.replace("ACCEPT", accept)


def serves(site: Site) -> None:
    """Until all services have their server and the addresses are here."""
    until("the addresses are here", lambda: VIP in run("ip", "address", "show", "dev", "eth0"))
    until("web serves", lambda: site.connects(80) == "ok")
    until("web6 serves", lambda: site.connects(80, VIP6) == "ok")
    until("the service on this node serves", lambda: site.connects(8100) == "ok")


def test_only_services_answer_on_a_silent_address(site: Site) -> None:
    with Daemon(site.folder, config("true")) as daemon:
        serves(site)
        assert [site.connects(port) for port in (81, 82)] == ["ok", "refused"]
        assert (site.pings(VIP), site.pings(VIP6)) == (True, True)
        assert run("ip", "xfrm", "policy") == ""

        daemon.write(config("false"))
        assert daemon.run("reload").returncode == 0

        until("the address is silent", lambda: not site.pings(VIP))
        assert [site.connects(port) for port in (81, 82)] == ["silent", "silent"]
        assert (site.pings(VIP), site.pings(VIP6)) == (False, False)
        assert (site.pings("192.0.2.1"), site.pings("2001:db8::1")) == (True, True)
        # Neighbours are found, also by asking the address itself.
        site.client.run("ip", "-6", "neighbour", "flush", "dev", "eth0")
        site.client.run("ip", "neighbour", "flush", "dev", "eth0")
        assert (site.connects(80), site.connects(80, VIP6)) == ("ok", "ok")
        assert probes(site, VIP6) == "REACHABLE"
        # By mark, by fragments, and by this node itself.
        assert (site.connects(99), site.connects(8100)) == ("ok", "ok")
        assert site.client.run("/usr/bin/python3", "-c", ASK).strip() == "4000"

        daemon.write(config("true"))
        assert daemon.run("reload").returncode == 0
        until("the address answers", lambda: site.pings(VIP) and site.pings(VIP6))
        assert run("ip", "xfrm", "policy") == ""


def test_policies_survive_the_director_and_go_with_the_daemon(site: Site) -> None:
    run("ip", "xfrm", "policy", "add", "dir", "in", "dst", "192.0.2.99/32", "action", "block")
    others = run("ip", "xfrm", "policy")
    with Daemon(site.folder, config("false")) as daemon:
        serves(site)
        until("the address is silent", lambda: not site.pings(VIP))
        daemon.run("restart-director")
        assert not site.pings(VIP)

        run("ip", "xfrm", "policy", "flush")
        until("they are back", lambda: not site.pings(VIP), patience=30.0)
        until("it is told", lambda: "policies of accept" in daemon.run("events").stdout)

        run("ip", "xfrm", "policy", "add", "dir", "in", "dst", "192.0.2.99/32", "action", "block")
        process = daemon.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert run("ip", "xfrm", "policy") == others


@pytest.mark.long
def test_policies_of_a_killed_daemon_go_when_they_are_not_wanted(site: Site) -> None:
    with Daemon(site.folder, config("false")) as daemon:
        serves(site)
        until("the address is silent", lambda: not site.pings(VIP))
        kill_all(daemon)
    assert VIP in run("ip", "xfrm", "policy")

    with Daemon(site.folder, config("true")):
        until("they are gone", lambda: run("ip", "xfrm", "policy") == "")


def test_an_interface_that_asks_no_policy_is_told(site: Site) -> None:
    run("sysctl", "-qw", "net.ipv4.conf.eth0.disable_policy=1")

    with Daemon(site.folder, config("false")) as daemon:
        until("it is told", lambda: "eth0.disable_policy" in daemon.run("status").stdout)


def kill_all(daemon: Daemon) -> None:
    assert daemon.process is not None
    pids = run("pgrep", "-P", str(daemon.process.pid)).split()
    for pid in (daemon.process.pid, *map(int, pids)):
        os.kill(pid, signal.SIGKILL)
    daemon.process.wait()


def probes(site: Site, address: str) -> str:
    """The state of a neighbour after it was asked by itself (unicast, as for a stale one)."""
    line = site.client.run("ip", "-6", "neighbour", "show", address).split()
    hardware = line[line.index("lladdr") + 1]
    change = ("ip", "-6", "neighbour", "replace", address, "lladdr", hardware, "dev", "eth0")
    site.client.run(*change, "nud", "probe")

    def state() -> str:
        return site.client.run("ip", "-6", "neighbour", "show", address).split()[-1]

    until("the probe is answered or given up", lambda: state() != "PROBE")
    return state()
