"""Files -> one merged mapping: the file given and what it includes.

`include` stands at the top of a file; its names are relative to that file and may be patterns.
Mappings of several files merge; any other key may be given in one file only.
"""

import glob
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from hadirector.config.problem import Place, Problems, shown
from hadirector.config.tree import Mapping, Scalar, Sequence, Tree
from hadirector.config.yaml_tree import parse as parse_yaml

BYTES = 32 * 1024 * 1024  # all files together; 100,000 real servers in long form are 7 MiB
FILES = 1000

Parse = Callable[[str, str, Problems], Tree | None]
"""Text, file, problems -> tree, as yaml_tree.parse"""


def read(path: str, problems: Problems, parse: Parse = parse_yaml) -> Mapping | None:
    """The merged settings; None when the main file itself has none."""
    sources = _Sources(problems, {}, BYTES, parse)
    root = sources.read(path, None)
    if root is None:
        return None
    for included in sources.included(root):
        root = _merge(root, included, problems)
    return root


@dataclass(slots=True)
class _Sources:
    """The files read so far, by their real path, with the place that named them."""

    problems: Problems
    named_at: dict[str, Place | None]
    left: int
    parse: Parse

    def read(self, path: str, at: Place | None) -> Mapping | None:
        """One file; `at` is where it was included."""
        self.named_at[os.path.realpath(path)] = at
        text = self._text(path, at)
        if text is None:
            return None
        before = self.problems.errors
        tree = self.parse(text, path, self.problems)
        if isinstance(tree, Mapping):
            return tree
        if tree is None or (isinstance(tree, Scalar) and tree.null):
            if at is None and self.problems.errors == before:
                self.problems.error(Place(path, 1, 1), "the file is empty: it needs settings")
            return None
        self.problems.error(tree.at, "a configuration is 'key: value' lines, not a list or word")
        return None

    def included(self, root: Mapping) -> list[Mapping]:
        """What a mapping includes, and what that includes, in the order they are named."""
        found: list[Mapping] = []
        waiting = [root]
        while waiting:
            tree = waiting.pop(0)
            for path, at in self._names(tree):
                included = self._admit(path, at)
                if included is not None:
                    found.append(included)
                    waiting.append(included)
        return found

    def _names(self, tree: Mapping) -> list[tuple[str, Place]]:
        """The files that a mapping's `include` names, patterns resolved in sorted order."""
        value = tree.entries.pop("include", None)
        if value is None:
            return []
        if not isinstance(value, Sequence):
            self.problems.error(value.at, "include: write a list: [conf.d/*.yaml]")
            return []
        folder = os.path.dirname(tree.at.file)
        names: list[tuple[str, Place]] = []
        for item in value.items:
            if not isinstance(item, Scalar) or item.null or not item.text.isprintable():
                self.problems.error(item.at, "include: write the name or pattern of a file")
            elif glob.has_magic(item.text):
                found = sorted(glob.glob(os.path.join(glob.escape(folder), item.text)))
                names += [(path, item.at) for path in found]
            else:
                names.append((os.path.join(folder, item.text), item.at))
        return names

    def _admit(self, path: str, at: Place) -> Mapping | None:
        real = os.path.realpath(path)
        if real in self.named_at:
            first = self.named_at[real]
            text = f"included in {first} already" if first else "the file that begins it all"
            self.problems.error(at, f"include: '{path}' is {text}: name each file once")
            return None
        if len(self.named_at) >= FILES:
            self.problems.error(at, f"include: more than {FILES} files")
            return None
        return self.read(path, at)

    def _text(self, path: str, at: Place | None) -> str | None:
        """A file's text, or None and a problem: at the include, or of the file as a whole."""
        where = at or Place(path, 0, 0)
        about = f"include: '{path}' " if at else ""
        try:
            # A pipe may be the file given (a shell's <(...)); an included one would hang us.
            if at is not None and not stat.S_ISREG(os.stat(path).st_mode):
                self.problems.error(where, f"{about}is not a regular file")
                return None
            with open(path, "rb") as file:
                raw = file.read(self.left + 1)
            self.left -= len(raw)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            self.problems.error(where, f"{about}cannot be read: {why}")
            return None
        if self.left < 0:
            self.problems.error(where, f"{about}is too long: more than {BYTES >> 20} MiB in all")
            return None
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode()
            line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
            self.problems.error(Place(path, line, column), "not UTF-8: save the file as UTF-8")
            return None


def _merge(first: Mapping, second: Mapping, problems: Problems) -> Mapping:
    """Both mappings as one; the depth is bounded by that of the trees."""
    entries, keys_at = dict(first.entries), dict(first.keys_at)
    for key, value in second.entries.items():
        known: Tree | None = entries.get(key)
        if known is None:
            entries[key], keys_at[key] = value, second.keys_at[key]
        elif isinstance(known, Mapping) and isinstance(value, Mapping):
            entries[key] = _merge(known, value, problems)
        else:
            text = f"{shown(key)} is given in {keys_at[key]} too: keep one"
            problems.error(second.keys_at[key], text)
    return Mapping(first.at, entries, keys_at)
