"""What a probe is made of.

A check type is a `Conversation`: it sees bytes, never a socket, and says how the probe ended.
stream.py carries conversations over TCP and keeps the bounds that hold whatever the server does:
one total deadline, one bounded read at a time, every error an `Outcome`.
"""

from collections.abc import Callable
from typing import Protocol

from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Target

Done = Callable[[Outcome], None]


class Conversation(Protocol):
    """One talk with one server, from connect to verdict. No method raises."""

    def opened(self) -> bytes | Outcome:
        """Connected: what to send, or the verdict already."""

    def received(self, data: bytes) -> Outcome | None:
        """Some bytes came (never none); a verdict ends the talk."""

    def closed(self) -> Outcome:
        """The server closed its side: the verdict."""


class Running(Protocol):
    """A probe under way."""

    def cancel(self) -> None:
        """Abandon it: `done` is not called any more. Harmless after its end."""


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


def duration(seconds: float) -> str:
    """`500 ms`, `2 s`: as an operator would write it."""
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1000:g} ms"


def excerpt(raw: bytes | bytearray, size: int = 40) -> str:
    """The first bytes of what a server sent, printable whatever they are."""
    text = ascii(raw[:size].decode("latin-1"))
    return f"{text}..." if len(raw) > size else text
