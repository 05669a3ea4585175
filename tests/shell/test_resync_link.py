"""The connection between two syncers: greetings, seals, and what is not believed."""

import asyncio
import math
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hadirector.core import resync_messages as said
from hadirector.core.keys import Key
from hadirector.core.syncer_messages import Standby
from hadirector.shell.resync_link import Identity, Link, LinkError

KEYS = (Key(7, bytes(range(32))), Key(8, bytes(32)))
STATE = said.State("", 1, 0, 0)


def identity(node: str, *keys: Key, keyed: bool | None = None) -> Identity:
    return Identity("shop", node, bool(keys) if keyed is None else keyed, keys)


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, Link]]:
    """The standby's end (lb2's) and the master's (lb1's), not greeted."""
    visited: asyncio.Queue[Link] = asyncio.Queue()

    def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visited.put_nowait(Link(reader, writer, "lb2"))

    server = await asyncio.start_server(visit, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    standby, master = Link(reader, writer, "lb1"), await visited.get()
    try:
        yield standby, master
    finally:
        standby.close()
        master.close()
        server.close()


async def greet(standby: Link, master: Link, theirs: Identity, ours: Identity) -> list[str]:
    """Why each end refused, empty where it did not."""
    ends = await asyncio.gather(
        standby.greet_master(theirs), master.greet_standby(ours), return_exceptions=True
    )
    for end in ends:
        assert end is None or isinstance(end, LinkError), end
    return ["" if end is None else str(end) for end in ends]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [((), ()), (KEYS, KEYS), (KEYS[:1], KEYS), (KEYS, KEYS[1:])],
    ids=["keyless", "keyed", "before the change of keys", "after it"],
)
async def test_who_greets_each_other_understands_each_other(
    theirs: tuple[Key, ...], ours: tuple[Key, ...]
) -> None:
    async with linked() as (standby, master):
        ends = await greet(standby, master, identity("lb2", *theirs), identity("lb1", *ours))
        assert ends == ["", ""]

        await standby.send(STATE)
        await master.send(said.Sending(True))

        assert await master.receive() == STATE
        assert await standby.receive() == said.Sending(True)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [(KEYS[:1], ()), ((), KEYS[:1]), (KEYS[:1], KEYS[1:])],
)
async def test_nothing_is_said_without_a_common_key_where_one_has_keys(
    theirs: tuple[Key, ...], ours: tuple[Key, ...]
) -> None:
    async with linked() as (standby, master):
        ends = await greet(standby, master, identity("lb2", *theirs), identity("lb1", *ours))

        assert all(ends)


async def test_a_key_of_the_same_number_and_another_secret_makes_no_frame_genuine() -> None:
    async with linked() as (standby, master):
        other = Key(7, bytes(32))
        await greet(standby, master, identity("lb2", other), identity("lb1", KEYS[0]))
        await standby.send(STATE)

        with pytest.raises(LinkError, match="seal is wrong"):
            await master.receive()


async def test_another_node_or_cluster_is_not_taken_for_a_peer() -> None:
    async with linked() as (standby, master):
        ends = await greet(standby, master, identity("lb3"), identity("lb1"))

        assert "is lb3 of shop there" in ends[1]


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack("!I", 1 << 31),
        struct.pack("!I", 3) + b"abc",
        struct.pack("!I", 8) + b"\x92\xa5State\xc0",
        struct.pack("!I", 0),
        struct.pack("!I", 5009) + b"\x92\xa7" + b"Compare" + b"\x91" * 5000,
    ],
)
async def test_noise_ends_the_connection_and_nothing_else(raw: bytes) -> None:
    async with linked() as (standby, master):
        await greet(standby, master, identity("lb2"), identity("lb1"))
        standby._writer.write(raw)

        with pytest.raises(LinkError):
            await master.receive()


@pytest.mark.parametrize(
    "lie",
    [
        said.Compare(1, None, bytes(65)),  # more than a hash takes for its key
        said.State("x" * (said.WORDS + 1), 1, 0, 0),
        said.State("", 1, 0, -1),
        said.Digests(1, 0, b"", True, 0, 0),
        said.List(1, (4096,)),
        said.List(1, (0,) * 5000),
        Standby("lb1", True, "", compared_at=math.nan),
        Standby("lb1", True, "", total=3, missing=-1),
    ],
)
async def test_a_peer_that_says_what_cannot_be_is_not_believed(lie: said.Message) -> None:
    async with linked() as (standby, master):
        await greet(standby, master, identity("lb2"), identity("lb1"))
        await master.send(lie)

        with pytest.raises(LinkError, match="cannot be"):
            await standby.receive()


async def test_who_says_nothing_is_not_waited_for() -> None:
    async with linked() as (_, master):
        with pytest.raises(LinkError, match="silent"):
            await master.receive(0.05)
