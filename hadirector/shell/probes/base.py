"""What a probe is made of.

A check type is a `Conversation`: it sees bytes, never a socket, and says how the probe ended.
stream.py carries conversations over TCP and keeps the bounds that hold whatever the server does:
one total deadline, one bounded read at a time, every error an `Outcome`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Target

Done = Callable[[Outcome], None]


class Conversation(Protocol):
    """One talk with one server, from connect to verdict. No method raises."""

    def opened(self) -> "Reply":
        """Connected: what to send, or the verdict already."""

    def received(self, data: bytes) -> "Reply":
        """Some bytes came (never none); a verdict ends the talk."""

    def closed(self) -> Outcome:
        """The server closed its side: the verdict."""

    def missing(self) -> str:
        """What it waits for, for when time runs out; empty: nothing in particular."""


@dataclass(frozen=True, slots=True)
class Parting:
    """The verdict, and what politeness sends after it; nobody waits for an answer."""

    outcome: Outcome
    last: bytes


@dataclass(frozen=True, slots=True)
class Again:
    """The verdict is known; another talk over a new connection may say it better, in the time
    that is left."""

    outcome: Outcome
    talk: Conversation


Reply = bytes | Outcome | Parting | Again | None
"""What a conversation does next: send, end, or (None) wait for more."""


class Exchange(Protocol):
    """One question in one datagram. No method raises."""

    def question(self) -> bytes:
        """What to send."""

    def received(self, data: bytes) -> Outcome | None:
        """A datagram came from there; None: it is no answer to this question."""

    def silent(self, within: str) -> Outcome:
        """Time ran out, and no ICMP error came either."""


class Running(Protocol):
    """A probe under way."""

    def cancel(self) -> None:
        """Abandon it: `done` is not called any more. Harmless after its end."""


class Soon:
    """A probe that has ended already, and says so on the next turn of the loop."""

    __slots__ = ("_handle",)

    def __init__(self, handle: asyncio.Handle) -> None:
        self._handle = handle

    def cancel(self) -> None:
        self._handle.cancel()


class Engine(Protocol):
    """Starts probes; `done` is called once for each, on a later turn of the loop."""

    def start(self, target: Target, done: Done) -> Running:
        """Begin; an error is an outcome, never an exception."""


def good(detail: str) -> Outcome:
    """The server passed."""
    return Outcome(Cause.GOOD, detail)


def answered(detail: str) -> Outcome:
    """The server answered, but not as wanted."""
    return Outcome(Cause.ANSWERED, detail)


def excerpt(raw: bytes | bytearray, size: int = 40) -> str:
    """The first bytes of what a server sent, printable whatever they are."""
    text = ascii(raw[:size].decode("latin-1"))
    return f"{text}..." if len(raw) > size else text
