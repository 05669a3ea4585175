"""How long a standby that comes back needs until it has every connection: 10,000 to a million.

Needs root and ip_vs; for a million connections some 3 GB of memory (`LAB_MEMORY=4G netns-lab/lab
bench resync`):

    python netns-lab/bench/resync.py [--sizes 10000,100000,1000000] [--json FILE]

The master's table is filled by sync records, as that of a node that was standby before. Then the
standby's daemon starts in an empty node. `ready_s` is from there to READY, `resync_s` from the
moment its services are programmed. `loop_ms` is the longest that a syncer's loop, the master's or
the standby's, did not turn, `machine_ms` the longest that nobody's turn came, whatever his
priority. Everything shares one CPU here: kernels, daemons, switch.
Exit status 1 when a goal is missed.
"""

import argparse
import json
import os
import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from hadirector.core import ipvs_sync
from labkit import topology
from labkit.director import Hadirector
from labkit.lab import Lab
from labkit.metronome import Metronome
from labkit.node import Node
from labkit.setup import Setup, nat

SIZES = (10_000, 100_000, 1_000_000)
GOALS = {10_000: 5.0, 100_000: 5.0, 1_000_000: 60.0}  # seconds of resync
PACE = 60_000  # connections a second into the master's table
ADVERT_INT = 0.1
GROUP = ("224.0.0.81", 8848)
TABLE_BITS = 20  # of the kernel's hash; the default of 12 makes a million connections slow


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement."""

    connections: int
    held: int
    ready_s: float
    resync_s: float
    wire_mb: float
    dropped: int
    measure: str
    jitter_ms: float  # the longest gap between adverts meanwhile, beyond the interval
    quiet_jitter_ms: float  # the same in as many seconds before
    loop_ms: float
    machine_ms: float
    master_mb: float
    standby_mb: float


def records(count: int) -> list[bytes]:
    """Established connections of as many clients, spread over the servers."""
    servers = [socket.inet_aton(topology.back(host)) for host in topology.SERVERS.values()]
    virtual = socket.inet_aton(topology.VIP)
    return [
        ipvs_sync.IPV4.pack(
            0,
            6,
            36,
            0,
            1,
            1024 + number % 60_000,
            80,
            8080,
            0,
            3600,
            struct.pack("!I", 0x0B000000 + number // 60_000),
            virtual,
            servers[number % len(servers)],
        )
        for number in range(count)
    ]


def feed(node: Node, count: int) -> None:
    """Send so many connections from this node to the group, at a pace."""
    pid = node.fork(lambda: _feed(count))
    os.waitpid(pid, 0)


def _feed(count: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        own = socket.inet_aton(topology.back(topology.SERVERS["rs1"]))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        begun, sent = time.monotonic(), 0
        for payload, packed in ipvs_sync.pack(records(count), 51, 1472):
            sock.sendto(payload, GROUP)
            sent += packed
            ahead = begun + sent / PACE - time.monotonic()
            if ahead > 0.005:
                time.sleep(ahead)


def measure(count: int) -> Row:
    """One size."""
    with Lab("hadirector") as lab:
        lab.start(
            Setup(
                services=(nat(),),
                advert_int=ADVERT_INT,
                preempt="when-synced",
                extra="timeouts: {tcp: 1h}\n",
            )
        )
        lab.lb2.power_off()
        lab.lb2.power_on()
        lab.lb2.configure(lab.lb1.setup)
        master, standby = lab.lb1, lab.lb2
        assert isinstance(master, Hadirector)
        assert isinstance(standby, Hadirector)
        while True:
            feed(lab.network.nodes["rs1"], count)
            if _wait_for(lambda: counted(master) >= count, 30.0):
                break
            print(f"  {counted(master)} of {count} taken; again", file=sys.stderr)
        with lab.sniff() as adverts, Metronome() as machine:
            quiet = time.monotonic()
            time.sleep(5.0)
            sent = _sent(master.node)
            begun = time.monotonic()
            standby.start()
            standby.wait_serving(120.0)
            serving = time.monotonic()
            if not _wait_for(lambda: is_ready(standby), 300.0):
                raise RuntimeError(f"never ready: {standby.status()['sync']}")
            ready = time.monotonic()
            wire = _sent(master.node) - sent
        sync = standby.status()["sync"]
        time.sleep(2.0)  # until they have told how late they were
        return Row(
            count,
            counted(standby),
            round(ready - begun, 2),
            round(ready - serving, 2),
            round(wire / 1e6, 1),
            int(sync["lost"] or 0),
            sync["measure"],
            jitter(adverts.worst_gap(topology.front(1), begun, ready)),
            jitter(adverts.worst_gap(topology.front(1), quiet, begun)),
            max(loop(master), loop(standby)),
            machine.worst(begun, ready),
            memory(master),
            memory(standby),
        )


def is_ready(director: Hadirector) -> bool:
    """It says so, and that nothing is missing."""
    status = director.status()
    return bool(status["ready"] and status["sync"]["completeness"] == 100)


def counted(director: Hadirector) -> int:
    """Active connections by the kernel's own counters."""
    text = director.node.run("ipvsadm", "-Ln")
    return sum(int(line.split()[4]) for line in text.splitlines() if "Masq" in line)


def _wait_for(met: Callable[[], bool], within: float) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
        if met():
            return True
        time.sleep(0.1)
    return False


def _sent(node: Node) -> int:
    """Bytes that left on the back network."""
    for line in node.net("dev").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == "back":
            return int(rest.split()[8])
    raise RuntimeError("no back network")


def jitter(gap: float) -> float:
    return round(1000 * (gap - ADVERT_INT), 1)


def loop(director: Hadirector) -> float:
    """How late the syncer's loop was at worst in the last minute, ms."""
    return float(director.status()["processes"]["syncer"]["lag_ms_max"] or 0.0)


def memory(director: Hadirector) -> float:
    """The syncer's resident memory, MB."""
    text = Path(f"/proc/{director.pid_of('syncer')}/status").read_text()
    line = next(each for each in text.splitlines() if each.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024, 1)


def prepare() -> None:
    """What a host has from its configuration: room for the sync socket, and a large hash."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    Path("/proc/sys/net/core/rmem_max").write_text(str(8 << 20))
    lines = Path("/proc/modules").read_text().splitlines()
    loaded = [line.split()[0] for line in lines if line.startswith("ip_vs")]
    subprocess.run(["modprobe", "-r", *loaded], check=False, capture_output=True)
    subprocess.run(["modprobe", "ip_vs", f"conn_tab_bits={TABLE_BITS}"], check=False)


def main() -> int:
    """Measures and prints; see the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    prepare()
    rows = []
    for size in map(int, options.sizes.split(",")):
        row = measure(size)
        rows.append(row)
        for name, value in asdict(row).items():
            print(f"{name:18} {value:>12}")
        print(f"{'goal resync_s':18} {GOALS.get(size, 60.0):>12}\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    late = any(row.resync_s > GOALS.get(row.connections, 60.0) for row in rows)
    return 1 if late or any(row.held < row.connections for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
