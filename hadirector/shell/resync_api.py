"""POST /v1/resync: have this node compared with its standbys, or its masters with it, now (control
socket only). How it went is in status: `sync.standbys` and `sync.masters`."""

from collections.abc import Callable

from aiohttp import web


class ResyncApi:
    """`ask` passes it on; it gives why it cannot, or nothing."""

    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask = ask

    def add_routes(self, app: web.Application, writes: bool) -> None:
        """Adds what is answered here: nothing but the order."""
        if writes:
            app.router.add_post("/v1/resync", self._resync)

    async def _resync(self, _request: web.Request) -> web.StreamResponse:
        refused = self._ask()
        if refused:
            return web.json_response({"ok": False, "error": refused}, status=409)
        return web.json_response({"ok": True})
