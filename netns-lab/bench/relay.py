"""How many connection records a second the sealed relay carries, and at what CPU.

Needs root and ip_vs:

    python netns-lab/bench/relay.py [--seconds 3] [--json FILE]

Two namespaces on one wire: in one, datagrams of 32 records are handed to a relay as the kernel's
master thread would hand them, at a pace; in the other a relay opens them and hands them to the
kernel's backup thread. Both share the CPU here. `lost`: datagrams that did not get into the table,
given up by the relay or dropped by the kernel's socket, which has the buffer that the daemon gives
it. `30 % loss` is netem on the wire, in each direction. Exit status 1 when something is lost at
100,000 records a second or less.
"""

import argparse
import asyncio
import contextlib
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from hadirector.core import sysctls
from hadirector.core.address import Address
from hadirector.core.ipvs import SyncRole, SyncThread, Timeouts
from hadirector.core.keys import Key
from hadirector.core.relay_wire import PAYLOAD
from hadirector.core.settings.cluster import ConnectionSync, ResyncPolicy, SyncTransport
from hadirector.shell import backup_socket, private_link, private_tap, sysctl
from hadirector.shell.ipvs import Ipvs
from hadirector.shell.relay import RelayLink

RECORDS = 32  # in a datagram
CONNECTIONS = 100_000
GOAL = 100_000  # records a second that are carried without a loss
PACES = (20_000, 50_000, 100_000, 200_000, 400_000)
TICK = 0.005  # seconds
KEYS = (Key(1, bytes(range(32))),)
NODES = {"lb1": Address("10.9.0.1"), "lb2": Address("10.9.0.2")}
SYNC = ConnectionSync(
    interface="eth0",
    sync_id=51,
    group=private_tap.GROUP,
    port=8848,
    transport=SyncTransport.AUTHENTICATED,
    resync=ResyncPolicy.NEVER,
    unicast=NODES,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. CPU in percent of a core, of either relay's process."""

    wire: str
    wanted: int
    carried: int  # records a second
    sender_cpu: float
    receiver_cpu: float
    again: int  # datagrams
    lost: int  # datagrams


def datagrams() -> list[bytes]:
    """Records of established connections, 32 in each datagram."""
    made = []
    for first in range(0, CONNECTIONS, RECORDS):
        records = b"".join(
            struct.pack(
                "!BBHIHHHHII4s4s4s",
                *(0, 6, 36, 0x100, 1, 1024 + number % 60_000, 80, 8080, 0, 900),
                (0x0A000001 + number).to_bytes(4, "big"),
                *(bytes((192, 0, 2, 10)), bytes((10, 0, 1, 11))),
            )
            for number in range(first, first + RECORDS)
        )
        made.append(struct.pack("!BBHBbH", 0, 51, 8 + len(records), RECORDS, 1, 0) + records)
    return made


def dropped() -> int:
    """What the socket of the kernel's backup thread had no room for."""
    found = backup_socket.find(private_tap.GROUP, private_tap.PORT)
    return found.drops if found is not None else 0


async def relay_of(node: str) -> RelayLink:
    """The relay of one node, with the kernel's backup thread behind it."""
    private_link.PrivateLink().ensure()
    sysctl.Loan().apply(sysctls.for_sync(Timeouts(900, 120, 300)))
    group, port = private_tap.GROUP, private_tap.PORT
    thread = SyncThread(SyncRole.BACKUP, private_link.NAME, 51, group, port, maxlen=PAYLOAD)
    with Ipvs() as ipvs:
        await ipvs.start_thread(thread)
    link = RelayLink(time.time_ns(), lambda *_: None, lambda *_: None)
    peers = tuple(name for name in NODES if name != node)
    link.follow("bench", node, SYNC, peers, KEYS)
    return link


async def receive() -> None:
    """Answer each line that comes in with the state of the relay, until there is none."""
    link = await relay_of("lb2")
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        peer = link.state().peers["lb1"]
        told = (peer.alive, peer.taken, peer.again, peer.lost + dropped(), time.process_time())
        print(json.dumps(told), flush=True)
    link.close()


async def send() -> None:
    """For each line `PACE SECONDS` send at that pace; how many and how long it took."""
    link = await relay_of("lb1")
    loop = asyncio.get_running_loop()
    made = datagrams()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        pace, seconds = map(float, line.split())
        began, cpu, sent = time.monotonic(), time.process_time(), 0
        while (passed := time.monotonic() - began) < seconds:
            for _ in range(int(passed * pace / RECORDS) - sent):
                link.send(made[sent % len(made)])
                sent += 1
            await asyncio.sleep(TICK)
        print(json.dumps((sent, passed, time.process_time() - cpu)), flush=True)
    link.close()


class End:
    """One of the two, in a namespace of its own."""

    def __init__(self, role: str) -> None:
        command = ["unshare", "--net", sys.executable, __file__, "--role", role]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        own = os.stat("/proc/self/ns/net").st_ino
        while os.stat(f"/proc/{self.pid}/ns/net").st_ino == own:
            time.sleep(0.01)

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, *command: str) -> None:
        """A command in its namespace."""
        enter = ("nsenter", f"--net=/proc/{self.pid}/ns/net")
        subprocess.run([*enter, *command], check=True)

    def ask(self, line: str) -> list[float]:
        """What it says to a line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        told: list[float] = json.loads(self._process.stdout.readline())
        return told

    def end(self) -> None:
        """Let it go."""
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def wired(loss: bool) -> Iterator[tuple[End, End]]:
    """Sender and receiver; they wait for the wire."""
    one, two = End("send"), End("receive")
    try:
        peer = ("peer", "name", "eth0", "netns", str(two.pid))
        one.run("ip", "link", "add", "eth0", "type", "veth", *peer)
        for end, address in zip((one, two), NODES.values(), strict=True):
            end.run("ip", "link", "set", "lo", "up")
            end.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
            end.run("ip", "link", "set", "eth0", "up")
            if loss:
                end.run("tc", "qdisc", "add", "dev", "eth0", "root", "netem", "loss", "30%")
        while not two.ask("")[0]:
            time.sleep(0.2)
        yield one, two
    finally:
        one.end()
        two.end()


def measure(wire: str, pace: int, seconds: float) -> Row:
    """One pace on one wire."""
    with wired(loss=wire != "sound") as (sender, receiver):
        _, _, _, _, cpu_before = receiver.ask("")
        sent, took, sender_cpu = sender.ask(f"{pace} {seconds}")
        time.sleep(2.5)
        _, taken, again, lost, cpu = receiver.ask("")
        missing = sent - taken
        return Row(
            wire,
            pace,
            round(taken * RECORDS / took),
            round(100 * sender_cpu / took, 1),
            round(100 * (cpu - cpu_before) / took, 1),
            round(again),
            round(max(lost, missing)),
        )


def main() -> int:
    """Measure every pace; the exit status."""
    parser = argparse.ArgumentParser(description="records a second through the sealed relay")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--json", metavar="FILE", help="write the rows there as well")
    parser.add_argument("--role", choices=("send", "receive"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role is not None:
        asyncio.run(send() if options.role == "send" else receive())
        return 0
    # It exists only in the initial namespace, where the operator sets it (conf/sysctl.d).
    Path("/proc/sys/net/core/rmem_max").write_text("8388608")
    rows = [measure("sound", pace, options.seconds) for pace in PACES]
    rows.append(measure("30 % loss", 20_000, options.seconds))
    rows.append(measure("30 % loss", 100_000, options.seconds))
    print("wire       wanted/s  carried/s  sender CPU  receiver CPU  again   lost")
    for row in rows:
        print(
            f"{row.wire:<10} {row.wanted:>8} {row.carried:>10} {row.sender_cpu:>10}%"
            f" {row.receiver_cpu:>12}% {row.again:>6} {row.lost:>6}"
        )
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(row) for row in rows]))
    missed = [row for row in rows if row.wire == "sound" and row.wanted <= GOAL and row.lost]
    print(f"goal: nothing lost up to {GOAL} records a second: {'missed' if missed else 'met'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
