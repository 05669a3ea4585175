"""The peer channel over real datagrams on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import peers
from hadirector.core.address import Address
from hadirector.core.peer_messages import Answer, Echo, PeerMessage, Prepare, TakeOver
from hadirector.core.settings.cluster import Config, Node
from hadirector.shell import peer_channel
from tests.core import farm

ONE, TWO = Address("127.0.8.1"), Address("127.0.8.2")
PRESENCE = peers.Presence(
    "shop", "lb1", 0, 0, "d1", "1", True, "all well", {"front/ipv4": "master"}
)
KEY, OTHER = f"1 {'ab' * 32}", f"1 {'cd' * 32}"
SECOND = f"2 {'ef' * 32}"


def _config(node: str, port: int, key_file: Path | None = None) -> Config:
    nodes = (Node("lb1", 150, ONE), Node("lb2", 100, TWO))
    keys = None if key_file is None else str(key_file)
    return replace(farm.CONFIG, node=node, nodes=nodes, peer_port=port, key_file=keys)


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

    async def follow(self, key_file: Path | None = None) -> str:
        return await self.channel.follow(_config(self.node, self.port, key_file))

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


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return _keys(tmp_path, "cluster.key", KEY)


def _keys(folder: Path, name: str, *lines: str, mode: int = 0o640) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    path.chmod(mode)
    return path


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
    assert (await one.follow(), await two.follow()) == ("", "")

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
    await two.follow()
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
    await one.follow()
    await two.follow()

    one.channel.tell("lb2", TakeOver("t", ("front",)))
    one.channel.send(PRESENCE)

    assert isinstance(await two.next(), peers.Presence)
    assert two.heard.empty()


async def test_with_a_key_two_directors_believe_and_order_each_other(
    ends: tuple[End, End], keys: Path
) -> None:
    one, two = ends
    assert (await one.follow(keys), await two.follow(keys)) == ("", "")
    await _speak(one, two)

    one.channel.tell("lb2", Prepare("t", ("front", "inside")))
    assert await two.next(Prepare) == Prepare("t", ("front", "inside"))
    two.channel.tell("lb1", Answer("t", taken=False, refusal="in standby"))
    assert await one.next(Answer) == Answer("t", taken=False, refusal="in standby")

    assert one.channel.gate.signs == {"lb2": 1}
    assert set(one.flaws) | set(two.flaws) <= {"stale"}
    assert (one.complaints, two.complaints) == ([], [])


async def test_a_recorded_datagram_is_not_believed_again_nor_after_a_restart(
    ends: tuple[End, End], keys: Path, port: int
) -> None:
    one, two = ends
    await one.follow(keys)
    await two.follow(keys)
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
        await again.follow(keys)
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
    ends: tuple[End, End], keys: Path, theirs: tuple[str, ...], complaint: str
) -> None:
    one, two = ends
    await one.follow(_keys(keys.parent, "other", *theirs) if theirs else None)
    await two.follow(keys)

    await _speak(one, two, complaint)
    for _ in range(5):
        one.channel.send(PRESENCE)
    await asyncio.sleep(0.1)

    assert two.heard.empty()
    assert len(two.complaints) == 1
    assert two.complaints[0].startswith(complaint)


async def test_keys_are_rotated_without_a_gap(ends: tuple[End, End], tmp_path: Path) -> None:
    one, two = ends
    steps = ((KEY,), (KEY, SECOND), (SECOND, KEY), (SECOND,))
    mine, theirs = (_keys(tmp_path, name, KEY) for name in ("mine", "theirs"))
    await one.follow(mine)
    await two.follow(theirs)
    await _speak(one, two)

    for step in steps[1:]:
        for end, path in ((one, mine), (two, theirs)):
            _keys(tmp_path, path.name, *step)
            assert await end.follow(path) == ""
            one.channel.tell("lb2", Prepare("t", step))
            assert await two.next(Prepare) == Prepare("t", step)
            two.channel.tell("lb1", Prepare("t", step))
            assert await one.next(Prepare) == Prepare("t", step)

    assert (one.complaints, two.complaints) == ([], [])


async def test_a_key_file_that_cannot_be_read_closes_the_channel_until_it_can(
    ends: tuple[End, End], keys: Path, port: int
) -> None:
    one = ends[0]
    config = _config("lb1", port, keys.parent / "absent")

    told = await one.channel.follow(config)
    one.channel.send(PRESENCE)
    assert told == (
        f"key_file: {keys.parent}/absent: No such file or directory; the peer channel is closed "
        "until it can be read"
    )

    _keys(keys.parent, "absent", KEY)
    assert await one.channel.follow(config) == ""
    assert one.channel.gate.keyed


async def test_a_broken_key_file_at_a_reload_leaves_the_keys_that_were_good(
    ends: tuple[End, End], keys: Path
) -> None:
    one, two = ends
    await one.follow(keys)
    await two.follow(keys)
    await _speak(one, two)

    _keys(keys.parent, keys.name, "1 secret")
    told = await one.follow(keys)

    assert told == (
        f"key_file: {keys}:1: the key is not hex: an even number of digits 0-9 a-f; the keys read "
        "last stay until it can be read"
    )
    one.channel.tell("lb2", Prepare("t", ()))
    await two.next(Prepare)


async def test_a_key_file_that_everybody_can_read_is_used_and_told(
    ends: tuple[End, End], keys: Path
) -> None:
    _keys(keys.parent, keys.name, KEY, mode=0o644)

    told = await ends[0].follow(keys)

    assert told.endswith(f"(mode 0644): chmod 0640 {keys}")
    assert ends[0].channel.gate.keyed


async def test_an_address_this_host_does_not_have_is_told_in_one_sentence(port: int) -> None:
    nodes = (Node("lb1", 150, Address("192.0.2.77")), Node("lb2", 100, TWO))
    config = replace(farm.CONFIG, nodes=nodes, peer_port=port)
    channel = peer_channel.PeerChannel(7, lambda *_: None, lambda *_: None)

    told = await channel.follow(config)

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
