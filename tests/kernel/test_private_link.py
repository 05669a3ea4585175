"""The interface that leads nowhere, on a real kernel: who can speak to its sync threads."""

import asyncio
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hadirector.core.ipvs import SyncRole, SyncThread
from hadirector.shell.ipvs import Ipvs
from hadirector.shell.netlink import KernelError
from hadirector.shell.private_link import NAME, PrivateLink
from hadirector.shell.private_tap import GROUP, PORT, PrivateTap, ports_of_root
from tests.kernel.namespace import fresh_namespace, has_ipvs, run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not has_ipvs, reason="needs root and a kernel with ip_vs"),
]

THREADS = [SyncThread(role, NAME, 51, GROUP, PORT, 0, 1184) for role in SyncRole]
# What any program can do: as nobody, send to the group on the interface of that number.
NOBODY = """
import os, socket, struct, sys
os.setuid(65534)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
where = struct.pack("=4s4si", b"", b"", int(sys.argv[1]))
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, where)
s.sendto(bytes.fromhex(sys.argv[2]), ("224.0.0.81", int(sys.argv[3])))
"""


# And who has found out the master thread's port: from another address of this host, by PKTINFO
# under the private one too.
PORT_THIEF = """
import os, socket, struct, sys
os.setuid(65534)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
index = int(sys.argv[1])
where = struct.pack("=4s4si", b"", b"", index)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, where)
s.bind(("10.8.8.8", int(sys.argv[4])))
to, what = ("224.0.0.81", int(sys.argv[3])), bytes.fromhex(sys.argv[2])
s.sendto(what, to)
own = struct.pack("=i4s4s", index, socket.inet_aton("169.254.88.1"), b"")
s.sendmsg([what], [(socket.IPPROTO_IP, 8, own)], 0, to)
"""


def record(client_port: int) -> bytes:
    """A sync datagram with one established connection."""
    addresses = [socket.inet_aton(a) for a in ("10.9.9.9", "192.0.2.10", "10.0.1.11")]
    fields = (0, 6, 36, 0x100, 1, client_port, 80, 8080, 0, 900)
    body = struct.pack("!BBHIHHHHII4s4s4s", *fields, *addresses)
    return struct.pack("!BBHBbH", 0, 51, 8 + len(body), 1, 1, 0) + body


def known_ports() -> set[int]:
    """The client ports of the connections in the kernel's table."""
    lines = Path("/proc/thread-self/net/ip_vs_conn").read_text().splitlines()[1:]
    return {int(line.split()[2], 16) for line in lines}


@pytest.fixture
def link() -> Iterator[PrivateLink]:
    with fresh_namespace():
        link = PrivateLink()
        yield link
        link.remove()


def test_it_is_made_once_and_again_when_somebody_took_it_away(link: PrivateLink) -> None:
    assert link.ensure()
    assert not link.ensure()
    assert link.open_gate == ""

    run("ip", "link", "set", NAME, "down")
    assert not link.ensure()  # the same one, up again
    assert "UP" in run("ip", "-o", "link", "show", NAME)
    run("ip", "link", "delete", NAME)
    assert link.ensure()

    run("ip", "link", "delete", NAME)
    run("ip", "link", "add", NAME, "type", "dummy")
    assert link.ensure()  # somebody made another one: what was bound to ours hears nothing
    assert not link.ensure()
    link.remove()
    link.remove()
    assert NAME not in run("ip", "link")


def test_a_guard_that_somebody_took_away_or_replaced_is_put_back(link: PrivateLink) -> None:
    link.ensure()
    guard = run("tc", "filter", "show", "dev", NAME, "ingress")
    assert not link.ensure()
    assert not link.shut_again

    run("tc", "qdisc", "delete", "dev", NAME, "clsact")
    assert not link.ensure()
    assert link.shut_again
    assert run("tc", "filter", "show", "dev", NAME, "ingress") == guard
    assert "hadirector" in run("tc", "filter", "show", "dev", NAME, "egress")

    where = ("dev", NAME, "ingress", "prio", "1", "handle", "1", "protocol", "all")
    run("tc", "filter", "replace", *where, "bpf", "da", "bytecode", "1,6 0 0 0")
    assert run("tc", "filter", "show", "dev", NAME, "ingress") != guard
    link.ensure()
    assert link.shut_again
    assert run("tc", "filter", "show", "dev", NAME, "ingress") == guard
    link.ensure()
    assert not link.shut_again

    where = ("dev", NAME, "egress", *where[3:])
    run("tc", "filter", "replace", *where, "bpf", "da", "bytecode", "1,6 0 0 0")
    link.ensure()
    assert link.shut_again
    assert "hadirector" in run("tc", "filter", "show", "dev", NAME, "egress")
    link.ensure()
    assert not link.shut_again
    assert link.open_gate == ""


def test_somebody_elses_interface_of_that_name_is_left_alone(link: PrivateLink) -> None:
    run("ip", "link", "add", NAME, "type", "veth", "peer", "name", "other")

    with pytest.raises(KernelError, match=f"an interface {NAME} is there that is not ours"):
        link.ensure()
    link.remove()

    assert NAME in run("ip", "link")


async def test_what_the_relay_says_enters_the_table_and_what_others_say_does_not(
    link: PrivateLink,
) -> None:
    link.ensure()
    run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire")
    for name in ("eth0", "wire"):
        run("ip", "link", "set", name, "up")
    run("ip", "address", "add", "192.0.2.1/24", "dev", "eth0")
    run("ip", "address", "add", "192.0.2.9/24", "dev", "wire")
    heard: list[bytes] = []
    with Ipvs() as ipvs:
        for thread in THREADS:
            await ipvs.start_thread(thread)
        tap = PrivateTap(heard.append, lambda: None)
        try:
            tap.tell(record(1001))
            to = (str(tap.index), record(1002).hex(), str(PORT))
            run(sys.executable, "-c", NOBODY, *to)
            run(sys.executable, "-c", NOBODY.replace("os.setuid(65534)", ""), *to)
            for wire in ("eth0", "wire"):
                index = socket.if_nametoindex(wire)
                run(sys.executable, "-c", NOBODY, str(index), record(1003).hex(), str(PORT))
            for _ in range(100):
                await asyncio.sleep(0.02)
                if tap.strangers:
                    break
            assert (tap.refused, tap.lost, tap.strangers) == (0, 0, 1)
        finally:
            tap.close()

    assert known_ports() == {1001}
    assert heard == []


async def test_the_master_threads_port_at_another_address_makes_nobody_the_master_thread(
    link: PrivateLink,
) -> None:
    link.ensure()
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", "10.8.8.8/32", "dev", "lo")
    heard: list[bytes] = []
    with Ipvs() as ipvs:
        for thread in THREADS:
            await ipvs.start_thread(thread)
        (port,) = ports_of_root()
        tap = PrivateTap(heard.append, lambda: None)
        try:
            what = (str(tap.index), record(1002).hex(), str(PORT), str(port))
            run(sys.executable, "-c", PORT_THIEF, *what)
            await asyncio.sleep(1.0)
        finally:
            tap.close()

    assert heard == []


async def test_what_the_master_thread_says_is_heard(link: PrivateLink) -> None:
    link.ensure()
    heard: list[bytes] = []
    run("sysctl", "-w", "net.ipv4.vs.sync_threshold=0 1")
    for address in ("192.0.2.10", "192.0.2.11"):
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    run("ipvsadm", "-A", "-t", "192.0.2.10:80", "-s", "rr")
    run("ipvsadm", "-a", "-t", "192.0.2.10:80", "-r", "192.0.2.11:80", "-m")
    with Ipvs() as ipvs, socket.create_server(("192.0.2.11", 80)):
        for thread in THREADS:
            await ipvs.start_thread(thread)
        tap = PrivateTap(heard.append, lambda: None)
        try:
            with socket.create_connection(("192.0.2.10", 80), 2.0) as client:
                client.send(b"hello")
                port = client.getsockname()[1]
                for _ in range(200):
                    await asyncio.sleep(0.02)
                    if heard:
                        break
            assert (tap.strangers, tap.lost) == (0, 0)
        finally:
            tap.close()

    assert heard
    assert heard[0][:2] == bytes((0, 51))
    assert port.to_bytes(2, "big") in heard[0]
