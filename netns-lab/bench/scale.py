"""Ten thousand endpoints checked each second while adverts go out each 10 ms.

    python netns-lab/bench/scale.py [--targets 10000] [--seconds 20] [--type tcp] [--json]
    python netns-lab/bench/scale.py --quiet-host      the adverts alone: what this host allows
    python netns-lab/bench/scale.py --keepalived      keepalived's checkers instead (needs ip_vs)
    python netns-lab/bench/scale.py --type http --fail 1 --fall 3 --interval 0.1 --targets 200
                                    --seconds 60      one answer in a hundred is 503, by chance

Runs as root in a network namespace of its own, with the product's own processes: the checker (with
as many workers as it takes) probes addresses of 127.0.0.0/8, each of which answers and closes; the
election sends adverts over a veth pair, at whose other end they are stamped by the kernel. Told are
probes done of those due, CPU time per 1,000 probes, memory per endpoint, and how far the gaps
between adverts were from 10 ms.
"""

import argparse
import asyncio
import ctypes
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hadirector.config.load import load
from hadirector.core import messages
from hadirector.core.address import Endpoint, canonical
from hadirector.core.messages import ElectionSettings, Health, Process, Ready, Targets
from hadirector.core.settings.checks import Check, CheckType, Target, target_id
from hadirector.shell import channel

ADVERT_INT = 0.01
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"
FAILURE = b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\nConnection: close\r\n\r\nNO"
WARM_UP = 6.0  # seconds: first verdicts, held connections
INSTANCE = f"""
cluster: bench
nodes: {{lb1: {{}}}}
vrrp:
  instances:
    front: {{interface: veth0, virtual_router_id: 51, advert_int: {ADVERT_INT}, priority: 200,
      startup_delay: 0s, virtual_addresses: [192.0.2.10/24]}}
"""
KEEPALIVED = """
virtual_server 192.0.2.10 80 {{
    lvs_sched rr
    lvs_method NAT
    protocol TCP
    delay_loop {interval}
{servers}}}
"""
KEEPALIVED_SERVER = """\
    real_server {address} {port} {{
        weight 1
        {check}
    }}
"""
SIOCGSTAMPNS = 35  # SO_TIMESTAMPNS
CLONE_NEWNET = 0x40000000
TICKS = os.sysconf("SC_CLK_TCK")


def serve(listener: socket.socket, says: bytes, fail: float) -> None:
    """Accept, answer, close, for ever. `fail` percent of the answers are 503."""
    while not says:  # as cheap as it can be: who measures has the same CPUs
        connection, _ = listener.accept()
        os.close(connection.detach())
    loop, dice = asyncio.new_event_loop(), random.Random(1)
    listener.setblocking(False)

    def accept() -> None:
        with suppress(BlockingIOError):
            for _ in range(256):
                connection, _ = listener.accept()
                connection.setblocking(False)
                loop.add_reader(connection.fileno(), answer, connection)

    def answer(connection: socket.socket) -> None:
        loop.remove_reader(connection.fileno())
        with suppress(OSError):
            if connection.recv(4096):
                connection.send(FAILURE if dice.random() < fail / 100 else says)
        connection.close()

    loop.add_reader(listener.fileno(), accept)
    loop.run_forever()


@contextmanager
def server(says: bytes, fail: float = 0.0) -> Iterator[int]:
    """A server of its own process on every address of 127.0.0.0/8; its port."""
    with socket.create_server(("0.0.0.0", 8080), backlog=65535) as listener:
        pid = os.fork()
        if pid == 0:
            serve(listener, says, fail)
    try:
        yield 8080
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def targets(
    kind: CheckType, count: int, interval: float, port: int, fall: int = 2
) -> tuple[Target, ...]:
    """The addresses 127.1.0.1 and up."""
    check = Check(
        name="bench",
        type=kind,
        interval=interval,
        fast_interval=interval,
        timeout=min(1.0, interval),
        rise=2,
        fall=fall,
        held=False,
    )
    found = (
        Endpoint(canonical(f"127.{1 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"), port)
        for n in range(1, count + 1)
    )
    return tuple(Target(target_id(check.name, at), check, at) for at in found)


def network() -> None:
    """A namespace of our own: loopback, and a veth pair for the adverts."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare: needs root")
    lines = "link set lo up\nlink add veth0 type veth peer name veth1\n"
    lines += "address add 192.0.2.1/24 dev veth0\nlink set veth0 up\nlink set veth1 up\n"
    subprocess.run(["ip", "-batch", "-"], input=lines.encode(), check=True)
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("1024 65535")
    Path("/proc/sys/net/ipv4/tcp_tw_reuse").write_text("1")
    Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647")
    Path("/proc/sys/net/core/somaxconn").write_text("65535")


class Child:
    """A process of the product, and our end of its channel as the director."""

    def __init__(self, process: Process) -> None:
        ours, theirs = channel.pair()
        note = os.memfd_create("note")
        fds = [f"--fd=director={theirs.fileno()}", f"--fd=note={note}"]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"hadirector.{process.value}", *fds],
            pass_fds=(theirs.fileno(), note),
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        self.status = ""
        self.health: dict[str, Health] = {}
        self.changes: Counter[str] = Counter()
        self.link = channel.Channel(ours, process.value)
        self.link.start(self._take)

    def _take(self, received: channel.Received) -> None:
        if isinstance(received.message, messages.Heartbeat):
            self.status = received.message.status
        elif isinstance(received.message, messages.Verdicts):
            for verdict in received.message.verdicts:
                if self.health.get(verdict.target) is not verdict.health:
                    self.health[verdict.target] = verdict.health
                    self.changes[verdict.health.value] += 1

    def end(self) -> None:
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.link.close()


def family_of(pid: int) -> list[int]:
    """A process and all below it."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        with suppress(OSError):
            todo += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return found


def cpu(pids: list[int]) -> float:
    """Seconds of CPU they used so far."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory(pids: list[int]) -> float:
    """Bytes that are theirs alone."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += sum(int(n) for n in re.findall(r"Private_(?:Clean|Dirty): +(\d+)", text))
    return 1024 * total


def counted(status: str) -> dict[str, int]:
    """`due=1 done=1 ...` of the checker or its workers, added up."""
    found: dict[str, int] = {}
    for name, number in re.findall(r"(\w+)=(\d+)", status):
        found[name] = found.get(name, 0) + int(number)
    return found


class Adverts:
    """The kernel's stamps of adverts at the other end of the pair."""

    def __init__(self) -> None:
        self.stamps: list[float] = []
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self._sock.bind(("veth1", 0))
        self._sock.setsockopt(socket.SOL_SOCKET, SIOCGSTAMPNS, 1)
        self._sock.setblocking(False)
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._readable)

    def _readable(self) -> None:
        with suppress(BlockingIOError):
            while True:
                data, more, _, _ = self._sock.recvmsg(256, 64)
                if data[9] == 112:
                    seconds, nanoseconds = struct.unpack("=qq", more[0][2][:16])
                    self.stamps.append(seconds + nanoseconds / 1e9)

    def off(self, since: int) -> dict[str, float]:
        """How far the gaps since the stamp of that number were from the interval."""
        gaps = [b - a for a, b in zip(self.stamps[since:], self.stamps[since + 1 :], strict=False)]
        off = sorted(abs(gap - ADVERT_INT) * 1000 for gap in gaps)
        if not off:
            return {"adverts": 0}
        at = {f"p{p}": off[min(len(off) - 1, int(len(off) * p / 100))] for p in (50, 99, 99.9)}
        return {
            "adverts": len(off) + 1,
            **{f"advert_off_{k}_ms": v for k, v in at.items()},
            "advert_off_worst_ms": off[-1],
        }


async def measure(options: argparse.Namespace) -> dict[str, float]:
    """The checker beside the election."""
    folder = Path(tempfile.mkdtemp(prefix="hadirector-bench-"))
    (folder / "bench.yaml").write_text(INSTANCE)
    config = load(str(folder / "bench.yaml"), "lb1").config
    assert config is not None
    adverts = Adverts()
    election = Child(Process.ELECTION)
    settings = ElectionSettings(
        "lb1", config.instances, (), config.vip_lease, f"{folder}/addresses"
    )
    election.link.send(settings)

    async def ready() -> None:
        while True:
            election.link.send(Ready(True, "bench"), time.clock_gettime(time.CLOCK_BOOTTIME) + 5)
            await asyncio.sleep(1)

    saying = asyncio.create_task(ready())
    if options.quiet_host:
        await asyncio.sleep(WARM_UP)
        since = len(adverts.stamps)
        await asyncio.sleep(options.seconds)
        saying.cancel()
        election.end()
        return adverts.off(since)
    kind = CheckType(options.type)
    checker = Child(Process.CHECKER)
    await asyncio.sleep(3)
    empty = memory(family_of(checker.process.pid))
    with server(ANSWER if kind is CheckType.HTTP else b"", options.fail) as port:
        probed = targets(kind, options.targets, options.interval, port, options.fall)
        checker.link.send(Targets(probed))
        await asyncio.sleep(WARM_UP + options.targets / 5000)
        before, since = counted(checker.status), len(adverts.stamps)
        checker.changes.clear()
        pids = family_of(checker.process.pid)
        began, used = time.monotonic(), cpu(pids)
        await asyncio.sleep(options.seconds)
        used, took = cpu(pids) - used, time.monotonic() - began
        after = counted(checker.status)
        full = memory(pids)
    saying.cancel()
    checker.end()
    election.end()
    told = {name: after[name] - before.get(name, 0) for name in after}
    done, due = told["done"], told["due"]
    return {
        "targets": options.targets,
        "processes": len(pids),
        "due": due,
        "done": done,
        "done_of_due_percent": 100 * done / due if due else 0.0,
        "missed": told["missed"],
        "late": told["late"],
        "void": told["void"],
        "doubts": checker.changes["falling"],
        "taken_out": checker.changes["down"],
        "checks_per_second": done / took,
        "cpus": used / took,
        "cpu_ms_per_1000_checks": 1e6 * used / done if done else 0.0,
        "bytes_per_endpoint": (full - empty) / options.targets,
        **adverts.off(since),
    }


async def measure_keepalived(options: argparse.Namespace) -> dict[str, float]:
    """keepalived's checkers with the same servers; its probes are counted at the server's end."""
    checks = {
        "tcp": "TCP_CHECK { connect_timeout 1 }",
        "http": "HTTP_GET { url { path / status_code 200 } connect_timeout 1 }",
        "ping": "PING_CHECK { connect_timeout 1 }",
    }
    folder = Path(tempfile.mkdtemp(prefix="hadirector-bench-"))
    with server(ANSWER if options.type == "http" else b"") as port:
        sizes = {}
        for count in (1, options.targets):
            probed = targets(CheckType(options.type), count, options.interval, port)
            servers = "".join(
                KEEPALIVED_SERVER.format(
                    address=t.endpoint.address, port=port, check=checks[options.type]
                )
                for t in probed
            )
            text = KEEPALIVED.format(interval=options.interval, servers=servers)
            (folder / "keepalived.conf").write_text(text)
            process = subprocess.Popen(  # noqa: ASYNC220  # nothing else runs here
                [
                    "keepalived",
                    "-n",
                    "-C",
                    "-f",
                    f"{folder}/keepalived.conf",
                    "-p",
                    f"{folder}/p",
                    "-c",
                    f"{folder}/c",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            await asyncio.sleep(WARM_UP + count / 1000)
            pids = family_of(process.pid)
            began, used = time.monotonic(), cpu(pids)
            opened = opens()
            await asyncio.sleep(options.seconds)
            used, took = cpu(pids) - used, time.monotonic() - began
            done = opens() - opened
            sizes[count] = memory(pids)
            process.terminate()
            process.wait()
    each = (sizes[options.targets] - sizes[1]) / max(1, options.targets - 1)
    return {
        "targets": options.targets,
        "checks_per_second": done / took,
        "cpus": used / took,
        "cpu_ms_per_1000_checks": 1e6 * used / done if done else 0.0,
        "bytes_per_endpoint": each,
    }


def opens() -> int:
    """Connections (and echo requests) that this namespace has begun."""
    lines = Path("/proc/net/snmp").read_text().splitlines()
    tables = {
        head.split(":")[0]: dict(zip(head.split()[1:], row.split()[1:], strict=True))
        for head, row in zip(lines[::2], lines[1::2], strict=True)
    }
    return int(tables["Tcp"]["ActiveOpens"]) + int(tables["Icmp"]["OutEchos"])


def main() -> None:
    """Measure, and print one figure a line."""
    parser = argparse.ArgumentParser(description="ten thousand endpoints, and adverts at 10 ms")
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--type", choices=("tcp", "http", "ping"), default="tcp")
    parser.add_argument(
        "--fail", type=float, default=0.0, help="percent of http answers, by chance"
    )
    parser.add_argument("--fall", type=int, default=2)
    parser.add_argument("--quiet-host", action="store_true", help="adverts alone")
    parser.add_argument("--keepalived", action="store_true", help="its checkers instead of ours")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    network()
    figures = asyncio.run((measure_keepalived if options.keepalived else measure)(options))
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:24} {value:12.2f}".rstrip("0").rstrip("."))


if __name__ == "__main__":
    main()
