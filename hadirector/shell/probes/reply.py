"""Whether what a server sent is what is expected: bytes as Latin-1, lines known to `^` and `$`."""

import re
import time

from hadirector.core.duration import spell
from hadirector.core.pacing import Cause, Outcome
from hadirector.shell.probes import base
from hadirector.shell.probes.search import LIMIT, Search, SearchTooLongError


class Reply:
    """The searches of one probe; all of them together are bounded, however often more comes."""

    __slots__ = ("_search", "_spent")

    def __init__(self, search: Search) -> None:
        self._search = search
        self._spent = 0.0  # seconds of CPU

    def end(self, pattern: str, raw: bytes | bytearray) -> int | Outcome | None:
        """Where the match ends; None: there is none. An outcome when that cannot be decided."""
        began = time.thread_time()
        try:
            end = self._search.end(pattern, raw.decode("latin-1"), re.MULTILINE)
        except SearchTooLongError:
            return _undecided(pattern)
        except re.error as error:
            return Outcome(Cause.OURS, f"/{pattern}/ is no regular expression: {error}")
        self._spent += time.thread_time() - began
        return end if end is not None or self._spent < LIMIT else _undecided(pattern)


def _undecided(pattern: str) -> Outcome:
    return base.answered(f"reply: /{pattern}/ was not decided within {spell(LIMIT)}")
