"""Real servers set up by `hadirector agent --setup`: requests and answers, end to end."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kernel.namespace import fresh_namespace, has_ipvs, run
from tests.kernel.pair import Machine, eventually

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not has_ipvs, reason="needs ip_vs and root")]

SERVE = """
import socket
with socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True) as server:
    while True:
        server.accept()[0].sendall(b"hello")
"""
ASK = 'import socket; print(socket.create_connection(("VIP", 80), 2).recv(5).decode())'
VIP, VIP6 = "10.0.2.10", "2001:db8:2::10"
SERVER, SERVER6 = "10.0.1.3", "2001:db8:1::3"
DIRECTOR, CLIENT, REAL = 1, 2, 3


@dataclass
class Farm:
    """A client and a real server on a bridge of the director, which is this namespace."""

    client: Machine
    real: Machine
    folder: Path

    def agent(self, *arguments: str, fails: bool = False) -> str:
        """What the command says on the real server."""
        done = subprocess.run(
            [
                *(*self.real.enter, sys.executable, "-m", "hadirector", "agent", *arguments),
                *("--state-dir", str(self.folder / "state")),
            ],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def state(self) -> tuple[object, ...]:
        """What --setup may change of it."""
        shown = json.loads(self.real.run("ip", "-json", "address"))
        names = ("arp_ignore", "arp_announce", "rp_filter")
        return (
            sorted(a["local"] for one in shown if one["ifname"] == "lo" for a in one["addr_info"]),
            [self.real.run("sysctl", "-n", f"net.ipv4.conf.all.{name}") for name in names],
            {one["ifname"] for one in shown if "UP" in one["flags"]},
        )

    def asks(self, vip: str, *way: str) -> bool:
        """Whether a request to a service with this way to its only server is answered."""
        service, server = (("[%s]:80" if ":" in one else "%s:80") % one for one in (vip, way[0]))
        run("ipvsadm", "-A", "-t", service, "-s", "rr")
        run("ipvsadm", "-a", "-t", service, "-r", server, *way[1:])
        ask = (sys.executable, "-c", ASK.replace("VIP", vip))
        done = self.client.spawn(*ask, stdout=-1, stderr=-1)
        answered = bool(done.communicate()[0] == b"hello\n")
        if answered:
            assert server in run("ipvsadm", "-L", "-n", "-c"), "it came through the director"
        run("ipvsadm", "-D", "-t", service)
        return answered


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    client, real = Machine(), Machine()
    with fresh_namespace():
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "link", "set", "br0", "up")
        for machine, number in ((client, CLIENT), (real, REAL)):
            peer = ("peer", "name", "eth0", "netns", str(machine.pid))
            run("ip", "link", "add", f"port{number}", "type", "veth", *peer)
            run("ip", "link", "set", f"port{number}", "master", "br0", "up")
            machine.run("ip", "link", "set", "eth0", "up")
        # The server answers clients directly from its own net, and by NAT from the inner one.
        add(run, "br0", *(f"10.0.{net}.{DIRECTOR}/24" for net in (1, 2)), f"{VIP}/32")
        add(run, "br0", *(f"2001:db8:{net}::{DIRECTOR}/64" for net in (1, 2)), f"{VIP6}/128")
        add(client.run, "eth0", f"10.0.2.{CLIENT}/24", f"2001:db8:2::{CLIENT}/64")
        add(real.run, "eth0", f"{SERVER}/24", f"{SERVER6}/64", "10.0.2.3/24", "2001:db8:2::3/64")
        for source, gateway in ((SERVER, "10.0.1.1"), (SERVER6, "2001:db8:1::1")):
            kind = "-6" if ":" in source else "-4"
            real.run("ip", kind, "rule", "add", "from", source, "lookup", "100")
            real.run("ip", kind, "route", "add", "default", "via", gateway, "table", "100")
        run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        real.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
        serving = real.spawn(sys.executable, "-c", SERVE)
        eventually(lambda: ":80" in real.run("ss", "-Hltn"), 20.0)
        yield Farm(client, real, tmp_path)
        serving.kill()
    for machine in (client, real):
        machine.end()


def add(runner: Callable[..., str], device: str, *addresses: str) -> None:
    for address in addresses:
        nodad = ("nodad",) if ":" in address else ()
        runner("ip", "address", "add", address, "dev", device, *nodad)


def test_servers_set_up_by_the_command_answer_by_every_way_and_are_as_before_after(
    farm: Farm,
) -> None:
    before = farm.state()
    assert farm.asks(VIP, SERVER, "-m")
    assert farm.asks(VIP6, SERVER6, "-m")
    assert not farm.asks(VIP, SERVER, "-g"), "nothing is set up yet"

    dry = farm.agent("--setup", "dr", VIP, VIP6, "--dry-run")
    assert f"ip address add {VIP}/32 dev lo" in dry
    assert farm.state() == before

    done = farm.agent("--setup", "dr", VIP, VIP6)
    assert done.splitlines()[-1] == f"ready for {VIP}, {VIP6}"
    assert farm.agent("--setup", "dr", VIP, VIP6) == f"ready for {VIP}, {VIP6}\n"
    assert farm.asks(VIP, SERVER, "-g")
    assert farm.asks(VIP6, SERVER6, "-g")
    assert is_silent(farm, VIP)
    assert is_silent(farm, VIP6)

    farm.agent("--setup", "tun", VIP, VIP6)
    assert farm.asks(VIP, SERVER, "-i")
    assert farm.asks(VIP6, SERVER6, "-i")
    farm.agent("--remove")
    assert farm.state() == before

    farm.agent("--setup", "tun", "--type", "gre", VIP, VIP6, "--outer", "ipv4")
    assert farm.asks(VIP, SERVER, "-i", "--tun-type", "gre")
    assert farm.asks(VIP6, SERVER, "-i", "--tun-type", "gre")
    farm.agent("--setup", "tun", "--type", "gue", VIP, VIP6, "--outer", "ipv4")
    assert farm.asks(VIP, SERVER, "-i", "--tun-type", "gue", "--tun-port", "6080")
    assert farm.asks(VIP6, SERVER, "-i", "--tun-type", "gue", "--tun-port", "6080")
    assert farm.asks(VIP6, SERVER, "-i")
    farm.agent("--setup", "tun", "--type", "gue", VIP6)
    for sums in ("--tun-nocsum", "--tun-csum", "--tun-remcsum"):
        assert farm.asks(VIP6, SERVER6, "-i", "--tun-type", "gue", "--tun-port", "6080", sums)
    assert farm.agent("--remove").splitlines()[-1] == "as it was before"
    assert farm.state() == before
    assert farm.agent("--remove") == "as it was before\n"


def is_silent(farm: Farm, vip: str) -> bool:
    """Whether nobody answers for the address once the director has it no more."""
    bits = "128" if ":" in vip else "32"
    run("ip", "address", "delete", f"{vip}/{bits}", "dev", "br0")
    farm.client.run("ip", "neighbour", "flush", "dev", "eth0")
    pinging = farm.client.spawn("ping", "-c", "1", "-W", "1", vip, stdout=-1, stderr=-1)
    pinging.communicate()
    add(run, "br0", f"{vip}/{bits}")
    return pinging.returncode != 0


def test_the_directors_configuration_says_what_this_server_is_for(farm: Farm) -> None:
    (farm.folder / "lb.yaml").write_text(
        "virtual_services:\n"
        f"  web: {{address: '{VIP}:80', forward: dr, real_servers: ['{SERVER}:80']}}\n"
        f"  far: {{address: 10.0.2.11:80, forward: dr, real_servers: [10.0.1.4:80]}}\n"
        f"  gue: {{address: 10.0.2.12:80, forward: tun, tun: {{type: gue, port: 6081}}, "
        f"real_servers: ['{SERVER}:80']}}\n"
    )
    config = ("--config", str(farm.folder / "lb.yaml"))

    assert f"ready for {VIP}\n" in farm.agent("--setup", "dr", *config)
    told = farm.agent("--setup", "tun", *config, "--dry-run")
    assert "ip fou add port 6081 gue" in told
    assert "ip address add 10.0.2.12/32 dev tunl0" in told

    assert "answered for" in farm.agent("--setup", "dr", "10.0.2.3", fails=True)
    farm.agent("--remove")
