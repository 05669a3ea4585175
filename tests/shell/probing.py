"""Probes over real sockets against servers of the test: what they share."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from hadirector.core.address import Endpoint, canonical
from hadirector.core.keys import FileText
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Check, CheckType, Target
from hadirector.shell.probes import asking

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PATIENT = 5.0  # seconds for a probe that is to succeed: the machine may have other things to do


def check(kind: CheckType, timeout: float = PATIENT) -> Check:
    return Check(
        name="one",
        type=kind,
        interval=10.0,
        fast_interval=0.2,
        timeout=timeout,
        rise=2,
        fall=2,
        held=False,
    )


def answered(detail: str) -> Outcome:
    return Outcome(Cause.ANSWERED, detail)


def good(detail: str) -> Outcome:
    return Outcome(Cause.GOOD, detail)


async def probe(
    check: Check,
    port: int,
    address: str = "127.0.0.1",
    files: dict[str, FileText] | None = None,
) -> Outcome:
    """One probe by the engine of its type; nothing of it is left behind."""
    engine = asking.engines(files or {})[check.type]
    ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    engine.start(Target("t", check, Endpoint(canonical(address), port)), ended.set_result)
    async with asyncio.timeout(30):
        return await ended


@asynccontextmanager
async def serving(
    serve: Serve, address: str = "127.0.0.1", secure: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A server on a free port."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, address, 0, ssl=secure)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def says(*parts: bytes, stay: bool = False) -> Serve:
    """Reads a request, sends the parts, closes (or stays silent)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        for part in parts:
            writer.write(part)
            await writer.drain()
        if stay:
            await reader.read()

    return serve


def dialogue(*lines: bytes) -> Serve:
    """Says the first line; then one for each thing that is said to it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in lines:
            writer.write(line)
            await writer.drain()
            if not await reader.read(65536):
                return

    return serve


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
