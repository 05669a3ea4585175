"""Held connections over real sockets, and what they add to a checker."""

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from hadirector import checker
from hadirector.core.address import Endpoint, canonical
from hadirector.core.held import Broken, End, Event, Hold, Stands
from hadirector.core.messages import Health, Message, Targets, Verdicts
from hadirector.core.settings.checks import Check, CheckType, Target, target_id
from hadirector.shell.held import HeldSockets

CHECK = Check(
    name="port",
    type=CheckType.TCP,
    interval=60.0,
    fast_interval=60.0,
    timeout=0.5,
    rise=2,
    fall=5,
    held=True,
)


class Server:
    """A listener whose accepted connections stay open until it says otherwise."""

    def __init__(self) -> None:
        self._listener: socket.socket | None = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.endpoint = Endpoint(canonical("127.0.0.1"), self._listener.getsockname()[1])
        self.connections: list[socket.socket] = []
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        assert self._listener is not None
        self.connections.append(self._listener.accept()[0])

    def die(self) -> None:
        """As a kernel does it for a killed process: the listener first, then every connection."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        self.close_connections()

    def close_connections(self) -> None:
        for one in self.connections:
            one.close()
        self.connections.clear()


@pytest.fixture
async def server() -> Iterator[Server]:  # type: ignore[misc]  # an async generator
    one = Server()
    yield one
    one.die()


async def until(condition: object, within: float = 5.0) -> None:
    assert callable(condition)
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  # what is waited for knows no events
            await asyncio.sleep(0.001)


async def test_a_connection_stands_and_its_end_is_told_within_milliseconds(server: Server) -> None:
    told: list[tuple[float, Event]] = []
    held = HeldSockets(lambda event: told.append((time.monotonic(), event)))

    held.hold(Hold(7, server.endpoint))
    await until(lambda: told and server.connections)
    began = time.monotonic()
    server.die()
    await until(lambda: len(told) == 2)

    assert [event for _, event in told] == [Stands(7), Broken(7, End.CLOSED)]
    assert told[1][0] - began < 0.5


async def test_a_reset_is_told_from_an_orderly_end(server: Server) -> None:
    told: list[Event] = []
    held = HeldSockets(told.append)
    held.hold(Hold(1, server.endpoint))
    await until(lambda: told and server.connections)

    linger = b"\1\0\0\0\0\0\0\0"  # on, 0 s: closing it resets
    server.connections[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    server.close_connections()
    await until(lambda: len(told) == 2)

    assert told == [Stands(1), Broken(1, End.RESET)]


async def test_a_refused_one_failed_on_a_later_turn(server: Server) -> None:
    told: list[Event] = []
    server.die()

    HeldSockets(told.append).hold(Hold(1, server.endpoint))

    assert told == []
    await until(lambda: told)
    assert told == [Broken(1, End.FAILED)]


async def test_where_there_is_no_way_it_failed_without_an_exception() -> None:
    told: list[Event] = []

    HeldSockets(told.append).hold(Hold(1, Endpoint(canonical("255.255.255.255"), 80)))
    await until(lambda: told)

    assert told == [Broken(1, End.FAILED)]


async def test_a_greeting_is_read_and_a_flood_ends_it(server: Server) -> None:
    told: list[Event] = []
    held = HeldSockets(told.append)
    held.hold(Hold(1, server.endpoint))
    await until(lambda: told and server.connections)

    server.connections[0].send(b"220 mail.example ESMTP\r\n")
    await asyncio.sleep(0.02)
    assert told == [Stands(1)]
    server.connections[0].setblocking(False)
    server.connections[0].send(b"x" * (100 << 10))
    await until(lambda: len(told) == 2)

    assert told[1] == Broken(1, End.CHATTY)


async def test_what_was_released_is_closed_and_not_heard_of(server: Server) -> None:
    told: list[Event] = []
    held = HeldSockets(told.append)
    held.hold(Hold(1, server.endpoint))
    await until(lambda: told and server.connections)

    held.release(1)
    server.connections[0].settimeout(1)
    assert server.connections[0].recv(1) == b""
    server.die()
    await asyncio.sleep(0.02)

    assert told == [Stands(1)]


def probed(server: Server) -> Target:
    return Target(target_id("port", server.endpoint), CHECK, server.endpoint)


async def checked(server: Server) -> tuple[checker.Checker, list[tuple[float, Health, str]]]:
    """A checker that holds a connection to the server, and what it says of it."""
    said: list[tuple[float, Health, str]] = []

    def send(message: Message) -> None:
        if isinstance(message, Verdicts):
            for verdict in message.verdicts:
                detail = verdict.last.detail if verdict.last else ""
                said.append((time.monotonic(), verdict.health, detail))

    one = checker.Checker(send, checker.engines(), room=10)
    one.receive(Targets((probed(server),)))
    await until(lambda: len(one.holds) == 1)
    return one, said


async def test_a_server_that_dies_is_out_by_one_probe_whatever_fall_and_interval_say(
    server: Server,
) -> None:
    one, said = await checked(server)
    await until(lambda: len(server.connections) == 2)  # the first probe's, and the held one
    await asyncio.sleep(0.01)

    began = time.monotonic()
    server.die()
    await until(lambda: said[-1][1] is Health.DOWN)
    one.close()

    at, _, detail = said[-1]
    assert at - began < 0.5
    assert detail.startswith("refused, and its held connection was closed after ")


async def test_a_server_that_closes_idle_clients_stays_up_and_is_held_again(server: Server) -> None:
    one, said = await checked(server)
    for _ in range(2):
        await until(lambda: len(server.connections) >= 2)
        server.close_connections()
        await until(lambda: one.counts.done >= 2)
        one.receive(Targets((replace(probed(server), check=replace(CHECK, interval=0.05)),)))
        await until(lambda: len(one.holds) == 1)
    one.close()

    assert {health for _, health, _ in said[1:]} == {Health.UP}
