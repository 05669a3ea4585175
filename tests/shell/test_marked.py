"""Sockets that are lent: handed over a channel, used again and again, and never leaked."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from hadirector.core.checker_messages import Lend, Report, Reports
from hadirector.shell import channel, marked

LEND = Lend(("a", "b"), (77, 78), (4, 6), (2, 0))
root = pytest.mark.skipif(os.geteuid() != 0, reason="marks are for root")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # no event to wait for
            await asyncio.sleep(0.002)


class Ends:
    """Both ends of a channel, and what comes out of one."""

    def __init__(self, *, takes: bool, lawful: bool = True) -> None:
        ours, theirs = channel.pair()
        self.sender, self.receiver = channel.Channel(ours, "a"), channel.Channel(theirs, "b")
        self.got: list[channel.Received] = []
        self.sender.start(lambda _: None)
        self.receiver.start(self.got.append, lambda _: lawful, descriptors=takes)

    def close(self) -> None:
        self.sender.close()
        self.receiver.close()


def pipes(count: int) -> tuple[int, ...]:
    made = []
    for _ in range(count):
        reading, writing = os.pipe()
        os.close(writing)
        made.append(reading)
    return tuple(made)


async def test_descriptors_go_over_and_the_senders_are_closed() -> None:
    ends, before = Ends(takes=True), open_files()

    ends.sender.send(LEND, descriptors=pipes(2))
    await until(lambda: ends.got)

    (got,) = ends.got
    assert got.message == LEND
    assert len(got.descriptors) == 2
    for descriptor in got.descriptors:
        assert os.read(descriptor, 1) == b""
        os.close(descriptor)
    assert open_files() == before
    ends.close()


@pytest.mark.parametrize(("takes", "lawful"), [(False, True), (True, False)])
async def test_who_takes_none_or_may_not_be_told_keeps_none(takes: bool, lawful: bool) -> None:
    ends, before = Ends(takes=takes, lawful=lawful), open_files()

    ends.sender.send(LEND, descriptors=pipes(2))
    ends.sender.send(Reports(()))
    await until(lambda: ends.receiver.counts.unlawful == 2 or len(ends.got) == 2)

    assert not any(got.descriptors for got in ends.got)
    assert open_files() == before
    ends.close()


async def test_a_message_in_many_parts_keeps_those_it_came_with() -> None:
    ends, before = Ends(takes=True), open_files()
    large = Lend(tuple(f"{n:01000}" for n in range(100)), tuple(range(100)), (4,) * 100, (0,) * 100)

    ends.sender.send(Reports((Report("x", True, None, "", 0.0, 0.0),)))
    ends.sender.send(large, descriptors=pipes(100))
    await until(lambda: len(ends.got) == 2)

    assert len(ends.got[1].descriptors) == 100
    for descriptor in ends.got[1].descriptors:
        os.close(descriptor)
    assert open_files() == before
    ends.close()


async def test_what_overflows_the_queue_is_closed() -> None:
    ours, theirs = channel.pair()
    sender, before = channel.Channel(ours, "a"), open_files()

    for _ in range(2000):  # nobody reads
        sender.send(LEND, descriptors=pipes(2))
    assert sender.counts.overflowed
    theirs.close()
    sender.send(LEND)

    assert open_files() <= before + 2 * channel.QUEUE
    sender.close()


@root
def test_they_are_made_with_their_marks_and_hops() -> None:
    made = marked.make(LEND)

    with socket.socket(fileno=made[0]) as one, socket.socket(fileno=made[1]) as other:
        marks = [s.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) for s in (one, other)]
        assert marks == [77, 78]
        assert one.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 2
        assert other.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) == 64


@root
def test_who_missed_its_socket_is_told_of_when_it_comes() -> None:
    lent = marked.Marked()

    assert lent.missed("a", 1.0) == 0.0
    assert lent.missed("a", 3.0) == 2.0
    assert lent.take(LEND, marked.make(LEND)) == ["a"]
    assert lent.missed("a", 4.0) is None
    assert lent.take(LEND, marked.make(LEND)) == []
    lent.close()


@root
def test_one_socket_serves_many_probes_one_after_the_other() -> None:
    lent, before = marked.Marked(), open_files()
    lent.take(LEND, marked.make(LEND))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(5):
            used = lent.use("a")
            assert used is not None
            used.setblocking(True)
            used.connect(listener.getsockname())
            used.send(b"x")
            other, _ = listener.accept()
            assert other.recv(1) == b"x"
            used.close()
            other.close()

    assert lent.use("c") is None
    lent.close()
    assert open_files() == before


@root
def test_what_is_lent_anew_or_no_longer_probed_is_closed() -> None:
    lent, before = marked.Marked(), open_files()
    lent.take(LEND, marked.make(LEND))
    lent.take(LEND, marked.make(LEND))
    lent.take(LEND, ())  # they could not be made

    lent.keep(["b"])
    assert open_files() == before + 1
    lent.close()

    assert open_files() == before
