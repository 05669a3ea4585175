"""Orders about real servers in the API.

GET  /v1/servers/drain?server=web/10.0.1.12     what is left there, and whether it is safe to reboot
POST /v1/servers/drain|disable|enable|weight?server=web/10.0.1.12
     &reason=TEXT &by=NAME &expires=SECONDS, and for weight &weight=N or =configured
     (control socket only)
"""

import math
import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from hadirector.core.ipvs import HEAVIEST
from hadirector.core.overrides import LONGEST, LONGEST_NAME, subject
from hadirector.core.requests import OrderKind, OrderServer, Outcome, Verdict, one_line
from hadirector.shell.drain_watch import DrainWatch

CONFIGURED = "configured"
LONGEST_EXPIRY = 10 * 365 * 86400.0  # seconds


class OrdersApi:
    """`ask` has the core carry an order out; `watch` knows what is left on drained servers."""

    def __init__(self, ask: Callable[[OrderServer], Awaitable[Outcome]], watch: DrainWatch) -> None:
        self._ask = ask
        self._watch = watch

    def add_routes(self, app: web.Application, writes: bool) -> None:
        """Adds what is answered here; `writes`: also orders."""
        app.router.add_get("/v1/servers/drain", self._left)
        if writes:
            app.router.add_post("/v1/servers/{kind}", self._order)

    async def _order(self, request: web.Request) -> web.StreamResponse:
        try:
            order = read(request.match_info["kind"], request.query)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        outcome = await self._ask(order)
        told = {
            "verdict": outcome.verdict.value,
            "lines": list(outcome.lines),
            "warnings": list(outcome.warnings),
        }
        return web.json_response(told, status=200 if outcome.verdict is Verdict.DONE else 409)

    async def _left(self, request: web.Request) -> web.StreamResponse:
        try:
            about = subject(request.query.get("server", ""))
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        found = self._watch.look(about)
        if not found:
            return web.json_response({"error": f"no real server is {about}"}, status=404)
        told = {
            "safe": all(left.safe for left in found),
            "measure": "exact" if self._watch.exact else "counters",
            "servers": {
                left.name: {
                    "weight": left.weight,
                    "active": left.active,
                    "inactive": left.inactive,
                    "templates": left.templates,
                    "oldest_s": left.oldest,
                    "longest_s": left.longest,
                    "eta_s": left.eta,
                    "safe": left.safe,
                    "why_not": left.why_not,
                    "elsewhere": left.elsewhere,
                }
                for left in found
            },
        }
        return web.json_response(told)


def read(kind: str, asked: Mapping[str, str]) -> OrderServer:
    """The order that a query asks for; ValueError."""
    return OrderServer(
        kind=OrderKind(kind),
        server=asked.get("server", ""),
        by=one_line(asked.get("by", ""), LONGEST_NAME) or "somebody",
        unix=time.time(),
        weight=_weight(asked.get("weight", "")) if kind == OrderKind.WEIGHT.value else None,
        reason=one_line(asked.get("reason", ""), LONGEST),
        expires=_expires(asked["expires"]) if asked.get("expires") else None,
    )


def _weight(text: str) -> int | None:
    if text == CONFIGURED:
        return None
    if not text.isdecimal() or int(text) > HEAVIEST:
        raise ValueError(f"weight: 0 to {HEAVIEST} is wanted, or {CONFIGURED!r}")
    return int(text)


def _expires(text: str) -> float:
    seconds = float(text)
    if not math.isfinite(seconds) or not 0 < seconds <= LONGEST_EXPIRY:
        raise ValueError("expires: seconds are wanted, more than 0")
    return seconds
