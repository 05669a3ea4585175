"""A master's links: who has to be let in, and for whom nobody is put out."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from hadirector.core import resync_messages as said
from hadirector.core.address import Address
from hadirector.core.keys import Key
from hadirector.core.settings.cluster import Node
from hadirector.core.syncer_messages import SyncRole, SyncRoles, SyncSettings
from hadirector.shell.resync_link import Identity, Link, LinkError, connect
from hadirector.sync_links import VISITORS, Host, Links

MASTER, STANDBY = Address("127.0.0.2"), Address("127.0.0.1")
KEY = Key(7, bytes(range(32)))
FORGED = Key(7, bytes(32))
NEW = Key(8, bytes(range(1, 33)))
WAITS = said.State("it waits", 1, 0, 0)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((MASTER, 0))
        return int(sock.getsockname()[1])


class Cluster:
    """A master, and whoever connects to it from the address of its standby."""

    def __init__(self, links: Links, settings: SyncSettings) -> None:
        self.links, self.settings = links, settings
        self._port, self._keyed = settings.peer_port, settings.keyed

    async def connects(self) -> Link:
        reader, writer = await connect(STANDBY, MASTER, self._port, "lb1")
        return Link(reader, writer, "lb1")

    async def greets(self, key: Key = KEY) -> Link:
        """One that greets as lb2, and tells how it is."""
        link = await self.connects()
        keys = (key,) if self._keyed else ()
        await link.greet_master(Identity("shop", "lb2", self._keyed, keys))
        await link.send(WAITS)
        return link


@asynccontextmanager
async def cluster(keyed: bool) -> AsyncIterator[Cluster]:
    port = free_port()
    nodes = (Node("lb1", 100, MASTER), Node("lb2", 90, STANDBY))
    keys = (KEY,) if keyed else ()
    none = cast(Any, None)
    host = Host(none, lambda: None, lambda: None, lambda: 0.0, lambda: None, lambda *_: None)
    async with asyncio.TaskGroup() as tasks:
        links = Links(tasks, host)
        settings = SyncSettings("shop", "lb1", None, nodes, port, keyed, keys)
        links.follow(settings)
        links.follow_roles(SyncRoles(SyncRole.MASTER, (), ()))
        await links.open()
        try:
            yield Cluster(links, settings)
        finally:
            links.close()


async def is_open(link: Link) -> bool:
    try:
        while True:  # it may be told that it cannot be compared
            await link.receive(0.3)
    except LinkError as error:
        return "silent" in str(error)


@pytest.mark.parametrize("keyed", [True, False])
async def test_who_connects_and_says_nothing_puts_nobody_out(keyed: bool) -> None:
    async with cluster(keyed) as here:
        standby = await here.greets()
        assert await is_open(standby)
        for _ in range(VISITORS + 2):
            await here.connects()

        assert await is_open(standby)


async def test_who_greets_without_the_key_puts_nobody_out() -> None:
    async with cluster(keyed=True) as here:
        standby = await here.greets()
        assert await is_open(standby)
        forger = await here.greets(FORGED)

        assert await is_open(standby)
        assert not await is_open(forger)


@pytest.mark.parametrize("keyed", [True, False])
async def test_a_syncer_that_began_anew_takes_the_place_of_its_former_self(keyed: bool) -> None:
    async with cluster(keyed) as here:
        former = await here.greets()
        assert await is_open(former)
        latter = await here.greets()

        assert await is_open(latter)
        assert not await is_open(former)


async def test_a_link_lives_as_long_as_its_key_is_the_clusters() -> None:
    async with cluster(keyed=True) as here:
        standby = await here.greets()
        assert await is_open(standby)

        here.links.follow(replace(here.settings, keys=(NEW, KEY)))
        assert await is_open(standby)

        here.links.follow(replace(here.settings, keys=(NEW, FORGED)))
        assert not await is_open(standby)
        await here.links.open()
        assert await is_open(await here.greets(NEW))


async def test_who_greets_while_its_key_is_taken_away_is_not_let_in() -> None:
    async with cluster(keyed=True) as here:
        link = await here.connects()
        await link.greet_master(Identity("shop", "lb2", True, (KEY,)))
        here.links.follow(replace(here.settings, keys=(NEW,)))
        await link.send(WAITS)

        assert not await is_open(link)


@pytest.mark.parametrize("keyed", [True, False])
async def test_a_nodes_new_priority_breaks_no_link_and_its_new_address_does(keyed: bool) -> None:
    async with cluster(keyed) as here:
        standby = await here.greets()
        assert await is_open(standby)
        one, two = here.settings.nodes

        here.links.follow(replace(here.settings, nodes=(one, replace(two, priority=10))))
        assert await is_open(standby)

        here.links.follow(
            replace(here.settings, nodes=(one, replace(two, address=Address("127.0.0.9"))))
        )
        assert not await is_open(standby)


async def test_where_no_links_are_wanted_any_more_nothing_keeps_them_from_being_made() -> None:
    async with cluster(keyed=False) as here:
        nodes = (Node("lb1", 100, Address("192.0.2.77")), here.settings.nodes[1])
        here.links.follow(replace(here.settings, nodes=nodes))
        await here.links.open()
        assert "cannot listen on 192.0.2.77" in here.links.trouble

        here.links.follow(None)

        assert here.links.trouble == ""
