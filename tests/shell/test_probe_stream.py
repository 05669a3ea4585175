"""Probes over real sockets, against servers that behave in every way."""

import asyncio
import errno
import os
import resource
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import pytest

from hadirector.core.address import Endpoint, canonical
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Check, CheckType, Target
from hadirector.shell.probes import dial, http, tcp
from hadirector.shell.probes.search import Search
from hadirector.shell.probes.stream import StreamEngine

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

TCP = Check(
    name="port",
    type=CheckType.TCP,
    interval=1.0,
    fast_interval=0.2,
    timeout=0.3,
    rise=2,
    fall=2,
    held=False,
)
HTTP = replace(TCP, name="page", type=CheckType.HTTP, path="/healthz")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def probe(check: Check, address: str, port: int) -> Outcome:
    """One probe; nothing of it is left behind."""
    begin = tcp.begin if check.type is CheckType.TCP else http.starter(Search(), {})
    engine = StreamEngine(begin)
    ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    before = descriptors()
    engine.start(Target("t", check, Endpoint(canonical(address), port)), ended.set_result)
    async with asyncio.timeout(5):
        outcome = await ended
    # What a server of this test accepted meanwhile is open; ours is not.
    assert descriptors() <= before + 1
    return outcome


@asynccontextmanager
async def serving(serve: Serve, address: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server on a free port."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, address, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def says(*parts: bytes, pause: float = 0.0, stay: bool = False) -> Serve:
    """Reads a request, sends the parts, closes (or stays silent)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        if stay:
            await reader.read()

    return serve


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def full_backlog() -> Iterator[int]:
    """A port that lets no further connection in: silence."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(
    ("check", "detail"), [(TCP, "connected"), (HTTP, "HTTP 200")], ids=["tcp", "http"]
)
async def test_a_good_server_is_good_over_both_families(
    address: str, check: Check, detail: str
) -> None:
    async with serving(says(ANSWER), address) as port:
        patient = replace(check, timeout=4.0)  # the machine may have other things to do
        assert await probe(patient, address, port) == Outcome(Cause.GOOD, detail)


@pytest.mark.parametrize("check", [TCP, HTTP], ids=["tcp", "http"])
async def test_a_closed_port_is_refused(check: Check) -> None:
    assert await probe(check, "127.0.0.1", free_port()) == Outcome(Cause.REFUSED, "refused")


@pytest.mark.parametrize("check", [TCP, HTTP], ids=["tcp", "http"])
async def test_a_port_that_does_not_answer_is_silent(check: Check) -> None:
    with full_backlog() as port:
        outcome = await probe(check, "127.0.0.1", port)

    assert outcome == Outcome(Cause.SILENT, "no answer within 300ms")


async def test_an_address_this_node_has_no_route_to_says_nothing_of_the_server() -> None:
    # A multicast group: TCP never has a route to one.
    outcome = await probe(TCP, "224.0.0.1", 80)

    assert outcome == Outcome(Cause.OURS, "Network is unreachable")


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [
        ("", Outcome(Cause.SILENT, "no answer within 300ms")),
        ("eth1 has no carrier", Outcome(Cause.OURS, "eth1 has no carrier")),
    ],
)
async def test_silence_behind_a_dead_link_of_our_own_says_nothing_of_the_server(
    trouble: str, outcome: Outcome
) -> None:
    ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    asked: list[str] = []

    def own_link(server: str) -> str:
        asked.append(server)
        return trouble

    with full_backlog() as port:
        endpoint = Endpoint(canonical("127.0.0.1"), port)
        StreamEngine(tcp.begin, own_link).start(Target("t", TCP, endpoint), ended.set_result)
        assert await ended == outcome
    assert asked == ["127.0.0.1"]


async def test_a_server_that_answers_needs_no_look_at_our_own_link() -> None:
    ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    endpoint = Endpoint(canonical("127.0.0.1"), free_port())

    engine = StreamEngine(tcp.begin, lambda _: "asked in vain")
    engine.start(Target("t", TCP, endpoint), ended.set_result)

    assert await ended == Outcome(Cause.REFUSED, "refused")


async def test_a_check_may_name_another_port_than_the_server() -> None:
    async with serving(says(ANSWER)) as port:
        outcome = await probe(replace(HTTP, port=port), "127.0.0.1", free_port())

    assert outcome == Outcome(Cause.GOOD, "HTTP 200")


@pytest.mark.parametrize(
    ("check", "sent", "cause"),
    [(TCP, b"", Cause.GOOD), (HTTP, b"HTTP/1.1 503 x\r\n\r\n" + b"x" * 48_000, Cause.ANSWERED)],
    ids=["tcp", "http with a body not wanted any more"],
)
async def test_the_server_sees_an_orderly_close_and_no_reset(
    check: Check, sent: bytes, cause: Cause
) -> None:
    seen: asyncio.Future[bytes | str] = asyncio.get_running_loop().create_future()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(sent)
        try:
            seen.set_result(await reader.read())
        except ConnectionError as error:
            seen.set_result(str(error))

    async with serving(watch) as port:
        outcome = await probe(check, "127.0.0.1", port)
        async with asyncio.timeout(5):
            end = await seen

    assert outcome.cause is cause
    assert end == b""


@pytest.mark.parametrize(
    ("serve", "outcome"),
    [
        (says(), Outcome(Cause.ANSWERED, "closed without an answer")),
        (resets, Outcome(Cause.ANSWERED, "reset")),
        (
            says(stay=True),
            Outcome(Cause.SILENT, "connected, but no answer within 300ms"),
        ),
        (
            says(b"HTTP/1.1 200 OK\r\n", stay=True),
            Outcome(Cause.PARTIAL, "answer not complete within 300ms: 17 bytes"),
        ),
        (
            says(b"HTTP/1.1 503 Busy\r\n\r\n"),
            Outcome(Cause.ANSWERED, "HTTP 503, expected 200-299"),
        ),
        (says(b"\x00\xff" * 5000), Outcome(Cause.ANSWERED, "not an HTTP answer: ")),
        (says(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 9000), Outcome(Cause.GOOD, "HTTP 200")),
        (says(ANSWER[:20], ANSWER[20:], pause=0.02), Outcome(Cause.GOOD, "HTTP 200")),
    ],
    ids=["close", "reset", "hang", "half", "503", "garbage", "until close", "two packets"],
)
async def test_each_way_a_server_behaves_has_its_verdict(serve: Serve, outcome: Outcome) -> None:
    async with serving(serve) as port:
        got = await probe(HTTP, "127.0.0.1", port)

    assert got.cause is outcome.cause
    assert got.detail.startswith(outcome.detail)


async def test_a_slow_drip_ends_at_the_total_deadline() -> None:
    loop = asyncio.get_running_loop()
    async with serving(says(*(bytes([byte]) for byte in ANSWER), pause=0.05)) as port:
        began = loop.time()
        outcome = await probe(HTTP, "127.0.0.1", port)

    assert outcome.cause is Cause.PARTIAL
    assert 0.29 <= loop.time() - began < 0.6


async def test_an_endless_body_is_not_read_to_its_end() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.read(65536)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with serving(flood) as port:
        outcome = await probe(replace(HTTP, timeout=3.0), "127.0.0.1", port)

    assert outcome == Outcome(Cause.GOOD, "HTTP 200")
    assert sent < 64 << 20


async def test_a_request_larger_than_the_socket_takes_is_sent_to_its_end() -> None:
    size = 8 << 20
    got: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = 0
        while count < size:
            count += len(await reader.read(1 << 20))
        got.set_result(count)
        writer.write(ANSWER)
        await writer.drain()

    check = replace(HTTP, timeout=4.0, headers=(("X-Fill", "x" * size),))
    async with serving(serve) as port:
        outcome = await probe(check, "127.0.0.1", port)

    assert outcome == Outcome(Cause.GOOD, "HTTP 200")
    assert got.result() >= size


async def test_a_cancelled_probe_closes_its_socket_and_never_ends() -> None:
    outcomes: list[Outcome] = []
    async with serving(says(stay=True)) as port:
        before = descriptors()
        engine = StreamEngine(http.starter(Search(), {}))
        target = Target("t", HTTP, Endpoint(canonical("127.0.0.1"), port))
        running = engine.start(target, outcomes.append)
        assert descriptors() == before + 1

        running.cancel()
        running.cancel()

        assert descriptors() == before
        await asyncio.sleep(0.4)
    assert outcomes == []


async def test_being_out_of_descriptors_is_our_fault_and_told_on_a_later_turn() -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Outcome] = loop.create_future()
    engine = StreamEngine(tcp.begin)
    target = Target("t", TCP, Endpoint(canonical("127.0.0.1"), 9))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        engine.start(target, ended.set_result)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert not ended.done()
    assert await ended == Outcome(Cause.OURS, "Too many open files")


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ECONNREFUSED, Cause.REFUSED),
        (errno.ECONNRESET, Cause.ANSWERED),
        (errno.EPIPE, Cause.ANSWERED),
        (errno.EHOSTUNREACH, Cause.UNREACHABLE),
        (errno.ENETUNREACH, Cause.UNREACHABLE),
        (errno.ETIMEDOUT, Cause.UNREACHABLE),
        (errno.EINVAL, Cause.UNREACHABLE),
        (errno.EMFILE, Cause.OURS),
        (errno.EADDRNOTAVAIL, Cause.OURS),
        (errno.EPERM, Cause.OURS),
    ],
)
def test_each_error_of_the_socket_has_its_cause(number: int, cause: Cause) -> None:
    assert dial.outcome_of(OSError(number, os.strerror(number))).cause is cause


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ENETUNREACH, Cause.OURS),
        (errno.ENETDOWN, Cause.OURS),
        (errno.ENODEV, Cause.OURS),
        (errno.EINVAL, Cause.OURS),
        (errno.EADDRNOTAVAIL, Cause.OURS),
        (errno.EHOSTUNREACH, Cause.UNREACHABLE),
        (errno.ECONNREFUSED, Cause.REFUSED),
    ],
)
def test_what_connect_refuses_at_once_is_ours(number: int, cause: Cause) -> None:
    assert dial.outcome_of_start(OSError(number, os.strerror(number))).cause is cause
