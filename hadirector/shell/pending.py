"""Operators' requests that the core has not answered yet: who asked waits for the Reply."""

import asyncio
import itertools
from collections.abc import Callable

from hadirector.core import director_events as ev
from hadirector.core.requests import Outcome, Request, Verdict
from hadirector.shell import child

PATIENCE = 170.0  # seconds: a successor may take 160 s at adverts of 40 s
MOST = 64  # waiting at a time

_NO_ANSWER = Outcome(Verdict.FAILED, ("the director gave no answer; see `hadirector status`",))
_TOO_MANY = Outcome(Verdict.REFUSED, (f"{MOST} requests wait already",))


class Pending:
    """`put` hands an event to the core."""

    def __init__(self, put: Callable[[ev.Event], None], node: str) -> None:
        self._put = put
        self._node = node
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}

    async def ask(self, request: Request) -> Outcome:
        """The core's answer, within PATIENCE."""
        if len(self._waiting) >= MOST:
            return _TOO_MANY
        # Unique among all directors this node has had: elections remember tokens.
        token = f"{self._node}-{child.now():.6f}-{next(self._numbers)}"
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[token] = answer
        self._put(ev.Asked(token, request))
        try:
            async with asyncio.timeout(PATIENCE):
                return await answer
        except TimeoutError:
            return _NO_ANSWER
        finally:
            del self._waiting[token]

    def reply(self, reply: ev.Reply) -> None:
        """The core answers; who asked may be gone."""
        answer = self._waiting.get(reply.token)
        if answer is not None and not answer.done():
            answer.set_result(reply.outcome)
