"""The values of keys, by our own strict rules: one way to write each thing.

Numbers are decimal, without leading zeros, signs but `-`, underscores or colons. Only `true` and
`false` are booleans. Durations are seconds, or a number with ms, s, m or h. A quoted number or
boolean is a text, and refused where a number or boolean is wanted.
"""

import re
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from hadirector.config.problem import Wrong, listed, shown, suggestion
from hadirector.config.tree import Scalar, Sequence, Tree
from hadirector.core.duration import spell

E = TypeVar("E", bound=Enum)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,9})?")
_DURATION = re.compile(r"((?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,9})?)(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_INTERFACE_LENGTH = 15  # IFNAMSIZ less the closing zero
_PATH_LENGTH = 4095  # PATH_MAX
FOREVER = 366 * 86400.0  # a duration above a year is a mistyped one


def plain(tree: Tree) -> str:
    """The text of a single value, whatever it says."""
    if not isinstance(tree, Scalar):
        kind = "a list" if isinstance(tree, Sequence) else "a mapping"
        raise Wrong(f"needs one value, not {kind}")
    if tree.null:
        raise Wrong("has no value: write one")
    return tree.text


def text(tree: Tree) -> str:
    """One line of printable text, not empty."""
    value = plain(tree)
    if not value:
        raise Wrong("is empty: write a value, or remove the key")
    if not value.isprintable():
        raise Wrong("has a line break or control character: write one printable line")
    return value


def name(tree: Tree) -> str:
    """A name that events, metrics and commands can carry."""
    value = plain(tree)
    if not _NAME.fullmatch(value):
        raise Wrong(f"{shown(value)} is no name: use letters, digits, '-', '_' and '.', at most 63")
    return value


def path(tree: Tree) -> str:
    """An absolute path."""
    value = text(tree)
    if not value.startswith("/"):
        raise Wrong(f"{shown(value)} is not an absolute path: begin it with '/'")
    if len(value.encode()) > _PATH_LENGTH:
        raise Wrong(f"is too long for a path: at most {_PATH_LENGTH} bytes")
    return value


def interface(tree: Tree) -> str:
    """A network interface's name, as the kernel allows it."""
    value = text(tree)
    lawful = len(value.encode()) <= _INTERFACE_LENGTH and value not in (".", "..")
    if not lawful or re.search(r"[\s/:]", value):
        raise Wrong(
            f"{shown(value)} is no interface name: at most {_INTERFACE_LENGTH} characters "
            "without '/', ':' and spaces"
        )
    return value


def boolean(tree: Tree) -> bool:
    """true or false, and no other word."""
    value = plain(tree)
    unquoted = isinstance(tree, Scalar) and not tree.quoted
    if value not in ("true", "false") or not unquoted:
        raise Wrong(f"{_as_written(tree)} is not true or false: write one of these, unquoted")
    return value == "true"


def integer(low: int, high: int, *, but: int | None = None) -> Callable[[Tree], int]:
    """A whole number from `low` to `high`, and not `but`."""

    def parse(tree: Tree) -> int:
        value = _number(tree, _WHOLE, "a whole number")
        found = int(value)
        if not low <= found <= high or found == but:
            extra = "" if but is None else f", not {but}"
            raise Wrong(f"{value} is out of range: {low} to {high}{extra}")
        return found

    return parse


def number(low: float, high: float) -> Callable[[Tree], float]:
    """A decimal number from `low` to `high`."""

    def parse(tree: Tree) -> float:
        value = _number(tree, _NUMBER, "a number")
        found = float(value)
        if not low <= found <= high:
            raise Wrong(f"{value} is out of range: {low:g} to {high:g}")
        return found

    return parse


def duration(low: float, high: float = FOREVER) -> Callable[[Tree], float]:
    """Seconds, from `low` to `high` of them."""

    def parse(tree: Tree) -> float:
        value = plain(tree)
        found = _DURATION.fullmatch(value)
        if found is None:
            raise Wrong(
                f"{shown(value)} is not a duration: write seconds (0.5, 30) or a number with "
                "ms, s, m or h (500ms, 5m)"
            )
        digits, unit = found.groups()
        # Rounded: 0.7 s and 700ms are one duration, not two that differ in the last bit.
        seconds = round(float(digits) * _UNITS[unit or "s"], 9)
        if not low <= seconds <= high:
            raise Wrong(f"{value} is out of range: {spell(low)} to {spell(high)}")
        return seconds

    return parse


def whole_seconds(low: int, high: int) -> Callable[[Tree], int]:
    """A duration that the kernel or a protocol counts in whole seconds."""
    exact = duration(low, high)

    def parse(tree: Tree) -> int:
        seconds = exact(tree)
        if seconds != int(seconds):
            raise Wrong(f"{plain(tree)} is not whole seconds, which it must be here")
        return int(seconds)

    return parse


def choice(kind: type[E]) -> Callable[[Tree], E]:
    """One of an enum's values that are words."""
    words = tuple(str(member.value) for member in kind)
    pick = word(*words)
    return lambda tree: kind(pick(tree))


def word(*words: str) -> Callable[[Tree], str]:
    """One of some words."""

    def parse(tree: Tree) -> str:
        value = plain(tree)
        if value not in words:
            near = suggestion(value, words)
            raise Wrong(f"{shown(value)} is none of {listed(words)}{near}")
        return value

    return parse


def pattern(tree: Tree) -> str:
    """A regular expression; it may span lines."""
    value = plain(tree)
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise Wrong(f"is not a regular expression: {error}") from None
    return value


def arguments(tree: Tree) -> tuple[str, ...]:
    """A command as a list of its arguments; the program by its absolute path."""
    if not isinstance(tree, Sequence) or not tree.items:
        raise Wrong("needs a list, no shell is used: [/usr/local/bin/program, argument]")
    argv = tuple(plain(item) for item in tree.items)
    if any("\0" in argument for argument in argv):
        raise Wrong("an argument has a zero byte, which no program can be given")
    path(tree.items[0])
    return argv


def _number(tree: Tree, lawful: re.Pattern[str], kind: str) -> str:
    value = plain(tree)
    quoted = isinstance(tree, Scalar) and tree.quoted
    if lawful.fullmatch(value) and not quoted:
        return value
    stripped = value.lstrip("0")
    if quoted and lawful.fullmatch(value):
        fix = ": remove the quotes"
    elif value.startswith("0") and stripped and lawful.fullmatch(stripped):
        fix = f": write {stripped}, without leading zeros"
    else:
        fix = ""
    raise Wrong(f"{_as_written(tree)} is not {kind}{fix}")


def _as_written(tree: Tree) -> str:
    value = plain(tree)
    return f'"{value}"' if isinstance(tree, Scalar) and tree.quoted else shown(value)
