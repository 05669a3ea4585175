"""Real servers as ordinary processes on loopback: started with a configuration of their own in a
directory of the test, awaited, and ended with it."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

PATIENCE = 30.0  # seconds until a server listens


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody has at the moment."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def command(argv: Sequence[object], *, user: str | None = None, stdin: str = "") -> str:
    """Run a program to its end; its output. AssertionError when it fails."""
    done = subprocess.run(
        [str(word) for word in argv],
        input=stdin,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


@contextlib.asynccontextmanager
async def running(
    argv: Sequence[object],
    port: int,
    folder: Path,
    *,
    user: str | None = None,
    udp: bool = False,
) -> AsyncIterator[None]:
    """A server that listens on `port`; its output is told when it does not."""
    log = folder / "output"
    process = _start(argv, folder, log, user)
    try:
        await _listening(process, port, log, udp)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, 10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _start(
    argv: Sequence[object], folder: Path, log: Path, user: str | None
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            start_new_session=True,
        )


async def _listening(process: subprocess.Popen[bytes], port: int, log: Path, udp: bool) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not _taken(port, udp):
                assert process.poll() is None, _told(log)
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(_told(log)) from None


def _told(log: Path) -> str:
    return log.read_text(errors="replace")


def _taken(port: int, udp: bool) -> bool:
    """Whether somebody has the port: nothing is sent to find out."""
    table = Path("/proc/net/udp" if udp else "/proc/net/tcp").read_text().splitlines()[1:]
    state = "07" if udp else "0A"
    rows = (line.split() for line in table)
    return any(row[1].endswith(f":{port:04X}") and row[3] == state for row in rows)
