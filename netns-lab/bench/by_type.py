"""What each type of check costs, beside keepalived's checker of the same kind.

    netns-lab/lab exec .venv/bin/python netns-lab/bench/by_type.py [--types tcp http] [--json]
    python netns-lab/bench/by_type.py --alone      without keepalived: needs no ip_vs

Runs as root in a network namespace of its own. For each type a server of its own process answers on
addresses of 127.0.0.0/8, and the product's checker (for exec its runner as well; this program is
the director) probes 400 of them; then keepalived does the same, where it has such a checker.
Told are the CPU time of 1,000 probes (of all processes of each, as the kernel counts it), the
memory that one endpoint more takes, and how many endpoints were called up at the end. A probe is
counted when it arrives: at the server, as an echo request, as a program that was started.
"""

import argparse
import asyncio
import json
import mmap
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from checks import ANSWER, PKTINFO, _context
from scale import KEEPALIVED, KEEPALIVED_SERVER, TICKS, Child, counted, family_of, memory, network

from hadirector.core import messages
from hadirector.core.address import Endpoint, canonical
from hadirector.core.checker_messages import Execute, Report
from hadirector.core.errands import Errands
from hadirector.core.messages import Health, Process, Reports, Targets
from hadirector.core.runner_messages import Ran
from hadirector.core.settings.checks import Check, CheckType, Target, target_id
from hadirector.core.settings.questions import Dialogue, Dns, Preset, Smtp, Tls, Udp
from hadirector.shell import channel, child

TARGETS = 400
PROGRAMS = 100  # targets of exec: the lab kernel takes 10 ms and more for each program
PORT = 8080
WARM_UP = 2.0  # seconds beyond an interval: first probes, first verdicts
START = 3.0  # seconds for a program to start

TOLD_HERE = (CheckType.EXTERNAL,)  # by this program: nothing arrives anywhere
COUNTER = struct.Struct("=Q")
PAYLOAD = b"hello"

# Seconds between probes of one endpoint: what costs much is asked less often.
INTERVALS = {CheckType.HTTPS: 8.0, CheckType.TLS: 8.0, CheckType.EXEC: 10.0}

THEIRS = {
    CheckType.TCP: "TCP_CHECK { connect_timeout 2 }",
    CheckType.HTTP: "HTTP_GET { url { path /healthz status_code 200 } connect_timeout 2 }",
    CheckType.HTTPS: "SSL_GET { url { path /healthz status_code 200 } connect_timeout 2 }",
    CheckType.DNS: "DNS_CHECK { type A name shop.example connect_timeout 2 }",
    CheckType.SMTP: "SMTP_CHECK { helo_name bench connect_timeout 2 }",
    CheckType.UDP: f"UDP_CHECK {{ payload {PAYLOAD.hex()} require_reply connect_timeout 2 }}",
    CheckType.PING: "PING_CHECK { connect_timeout 2 }",
    CheckType.EXEC: "MISC_CHECK { misc_path /bin/true misc_timeout 5 }",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement of one program."""

    check: str
    program: str
    probes: int
    seconds: float
    cpu_ms_per_1000: float
    bytes_per_endpoint: float
    up: int


def check_of(kind: CheckType) -> Check:
    """The plainest check of a type; the same as keepalived's, where it has it."""
    return Check(
        name="bench",
        type=kind,
        interval=INTERVALS.get(kind, 1.0),
        fast_interval=0.5,
        timeout=2.0 if kind is not CheckType.EXEC else 5.0,
        rise=2,
        fall=2,
        held=False,
        path="/healthz",
        tls=Tls(verify=False) if kind in (CheckType.HTTPS, CheckType.TLS) else None,
        dns=Dns("shop.example", "A"),
        smtp=Smtp("bench"),
        udp=Udp(PAYLOAD, ""),
        dialogue=Dialogue(preset=Preset.REDIS),
        command=("/bin/true",),
        max_age=60.0,
    )


def many(kind: CheckType) -> int:
    """How many endpoints."""
    return PROGRAMS if kind is CheckType.EXEC else TARGETS


def targets(kind: CheckType, count: int) -> tuple[Target, ...]:
    """The addresses 127.1.0.1 and up."""
    check = check_of(kind)
    at = [Endpoint(canonical(f"127.1.{n >> 8}.{n & 255}"), PORT) for n in range(1, count + 1)]
    return tuple(Target(target_id(check.name, one), check, one) for one in at)


# The servers


def serve(kind: CheckType, sock: socket.socket, count: Callable[[], None]) -> None:
    """Answer whoever asks, for ever, as cheaply as can be: who measures has the same CPUs."""
    if sock.type == socket.SOCK_DGRAM:
        return answer_datagrams(kind, sock, count)
    context = _context() if kind in (CheckType.HTTPS, CheckType.TLS) else None
    talk = {
        CheckType.SMTP: [b"220 bench ESMTP\r\n", b"250 bench\r\n", b"221 bye\r\n"],
        CheckType.EXPECT: [b"", b"+PONG\r\n"],
        CheckType.AGENT: [b"up 80%\n"],
        CheckType.HTTP: [b"", ANSWER],
        CheckType.HTTPS: [b"", ANSWER],
    }.get(kind, [])
    while True:
        connection, _ = sock.accept()
        count()
        try:
            connection.settimeout(1.0)
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            for number, line in enumerate(talk):
                if number and not connection.recv(4096):
                    break
                if line:
                    connection.send(line)
        except (OSError, ssl.SSLError):
            pass
        finally:
            connection.close()


def answer_datagrams(kind: CheckType, sock: socket.socket, count: Callable[[], None]) -> None:
    """The question back, as an answer where it is one of DNS; from the address that was asked."""
    sock.setsockopt(socket.IPPROTO_IP, PKTINFO, 1)
    while True:
        question, told, _, sender = sock.recvmsg(512, 64)
        count()
        reply = question
        if kind is CheckType.DNS:
            head = question[:2] + b"\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00"
            ends = question.index(b"\0", 12) + 5
            record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x0a"
            reply = head + question[12:ends] + record
        source = (socket.IPPROTO_IP, PKTINFO, bytes(4) + told[0][2][8:12] + bytes(4))
        sock.sendmsg([reply], [source], 0, sender)


@contextmanager
def server(kind: CheckType) -> Iterator[Callable[[], int]]:
    """A server where the type needs one; how many probes came so far."""
    if kind is CheckType.PING:
        yield echoes
        return
    if kind in (CheckType.EXEC, CheckType.EXTERNAL):
        yield forks
        return
    shared = mmap.mmap(-1, COUNTER.size)

    def count() -> None:
        COUNTER.pack_into(shared, 0, COUNTER.unpack_from(shared)[0] + 1)

    datagrams = kind in (CheckType.DNS, CheckType.UDP)
    form = socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, form) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("0.0.0.0", PORT))
        if not datagrams:
            sock.listen(4096)
        pid = os.fork()
        if pid == 0:
            serve(kind, sock, count)
    try:
        yield lambda: int(COUNTER.unpack_from(shared)[0])
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def echoes() -> int:
    """Echo requests that this namespace has sent."""
    head, row = (
        line.split()
        for line in Path("/proc/net/snmp").read_text().splitlines()
        if line.startswith("Icmp:")
    )
    return int(row[head.index("OutEchos")])


def forks() -> int:
    """Processes that this kernel has started."""
    found = re.search(r"^processes (\d+)", Path("/proc/stat").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def cpu(pids: list[int]) -> float:
    """Seconds of CPU that they used so far, and the programs that they ran and that ended."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / TICKS


# This product


class Runner(Child):
    """The process that runs programs; `ended` is told of each."""

    def __init__(self, ended: Callable[[Ran], None]) -> None:
        self._ended = ended
        super().__init__(Process.RUNNER)

    def _take(self, received: channel.Received) -> None:
        if isinstance(received.message, Ran):
            self._ended(received.message)


class Checker(Child):
    """The checker; what it wants run goes the product's way, with this program as director."""

    def __init__(self, kind: CheckType) -> None:
        self._errands = Errands()
        self.runner = Runner(self._ran) if kind is CheckType.EXEC else None
        super().__init__(Process.CHECKER)

    def probe(self, wanted: tuple[Target, ...]) -> None:
        self._errands.configure(wanted)
        self.link.send(Targets(wanted))

    @property
    def pids(self) -> list[int]:
        found = family_of(self.process.pid)
        return found + (family_of(self.runner.process.pid) if self.runner else [])

    def end(self) -> None:
        super().end()
        if self.runner is not None:
            self.runner.end()

    def _take(self, received: channel.Received) -> None:
        if isinstance(received.message, Execute):
            self._answer(self._errands.ask(received.message, child.now()))
            self._run()
        else:
            super()._take(received)

    def _run(self) -> None:
        assert self.runner is not None
        for run in self._errands.start(child.now()):
            self.runner.link.send(run)

    def _ran(self, ran: Ran) -> None:
        self._answer(self._errands.ended(ran, child.now()))
        self._run()

    def _answer(self, answers: list[messages.Executed]) -> None:
        for answer in answers:
            self.link.send(answer)


async def report(checker: Checker, probed: tuple[Target, ...]) -> None:
    """Say each second of all of them that they are well, as whoever watches them would."""
    while True:
        now = child.now()
        told = tuple(Report(t.id, True, None, "", now, now + 60.0) for t in probed)
        if told:
            checker.link.send(Reports(told))
        await asyncio.sleep(1.0)


async def ours(kind: CheckType, seconds: float) -> Row:
    """The checker, first with one target, then with all."""
    checker = Checker(kind)
    await asyncio.sleep(START)
    with server(kind) as arrived:
        probed = targets(kind, many(kind))
        saying = asyncio.create_task(report(checker, probed if kind in TOLD_HERE else ()))
        checker.probe(tuple(targets(kind, 1)))
        await asyncio.sleep(min(probed[0].check.interval, 2.0) + WARM_UP)
        empty = memory(checker.pids)
        checker.probe(probed)
        await asyncio.sleep(probed[0].check.interval + WARM_UP)
        pids = checker.pids
        began, used, before = time.monotonic(), cpu(pids), arrived()
        done = counted(checker.status).get("done", 0)
        await asyncio.sleep(seconds)
        probes, used = arrived() - before, cpu(pids) - used
        took, full = time.monotonic() - began, memory(pids)
        if kind in TOLD_HERE:
            probes = counted(checker.status).get("done", 0) - done
        saying.cancel()
    up = sum(health is Health.UP for health in checker.health.values())
    checker.end()
    each = (full - empty) / (len(probed) - 1)
    return Row(kind.value, "hadirector", probes, took, 1e6 * used / max(1, probes), each, up)


# keepalived


async def theirs(kind: CheckType, seconds: float, program: str) -> Row:
    """keepalived, first with one server, then with all."""
    with server(kind) as arrived:
        empty = (await _keepalived(kind, 1, 1.0, program, arrived))[1]
        row, full = await _keepalived(kind, many(kind), seconds, program, arrived)
    return replace(row, bytes_per_endpoint=(full - empty) / (many(kind) - 1))


async def _keepalived(
    kind: CheckType, count: int, seconds: float, program: str, arrived: Callable[[], int]
) -> tuple[Row, float]:
    """A measurement, and the bytes it takes in all."""
    interval = check_of(kind).interval if count > 1 else 1.0
    text = "global_defs {\n    script_user root\n}\n" + KEEPALIVED.format(
        interval=interval,
        servers="".join(
            KEEPALIVED_SERVER.format(address=t.endpoint.address, port=PORT, check=THEIRS[kind])
            for t in targets(kind, count)
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "keepalived.conf").write_text(text)
        process = subprocess.Popen(  # noqa: ASYNC220  # nothing else runs here
            [
                *(program, "-n", "-C", "-f", f"{folder}/keepalived.conf"),
                *("-p", f"{folder}/p", "-c", f"{folder}/c"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        await asyncio.sleep(WARM_UP + interval + count / 400)
        pids = family_of(process.pid)
        began, used, before = time.monotonic(), cpu(pids), arrived()
        await asyncio.sleep(seconds)
        probes, used = arrived() - before, cpu(pids) - used
        took, size = time.monotonic() - began, memory(pids)
        up = in_service()
        process.terminate()
        process.wait()
    cost = 1e6 * used / max(1, probes)
    return Row(kind.value, "keepalived", probes, took, cost, 0.0, up), size


def in_service() -> int:
    """The real servers in the kernel's table: keepalived takes the failed out."""
    return Path("/proc/net/ip_vs").read_text().count("  -> ") - 1


def show(rows: list[Row]) -> None:
    """A table people can read."""
    print("type      program     probes  per second  CPU ms/1000  bytes/endpoint   up")
    for row in rows:
        print(
            f"{row.check:<9} {row.program:<11} {row.probes:>6} {row.probes / row.seconds:>11.0f}"
            f" {row.cpu_ms_per_1000:>12.0f} {row.bytes_per_endpoint:>15.0f} {row.up:>4}",
            flush=True,
        )


def main() -> None:
    """Measure each type, ours and theirs in turn."""
    parser = argparse.ArgumentParser(description="what each type of check costs")
    kinds = [kind.value for kind in CheckType]
    parser.add_argument("--types", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--alone", action="store_true", help="without keepalived")
    parser.add_argument("--keepalived", default="keepalived", help="the program")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    options = parser.parse_args()
    network()
    rows = []
    for kind in map(CheckType, options.types):
        rows.append(asyncio.run(ours(kind, options.seconds)))
        if kind in THEIRS and not options.alone:
            rows.append(asyncio.run(theirs(kind, options.seconds, options.keepalived)))
    if options.json:
        for row in rows:
            print(json.dumps(asdict(row)))
        return
    show(rows)


if __name__ == "__main__":
    main()
