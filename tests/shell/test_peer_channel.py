"""The peer channel over real datagrams on loopback."""

import asyncio
import socket
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import peers
from hadirector.core.address import Address
from hadirector.core.settings.cluster import Config, Node
from hadirector.shell import peer_channel
from tests.core import farm

ONE, TWO = Address("127.0.8.1"), Address("127.0.8.2")
PRESENCE = peers.Presence(
    "shop", "lb1", 0, 0, "d1", "1", True, "all well", {"front/ipv4": "master"}
)


def _config(node: str, port: int) -> Config:
    nodes = (Node("lb1", 150, ONE), Node("lb2", 100, TWO))
    return replace(farm.CONFIG, node=node, nodes=nodes, peer_port=port)


@pytest.fixture
def port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((ONE, 0))
        return int(probe.getsockname()[1])


async def test_each_presence_reaches_the_peer_in_order(port: int) -> None:
    heard: asyncio.Queue[peers.Presence] = asyncio.Queue()
    one = peer_channel.PeerChannel(7, lambda _: None)
    two = peer_channel.PeerChannel(8, heard.put_nowait)
    assert (one.follow(_config("lb1", port)), two.follow(_config("lb2", port))) == ("", "")

    one.send(PRESENCE)
    one.send(PRESENCE)

    async with asyncio.timeout(5):
        got = [await heard.get(), await heard.get()]
    assert got == [
        replace(PRESENCE, incarnation=7, sequence=1),
        replace(PRESENCE, incarnation=7, sequence=2),
    ]
    one.close()
    two.close()


async def test_strangers_and_garbage_are_counted_and_not_heard(port: int) -> None:
    heard: asyncio.Queue[peers.Presence] = asyncio.Queue()
    two = peer_channel.PeerChannel(8, heard.put_nowait)
    two.follow(_config("lb2", port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(peer_channel.encode(PRESENCE), (TWO, port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((ONE, 0))
        peer.sendto(b"GET / HTTP/1.0", (TWO, port))
        peer.sendto(peer_channel.encode(PRESENCE), (TWO, port))

    async with asyncio.timeout(5):
        assert await heard.get() == PRESENCE

    assert heard.empty()
    assert two.refused == 2
    two.close()


async def test_an_address_this_host_does_not_have_is_told_in_one_sentence(port: int) -> None:
    nodes = (Node("lb1", 150, Address("192.0.2.77")), Node("lb2", 100, TWO))
    config = replace(farm.CONFIG, nodes=nodes, peer_port=port)

    told = peer_channel.PeerChannel(7, lambda _: None).follow(config)

    assert told == (
        f"peer channel: cannot listen on 192.0.2.77 port {port}: Cannot assign requested address"
    )


def test_a_node_with_very_many_services_still_fits_a_datagram() -> None:
    services = {f"service-number-{i}": True for i in range(5000)}

    raw = peer_channel.encode(replace(PRESENCE, services=services))

    assert len(raw) < peer_channel.MAX_DATAGRAM
    assert peer_channel.decode(raw) == PRESENCE


@given(st.binary(max_size=200))
def test_arbitrary_bytes_make_no_presence(raw: bytes) -> None:
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        peer_channel.decode(peer_channel.MAGIC + raw)
