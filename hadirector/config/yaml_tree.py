"""YAML text -> Tree, by the parser's events.

Events, not PyYAML's nodes: every bound (depth, size, what aliases blow up to) is kept while
reading, nothing recurses, and no tag, number or boolean of YAML's is ever resolved. Aliases and
merge keys (`<<`) are allowed; a subtree used twice is counted twice, so a billion laughs stop at
NODES. Merged keys stand behind a mapping's own, as YAML says.
"""

import re
from dataclasses import dataclass, field

import yaml

from hadirector.config.problem import Place, Problems, Wrong, shown
from hadirector.config.tree import Mapping, Scalar, Sequence, Tree

NODES = 1_000_000  # expanded; 100,000 real servers in long form are 500,000
DEPTH = 32  # the contract needs 7
KEY_LENGTH = 1024  # YAML's own limit for a key on one line

# libyaml where it is there: six times faster, the same events.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_HINTS = (
    ("cannot start any token", "quote a text that begins with @, `, % or &; indent with spaces"),
    ("mapping values are not allowed", "indent the line like its neighbours, or quote a ': '"),
    ("could not find expected ':'", "a key needs ': ' behind it"),
    ("found unexpected end of stream", "close the quotes"),
    ("did not find expected key", "indent the line like its neighbours"),
    ("did not find expected '-' indicator", "indent the line like the other items"),
    ("did not find expected ',' or '}'", "close the {, or put a comma between its keys"),
    ("did not find expected ',' or ']'", "close the [, or put a comma between its items"),
)
_BARE_ENDPOINT = re.compile(r"""(?<!["'])\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]:[0-9]""")


def parse(text: str, file: str, problems: Problems) -> Tree | None:
    """The tree of one document; None when there is none (empty, or not YAML: a problem)."""
    builder = _Builder(file, problems)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 0, 0)
        problems.error(at, _syntax(error, text, at.line))
        return None
    except yaml.reader.ReaderError as error:
        problems.error(_unreadable_at(text, file), f"not YAML: {error.reason}: remove it")
        return None
    except (ValueError, OverflowError) as error:  # PyYAML's own scanner, of "\\UFFFFFFFF"
        problems.error(Place(file, 0, 0), f"not YAML: {error}: mend the escapes in quotes")
        return None
    except _Stop as stop:
        problems.error(stop.at, stop.text)
        return None
    return builder.root


class _Stop(Wrong):
    """A bound was passed: reading on makes no sense."""

    def __init__(self, at: Place, text: str) -> None:
        super().__init__(text)
        self.at = at


@dataclass(slots=True)
class _Open:
    """A list or mapping that has begun."""

    at: Place
    anchor: str | None
    mapping: bool
    items: list[Tree] = field(default_factory=list)
    entries: dict[str, Tree] = field(default_factory=dict)
    keys_at: dict[str, Place] = field(default_factory=dict)
    merged: list[Mapping] = field(default_factory=list)
    key: Scalar | None = None
    keyed: bool = False  # the next node is a value
    size: int = 1
    height: int = 1


@dataclass(frozen=True, slots=True)
class _Anchored:
    tree: Tree
    size: int
    height: int


class _Builder:
    """Builds the tree from events; `root` is there at the end."""

    def __init__(self, file: str, problems: Problems) -> None:
        self.root: Tree | None = None
        self._file = file
        self._problems = problems
        self._open: list[_Open] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._nodes = 0

    def take(self, event: yaml.Event) -> None:
        """Take the parser's next event."""
        match event:
            case yaml.ScalarEvent():
                at = self._begin(event, event.tag)
                scalar = Scalar(at, event.value, event.style not in (None, ""))
                self._finish(scalar, event.anchor, 1, 1)
            case yaml.CollectionStartEvent():
                at = self._begin(event, event.tag)
                mapping = isinstance(event, yaml.MappingStartEvent)
                self._open.append(_Open(at, event.anchor, mapping))
                if event.anchor:
                    self._anchors[event.anchor] = None  # begun: to use it now would be a circle
                if len(self._open) > DEPTH:
                    raise _Stop(at, f"more than {DEPTH} levels deep: this is no configuration")
            case yaml.CollectionEndEvent():
                done = self._open.pop()
                self._finish(_close(done), done.anchor, done.size, done.height)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent() if self.root is not None:
                raise _Stop(self._at(event), "a second document: remove the '---', one file is one")
            case _:
                pass

    def _at(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        assert mark is not None, "the parser marks every event"
        return Place(self._file, mark.line + 1, mark.column + 1)

    def _begin(self, event: yaml.NodeEvent, tag: str | None) -> Place:
        at = self._at(event)
        if tag is not None:
            self._problems.error(at, f"YAML tags are not used here: remove {shown(tag)}")
        return at

    def _alias(self, event: yaml.AliasEvent) -> None:
        at, name = self._at(event), event.anchor or ""
        if name not in self._anchors:
            raise _Stop(at, f"*{name} stands for nothing: there is no &{name} above it")
        known = self._anchors[name]
        if known is None:
            raise _Stop(at, f"*{name} stands inside &{name} itself: write the value out")
        if len(self._open) + known.height > DEPTH:
            raise _Stop(at, f"*{name}: more than {DEPTH} levels deep: write the value out")
        self._place(known.tree, at, known.size, known.height)

    def _finish(self, tree: Tree, anchor: str | None, size: int, height: int) -> None:
        if anchor:
            self._anchors[anchor] = _Anchored(tree, size, height)
        self._place(tree, tree.at, size, height)

    def _place(self, tree: Tree, at: Place, size: int, height: int) -> None:
        """Put a finished node where it belongs, and keep the bounds."""
        if not self._open:
            self.root = tree
            return
        into = self._open[-1]
        into.size += size
        into.height = max(into.height, height + 1)
        if into.size > NODES:
            raise _Stop(at, f"more than {NODES} values once aliases (*name) are written out")
        if not into.mapping:
            into.items.append(tree)
        elif into.keyed:
            self._value(into, tree)
        else:
            self._key(into, tree)

    def _key(self, into: _Open, tree: Tree) -> None:
        into.keyed, into.key = True, None
        if not isinstance(tree, Scalar):
            self._problems.error(tree.at, "a key must be a plain word, not a list or mapping")
        elif len(tree.text) > KEY_LENGTH:
            self._problems.error(tree.at, f"a key has at most {KEY_LENGTH} characters")
        elif tree.text in into.entries:
            first = into.keys_at[tree.text].line
            text = f"{shown(tree.text)} is given twice, first in line {first}: keep one"
            self._problems.error(tree.at, text)
        else:
            into.key = tree

    def _value(self, into: _Open, tree: Tree) -> None:
        key, into.keyed = into.key, False
        if key is None:
            return
        if key.text == "<<" and not key.quoted:
            self._merge(into, tree)
            return
        into.entries[key.text] = tree
        into.keys_at[key.text] = key.at

    def _merge(self, into: _Open, tree: Tree) -> None:
        for one in tree.items if isinstance(tree, Sequence) else (tree,):
            if isinstance(one, Mapping):
                into.merged.append(one)
            else:
                self._problems.error(tree.at, "<< merges a mapping (*name) or a list of mappings")


def _close(done: _Open) -> Tree:
    if not done.mapping:
        return Sequence(done.at, tuple(done.items))
    for one in done.merged:
        for key, value in one.entries.items():
            if key not in done.entries:
                done.entries[key] = value
                done.keys_at[key] = one.keys_at[key]
    return Mapping(done.at, done.entries, done.keys_at)


def _syntax(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    """What the parser says in one line, with what mostly mends it."""
    lines = text.splitlines()
    problem = error.problem or "not YAML"
    about = f" ({error.context})" if error.context else ""
    hint = next((hint for part, hint in _HINTS if part in problem), "quote the value")
    near = lines[line - 1] if 0 < line <= len(lines) else ""
    if _BARE_ENDPOINT.search(near):
        hint = 'quote an IPv6 endpoint: "[2001:db8::10]:80"'
    elif "\t" in near[: len(near) - len(near.lstrip())]:
        hint = "indent with spaces, not tabs"
    return f"not YAML: {problem}{about}: {hint}"


def _unreadable_at(text: str, file: str) -> Place:
    """Where the first character is that YAML forbids."""
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    before = text[: found.start()] if found else ""
    return Place(file, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
