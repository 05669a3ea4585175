"""IPVS in the API.

GET  /v1/ipvs                      the kernel's table, as `hadirector ipvs --json` prints it
GET  /v1/ipvs/names                what the configuration calls the services of the table
POST /v1/ipvs/zero?service=NAME    counters to zero, of all services or some (control socket only)
"""

import asyncio
from collections.abc import Callable, Sequence

from aiohttp import web

from hadirector.core import ipvs_view
from hadirector.core.ipvs_view import Names
from hadirector.core.settings.services import VirtualService
from hadirector.shell import ipvs_view as shell_view
from hadirector.shell.ipvs import Ipvs
from hadirector.shell.netlink import KernelError

AT_ONCE = 2  # reads for the API at a time: a table of 10,000 takes 0.2 s of this process


class IpvsApi:
    """Answers about the kernel's table; `services` gives those of the configuration in force, and
    `notice` takes the kind, subject and reason of what an operator did."""

    def __init__(
        self,
        services: Callable[[], Sequence[VirtualService]],
        notice: Callable[[str, str, str], None],
    ) -> None:
        self._ipvs = Ipvs()  # of its own: nobody who asks makes the executor wait
        self._services = services
        self._notice = notice
        self._turn = asyncio.Semaphore(AT_ONCE)

    def add_routes(self, app: web.Application, writes: bool) -> None:
        """Adds what is answered here; `writes`: also what changes something."""
        app.router.add_get("/v1/ipvs", self._view)
        app.router.add_get("/v1/ipvs/names", self._called)
        if writes:
            app.router.add_post("/v1/ipvs/zero", self._zero)

    async def _view(self, _request: web.Request) -> web.StreamResponse:
        async with self._turn:
            try:
                view = await shell_view.read(self._ipvs, self._names())
            except KernelError as error:
                return web.json_response({"error": str(error)}, status=503)
            body = await asyncio.to_thread(shell_view.encode, view)
        return web.Response(body=body, content_type="application/json")

    async def _called(self, _request: web.Request) -> web.StreamResponse:
        body = shell_view.encode_names(self._names())
        return web.Response(body=body, content_type="application/json")

    async def _zero(self, request: web.Request) -> web.StreamResponse:
        wanted = request.query.get("service", "")
        try:
            count = await self._zeroed(wanted)
        except KernelError as error:
            return web.json_response({"error": str(error)}, status=409)
        if wanted and not count:
            return web.json_response({"error": f"no service {wanted!r}"}, status=404)
        if not wanted:
            self._told("ipvs", "all counters set to zero by an operator")
        return web.json_response({"ok": True, "services": count})

    async def _zeroed(self, wanted: str) -> int:
        """How many services were."""
        table, _ = await self._ipvs.read()
        called = self._names().services
        pairs = ((key, called[str(key)].name if str(key) in called else "") for key in table)
        if not wanted:
            await self._ipvs.zero()
            return len(table)
        keys = ipvs_view.chosen(pairs, wanted)
        for key in keys:
            await self._ipvs.zero(key)
            self._told(str(key), "counters set to zero by an operator")
        return len(keys)

    def _told(self, subject: str, reason: str) -> None:
        self._notice("counters_zeroed", subject, reason)

    def _names(self) -> Names:
        return ipvs_view.names(self._services())
