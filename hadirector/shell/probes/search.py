"""Regular expressions over what a hostile server sent, within a bound of CPU time.

A pattern like `(a+)+b` needs ages for 40 well-chosen bytes, so a bound on size is none on time.
The matcher of `re` looks for signals while it works: a timer of the process's own CPU time
(setitimer(2), ITIMER_VIRTUAL; waiting for a CPU does not count) breaks it off.

It looks for them too seldom, though: `.*OK` over one line of 256 KiB took 21 s before it did, since
each place it begins at costs the whole rest of the line. So it gets a window of the text at a time,
of which the worst takes 15 ms; between two windows a signal always comes through.
"""

import re
import signal
from functools import lru_cache
from types import FrameType
from typing import ClassVar

LIMIT = 0.02  # seconds of CPU for a whole search
WINDOW = 4096  # characters in which it goes on at a time
STEP = 3072  # from one window to the next: what matches may be as long as they overlap, 1 KiB
MARGIN = 64  # characters before a window's end where `$` and looks ahead are not believed
_PLAIN = re.compile(r"[^\\.^$*+?{}\[\]|()]*")  # a literal takes linear time: no need of the timer
_LOOKS_AHEAD = re.compile(r"\$|\\[bBZ]|\(\?[=!]")


class SearchTooLongError(Exception):
    """The pattern was not decided within LIMIT."""


class Search:
    """The only user of SIGVTALRM in its process; made and used in the main thread."""

    _armed: ClassVar[bool] = False  # of the process, as its signal handler and its timer are

    def __init__(self) -> None:
        signal.signal(signal.SIGVTALRM, self._rung)

    def found(self, pattern: str, text: str) -> bool:
        """Whether the pattern is found; SearchTooLongError; re.error when it is none."""
        return self.end(pattern, text) is not None

    def end(self, pattern: str, text: str, flags: re.RegexFlag = re.NOFLAG) -> int | None:
        """Where what is found ends; None: it is not found. The same errors."""
        compiled = _compiled(pattern, flags)
        if _PLAIN.fullmatch(pattern):
            return _end(compiled.search(text))
        try:
            Search._armed = True
            # It rings again and again: one ring must not be the only chance.
            signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT, LIMIT)
            return _through(compiled, text)
        finally:
            Search._armed = False  # first: a signal on its way must find nobody waiting
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    @staticmethod
    def _rung(_number: int, _frame: FrameType | None) -> None:
        if Search._armed:
            raise SearchTooLongError


@lru_cache(maxsize=4096)
def _compiled(pattern: str, flags: re.RegexFlag) -> re.Pattern[str]:
    return re.compile(pattern, flags)


def _through(compiled: re.Pattern[str], text: str) -> int | None:
    """Where what is found ends, window by window."""
    ahead = _LOOKS_AHEAD.search(compiled.pattern) is not None
    at = 0
    while True:
        stop = at + WINDOW
        match = compiled.search(text, at, stop)
        if stop >= len(text):
            return _end(match)
        if match is not None and not (ahead and match.end() > stop - MARGIN):
            return match.end()
        at += STEP


def _end(match: re.Match[str] | None) -> int | None:
    return None if match is None else match.end()
