"""The election's inbox under a flood: what may be lost, and what may not."""

import asyncio
from collections import deque

import pytest

from hadirector import election
from hadirector.core import election_types as et
from hadirector.core import messages
from hadirector.core.address import Address
from hadirector.election import ElectionProcess

PACKET = et.PacketReceived("eth0", Address("192.0.2.2"), Address("224.0.0.18"), 255, b"")
ORDER = messages.Order(messages.OrderKind.STOP, "t")
LEVEL = messages.Ready(True, "all well")


@pytest.fixture
def flooded() -> ElectionProcess:
    """Only what receives; a node without a kernel has no more."""
    process = ElectionProcess.__new__(ElectionProcess)
    process._inbox, process._dropped, process._wake = deque(), 0, asyncio.Event()
    for _ in range(election.INBOX + 7):
        process._put(PACKET)
    return process


async def test_a_flood_of_packets_is_cut_and_counted(flooded: ElectionProcess) -> None:
    assert (len(flooded._inbox), flooded._dropped) == (election.INBOX, 7)


@pytest.mark.parametrize("what", [ORDER, LEVEL, et.Links(())], ids=["order", "level", "links"])
async def test_what_is_no_packet_is_never_lost_to_a_flood(
    flooded: ElectionProcess, what: et.Input
) -> None:
    flooded._put(what)

    assert flooded._inbox[-1] == what
    assert flooded._dropped == 7
