"""shell/record_stream: who watches is shown records, and a slow watcher costs nobody anything."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from hadirector.core.record_watch import SeenRecords, seen
from hadirector.shell.record_stream import QUEUE, WATCHERS, RecordStream
from tests.core.test_record_watch import WEB

SEEN = SeenRecords((seen(WEB, True, 5.0),), 0)


class Served:
    """A stream, and where it is served."""

    def __init__(self, stream: RecordStream, path: str) -> None:
        self.stream = stream
        self.session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path))

    async def watch(self) -> aiohttp.ClientResponse:
        """Begin to watch."""
        return await self.session.get("http://localhost/v1/sync/records")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    stream, app = RecordStream(), web.Application()
    stream.add_routes(app, writes=True)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "socket")).start()
    one = Served(stream, str(tmp_path / "socket"))
    yield one
    stream.close()
    await one.session.close()
    await runner.cleanup()


async def test_a_watcher_is_shown_each_record_and_what_was_left_out(served: Served) -> None:
    answer = await served.watch()
    assert served.stream.watched

    served.stream.publish(SeenRecords(SEEN.records, 3), 100.0)
    lines = [(await answer.content.readline()).decode() for _ in range(4)]

    told = json.loads(lines[0].removeprefix("data: "))
    assert (told["at"], told["client"], told["state"]) == (
        105.0,
        WEB.client + ":40112",
        "ESTABLISHED",
    )
    assert json.loads(lines[2].removeprefix("data: ")) == {"skipped": 3}


async def test_who_leaves_is_no_watcher_any_more(served: Served) -> None:
    answer = await served.watch()
    answer.close()

    async with asyncio.timeout(10.0):
        while served.stream.watched:
            served.stream.publish(SEEN, 0.0)
            await asyncio.sleep(0.01)


async def test_what_a_slow_watcher_misses_is_counted(served: Served) -> None:
    stream = served.stream
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE)
    stream._watchers[queue] = 0

    for _ in range(QUEUE + 10):
        stream.publish(SEEN, 0.0)
    for _ in range(QUEUE):
        await queue.get()
    stream.publish(SEEN, 0.0)

    last = await queue.get()
    assert last is not None
    assert b'{"skipped": 10}' in last


async def test_there_are_not_more_watchers_than_agreed(served: Served) -> None:
    for _ in range(WATCHERS):
        await served.watch()

    answer = await served.watch()

    assert answer.status == 503


async def test_readers_over_http_may_not_watch() -> None:
    app = web.Application()

    RecordStream().add_routes(app, writes=False)

    assert not list(app.router.routes())
