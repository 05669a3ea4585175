"""A bucket that somebody made large: listed in parts, compared whole."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from hadirector import following, resyncing
from hadirector.core import ipvs_sync
from hadirector.core import resync_messages as said
from hadirector.core.address import Address
from hadirector.core.campaign import Campaign
from hadirector.core.mirror import Mirror
from hadirector.shell.resync_link import Link, LinkError
from tests.core.test_ipvs_sync import ONE

SALT = bytes(16)
ROUND = 1


class Known:
    """One node's connections."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror


class Wire:
    """The other end's ear: what a link sends comes there."""

    node = "lb2"

    def __init__(self) -> None:
        self.said: list[said.Message] = []

    async def send(self, message: said.Message) -> None:
        self.said.append(message)


def records(count: int) -> Iterator[bytes]:
    for n in range(count):
        client = Address(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
        yield ipvs_sync.encode(replace(ONE, client=client))


def in_one_bucket(count: int) -> Mirror:
    """As if a hash had been broken."""
    mirror = Mirror()
    mirror.hear(records(count), 1000.0)
    crowd = {key: value for bucket in mirror.buckets for key, value in bucket.items()}
    mirror.clear()
    mirror.buckets[7] = crowd
    return mirror


def nothing() -> Any:
    return None


async def test_it_is_listed_in_parts_and_only_what_is_missing_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "PART_ROWS", 100)
    ours, theirs = in_one_bucket(1001), in_one_bucket(998)
    wire = Wire()
    place = following.Place(cast(Any, Known(theirs)), nothing, str, float, lambda _: None)
    follower = following.Follower(cast(Link, wire), place)
    wanted = said.List(ROUND, (7, 8))
    await follower._list(wanted, said.Compare(ROUND, None, SALT))
    parts = [part for part in wire.said if isinstance(part, said.Listing)]
    assert [part.more for part in parts] == [True] * 9 + [False]

    around = resyncing.Surroundings(
        cast(Any, Known(ours)), nothing, nothing, nothing, lambda *_: None
    )
    session = resyncing.Session(cast(Link, Wire()), Campaign("lb2"), around)
    session._round = ROUND
    for part in parts:
        session._answers.put_nowait(part)
    digests = bytearray(8 * len(ours.buckets))
    digests[7 * 8] = digests[8 * 8] = 1
    told = said.Digests(ROUND, 998, bytes(8 * len(ours.buckets)), True, 0, 0)
    missing = {n: set(k) async for n, k in session._missing(bytes(digests), told, None, SALT)}

    assert missing == {7: set(ours.buckets[7]) - set(theirs.buckets[7]), 8: set()}


async def test_a_message_too_large_for_a_frame_ends_the_link_and_not_the_syncer() -> None:
    link = Link(asyncio.StreamReader(), cast(Any, None), "lb2")

    with pytest.raises(LinkError, match="too many for a frame"):
        await link.send(said.Listing(ROUND, (bytes(17 << 20),)))
