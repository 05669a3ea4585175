"""GET /v1/sync/records: connection records as they pass, as server-sent events.

On the control socket alone: records name clients, and whoever may read status over HTTP may not
read who talks to whom.
"""

import asyncio
import json

from aiohttp import web

from hadirector.core.record_watch import SeenRecord, SeenRecords
from hadirector.core.status import Json

QUEUE = 64  # messages that a slow watcher may be behind; what comes then is left out, and counted
WATCHERS = 8
KEEP_ALIVE = 5.0  # seconds between comments: a watcher that left shows by them
WRITE_DEADLINE = 10.0  # seconds a watcher may refuse to read


class RecordStream:
    """The watchers."""

    def __init__(self) -> None:
        self._watchers: dict[asyncio.Queue[bytes | None], int] = {}  # with what it has missed

    @property
    def watched(self) -> bool:
        """Whether anybody watches."""
        return bool(self._watchers)

    def add_routes(self, app: web.Application, writes: bool) -> None:
        """Answer on the control socket."""
        if writes:
            app.router.add_get("/v1/sync/records", self._stream)

    def publish(self, seen: SeenRecords, offset: float) -> None:
        """Show these to every watcher; `offset` is Unix time minus CLOCK_BOOTTIME."""
        for queue, missed in self._watchers.items():
            skipped = seen.skipped + missed
            if queue.full():
                self._watchers[queue] = skipped + len(seen.records)
                continue
            self._watchers[queue] = 0
            told: list[Json] = [record_json(record, offset) for record in seen.records]
            lines = [f"data: {json.dumps(one)}\n\n" for one in told]
            if skipped:
                lines.append(f"data: {json.dumps({'skipped': skipped})}\n\n")
            queue.put_nowait("".join(lines).encode())

    def close(self) -> None:
        """Let everybody go."""
        for queue in list(self._watchers):
            del self._watchers[queue]
            if not queue.full():
                queue.put_nowait(None)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if len(self._watchers) >= WATCHERS:
            return web.json_response({"error": f"{WATCHERS} watch already"}, status=503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE)
        self._watchers[queue] = 0
        try:
            await response.prepare(request)
            while queue in self._watchers:
                lines = await _next(queue)
                if lines is None:
                    break
                async with asyncio.timeout(WRITE_DEADLINE):
                    await response.write(lines)
        except (TimeoutError, ConnectionError):
            pass  # the watcher left or sleeps
        finally:
            self._watchers.pop(queue, None)
        return response


async def _next(queue: "asyncio.Queue[bytes | None]") -> bytes | None:
    try:
        async with asyncio.timeout(KEEP_ALIVE):
            return await queue.get()
    except TimeoutError:
        return b": still here\n\n"


def record_json(record: SeenRecord, offset: float) -> Json:
    """One line of the stream."""
    return {
        "at": record.at + offset,
        "sent": record.sent,
        "protocol": record.protocol,
        "client": record.client,
        "virtual": record.virtual,
        "server": record.server,
        "state": record.state,
        "forward": record.forward,
        "flags": list(record.flags),
        "fwmark": record.fwmark,
        "timeout": record.timeout,
    }
