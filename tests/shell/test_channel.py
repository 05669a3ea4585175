"""Channels between processes: whole, typed, bounded, and never blocking."""

import asyncio
import socket
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import messages
from hadirector.core.address import Address, Endpoint
from hadirector.core.lawful import lawful
from hadirector.core.messages import Process
from hadirector.core.settings.checks import Target
from hadirector.shell import channel
from tests.core import farm

# A level with a field that nobody knows, which is nothing but lists in lists.
NESTED = b"\x93\xa5Hello\xcb\x7f\xf0" + bytes(6) + b"\x81\xa1x" + b"\x91" * 5000 + b"\xc0"

Ends = tuple[channel.Channel, channel.Channel]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Both ends of a channel; sockets are closed at the end."""
    one, other = channel.pair()
    pair = channel.Channel(one, "one"), channel.Channel(other, "other")
    yield pair
    for end in (one, other):
        end.close()


async def _collected(end: channel.Channel, count: int) -> list[messages.Message]:
    got: list[messages.Message] = []
    full = asyncio.Event()

    def take(received: channel.Received) -> None:
        got.append(received.message)
        if len(got) >= count:
            full.set()

    end.start(take)
    async with asyncio.timeout(5):
        await full.wait()
    return got


def _targets(count: int) -> messages.Targets:
    return messages.Targets(
        tuple(
            Target(f"page@{i}", farm.PAGE, Endpoint(Address("10.0.1.11"), i % 60000))
            for i in range(count)
        )
    )


async def test_a_message_arrives_as_it_was_sent_with_its_validity(ends: Ends) -> None:
    got: asyncio.Queue[channel.Received] = asyncio.Queue()
    ends[1].start(got.put_nowait)

    ends[0].send(messages.Ready(True, "all well"), valid_until=12.5)

    async with asyncio.timeout(5):
        assert await got.get() == channel.Received(messages.Ready(True, "all well"), 12.5)


async def test_a_message_of_many_datagrams_arrives_whole(ends: Ends) -> None:
    large = _targets(20_000)

    ends[0].start(lambda _: None)
    ends[0].send(large)

    assert await _collected(ends[1], 1) == [large]


async def test_of_an_unread_level_only_the_newest_is_kept(ends: Ends) -> None:
    ends[0].start(lambda _: None)
    for size in (5_000, 5_001, 5_002, 5_003):
        ends[0].send(_targets(size))

    got = await _collected(ends[1], 2)

    assert [len(m.targets) for m in got if isinstance(m, messages.Targets)] == [5_000, 5_003]
    assert ends[0].counts.superseded == 2


async def test_numbered_messages_overtake_levels_and_keep_their_order(ends: Ends) -> None:
    ends[0].start(lambda _: None)
    orders = [messages.Order(messages.OrderKind.RELOAD, str(i)) for i in range(3)]
    ends[0].send(_targets(5_000))
    ends[0].send(messages.Ready(True, ""))
    for order in orders:
        ends[0].send(order)

    got = await _collected(ends[1], 5)

    assert [m for m in got if isinstance(m, messages.Order)] == orders
    assert isinstance(got[-1], messages.Ready)


async def test_a_reader_that_never_reads_costs_a_bounded_queue(ends: Ends) -> None:
    ends[0].start(lambda _: None)
    for i in range(channel.QUEUE * 4):
        ends[0].send(messages.Request(messages.RequestKind.RELOADED, str(i), "x" * 4096))

    assert ends[0].counts.overflowed > 0


async def test_parts_of_a_sender_that_died_are_dropped_with_the_next_message(ends: Ends) -> None:
    raw, other = channel.pair()
    end = channel.Channel(other, "other")
    whole = channel.encode(messages.Ready(True, ""))
    raw.send(channel._HEADER.pack(1, 0, 2) + b"half")

    raw.send(channel._HEADER.pack(1, 0, 1) + whole)

    assert await _collected(end, 1) == [messages.Ready(True, "")]
    raw.close()
    end.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00" * 3,
        channel._HEADER.pack(1, 5, 2) + b"x",
        channel._HEADER.pack(1, 0, 1) + b"x",
        channel._HEADER.pack(1, 0, 1) + NESTED,
    ],
    ids=["none", "short", "part beyond", "no message", "nested"],
)
async def test_what_is_no_message_is_counted_and_the_next_one_is_read(raw: bytes) -> None:
    sender, other = channel.pair()
    end = channel.Channel(other, "other")
    if raw:
        sender.send(raw)
    sender.send(channel._HEADER.pack(2, 0, 1) + channel.encode(messages.Ready(False, "no")))

    assert await _collected(end, 1) == [messages.Ready(False, "no")]
    assert end.counts.malformed == (1 if raw else 0)
    sender.close()
    end.close()


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_as_values(raw: bytes) -> None:
    try:
        channel.decode(raw)
    except ValueError:
        return
    pytest.fail("arbitrary bytes made a message")


def test_a_message_of_the_wrong_shape_is_refused() -> None:
    raw = channel.encode(messages.Hello(Process.CHECKER, 1)).replace(b"checker", b"cracker")

    with pytest.raises(ValueError, match="cracker"):
        channel.decode(raw)


async def test_the_end_of_the_other_side_is_quiet(ends: Ends) -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    end = channel.Channel(one, "lonely")
    end.start(lambda _: None)

    other.close()
    await asyncio.sleep(0.01)
    end.send(messages.Ready(True, ""))

    assert end.counts == channel.Counts()
    end.close()


async def test_what_is_not_the_senders_to_say_is_counted_and_not_heard(ends: Ends) -> None:
    got: asyncio.Queue[channel.Received] = asyncio.Queue()
    ends[1].start(got.put_nowait, partial(lawful, Process.CHECKER, Process.DIRECTOR))
    ends[0].start(lambda _: None)

    for kind in messages.OrderKind:
        ends[0].send(messages.Order(kind, kind.value))
    ends[0].send(messages.Verdicts((), whole=True))

    async with asyncio.timeout(5):
        assert (await got.get()).message == messages.Verdicts((), whole=True)
    assert got.empty()
    assert ends[1].counts.unlawful == len(messages.OrderKind)
