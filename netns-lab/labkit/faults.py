"""Faults an operator makes, planted in the lab and mended again: what doctor must find.

A fault is a few shell lines, each for one node (`rs1: ip address ...`). Faults that do not hide
each other are planted together and looked for in one run: doctor must find exactly these.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPVS, IPVSDest, IPVSService

from hadirector.core.address import Address
from hadirector.core.advert import Advert, encode
from hadirector.core.settings.instances import Checksum
from labkit import topology
from labkit.director import HADIRECTOR, Hadirector
from labkit.lab import Lab
from labkit.server import DIRECT_PORT
from labkit.setup import VRID, Service, Setup, direct, nat

TUNNEL_PORT = 8001
VIP, INTRUDER = topology.VIP, topology.CLIENT
_PAIR = tuple(topology.DIRECTORS)
_MSS = 1440  # of a full segment within an ipip tunnel over links of 1500


@dataclass(frozen=True, slots=True)
class Fault:
    """`code` is doctor's word for it, or word and subject (`addresses-removed: NetworkManager on
    front`) where one word has several faults. `seconds` until it shows."""

    code: str
    plant: tuple[str, ...]
    mend: tuple[str, ...] = ()
    seconds: float = 0.0


NONE = Fault("", ())


def healthy() -> Setup:
    """A pair that balances by NAT, direct routing and tunnels."""
    tunnels = {f"{topology.front(h)}:{TUNNEL_PORT}": 1 for h in topology.SERVERS.values()}
    services = (nat(), direct(), Service("tunnel", TUNNEL_PORT, tunnels, "rr", "tun"))
    return Setup(services=services, advert_int=0.5)


def virtual_mac_inside(text: str) -> str:
    """A configuration whose servers' gateway has a virtual MAC."""
    shared = f"        - {{address: {topology.GATEWAY}/24, interface: back}}\n"
    inside = f"""\
    inside:
      interface: back
      virtual_router_id: {VRID + 1}
      virtual_addresses: [{topology.GATEWAY}/24]
      vmac: true
      preempt: always
  sync_groups:
    director: [front, inside]
"""
    return text.replace(shared, "").replace("\nconnection_sync:", f"{inside}\nconnection_sync:", 1)


def start(lab: Lab, setup: Setup) -> None:
    """The lab with its servers ready for tunnels too."""
    ready_for_tunnels(lab)
    lab.start(setup)


def ready_for_tunnels(lab: Lab) -> None:
    """On servers that do not run yet."""
    for name, host in topology.SERVERS.items():
        lab.servers[name].ports += (TUNNEL_PORT,)
        net = f"192.0.2.0/24 dev front proto kernel scope link src {topology.front(host)}"
        run(
            lab,
            f"{name}: modprobe ipip; ip link set tunl0 up",
            f"{name}: sysctl -qw net.ipv4.conf.tunl0.rp_filter=0",
            f"{name}: ip route change {net} advmss {_MSS}",
        )


def run(lab: Lab, *lines: str) -> None:
    """`node: shell line`, one after the other."""
    for line in lines:
        name, _, command = line.partition(": ")
        network = lab.network
        node = network.switch if name == network.switch.name else network.nodes[name]
        node.run("bash", "-c", command)


@contextmanager
def planted(lab: Lab, faults: Iterable[Fault]) -> Iterator[None]:
    """They are there; and gone afterwards."""
    with ExitStack() as stack:
        seconds = 0.0
        for fault in faults:
            run(lab, *fault.plant)
            stack.callback(run, lab, *fault.mend)
            seconds = max(seconds, fault.seconds)
        time.sleep(seconds)
        yield


def examine(director: Hadirector, *options: str) -> dict[str, Any]:
    """`hadirector doctor --json` on this node."""
    return _told(director.cli("doctor", "--json", *options))


def examine_here(*options: str) -> dict[str, Any]:
    """The same outside every node: in the initial network namespace."""
    command = [HADIRECTOR, "doctor", "--json", *options]
    return _told(subprocess.run(command, text=True, capture_output=True, timeout=60, check=False))


def _told(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"doctor: {done.returncode}: {done.stderr}")
    told: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == bool(told["findings"]), "the exit status says whether it found any"
    return told


def codes(told: dict[str, Any], wanted: Iterable[str] = ()) -> set[str]:
    """The kinds of faults found, with their subjects where `wanted` tells a kind by subjects."""
    by_subject = {each.partition(": ")[0] for each in wanted if ": " in each}
    return {
        f"{code}: {finding['subject']}" if code in by_subject else code
        for finding in told["findings"]
        for code in (finding["code"],)
    }


# --- On and around the master ---------------------------------------------------------------------

SERVERS_AND_MASTER = (
    Fault(
        "arp-answered",
        ("rs1: sysctl -qw net.ipv4.conf.all.arp_ignore=0",),
        ("rs1: sysctl -qw net.ipv4.conf.all.arp_ignore=1",),
    ),
    Fault(
        "server-deaf",
        (f"rs2: ip address del {VIP}/32 dev lo",),
        (f"rs2: ip address add {VIP}/32 dev lo",),
    ),
    Fault(
        "return-route",
        ("rs3: ip rule del from 10.0.1.0/24 lookup 100",),
        ("rs3: ip rule add from 10.0.1.0/24 lookup 100 priority 100",),
    ),
    Fault(
        "tunnel-mtu",
        (f"rs1: ip route change 192.0.2.0/24 dev front src {topology.front(11)}",),
        (f"rs1: ip route change 192.0.2.0/24 dev front src {topology.front(11)} advmss {_MSS}",),
    ),
    Fault(
        "server-listens-elsewhere",
        (
            f"rs4: (exec python3 -m http.server --bind {topology.front(14)} {DIRECT_PORT}) "
            "</dev/null >/dev/null 2>&1 & echo $! > /run/picky.pid",
            f"rs4: for i in $(seq 100); do ss -ltn | grep -q :{DIRECT_PORT} && break; sleep 0.1; "
            "done",
        ),
        ("rs4: kill $(cat /run/picky.pid)",),
    ),
    Fault(
        "hash-weight-zero",
        (
            f"lb1: ipvsadm -A -t {VIP}:9999 -s mh",
            f"lb1: ipvsadm -a -t {VIP}:9999 -r {topology.front(11)}:9999 -g -w 0",
            f"lb1: ipvsadm -a -t {VIP}:9999 -r {topology.front(12)}:9999 -g -w 1",
        ),
        (f"lb1: ipvsadm -D -t {VIP}:9999",),
    ),
    Fault(
        "rp-filter",
        (
            "lb1: ip route replace default via 10.0.1.100 dev back",
            "lb1: sysctl -qw net.ipv4.conf.all.rp_filter=1",
        ),
        (
            "lb1: sysctl -qw net.ipv4.conf.all.rp_filter=0",
            f"lb1: ip route replace default via {INTRUDER} dev front",
        ),
    ),
)

GATEWAY_OF_ONE_NODE = Fault(
    "gateway-not-virtual",
    (f"rs1: ip route replace default via {topology.back(1)} dev back table 100",),
    (f"rs1: ip route replace default via {topology.GATEWAY} dev back table 100",),
)

ADDRESS_TAKEN = Fault(
    "arp-answered",
    (f"client: ip address add {VIP}/32 dev front",),
    (f"client: ip address del {VIP}/32 dev front",),
)

# --- On the standby, with and without its daemon --------------------------------------------------

SYNC_FILTERED = Fault(
    "sync-filtered",
    ("lb2: ip xfrm policy add dst 224.0.0.81/32 proto udp dport 8848 dir in action block",),
    ("lb2: ip xfrm policy del dst 224.0.0.81/32 proto udp dport 8848 dir in",),
)
SYNC_MTU = Fault(
    "sync-mtu",
    ("lb2: ip link set back mtu 1400",),
    ("lb2: ip link set back mtu 1500",),
    seconds=3.0,
)
PEER_FILTERED = Fault(
    "peer-port",
    ("lb2: ip xfrm policy add proto udp dport 8849 dir in action block",),
    ("lb2: ip xfrm policy del proto udp dport 8849 dir in",),
    seconds=3.0,
)
VRRP_FILTERED = Fault(
    f"vrrp-filtered: front from {topology.front(1)}",
    ("lb2: ip xfrm policy add dst 224.0.0.18/32 proto 112 dir in action block",),
    ("lb2: ip xfrm policy del dst 224.0.0.18/32 proto 112 dir in",),
)
VRRP_KEPT_IN = Fault(
    "vrrp-filtered: front/ipv4 going out",
    ("lb1: ip xfrm policy add dst 224.0.0.18/32 proto 112 dir out action block",),
    ("lb1: ip xfrm policy del dst 224.0.0.18/32 proto 112 dir out",),
)
# A switch that prunes groups nobody has asked it for, without exception for 224.0.0.0/24.
VRRP_PRUNED = Fault(
    "vrrp-filtered: front/ipv4 from lb2",
    tuple(f"switch: ip link set {n}-front type bridge_slave mcast_flood off" for n in _PAIR),
    tuple(f"switch: ip link set {n}-front type bridge_slave mcast_flood on" for n in _PAIR),
    seconds=4.0,
)
ADDRESS_BY_HAND = Fault(
    "address-by-hand",
    (f"lb2: ip address add {VIP}/32 dev front",),
    (f"lb2: ip address del {VIP}/32 dev front",),
    seconds=1.0,
)
_SLEEP = (
    "mkdir -p /run/bin && cp /bin/sleep /run/bin/{0} && "
    "{{ /run/bin/{0} 100 </dev/null >/dev/null 2>&1 & echo $! > /run/{0}.pid; }}"
)
_INDEX = "$(ip -o link show front | cut -d: -f1)"
_NETIF = "/run/systemd/netif/links"
_NM = "/run/NetworkManager"
NETWORK_MANAGER = Fault(
    "addresses-removed: NetworkManager on front",
    (
        f"lb2: {_SLEEP.format('NetworkManager')}",
        f"lb2: mkdir -p {_NM}/devices",
        f"lb2: printf '[device]\\nmanaged=true\\n' > {_NM}/devices/{_INDEX}",
    ),
    ("lb2: kill $(cat /run/NetworkManager.pid)", f"lb2: rm -r {_NM}"),
    seconds=0.5,
)

WITHOUT_DAEMON = (
    Fault(
        "ip-forward",
        ("lb2: sysctl -qw net.ipv4.ip_forward=0",),
        ("lb2: sysctl -qw net.ipv4.ip_forward=1",),
    ),
    Fault(
        "backup-only",
        ("lb2: sysctl -qw net.ipv4.vs.backup_only=1",),
        ("lb2: sysctl -qw net.ipv4.vs.backup_only=0",),
    ),
    Fault(
        "redirects",
        ("lb2: sysctl -qw net.ipv4.conf.all.send_redirects=1",),
        ("lb2: sysctl -qw net.ipv4.conf.all.send_redirects=0",),
    ),
    Fault(
        "no-route",
        ("lb2: ip route add unreachable 198.51.100.0/24",),
        ("lb2: ip route del unreachable 198.51.100.0/24",),
    ),
    Fault(
        "rival", (f"lb2: {_SLEEP.format('keepalived')}",), ("lb2: kill $(cat /run/keepalived.pid)",)
    ),
    Fault(
        "addresses-removed: systemd-networkd on front",
        (
            f"lb2: {_SLEEP.format('systemd-networkd')}",
            f"lb2: mkdir -p {_NETIF} /run/systemd/network",
            "lb2: printf '[Match]\\nName=front\\n' > /run/systemd/network/10-front.network",
            "lb2: printf 'NETWORK_FILE=/run/systemd/network/10-front.network\\n' > "
            f"{_NETIF}/{_INDEX}",
        ),
        ("lb2: kill $(cat /run/systemd-networkd.pid)", "lb2: rm -r /run/systemd"),
        seconds=0.5,
    ),
)

# What only a configuration can have wrong: the codes doctor must find in it, and nothing else. Its
# rules and routes are those that a networkd with its defaults removes.
MISCONFIGURED = frozenset(
    {
        "addresses-removed: systemd-networkd: ManageForeignRoutes",
        "addresses-removed: systemd-networkd: ManageForeignRoutingPolicyRules",
        "address-of-nobody",
        "address-outside",
        "director-is-server",
        "dr-off-link",
        "module-missing: ip_vs_twos",
        "hash-weight-zero",
        "interface-missing",
    }
)


def misconfigured(key_file: Path) -> str:
    """A file with all of `MISCONFIGURED`, with servers for `redirects` and `no-route`, and with
    signed adverts, for `clocks_apart`. Each is lawful YAML that `hadirector check` takes."""
    return f"""\
cluster: lab
state_dir: /run/lab-state
runtime_dir: /run/hadirector
nodes:
  lb1: {{priority: 150, address: {topology.back(1)}}}
  lb2: {{priority: 100, address: {topology.back(2)}}}
key_file: {key_file}
vrrp:
  defaults: {{advert_int: 500ms}}
  instances:
    front:
      interface: front
      virtual_router_id: {VRID}
      virtual_addresses: [{VIP}/24, 172.16.5.5/32, {{address: 10.0.1.77/24, interface: front}}]
      authentication: hmac
      virtual_routes: [{{to: 203.0.113.0/24, via: {INTRUDER}, interface: front, table: 77}}]
      virtual_rules: [{{from: {VIP}, table: 77}}]
      track_interfaces: [gone]
connection_sync: {{interface: back, sync_id: {VRID}}}
virtual_services:
  nobody: {{address: "192.0.2.77:80", real_servers: ["{topology.front(11)}:80"]}}
  loop: {{address: "{VIP}:82", forward: dr, real_servers: ["{topology.back(1)}:82"]}}
  far: {{address: "{VIP}:83", forward: dr, real_servers: ["203.0.113.9:83"]}}
  lost: {{address: "{VIP}:84", real_servers: ["198.51.100.9:84"]}}
  twos: {{address: "{VIP}:85", scheduler: twos, real_servers: ["{topology.front(11)}:80"]}}
  hash: {{address: "{VIP}:86", scheduler: sh, real_servers: ["{topology.front(11)}:80"]}}
"""


@contextmanager
def wrong_port(lab: Lab) -> Iterator[None]:
    """Direct routing to another port than the service's, on the master, in a service of somebody
    else. ipvsadm itself would not do it; other tools and the kernel do."""
    service = IPVSService(addr=VIP, port=9998, protocol=6, sched_name="rr")
    server = IPVSDest(addr=topology.front(11), port=80, fwd_method=3, weight=1)

    def work() -> None:
        with IPVS() as ipvs:
            ipvs.service("add", service=service)
            ipvs.dest("add", service=service, dest=server)

    os.waitpid(lab.lb1.node.fork(work), 0)
    try:
        yield
    finally:
        run(lab, f"lb1: ipvsadm -D -t {VIP}:9998")


@contextmanager
def no_ip_vs() -> Iterator[None]:
    """ip_vs and its schedulers taken out of the lab's kernel, and put in again."""
    modules = [line.split()[0] for line in Path("/proc/modules").read_text().splitlines()]
    there = [name for name in modules if name.startswith("ip_vs")]
    top_down = sorted(there, key=len, reverse=True)  # ip_vs itself last
    subprocess.run(["modprobe", "-r", *top_down], check=True, capture_output=True, timeout=60)
    try:
        yield
    finally:
        subprocess.run(["modprobe", "-a", *there], check=True, capture_output=True, timeout=60)


# --- Strangers ------------------------------------------------------------------------------------


@contextmanager
def advertising(
    lab: Lab, *, vrid: int, priority: int, lists: str, stale: float | None = None
) -> Iterator[None]:
    """Somebody on the front network sends adverts; with `stale`, signed by a clock so much behind
    (with no lawful key, but nobody has to know the key to read the time)."""
    said = Advert(3, vrid, priority, 0.5, (Address(lists),))
    source, group = Address(INTRUDER), Address("224.0.0.18")

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, 112) as sock:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
            interface = socket.inet_aton(INTRUDER)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
            while True:
                signature = b""
                if stale is not None:
                    then = int(time.time() - stale)
                    signature = struct.pack("!BBHII16s", 1, 1, 0, then, 0, bytes(16))
                packet = encode(said, source, group, Checksum.AUTO, signature)
                sock.sendto(packet, (group, 0))
                time.sleep(0.2)

    with _forked(lab, "client", send):
        yield


@contextmanager
def asking_itself(lab: Lab, name: str) -> Iterator[None]:
    """A program of this node has a connection to the virtual address."""

    def hold() -> None:
        with socket.create_connection((VIP, 80), 5):
            time.sleep(100)

    with _forked(lab, name, hold):
        time.sleep(0.5)
        yield


@contextmanager
def _forked(lab: Lab, name: str, work: Callable[[], None]) -> Iterator[None]:
    pid = lab.network.nodes[name].fork(work)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
