"""The peer channel over real datagrams on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import peers
from hadirector.core.address import Address
from hadirector.core.keys import Key
from hadirector.core.peer_messages import Answer, Echo, PeerMessage, Prepare, TakeOver
from hadirector.core.settings.cluster import Config, Node
from hadirector.shell import peer_channel
from tests.core import farm

ONE, TWO = Address("127.0.8.1"), Address("127.0.8.2")
PRESENCE = peers.Presence(
    "shop", "lb1", 0, 0, "d1", "1", True, "all well", {"front/ipv4": "master"}
)
KEY, OTHER, SECOND = Key(1, b"a" * 32), Key(1, b"b" * 32), Key(2, b"c" * 64)


def _config(node: str, port: int) -> Config:
    nodes = (Node("lb1", 150, ONE), Node("lb2", 100, TWO))
    return replace(farm.CONFIG, node=node, nodes=nodes, peer_port=port)


@dataclass
class End:
    """One node's channel with what it heard and complained of."""

    node: str
    port: int
    incarnation: int
    heard: asyncio.Queue[PeerMessage] = field(default_factory=asyncio.Queue)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.channel = peer_channel.PeerChannel(
            self.incarnation,
            lambda _, message: self.heard.put_nowait(message),
            lambda _, sentence: self.complaints.append(sentence),
        )

    def follow(self, *keys: Key) -> str:
        config = _config(self.node, self.port)
        path = "/etc/hadirector/cluster.key" if keys else None
        return self.channel.follow(replace(config, key_file=path), keys)

    async def next(self, kind: type[PeerMessage] = peers.Presence) -> PeerMessage:
        async with asyncio.timeout(5):
            while True:
                message = await self.heard.get()
                if isinstance(message, kind):
                    return message

    @property
    def flaws(self) -> dict[str, int]:
        """What it refused, by flaw, whoever it came from."""
        return {f: n for counts in self.channel.gate.refused.values() for f, n in counts.items()}


@pytest.fixture
def port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((ONE, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def ends(port: int) -> AsyncIterator[tuple[End, End]]:
    one, two = End("lb1", port, 7), End("lb2", port, 8)
    yield one, two
    one.channel.close()
    two.channel.close()


async def _speak(one: End, two: End, until: str = "") -> None:
    """Both say who they are until both have been heard, or one complains as expected."""
    async with asyncio.timeout(5):
        while one.heard.empty() or two.heard.empty():
            if until and any(until in text for text in one.complaints + two.complaints):
                return
            one.channel.send(PRESENCE)
            two.channel.send(replace(PRESENCE, node="lb2"))
            await asyncio.sleep(0.02)


async def _until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until it holds."""
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never")


async def test_each_presence_reaches_the_peer_in_order(ends: tuple[End, End]) -> None:
    one, two = ends
    assert (one.follow(), two.follow()) == ("", "")

    one.channel.send(PRESENCE)
    one.channel.send(PRESENCE)

    assert [await two.next(), await two.next()] == [
        replace(PRESENCE, incarnation=7, sequence=1),
        replace(PRESENCE, incarnation=7, sequence=2),
    ]


async def test_strangers_and_garbage_are_counted_and_not_heard(
    ends: tuple[End, End], port: int
) -> None:
    two = ends[1]
    two.follow()
    hello = b"HDP1" + peer_channel.encode(PRESENCE, sealed=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(hello, (TWO, port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((ONE, 0))
        peer.sendto(b"GET / HTTP/1.0", (TWO, port))
        peer.sendto(
            b"HDP1" + peer_channel.encode(replace(PRESENCE, node="lb2"), False), (TWO, port)
        )
        peer.sendto(hello, (TWO, port))

    assert await two.next() == PRESENCE

    assert two.heard.empty()
    assert two.flaws == {"stranger": 1, "malformed": 2}
    assert two.channel.refused == 3


async def test_without_a_key_nothing_is_ordered_of_a_peer(ends: tuple[End, End]) -> None:
    one, two = ends
    one.follow()
    two.follow()

    one.channel.tell("lb2", TakeOver("t", ("front",)))
    one.channel.send(PRESENCE)

    assert isinstance(await two.next(), peers.Presence)
    assert two.heard.empty()


async def test_with_a_key_two_directors_believe_and_order_each_other(ends: tuple[End, End]) -> None:
    one, two = ends
    assert (one.follow(KEY), two.follow(KEY)) == ("", "")
    await _speak(one, two)

    one.channel.tell("lb2", Prepare("t", ("front", "inside")))
    assert await two.next(Prepare) == Prepare("t", ("front", "inside"))
    two.channel.tell("lb1", Answer("t", taken=False, refusal="in standby"))
    assert await one.next(Answer) == Answer("t", taken=False, refusal="in standby")

    assert one.channel.gate.signs == {"lb2": 1}
    assert set(one.flaws) | set(two.flaws) <= {"stale"}
    assert (one.complaints, two.complaints) == ([], [])


async def test_a_recorded_datagram_is_not_believed_again_nor_after_a_restart(
    ends: tuple[End, End], port: int
) -> None:
    one, two = ends
    one.follow(KEY)
    two.follow(KEY)
    await _speak(one, two)
    recorded: list[bytes] = []
    seal = one.channel.gate.seal
    one.channel.gate.seal = lambda *a, **k: recorded.append(seal(*a, **k)) or recorded[-1]  # type: ignore[method-assign,func-returns-value]  # a listener on the wire
    one.channel.tell("lb2", TakeOver("t", ("front",)))
    await two.next(TakeOver)
    one.channel.close()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
        attacker.bind((ONE, port))
        attacker.sendto(recorded[-1], (TWO, port))
        await _until(lambda: "replayed" in two.flaws)
        two.channel.close()
        again = End("lb2", port, 9)
        again.follow(KEY)
        attacker.sendto(recorded[-1], (TWO, port))
        await _until(lambda: "stale" in again.flaws)
        again.channel.close()

    assert again.heard.empty()
    assert "a datagram of lb1 came again: doubled by the network, or replayed" in two.complaints


@pytest.mark.parametrize(
    ("theirs", "complaint"),
    [
        ((SECOND,), "lb1 signs with a key we do not have (id 2)"),
        ((OTHER,), "lb1's signature is wrong: its key 1 is another than ours of that number"),
        ((), "lb1 does not sign: it runs without key_file, or an older release"),
    ],
    ids=["unknown key", "wrong key", "no key"],
)
async def test_a_peer_with_another_key_or_none_is_not_believed_and_named_once(
    ends: tuple[End, End], theirs: tuple[Key, ...], complaint: str
) -> None:
    one, two = ends
    one.follow(*theirs)
    two.follow(KEY)

    await _speak(one, two, complaint)
    for _ in range(5):
        one.channel.send(PRESENCE)
    await asyncio.sleep(0.1)

    assert two.heard.empty()
    assert len(two.complaints) == 1
    assert two.complaints[0].startswith(complaint)


async def test_keys_are_rotated_without_a_gap(ends: tuple[End, End]) -> None:
    one, two = ends
    one.follow(KEY)
    two.follow(KEY)
    await _speak(one, two)

    for number, step in enumerate(((KEY, SECOND), (SECOND, KEY), (SECOND,))):
        for end in (one, two):
            assert end.follow(*step) == ""
            said = Prepare(f"{number}", (end.node,))
            one.channel.tell("lb2", said)
            assert await two.next(Prepare) == said
            two.channel.tell("lb1", said)
            assert await one.next(Prepare) == said

    assert (one.complaints, two.complaints) == ([], [])


async def test_a_key_file_that_could_not_be_read_closes_the_channel(
    ends: tuple[End, End], port: int
) -> None:
    one = ends[0]
    one.follow(KEY)
    wanted = replace(_config("lb1", port), key_file="/etc/hadirector/cluster.key")

    told = one.channel.follow(wanted, ())

    assert told == "the peer channel is closed: /etc/hadirector/cluster.key could not be read"
    one.channel.send(PRESENCE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((ONE, port))  # nobody listens there any more


async def test_an_address_this_host_does_not_have_is_told_in_one_sentence(port: int) -> None:
    nodes = (Node("lb1", 150, Address("192.0.2.77")), Node("lb2", 100, TWO))
    config = replace(farm.CONFIG, nodes=nodes, peer_port=port)
    channel = peer_channel.PeerChannel(7, lambda *_: None, lambda *_: None)

    told = channel.follow(config, ())

    assert told == (
        f"peer channel: cannot listen on 192.0.2.77 port {port}: Cannot assign requested address"
    )


@pytest.mark.parametrize("sealed", [False, True])
def test_a_node_with_very_many_services_still_fits_a_datagram(sealed: bool) -> None:
    services = {f"service-number-{i}": True for i in range(5000)}

    raw = peer_channel.encode(replace(PRESENCE, services=services), sealed)

    assert len(raw) < peer_channel.MAX_BODY
    assert peer_channel.decode(raw, sealed) == PRESENCE


@pytest.mark.parametrize(
    "message",
    [PRESENCE, Echo(), Prepare("t", ("a",)), TakeOver("t", ()), Answer("t", True, "no")],
    ids=lambda message: type(message).__name__,
)
def test_every_message_comes_out_of_its_body_as_it_went_in(message: PeerMessage) -> None:
    body = peer_channel.encode(message, sealed=True)

    assert peer_channel.decode(body, sealed=True) == message


@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_make_no_message(raw: bytes, sealed: bool) -> None:
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        peer_channel.decode(raw, sealed)


def test_a_name_of_no_message_makes_none() -> None:
    with pytest.raises(ValueError, match="unknown message 'Config'"):
        peer_channel.decode(msgspec.msgpack.encode(("Config", {})), sealed=True)


async def test_a_datagram_of_lists_in_lists_is_malformed_and_nothing_else(
    ends: tuple[End, End], port: int
) -> None:
    one, two = ends
    assert one.follow() == ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
        forger.bind((TWO, 0))
        forger.sendto(b"HDP1\x81\xa1x" + b"\x91" * 5000 + b"\xc0", (ONE, port))
    assert two.follow() == ""

    await _speak(one, two)

    assert one.flaws == {"malformed": 1}


async def test_doctors_empty_datagram_is_no_complaint(ends: tuple[End, End], port: int) -> None:
    one = ends[0]
    assert one.follow() == ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks:
        asks.bind((TWO, 0))
        asks.sendto(b"", (ONE, port))
        asks.sendto(b"?", (ONE, port))
    await _until(lambda: bool(one.flaws))

    assert sum(one.flaws.values()) == 1  # the other one
