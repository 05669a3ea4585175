"""A mapping being read against what is known of its keys.

Each key is asked for once, with the parser of its value and its default; `close` tells of every
key that nobody asked for. So the list of known keys is the code that reads them, and cannot
drift from it. A wrong value is told and replaced by its default: reading goes on, and all
mistakes of a file are found in one go.
"""

from collections.abc import Callable
from typing import TypeVar

from hadirector.config.problem import Place, Problems, Wrong, listed, shown, suggestion
from hadirector.config.scalars import name
from hadirector.config.tree import Mapping, Scalar, Sequence, Tree

T = TypeVar("T")
Parse = Callable[[Tree], T]
"""Makes a value of a tree, or raises Wrong with what is wrong and the fix."""


class Section:
    """One mapping, at `path` (dots between keys), with the keys asked for so far."""

    def __init__(self, node: Mapping, path: str, problems: Problems) -> None:
        self.node = node
        self.path = path
        self.problems = problems
        self._known: dict[str, None] = {}

    @property
    def at(self) -> Place:
        """Where it begins."""
        return self.node.at

    def find(self, key: str) -> Tree | None:
        """The value of a key as it stands; a key without a value is a mistake."""
        self._known[key] = None
        tree = self.node.entries.get(key)
        if isinstance(tree, Scalar) and tree.null:
            self.error(self.node.keys_at[key], key, "has no value: write one, or remove the key")
            return None
        return tree

    def has(self, key: str) -> bool:
        """Whether the key is written."""
        self._known[key] = None
        return key in self.node.entries

    def read(self, key: str, parse: Parse[T], default: T) -> T:
        """The value of an optional key."""
        tree = self.find(key)
        return default if tree is None else self.value(key, tree, parse, default)

    def value(self, key: str, tree: Tree, parse: Parse[T], default: T) -> T:
        """What a value under a key means, be it an item of its list."""
        try:
            return parse(tree)
        except Wrong as wrong:
            self.error(tree.at, key, wrong.text)
            return default

    def required(self, key: str, parse: Parse[T], example: str) -> T | None:
        """The value of a key that must be there; None when it is missing or wrong."""
        if not self.has(key):
            where = f"{self.path}: " if self.path else ""
            self.problems.error(self.at, f"{where}'{key}' is missing: add '{key}: {example}'")
            return None
        return self.read(key, parse, None)

    def items(self, key: str) -> tuple[Tree, ...]:
        """The items of a list."""
        tree = self.find(key)
        if tree is None or isinstance(tree, Sequence):
            return tree.items if tree else ()
        self.error(tree.at, key, "needs a list: write [one, two], or lines that begin with '- '")
        return ()

    def each(self, key: str, parse: Parse[T]) -> tuple[T, ...]:
        """The values of a list; what is wrong is told and left out."""
        values: list[T] = []
        for item in self.items(key):
            try:
                values.append(parse(item))
            except Wrong as wrong:
                self.error(item.at, key, wrong.text)
        return tuple(values)

    def section(self, key: str) -> "Section | None":
        """The mapping under a key."""
        tree = self.find(key)
        return None if tree is None else self.under(key, tree)

    def under(self, key: str, tree: Tree) -> "Section | None":
        """A mapping that stands under a key, be it an item of its list."""
        if isinstance(tree, Mapping):
            return Section(tree, self._join(key), self.problems)
        self.error(tree.at, key, "needs keys of its own: {key: value}")
        return None

    def named(self, key: str) -> list[tuple[str, "Section"]]:
        """The mappings by name under a key; every name is lawful."""
        whole = self.section(key)
        if whole is None:
            return []
        found = []
        for title in whole.names():
            section = whole.section(title)
            if section is not None:
                found.append((title, section))
        return found

    def names(self) -> tuple[str, ...]:
        """The keys of a mapping whose keys are names that the file gives."""
        for title, at in self.node.keys_at.items():
            try:
                name(Scalar(at, title, quoted=True))
            except Wrong as wrong:
                self.error(at, "", wrong.text)
        return tuple(self.node.entries)

    def key_at(self, key: str) -> Place:
        """Where a key is written, else where the mapping begins."""
        return self.node.keys_at.get(key, self.at)

    def value_at(self, key: str) -> Place:
        """Where a value is written, else where the mapping begins."""
        tree = self.node.entries.get(key)
        return self.at if tree is None else tree.at

    def error(self, at: Place, key: str, text: str) -> None:
        """A mistake in this mapping; the whole path tells which of many alike it is."""
        self.problems.error(at, f"{self._join(key)}: {text}")

    def warn(self, at: Place, key: str, text: str) -> None:
        """A doubt in this mapping."""
        self.problems.warn(at, f"{self._join(key)}: {text}")

    def close(self) -> None:
        """Tell of every key that nobody asked for."""
        known = tuple(sorted(self._known))
        for key, at in self.node.keys_at.items():
            if key not in self._known and key in self.node.entries:
                near = suggestion(key, known)
                fix = near or f": known here are {listed(known)}"
                where = f" in {self.path}" if self.path else ""
                self.problems.error(at, f"unknown key {shown(key)}{where}{fix}")

    def _join(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path and key else self.path or key


def one_of_names(known: tuple[str, ...], what: str) -> Parse[str]:
    """A reference to something named elsewhere in the file."""

    def parse(tree: Tree) -> str:
        text = name(tree)
        if text not in known:
            near = suggestion(text, known) or (
                f": there are {listed(known)}" if known else f": the file has no {what}"
            )
            raise Wrong(f"no {what} is named {shown(text)}{near}")
        return text

    return parse
