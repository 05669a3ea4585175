"""`hadirector plan` and `hadirector pause`, where the director answers them.

POST /v1/plan     what the configuration in the body (config/handover) would change; nothing is
POST /v1/pause?seconds=N&reason=TEXT    IPVS is left alone for so long; 0 ends it

Both on the control socket only.
"""

import asyncio
import math
import socket
from collections.abc import Callable

import msgspec
from aiohttp import web

from hadirector.config import handover
from hadirector.core import differences, preview
from hadirector.core import director_events as ev
from hadirector.core.director import Director
from hadirector.core.requests import one_line
from hadirector.shell import child, secrets

LARGEST = 64 << 20  # bytes of a configuration
LONGEST = 86400.0  # seconds of a pause
SAVED_WITHIN = 2.0  # seconds that the disk is waited for
LOOK_EVERY = 0.05


class Planning:
    """For one director; `put` takes its events."""

    def __init__(self, core: Director, put: Callable[[ev.Event], None]) -> None:
        self._core = core
        self._put = put

    def add_routes(self, app: web.Application, writes: bool) -> None:
        """Adds what is answered here."""
        if writes:
            app.router.add_post("/v1/plan", self._plan)
            app.router.add_post("/v1/pause", self._pause)

    async def _plan(self, request: web.Request) -> web.StreamResponse:
        blob = bytearray()
        async for part in request.content.iter_any():
            blob += part
            if len(blob) > LARGEST:
                return web.json_response({"error": "the configuration is too large"}, status=413)
        try:
            config = handover.decode(bytes(blob)).config
        except ValueError:
            config = None
        if config is None or self._core.config is None:
            text = "no configuration: is this command of another version than the daemon?"
            return web.json_response({"error": text}, status=400)
        if fixed := differences.fixed(self._core.config, config):
            return web.json_response({"error": fixed}, status=409)
        found, _ = await secrets.read_all(config)
        if found.troubles:  # a reload refuses it for these
            text = "\n".join(found.troubles.values())
            return web.json_response({"error": text}, status=409)
        present = {name for _, name in socket.if_nameindex()}
        told = preview.build(self._core, config, child.now(), present)
        body = msgspec.json.encode(told)
        return web.Response(body=body, content_type="application/json")

    async def _pause(self, request: web.Request) -> web.StreamResponse:
        try:
            seconds = float(request.query.get("seconds", ""))
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds <= LONGEST:
            text = f"seconds: a number up to {LONGEST:g} is wanted"
            return web.json_response({"error": text}, status=400)
        reason = one_line(request.query.get("reason", ""))
        was = self._core.kernel.pause is not None
        self._put(ev.Paused(seconds, reason))
        lost = await self._saved()
        warnings = [f"a restart would forget this: {lost}"] if lost else []
        told = {"ok": True, "seconds": seconds, "was": was, "warnings": warnings}
        return web.json_response(told)

    async def _saved(self) -> str:
        """Once what was asked is on the disk, or why it is not."""
        for _ in range(round(SAVED_WITHIN / LOOK_EVERY)):
            await asyncio.sleep(LOOK_EVERY)
            trouble = self._core.operations.unsaved
            if trouble is not None:
                return trouble
        return "not written to the disk yet"
