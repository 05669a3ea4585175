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
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from hadirector import checker
from hadirector.core import messages
from hadirector.core.address import Endpoint, canonical
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Check, CheckType, Target, target_id
from hadirector.shell.probes import base

TARGETS = 1000
AT_ONCE = 50
INTERVAL = 0.25
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


def serve(listener: socket.socket) -> None:
    """One answer a connection, for ever."""
    while True:
        connection, _ = listener.accept()
        try:
            if connection.recv(4096):
                connection.send(ANSWER)
        except ConnectionError:
            pass
        finally:
            connection.close()


@contextmanager
def server() -> Iterator[int]:
    """A server of its own process on every address of 127.0.0.0/8; its port."""
    with socket.create_server(("0.0.0.0", 0), backlog=4096) as listener:
        command = [sys.executable, __file__, "--serve", str(listener.fileno())]
        process = subprocess.Popen(command, pass_fds=(listener.fileno(),))
        try:
            yield listener.getsockname()[1]
        finally:
            process.kill()
            process.wait()


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
    options = parser.parse_args()
    if options.serve is not None:
        return serve(socket.socket(fileno=options.serve))
    rows = []
    with server() as port:
        for kind, measure in itertools.product(
            (CheckType.TCP, CheckType.HTTP), (measure_engine, measure_checker)
        ):
            rows.append(asyncio.run(measure(kind, port, options.seconds)))
    if options.json:
        for row in rows:
            per = {"per_cpu_second": round(row.per_cpu_second())}
            print(json.dumps({**asdict(row), **per}))
        return
    show(rows)


if __name__ == "__main__":
    main()
