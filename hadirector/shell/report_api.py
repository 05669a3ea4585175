"""What others say of servers, by the API: checks of type external (control socket only).

POST /v1/report?check=NAME&server=ADDRESS&state=up|down&share=PERCENT&reason=TEXT

`server` is an address, with a port or without; without it all servers of the check are meant.
`share` is 0 to 100, of the server's weight. Answered when the report is taken, with how many
servers it concerns: {"verdict": "done", "lines": [...]}, or 404 with why it concerns none.
"""

import re
from collections.abc import Callable

from aiohttp import web

from hadirector.core import director_events as ev
from hadirector.core.externals import REASON, Externals
from hadirector.core.requests import one_line

_SHARE = re.compile(r"(100|[0-9]{1,2})%?")
_STATES = {"up": True, "down": False}


class ReportApi:
    """Takes reports; `put` hands an event to the director's core."""

    def __init__(self, externals: Externals, put: Callable[[ev.Event], None]) -> None:
        self._externals = externals
        self._put = put

    def add_routes(self, app: web.Application, writes: bool) -> None:
        """Adds what is answered here; `writes`: also what changes something."""
        if writes:
            app.router.add_post("/v1/report", self._report)

    async def _report(self, request: web.Request) -> web.StreamResponse:
        asked = request.query
        check, server, share = asked.get("check", ""), asked.get("server", ""), asked.get("share")
        up = _STATES.get(asked.get("state", "up"))
        if up is None:
            return _failed("state: up or down is wanted", 400)
        if share is not None and not _SHARE.fullmatch(share):
            return _failed("share: 0 to 100 is wanted, the percent of the weight", 400)
        refusal = self._externals.refusal(check, server)
        if refusal:
            return _failed(refusal, 404)
        part = None if share is None else int(share.rstrip("%")) / 100
        reason = one_line(asked.get("reason", ""), REASON)
        self._put(ev.Reported(check, server, up, part, reason))
        count = len(self._externals.targets(check, server))
        line = f"{check}: reported {'up' if up else 'down'} for {count} server{'s' * (count != 1)}"
        return web.json_response({"verdict": "done", "lines": [line], "warnings": []})


def _failed(why: str, status: int) -> web.Response:
    told = {"verdict": "failed", "lines": [why], "warnings": []}
    return web.json_response(told, status=status)
