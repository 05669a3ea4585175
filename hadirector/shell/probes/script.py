r"""Dialogues as generators: a script says what it sends and what it waits for, one line each.

    def ftp() -> Script:
        yield from wait_code("greeting", "220")     # waits; Failed when it is another
        yield b"QUIT\r\n"                           # sends
        return base.good("well")                    # the verdict

`Scripted` is the conversation that runs one. What a server says is bounded in bytes, in replies and
in pieces: one that drips a byte at a time makes us look at each.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass

from hadirector.core.pacing import Outcome
from hadirector.shell.probes import base

REPLY_BOUND = 16 << 10  # bytes of one reply
WHOLE_BOUND = 64 << 10  # bytes of all replies
PIECES = 512  # that they may come in
REPLIES = 256  # in one dialogue, lines of a long one too

Frame = Callable[[bytearray], int | None]
"""How many bytes of what came are the next reply; None: it is not complete. Raises Failed."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a reply; `what` is its name, for when it does not come."""

    frame: Frame
    what: str


End = Outcome | base.Parting | base.Conversation
"""How a script ends: a verdict, or another conversation that goes on over the same connection."""

Script = Generator[bytes | Wait, bytes, End]
Step = Generator[bytes | Wait, bytes, bytes]


class Failed(Exception):  # not an error: the server's answer
    """The server answered, but not as wanted; the text is the verdict."""


class Scripted:
    """A conversation by a script."""

    __slots__ = ("_bytes", "_held", "_next", "_pieces", "_replies", "_script", "_wait")

    def __init__(self, script: Script) -> None:
        self._script = script
        self._wait: Wait | None = None
        self._next: base.Conversation | None = None  # who goes on
        self._held = bytearray()
        self._bytes = self._pieces = self._replies = 0

    def opened(self) -> base.Reply:
        return self._run(None)

    def received(self, data: bytes) -> base.Reply:
        if self._next is not None:
            return self._next.received(data)
        self._held += data
        self._bytes += len(data)
        self._pieces += 1
        try:
            reply = self._take()
        except Failed as failed:
            return base.answered(str(failed))
        return None if reply is None else self._run(reply)

    def closed(self) -> Outcome:
        if self._next is not None:
            return self._next.closed()
        if self._held:
            text = f"closed before {self.missing()}, after {base.excerpt(self._held)}"
            return base.answered(text)
        return base.answered(f"closed before {self.missing()}")

    def missing(self) -> str:
        if self._next is not None:
            return self._next.missing()
        return self._wait.what if self._wait is not None else ""

    def _run(self, reply: bytes | None) -> base.Reply:
        """Let the script go on until it waits for what has not come yet."""
        said = b""
        try:
            while True:
                step = next(self._script) if reply is None else self._script.send(reply)
                reply = None
                if isinstance(step, bytes):
                    said += step
                    continue
                self._wait = step
                reply = self._take()
                if reply is None:
                    return said or None
        except StopIteration as end:
            return self._ended(end.value, said)
        except Failed as failed:
            return base.Parting(base.answered(str(failed)), said)

    def _take(self) -> bytes | None:
        """The reply that is waited for, if it is there; Failed when it is beyond its bounds."""
        assert self._wait is not None, "a script begins by waiting or saying something"
        size = self._wait.frame(self._held) if self._held else None
        if size is not None and size <= len(self._held):
            reply = bytes(self._held[:size])
            del self._held[:size]
            self._replies += 1
            if self._replies > REPLIES:
                raise Failed(f"over {REPLIES} replies, and no end of {self.missing()}")
            return reply
        if len(self._held) > REPLY_BOUND or self._bytes > WHOLE_BOUND:
            raise Failed(f"{self._bytes >> 10} KiB, and no end of {self.missing()}")
        if self._pieces > PIECES:
            raise Failed(f"{self._bytes} bytes in {PIECES} pieces, and no end of {self.missing()}")
        return None

    def _ended(self, end: End, said: bytes) -> base.Reply:
        match end:
            case base.Parting(outcome, last):
                return base.Parting(outcome, said + last)
            case Outcome():
                return base.Parting(end, said)
            case _:
                return self._hand_over(end, said)

    def _hand_over(self, talk: base.Conversation, said: bytes) -> base.Reply:
        if self._held:
            # Said before the keys were agreed: anybody between may have put it there.
            return base.answered(f"speaks before TLS: {base.excerpt(self._held)}")
        self._next = talk
        reply = talk.opened()
        return said + reply if isinstance(reply, bytes) else reply


def line(held: bytearray) -> int | None:
    """Up to the next line feed."""
    end = held.find(b"\n")
    return None if end < 0 else end + 1


def exactly(size: int) -> Frame:
    """So many bytes."""
    return lambda held: size if len(held) >= size else None


def wait_line(what: str) -> Generator[bytes | Wait, bytes, str]:
    """One line without its end, printable or not."""
    raw = yield Wait(line, what)
    return raw.decode("latin-1").rstrip("\r\n")


def wait_code(what: str, *wanted: str) -> Generator[bytes | Wait, bytes, list[str]]:
    """The lines of a reply that begins with a number, as FTP, SMTP and NNTP have them: `220-` says
    that more lines follow, up to one that begins with `220 `. Failed when the number is another."""
    lines = [(yield from wait_line(what))]
    code = lines[0][:3]
    if code not in wanted:
        raise Failed(f"{what} is {shown(lines[0])}, expected {' or '.join(wanted)}")
    if lines[0][3:4] == "-":
        while lines[-1][:4] not in (code, f"{code} "):
            lines.append((yield from wait_line(what)))
    return lines


def shown(text: str, size: int = 60) -> str:
    """A foreign line, printable and cut, in quotes."""
    return ascii(text[:size]) + ("..." if len(text) > size else "")
