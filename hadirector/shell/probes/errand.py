"""Check type exec: the program is run elsewhere (core/errands); here is who waits for its end."""

import asyncio
from collections.abc import Callable
from functools import partial

from hadirector.core import messages
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Target
from hadirector.shell.probes import base

PATIENCE = 2.0  # seconds past a check's timeout for the word of its end to come

Send = Callable[[messages.Message], None]


class Errands:
    """Asks the director, and hands its answers on."""

    def __init__(self, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._waiting: dict[int, tuple[base.Done, asyncio.TimerHandle]] = {}
        self._number = 0

    def start(self, target: Target, done: base.Done) -> base.Running:
        """Begin; an error is an outcome, never an exception."""
        self._number += 1
        ticket = self._number
        late = Outcome(Cause.OURS, "no word of its end: the process that runs programs is busy")
        expired = partial(self._end, ticket, late)
        timer = self._loop.call_later(target.check.timeout + PATIENCE, expired)
        self._waiting[ticket] = (done, timer)
        self._send(messages.Execute(target.id, ticket))
        return _Waiting(partial(self._forget, ticket))

    def answered(self, told: messages.Executed) -> None:
        """A program ended."""
        self._end(told.ticket, Outcome(told.cause, told.detail, share=told.share))

    def close(self) -> None:
        """Wait for nothing any more."""
        for ticket in tuple(self._waiting):
            self._forget(ticket)

    def _end(self, ticket: int, outcome: Outcome) -> None:
        done = self._forget(ticket)
        if done is not None:
            done(outcome)

    def _forget(self, ticket: int) -> base.Done | None:
        done, timer = self._waiting.pop(ticket, (None, None))
        if timer is not None:
            timer.cancel()
        return done


class _Waiting:
    """A program that is waited for."""

    __slots__ = ("_forget",)

    def __init__(self, forget: Callable[[], object]) -> None:
        self._forget = forget

    def cancel(self) -> None:
        self._forget()
