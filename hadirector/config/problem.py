"""Mistakes in a configuration: where, how grave, what, and the fix.

Every mistake of a file is collected, none is raised past config/: an operator mends them all in
one go. `Wrong` travels only from the reading of one value to the section that knows its place.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum

from hadirector.core.errors import HadirectorError

LIMIT = 1000  # a file of nothing but mistakes still gets an answer that fits a terminal's memory
SHOWN = 60  # characters of a foreign text that are worth quoting


class Severity(Enum):
    """An error keeps the configuration from being used, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written; line and column count from 1, line 0 is the file as a whole."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake; `str()` is the line an operator and an editor read."""

    file: str
    line: int
    column: int
    severity: Severity
    text: str

    @property
    def place(self) -> Place:
        """Where it is."""
        return Place(self.file, self.line, self.column)

    def __str__(self) -> str:
        return f"{one_line(str(self.place))}: {self.severity.value}: {self.text}"


class Wrong(HadirectorError):
    """What is wrong with one value, and the fix."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Problems:
    """The mistakes found so far; the same one twice (by an alias) counts once."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}
        self.errors = 0

    @property
    def full(self) -> bool:
        """Whether further mistakes are only counted."""
        return len(self._found) >= LIMIT

    def copy(self) -> "Problems":
        """The same mistakes, to go on from for one of several nodes."""
        other = Problems()
        other._found, other.errors = dict(self._found), self.errors
        return other

    def error(self, at: Place, text: str) -> None:
        """The configuration cannot be used."""
        self.errors += 1
        self._add(at, Severity.ERROR, text)

    def warn(self, at: Place, text: str) -> None:
        """It can, but perhaps not as meant."""
        self._add(at, Severity.WARNING, text)

    def ordered(self, main: str) -> tuple[Problem, ...]:
        """All of them as they stand in the files, the main file first."""
        return in_order(self._found, main)

    def _add(self, at: Place, severity: Severity, text: str) -> None:
        if not self.full:
            problem = Problem(at.file, at.line, at.column, severity, one_line(text))
            self._found.setdefault(problem)
        elif severity is Severity.ERROR:
            last = Problem(at.file, 0, 0, severity, f"more than {LIMIT} mistakes: mend these first")
            self._found.setdefault(last)


def in_order(problems: Iterable[Problem], main: str) -> tuple[Problem, ...]:
    """Each once, as they stand in the files, the main file first."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda p: (p.file != main, *_order(p))))


def brief(problems: Iterable[Problem]) -> str:
    """The first error, and how many more there are: what fits an event."""
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
    return f"{errors[0]}{more}" if errors else "no error"


def _order(problem: Problem) -> tuple[str, int, int]:
    return problem.file, problem.line, problem.column


def one_line(text: str) -> str:
    """A text with everything unprintable escaped: foreign text never breaks the line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shown(text: str) -> str:
    """A foreign text in quotes, cut to what is worth showing."""
    return f"'{text}'" if len(text) <= SHOWN else f"'{text[:SHOWN]}...'"


def suggestion(word: str, known: tuple[str, ...]) -> str:
    """` (did you mean 'x'?)`, or nothing when nothing is near."""
    near = get_close_matches(word, known, n=1) if len(word) <= SHOWN else []
    return f" (did you mean '{near[0]}'?)" if near else ""


def listed(words: tuple[str, ...], most: int = 20) -> str:
    """`a, b, c`, cut where a list stops helping."""
    rest = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + rest
