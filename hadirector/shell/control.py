"""The API: HTTP over the control socket (0660), and read-only over loopback where configured.

GET  /v1/status               the contract's status
GET  /v1/events?since=N       journal entries; `Accept: text/event-stream` streams on
GET  /v1/explain?what=NAME    what holds of a subject and how it came
GET  /metrics                 OpenMetrics, of the status (core/metrics)
POST /v1/reload               (control socket only)
POST /v1/restart-director     (control socket only)
POST /v1/handover?instance=NAME&force=1&reason=TEXT    (control socket only; all are optional)
POST /v1/release?instance=NAME                         (control socket only)
POST /v1/standby?on=1|0&force=1&reason=TEXT            (control socket only)

The last three answer when it is known how it went: `{"verdict": "done|refused|failed", "lines":
[...], "warnings": [...]}`. More routes are in shell/*_api.py, shell/record_stream.py, planning.py.
"""

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from aiohttp import web

from hadirector.core import metrics
from hadirector.core.errors import HadirectorError
from hadirector.core.requests import HandOver, Outcome, Release, Request, StandBy, Verdict, one_line
from hadirector.core.status import Json

STREAM_QUEUE = 1000  # events a slow follower may be behind before it is cut off
FOLLOWERS = 32  # streams of events at a time
KEEP_ALIVE = 15.0  # seconds between comments to a follower: one that left shows by them
WRITE_DEADLINE = 10.0  # seconds a follower may refuse to read
BACKLOG = 64
STARTING = 2.0  # seconds; less than who asks waits for an answer
LEAVE = 1.0  # seconds that questions under way are waited for at the end


@dataclass(frozen=True, slots=True)
class Reloaded:
    """How a reload went: refused, or taken with warnings. `since` is the number of the last event
    before it: what came of it has a greater one. `read` is how many seconds it took to read the
    files, which happens beside everything else."""

    failure: str | None = None
    warnings: tuple[str, ...] = ()
    since: int = 0
    read: float = 0.0


@dataclass(frozen=True, slots=True)
class Answers:
    """What the director gives the API. Orders return the text of a failure, or None."""

    status: Callable[[], Json]
    events: Callable[[int], list[Json]]
    explain: Callable[[str], Json]
    reload: Callable[[], Awaitable[Reloaded]]
    restart: Callable[[], str | None]
    operate: Callable[[Request], Awaitable[Outcome]]
    more: Sequence[Callable[[web.Application, bool], None]] = ()
    """Add routes of their own; the flag says whether what changes something may be asked for."""
    configured: asyncio.Event | None = None
    """Until then questions wait, `STARTING` at most: the socket is there before the answers are."""


class SocketInUse(HadirectorError):
    """Somebody answers on the control socket already."""


class Control:
    """Both listeners; `publish` feeds the followers of events."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._followers: set[asyncio.Queue[Json]] = set()
        self._path = ""
        self._inode = 0
        self._unix: web.AppRunner | None = None
        self._http: web.AppRunner | None = None

    async def open_socket(self, path: str) -> None:
        """Listen on the control socket; a dead one that was left behind is replaced."""
        await asyncio.to_thread(_clear, path)
        runner = web.AppRunner(self._app(writes=True), access_log=None, shutdown_timeout=LEAVE)
        await runner.setup()
        old = os.umask(0o117)  # 0660 from the first moment on
        try:
            await web.UnixSite(runner, path, backlog=BACKLOG).start()
        except OSError:
            await runner.cleanup()
            raise
        finally:
            os.umask(old)
        self._unix, self._path = runner, path
        self._inode = (await asyncio.to_thread(os.stat, path)).st_ino

    def is_open(self) -> bool:
        """Whether who connects to the control socket's path comes to us. Blocks."""
        try:
            return self._unix is not None and os.stat(self._path).st_ino == self._inode
        except OSError:
            return False

    async def open_http(self, host: str, port: int) -> None:
        """Listen for readers; raises OSError where the port is taken."""
        runner = web.AppRunner(self._app(writes=False), access_log=None, shutdown_timeout=LEAVE)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
        except OSError:
            await runner.cleanup()
            raise
        self._http = runner

    async def close_http(self) -> None:
        """Stop listening for readers."""
        if self._http is not None:
            await self._http.cleanup()
            self._http = None

    async def close(self) -> None:
        """Stop both; the socket's file goes with it, and followers are let go."""
        for queue in list(self._followers):
            self._followers.discard(queue)
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(None)
        await self.close_http()
        await self.close_socket()

    async def close_socket(self) -> None:
        """Stop listening on the control socket; its file goes if it is ours."""
        if self._unix is None:
            return
        if await asyncio.to_thread(self.is_open):
            await asyncio.to_thread(Path(self._path).unlink, missing_ok=True)
        await self._unix.cleanup()
        self._unix = None

    def publish(self, event: Json) -> None:
        """Hand an event to every follower; one that is far behind is dropped."""
        for queue in list(self._followers):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._followers.discard(queue)

    def _app(self, *, writes: bool) -> web.Application:
        app = web.Application(client_max_size=1 << 20, middlewares=[self._once_configured])
        app.router.add_get("/v1/status", self._status)
        app.router.add_get("/v1/events", self._events)
        app.router.add_get("/v1/explain", self._explain)
        app.router.add_get("/metrics", self._metrics)
        if writes:
            app.router.add_post("/v1/reload", self._reload)
            app.router.add_post("/v1/restart-director", self._restart)
            app.router.add_post("/v1/handover", self._hand_over)
            app.router.add_post("/v1/release", self._release)
            app.router.add_post("/v1/standby", self._stand_by)
        for add_routes in self._answers.more:
            add_routes(app, writes)
        return app

    @web.middleware
    async def _once_configured(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if self._answers.configured is not None:
            try:
                async with asyncio.timeout(STARTING):
                    await self._answers.configured.wait()
            except TimeoutError:
                told = {
                    "error": "the director has only started and does not know its configuration"
                }
                return web.json_response(told, status=503)
        return await handler(request)

    async def _status(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(self._answers.status())

    async def _metrics(self, _request: web.Request) -> web.StreamResponse:
        text = metrics.render(cast(metrics.Status, self._answers.status()))
        return web.Response(body=text.encode(), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _explain(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._answers.explain(request.query.get("what", "")))

    async def _reload(self, _request: web.Request) -> web.StreamResponse:
        went = await self._answers.reload()
        if went.failure is not None:
            return _outcome(went.failure)
        told: Json = {
            "ok": True,
            "warnings": list(went.warnings),
            "since": went.since,
            "read_s": round(went.read, 3),
        }
        return web.json_response(told)

    async def _restart(self, _request: web.Request) -> web.StreamResponse:
        return _outcome(self._answers.restart())

    async def _hand_over(self, request: web.Request) -> web.StreamResponse:
        asked = request.query
        forced, reason = _why(asked)
        return await self._operate(HandOver(asked.get("instance", ""), forced, reason))

    async def _release(self, request: web.Request) -> web.StreamResponse:
        return await self._operate(Release(request.query.get("instance", "")))

    async def _stand_by(self, request: web.Request) -> web.StreamResponse:
        asked = request.query
        if asked.get("on") not in ("0", "1"):
            return web.json_response({"error": "on: 1 or 0 is wanted"}, status=400)
        forced, reason = _why(asked)
        return await self._operate(StandBy(asked["on"] == "1", forced, reason))

    async def _operate(self, request: Request) -> web.StreamResponse:
        outcome = await self._answers.operate(request)
        told = {
            "verdict": outcome.verdict.value,
            "lines": list(outcome.lines),
            "warnings": list(outcome.warnings),
        }
        done = outcome.verdict is Verdict.DONE
        return web.json_response(told, status=200 if done else 409)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        text = request.query.get("since", "0")
        if not text.isdecimal():
            return web.json_response({"error": "since: a number is wanted"}, status=400)
        if "text/event-stream" not in request.headers.get("Accept", ""):
            return web.json_response(self._answers.events(int(text)))
        return await self._stream(request, int(text))

    async def _stream(self, request: web.Request, since: int) -> web.StreamResponse:
        if len(self._followers) >= FOLLOWERS:
            return web.json_response({"error": f"{FOLLOWERS} followers already"}, status=503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        queue: asyncio.Queue[Json] = asyncio.Queue(STREAM_QUEUE)
        for event in self._answers.events(since)[-STREAM_QUEUE:]:
            queue.put_nowait(event)
        self._followers.add(queue)
        try:
            while queue in self._followers or not queue.empty():
                line = await _next_line(queue)
                if line is None:  # the daemon leaves
                    break
                async with asyncio.timeout(WRITE_DEADLINE):
                    await response.write(line)
        except (TimeoutError, ConnectionError):
            pass  # the follower left or sleeps
        finally:
            self._followers.discard(queue)
        return response


async def _next_line(queue: asyncio.Queue[Json]) -> bytes | None:
    """The next event for a follower, or a comment when there is none for a while."""
    try:
        async with asyncio.timeout(KEEP_ALIVE):
            event = await queue.get()
    except TimeoutError:
        return b": still here\n\n"
    return None if event is None else f"data: {json.dumps(event)}\n\n".encode()


def _why(asked: Mapping[str, str]) -> tuple[bool, str]:
    """Whether it is forced, and the operator's reason in one line."""
    return asked.get("force") == "1", one_line(asked.get("reason", ""))


def _outcome(failure: str | None) -> web.Response:
    if failure is None:
        return web.json_response({"ok": True})
    return web.json_response({"ok": False, "error": failure}, status=409)


def _clear(path: str) -> None:
    """Remove a socket nobody listens on; raises SocketInUse where somebody does."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise SocketInUse(f"{path} exists and is not a socket")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(path)
            except OSError:
                os.unlink(path)
                return
        raise SocketInUse(f"{path}: another daemon answers there")
