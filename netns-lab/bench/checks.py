"""Checks per CPU second, on loopback: `python netns-lab/bench/checks.py [--seconds N] [--json]`.

`engine`: probes back to back, 50 at a time, over 1,000 addresses; `checker`: the whole of it, with
schedule, health and outbox, 1,000 targets each 0.25 s. Only the CPU of the checking process
counts; the server has its own. A bench measures parts, so this file (unlike the drills) imports
the product.
"""

import argparse
import asyncio
import itertools
import json
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from hadirector import checker
from hadirector.core import messages
from hadirector.core.address import Endpoint, canonical
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Check, CheckType, Target, target_id
from hadirector.core.settings.questions import Dialogue, Dns, Preset, Tls
from hadirector.shell.probes import base

TARGETS = 1000
AT_ONCE = 50
INTERVAL = 0.25
PKTINFO = 8  # IP_PKTINFO
KINDS = (CheckType.TCP, CheckType.HTTP, CheckType.EXPECT, CheckType.DNS, CheckType.HTTPS)
BODY = b"all is well here: status OK\n"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(BODY), BODY)
)


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement."""

    check: str
    part: str
    probes: int
    seconds: float
    cpu_seconds: float
    failed: int

    def per_cpu_second(self) -> float:
        return self.probes / self.cpu_seconds

    def microseconds(self) -> float:
        return self.cpu_seconds / self.probes * 1e6


def serve(listener: socket.socket, kind: CheckType) -> None:
    """One answer a connection, for ever; datagrams where that is asked."""
    if kind is CheckType.DNS:
        return resolve(listener)
    context = _context() if kind is CheckType.HTTPS else None
    answer = b"+PONG\r\n" if kind is CheckType.EXPECT else ANSWER
    while True:
        connection, _ = listener.accept()
        try:
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            if connection.recv(4096):
                connection.send(answer)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            connection.close()


def resolve(sock: socket.socket) -> None:
    """192.0.2.10, whatever is asked; from the address that was asked."""
    sock.setsockopt(socket.IPPROTO_IP, PKTINFO, 1)
    while True:
        question, told, _, sender = sock.recvmsg(512, 64)
        head = question[:2] + b"\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00"
        record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x0a"
        asked = told[0][2][8:12]
        source = (socket.IPPROTO_IP, PKTINFO, bytes(4) + asked + bytes(4))
        sock.sendmsg([head + question[12:] + record], [source], 0, sender)


def _context() -> ssl.SSLContext:
    """ECDSA P-256, no resumption: every handshake is a whole one."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
                *("ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=bench"),
                *("-keyout", "key", "-out", "pem", "-days", "3"),
            ],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/pem", f"{folder}/key")
    return context


@contextmanager
def server(kind: CheckType = CheckType.HTTP) -> Iterator[int]:
    """A server of its own process on every address of 127.0.0.0/8; its port."""
    with _listener(kind) as listener:
        number = str(listener.fileno())
        command = [sys.executable, __file__, "--serve", number, "--as", kind.value]
        process = subprocess.Popen(command, pass_fds=(listener.fileno(),))
        try:
            yield listener.getsockname()[1]
        finally:
            process.kill()
            process.wait()


def _listener(kind: CheckType) -> socket.socket:
    if kind is not CheckType.DNS:
        return socket.create_server(("0.0.0.0", 0), backlog=4096)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", 0))
    return sock


def targets(kind: CheckType, port: int) -> tuple[Target, ...]:
    """The addresses 127.1.0.1 and up."""
    check = Check(
        name="bench",
        type=kind,
        interval=INTERVAL,
        fast_interval=INTERVAL,
        timeout=2.0,
        rise=2,
        fall=2,
        held=False,
        path="/healthz",
        body="status OK",
        tls=Tls(verify=False) if kind is CheckType.HTTPS else None,
        dns=Dns("shop.example", "A", ("192.0.2.10",)),
        dialogue=Dialogue(preset=Preset.REDIS),
    )
    numbers = range(1, TARGETS + 1)
    endpoints = (Endpoint(canonical(f"127.1.{n >> 8}.{n & 255}"), port) for n in numbers)
    return tuple(Target(target_id(check.name, endpoint), check, endpoint) for endpoint in endpoints)


async def measure_engine(kind: CheckType, port: int, seconds: float) -> Row:
    """Probes back to back."""
    engine: base.Engine = checker.engines()[kind]
    order = itertools.cycle(targets(kind, port))
    began, cpu = time.monotonic(), time.process_time()
    flying, done, failed = AT_ONCE, 0, 0
    finished = asyncio.Event()

    def ended(outcome: Outcome) -> None:
        nonlocal flying, done, failed
        done += 1
        failed += outcome.cause is not Cause.GOOD
        if time.monotonic() - began < seconds:
            engine.start(next(order), ended)
            return
        flying -= 1
        if not flying:
            finished.set()

    for _ in range(AT_ONCE):
        engine.start(next(order), ended)
    await finished.wait()
    used = time.process_time() - cpu
    return Row(kind.value, "engine", done, time.monotonic() - began, used, failed)


async def measure_checker(kind: CheckType, port: int, seconds: float) -> Row:
    """The whole checker at its own pace."""
    failed = 0

    def send(message: messages.Message) -> None:
        nonlocal failed
        if isinstance(message, messages.Verdicts):
            probes = (verdict.last for verdict in message.verdicts)
            failed += sum(probe is not None and not probe.ok for probe in probes)

    one = checker.Checker(send, checker.engines())
    began, cpu = time.monotonic(), time.process_time()
    one.receive(messages.Targets(targets(kind, port)))
    await asyncio.sleep(seconds)
    used = time.process_time() - cpu
    one.close()
    return Row(kind.value, "checker", one.counts.done, time.monotonic() - began, used, failed)


def show(rows: list[Row]) -> None:
    """A table people can read."""
    print("check  part     probes  per second  per CPU second  us/probe  failed")
    for row in rows:
        print(
            f"{row.check:<6} {row.part:<8} {row.probes:>6} {row.probes / row.seconds:>11.0f}"
            f" {row.per_cpu_second():>15.0f} {row.microseconds():>9.1f} {row.failed:>7}"
        )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process: {memory:.0f} MB")


def main() -> None:
    """Measure each check type both ways."""
    parser = argparse.ArgumentParser(description="checks per CPU second, on loopback")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--as", dest="kind", default="http", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        return serve(socket.socket(fileno=options.serve), CheckType(options.kind))
    rows = []
    for kind in KINDS:
        with server(kind) as port:
            for measure in (measure_engine, measure_checker):
                rows.append(asyncio.run(measure(kind, port, options.seconds)))
    if options.json:
        for row in rows:
            per = {"per_cpu_second": round(row.per_cpu_second())}
            print(json.dumps({**asdict(row), **per}))
        return
    show(rows)


if __name__ == "__main__":
    main()
