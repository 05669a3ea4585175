"""Places where a client's packets stop, planted in the lab: what trace must name.

The master's table is put there by hand, without a daemon: nothing repairs what is planted. Each
service has one server, so that every connection goes the same way.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from labkit import topology
from labkit.director import HADIRECTOR
from labkit.faults import TUNNEL_PORT, Fault, ready_for_tunnels, run
from labkit.lab import Lab
from labkit.server import DIRECT_PORT, NAT_PORT
from labkit.setup import Service, Setup

VIP, CLIENT = topology.VIP, topology.CLIENT
NAT, DIRECT, TUNNEL = 80, DIRECT_PORT, TUNNEL_PORT
NAT_SERVER = f"{topology.back(11)}:{NAT_PORT}"
DIRECT_SERVER = f"{topology.front(12)}:{DIRECT_PORT}"
TUNNEL_SERVER = f"{topology.front(13)}:{TUNNEL_PORT}"
SETUP = Setup(
    services=(
        Service("web", NAT, {NAT_SERVER: 1}),
        Service("direct", DIRECT, {DIRECT_SERVER: 1}, "rr", "dr"),
        Service("tunnel", TUNNEL, {TUNNEL_SERVER: 1}, "rr", "tun"),
    ),
    check=None,
    sync=False,
)
_TABLE = (
    f"lb1: ipvsadm -A -t {VIP}:{NAT} -s rr",
    f"lb1: ipvsadm -a -t {VIP}:{NAT} -r {NAT_SERVER} -m",
    f"lb1: ipvsadm -A -t {VIP}:{DIRECT} -s rr",
    f"lb1: ipvsadm -a -t {VIP}:{DIRECT} -r {DIRECT_SERVER} -g",
    f"lb1: ipvsadm -A -t {VIP}:{TUNNEL} -s rr",
    f"lb1: ipvsadm -a -t {VIP}:{TUNNEL} -r {TUNNEL_SERVER} -i",
)


@dataclass(frozen=True, slots=True)
class DeadEnd:
    """A fault, the port a client asks, and what trace must say: the hop, and a word of the rest.
    `upload`: bytes the client sends. `name` is for people."""

    name: str
    port: int
    hop: str | None  # None: packets pass
    word: str
    fault: Fault
    upload: int = 0


def _end(
    name: str,
    port: int,
    hop: str | None,
    word: str,
    *plant: str,
    mend: tuple[str, ...] = (),
    upload: int = 0,
) -> DeadEnd:
    return DeadEnd(name, port, hop, word, Fault("", plant, mend), upload)


def _drop(node: str, link: str, port: int) -> tuple[str, str]:
    """In front of everything but packet sockets."""
    match = f"match ip protocol 6 0xff match ip dport {port} 0xffff"
    rule = f"tc filter add dev {link} parent ffff: protocol ip u32 {match} action drop"
    begin = f"{node}: modprobe -qa sch_ingress cls_u32 act_gact; tc qdisc add dev {link} ingress"
    return f"{begin} && {rule}", f"{node}: tc qdisc del dev {link} ingress"


_FILTER, _NO_FILTER = _drop("lb1", "front", NAT)
_HOLE, _NO_HOLE = _drop("rs1", "back", NAT_PORT)
_RS2_MAC = "$(ip -o link show front | sed 's/.*ether //; s/ .*//')"

PASSING = (
    _end("NAT", NAT, None, "connected"),
    _end("direct routing", DIRECT, None, "connected"),
    _end("tunnel", TUNNEL, None, "connected"),
)
DEAD_ENDS = (
    _end(
        "a NAT server whose answers take another way",
        NAT,
        "server -> director",
        "come back through the director",
        "rs1: ip rule del from 10.0.1.0/24 lookup 100",
        mend=("rs1: ip rule add from 10.0.1.0/24 lookup 100 priority 100",),
    ),
    _end("a server that drops", NAT, "at the server", "drops", _HOLE, mend=(_NO_HOLE,)),
    _end(
        "a server that is unplugged",
        NAT,
        "director -> server",
        "MAC",
        "rs1: ip link set back down",
        "lb1: ip neigh flush dev back",
        mend=(
            "rs1: ip link set back up",
            f"rs1: ip route add default via {topology.GATEWAY} dev back table 100",
            f"rs1: ip route replace default via {topology.GATEWAY} dev back",
        ),
    ),
    _end(
        "a port nobody listens on",
        NAT,
        "at the server",
        "refuses",
        f"lb1: ipvsadm -d -t {VIP}:{NAT} -r {NAT_SERVER}",
        f"lb1: ipvsadm -a -t {VIP}:{NAT} -r {topology.back(11)}:9 -m",
        mend=(
            f"lb1: ipvsadm -d -t {VIP}:{NAT} -r {topology.back(11)}:9",
            f"lb1: ipvsadm -a -t {VIP}:{NAT} -r {NAT_SERVER} -m",
        ),
    ),
    _end(
        "forwarding is off",
        NAT,
        "in the director",
        "ip_forward",
        "lb1: sysctl -qw net.ipv4.ip_forward=0",
        mend=("lb1: sysctl -qw net.ipv4.ip_forward=1",),
    ),
    _end("a filter of the director", NAT, "in the director", "filter", _FILTER, mend=(_NO_FILTER,)),
    _end(
        "rp_filter of the director",
        NAT,
        "in the director",
        "rp_filter",
        "lb1: sysctl -qw net.ipv4.conf.all.rp_filter=1",
        f"lb1: ip route add {CLIENT}/32 via 10.0.1.100 dev back",
        mend=(
            f"lb1: ip route del {CLIENT}/32 via 10.0.1.100 dev back",
            "lb1: sysctl -qw net.ipv4.conf.all.rp_filter=0",
        ),
    ),
    _end(
        "no such service in IPVS",
        NAT,
        "in the director",
        "no service",
        f"lb1: ipvsadm -D -t {VIP}:{NAT}",
        mend=_TABLE[:2],
    ),
    _end(
        "every server has weight 0",
        NAT,
        "in the director",
        "weight",
        f"lb1: ipvsadm -e -t {VIP}:{NAT} -r {NAT_SERVER} -m -w 0",
        mend=(f"lb1: ipvsadm -e -t {VIP}:{NAT} -r {NAT_SERVER} -m -w 1",),
    ),
    _end(
        "a DR server without the address",
        DIRECT,
        "at the server",
        "on lo",
        f"rs2: ip address del {VIP}/32 dev lo",
        mend=(f"rs2: ip address add {VIP}/32 dev lo",),
    ),
    _end(
        "a DR server that answers ARP",
        DIRECT,
        "client -> director",
        "answers ARP",
        "rs2: sysctl -qw net.ipv4.conf.all.arp_ignore=0",
        f"rs2: echo {_RS2_MAC} > /tmp/hadirector-rs2-mac",
        f"client: ip neigh replace {VIP} dev front lladdr $(cat /tmp/hadirector-rs2-mac)",
        mend=(
            f"client: ip neigh del {VIP} dev front; rm /tmp/hadirector-rs2-mac",
            "rs2: sysctl -qw net.ipv4.conf.all.arp_ignore=1",
        ),
    ),
    _end(
        "a tunnel server without its device",
        TUNNEL,
        "at the server",
        "tunnel device",
        "rs3: ip link set tunl0 down",
        mend=("rs3: ip link set tunl0 up",),
    ),
    _end(
        "a tunnel server with rp_filter",
        TUNNEL,
        "at the server",
        "rp_filter",
        "rs3: sysctl -qw net.ipv4.conf.tunl0.rp_filter=1",
        mend=("rs3: sysctl -qw net.ipv4.conf.tunl0.rp_filter=0",),
    ),
    _end(
        "uploads too large for the tunnel, and a client that hears no ICMP",
        TUNNEL,
        "director -> server",
        "too large",
        f"rs3: ip route change 192.0.2.0/24 dev front src {topology.front(13)}",
        "client: ip link set front gso_max_segs 1",
        "client: ip xfrm policy add proto icmp dir in action block",
        mend=(
            "client: ip xfrm policy del proto icmp dir in",
            f"rs3: ip route change 192.0.2.0/24 dev front src {topology.front(13)} advmss 1440",
        ),
        upload=40_000,
    ),
)


def start(lab: Lab) -> None:
    """Servers listen, lb1 has the addresses and the table; nobody's daemon runs."""
    ready_for_tunnels(lab)
    lab.start_servers()
    lab.give_address_to(lab.lb1.node)
    run(lab, *_TABLE)
    for director in lab.directors:
        director.configure(SETUP)


def trace(lab: Lab, end: DeadEnd, *options: str, name: str = "lb1") -> dict[str, Any]:
    """What `hadirector trace --json` on a director says of one request of the client."""
    director = lab.lb1 if name == "lb1" else lab.lb2
    command = [HADIRECTOR, "trace", "--client", CLIENT, "--json", "--timeout", "9s"]
    command += ["-c", str(director.config), "--node", name, *options]
    process = director.node.spawn(command, subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    first = process.stderr.readline().decode()  # it says when it is ready
    if not first.startswith("tracing"):
        raise RuntimeError(f"trace: {first}{process.stderr.read().decode()}")
    with _asking(lab, end):
        output, errors = process.communicate(timeout=60)
    if not output:
        raise RuntimeError(f"trace: {errors.decode()}")
    told: dict[str, Any] = json.loads(output)
    assert process.returncode == (0 if told["passes"] else 1), "the exit status says it too"
    return told


def is_right(end: DeadEnd, told: dict[str, Any]) -> bool:
    """It names the hop, and the cause."""
    said = f"{told['what']} {told['cause']} {' '.join(told['look'])}"
    return told["hop"] == end.hop and end.word in said


@contextmanager
def _asking(lab: Lab, end: DeadEnd) -> Iterator[None]:
    pid = lab.client.fork(_request(end))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _request(end: DeadEnd) -> Callable[[], None]:
    def ask() -> None:
        with suppress(OSError), socket.create_connection((VIP, end.port), 8) as connection:
            connection.settimeout(6)
            head = b"GET /who HTTP/1.1\r\nConnection: close\r\n\r\n"
            connection.sendall(head if not end.upload else head[:20] + bytes(end.upload))
            if end.upload:
                time.sleep(6)
            connection.recv(1000)

    return ask
