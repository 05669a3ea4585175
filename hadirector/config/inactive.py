"""Keys that the contract has and this release does not act upon yet: accepted, and told.

One table. When a function arrives, its lines go, and nothing else changes. A key written with the
value that is in effect anyway (`but`) is not worth a warning.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hadirector.config.problem import Place, Problems
from hadirector.config.tree import Mapping, Scalar, Sequence, Tree


@dataclass(frozen=True, slots=True)
class Inactive:
    """`path` has `*` for any name or item. Warned of unless the value is one of `but`; when
    `only` or `holding` is given, only for these values or for texts with that in them."""

    path: str
    instead: str
    but: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    holding: str = ""

    def concerns(self, tree: Tree) -> bool:
        """Whether a value at the path asks for what is not there."""
        if not isinstance(tree, Scalar):
            empty = not (tree.items if isinstance(tree, Sequence) else tree.entries)
            return not empty and not self.only and not self.holding
        if self.only or self.holding:
            return tree.text in self.only or bool(self.holding and self.holding in tree.text)
        return not tree.null and tree.text not in self.but


INACTIVE: tuple[Inactive, ...] = ()


def warn(root: Mapping, problems: Problems) -> None:
    """Tell of every key written that is not active yet, and what happens instead."""
    for row in INACTIVE:
        for path, at, tree in _select(root, row.path.split("."), ""):
            if row.concerns(tree):
                some = row.only or row.holding  # of this key's values: say which
                value = f" {tree.text}" if some and isinstance(tree, Scalar) else ""
                problems.warn(at, f"{path}{value}: accepted, not active yet: {row.instead}")


def _select(tree: Tree, path: list[str], walked: str) -> Iterator[tuple[str, Place, Tree]]:
    """Every value at a path, with its own path and where it is written."""
    if not path:
        yield walked, tree.at, tree
        return
    step, rest = path[0], path[1:]
    if isinstance(tree, Mapping):
        for key in tuple(tree.entries) if step == "*" else (step,):
            if key in tree.entries:
                below = f"{walked}.{key}" if walked else key
                for name, at, value in _select(tree.entries[key], rest, below):
                    yield name, (at if rest else tree.keys_at[key]), value
    elif isinstance(tree, Sequence) and step == "*":
        for item in tree.items:
            yield from _select(item, rest, walked)
