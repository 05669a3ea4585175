"""A YAML file as a tree whose every value knows its place.

A scalar keeps its text and whether it was quoted; what the text means is decided by the key it
stands under (scalars.py), never by YAML's own rules: those make `10:22` a number and `no` false.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from hadirector.config.problem import Place


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as text."""

    at: Place
    text: str
    quoted: bool

    @property
    def null(self) -> bool:
        """A key with nothing behind it, `~` or `null`."""
        return not self.quoted and self.text in ("", "~", "null")


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    at: Place
    items: tuple["Tree", ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys, where each is written, and their values, in the file's order."""

    at: Place
    entries: dict[str, "Tree"]
    keys_at: dict[str, Place]


Tree = Scalar | Sequence | Mapping


def digest(tree: Tree) -> str:
    """The same for the same settings, whatever their layout, comments, order of keys or files."""
    sum_ = hashlib.sha256()
    for part in _parts(tree):
        sum_.update(part)
    return sum_.hexdigest()[:32]


def _parts(tree: Tree) -> Iterator[bytes]:
    """An unambiguous text of a tree: each part says its kind and its length first."""
    match tree:
        case Scalar():
            text = b"" if tree.null else _raw(tree.text)
            yield b"%c%d:" % (b"~" if tree.null else b"s", len(text)) + text
        case Sequence():
            yield b"l%d:" % len(tree.items)
            for item in tree.items:
                yield from _parts(item)
        case Mapping():
            yield b"m%d:" % len(tree.entries)
            for key in sorted(tree.entries):
                raw = _raw(key)
                yield b"k%d:" % len(raw) + raw
                yield from _parts(tree.entries[key])
        case _:
            assert_never(tree)


def _raw(text: str) -> bytes:
    """Without libyaml, an escape in quotes can make a lone surrogate: refused, but not here."""
    return text.encode(errors="surrogatepass")
