"""Direct routing and tunnels through a node that does not forward: IPVS sends by itself."""

import sys
from collections.abc import Iterator

import pytest

from tests.kernel.namespace import fresh_namespace, has_ipvs, run
from tests.kernel.pair import Machine, eventually

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not has_ipvs, reason="needs ip_vs and root")]

SERVE = """
import socket
family = socket.AF_INET6 if ":" in "VIP" else socket.AF_INET
with socket.create_server(("VIP", 80), family=family) as server:
    while True:
        server.accept()[0].sendall(b"hello")
"""
ASK = 'import socket; print(socket.create_connection(("VIP", 80), 5).recv(5).decode())'


@pytest.fixture
def machines() -> Iterator[tuple[Machine, Machine]]:
    """A client and a server on a bridge of this node, which has 10.0.1.1 and 2001:db8:1::1."""
    both = Machine(), Machine()
    with fresh_namespace():
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "address", "add", "10.0.1.1/24", "dev", "br0")
        run("ip", "address", "add", "2001:db8:1::1/64", "dev", "br0", "nodad")
        run("ip", "link", "set", "br0", "up")
        for number, machine in enumerate(both, start=2):
            name = f"port{number}"
            peer = ("peer", "name", "eth0", "netns", str(machine.pid))
            run("ip", "link", "add", name, "type", "veth", *peer)
            run("ip", "link", "set", name, "master", "br0", "up")
            machine.run("ip", "address", "add", f"10.0.1.{number}/24", "dev", "eth0")
            machine.run("ip", "address", "add", f"2001:db8:1::{number}/64", "dev", "eth0", "nodad")
            machine.run("ip", "link", "set", "eth0", "up")
        run("sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
        yield both
    for machine in both:
        machine.end()


@pytest.mark.parametrize(
    ("vip", "way", "server"),
    [("192.0.2.10", "10.0.1.1", "10.0.1.3"), ("2001:db8::10", "2001:db8:1::1", "2001:db8:1::3")],
    ids=["ipv4", "ipv6"],
)
def test_direct_routing_needs_no_forwarding(
    machines: tuple[Machine, Machine], vip: str, way: str, server: str
) -> None:
    client, real = machines
    bits, brackets = ("32", "{}") if "." in vip else ("128", "[{}]")
    run("ip", "address", "add", f"{vip}/{bits}", "dev", "lo")
    run("ipvsadm", "-A", "-t", f"{brackets.format(vip)}:80", "-s", "rr")
    to = f"{brackets.format(server)}:80"
    run("ipvsadm", "-a", "-t", f"{brackets.format(vip)}:80", "-r", to, "-g")
    real.run("sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2")
    real.run("ip", "address", "add", f"{vip}/{bits}", "dev", "lo")
    client.run("ip", "route", "add", f"{vip}/{bits}", "via", way)
    serving = real.spawn(sys.executable, "-c", SERVE.replace("VIP", vip))

    def asks() -> bool:
        done = client.spawn(sys.executable, "-c", ASK.replace("VIP", vip), stdout=-1, stderr=-1)
        return done.communicate()[0] == b"hello\n"

    eventually(asks, 20.0)
    assert server in run("ipvsadm", "-L", "-n", "-c")
    serving.kill()
