"""keepalived.conf as lines with blocks.

A line is words; quotes keep spaces together; `#` and `!` begin a comment. `{` opens the block of
the words before it, also at the beginning of the next line, `}` closes one. `$NAME=value` defines
what `$NAME` and `${NAME}` stand for. `include PATTERN` reads further files. Lines that begin with
`@ID` hold only for the director started with `-i ID`, and with `@^ID` for all others.
"""

import glob
import os
import re
from collections.abc import Callable

from hadirector.config.imports.draft import Draft, Line, Told

_TOKEN = re.compile(r"""("(?:[^"\\]|\\.)*"?|'[^']*'?|[{}]|[#!].*|(?:\$\{\w+\}|[^\s{}"'#!])+)""")
_DEFINITION = re.compile(r"\$(\w+)=(.*)")
_REFERENCE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_CONDITION = re.compile(r"@(\^?)([\w.-]+)\s+(.*)")
_INCLUDES = re.compile(r"include[rmwba]*")
_DEPTH = 16  # files that include each other

Open = Callable[[str], str]
"""Gives the text of a file, or raises OSError."""


class Parser:
    """One director's configuration: a file and what it includes."""

    def __init__(self, draft: Draft, config_id: str, read: Open) -> None:
        self._draft = draft
        self._id = config_id
        self._read = read
        self._values: dict[str, str] = {}
        self._stack: list[Line] = []
        self._top: list[Line] = []

    def parse(self, path: str, text: str) -> list[Line]:
        """The lines of a file."""
        self._feed(path, text, 0)
        for line in self._stack:
            self._draft.told.append(_told(line, "the block is never closed"))
        return self._top

    def _feed(self, path: str, text: str, depth: int) -> None:
        for number, raw in enumerate(text.splitlines(), 1):
            kept = self._conditional(path, number, raw.strip())
            if kept is None:
                continue
            if defined := _DEFINITION.fullmatch(kept):
                self._define(path, number, defined[1], defined[2].strip())
                continue
            self._tokens(path, number, self._replaced(kept), depth)

    def _conditional(self, path: str, number: int, text: str) -> str | None:
        """A line of the director that is imported, without its condition."""
        found = _CONDITION.fullmatch(text)
        if found is None:
            return text
        if (found[2] == self._id) is bool(found[1]):
            if not self._id:
                line = Line(path, number, tuple(text.split()))
                self._draft.refuse(line, f"it is for `keepalived -i {found[2]}`: use --config-id")
            return None
        return found[3]

    def _define(self, path: str, number: int, name: str, value: str) -> None:
        self._values[name] = self._replaced(value)
        if value.endswith("\\"):
            line = Line(path, number, (f"${name}=",))
            self._draft.refuse(line, "definitions of several lines are not known here")

    def _replaced(self, text: str) -> str:
        def value(found: re.Match[str]) -> str:
            return self._values.get(found[1] or found[2], found[0])

        return _REFERENCE.sub(value, text)

    def _tokens(self, path: str, number: int, text: str, depth: int) -> None:
        words: list[str] = []
        for token in _TOKEN.findall(text):
            if token[0] in "#!":
                break
            if token == "{":
                self._open(path, number, words)
                words = []
            elif token == "}":
                self._add(path, number, words, depth)
                words = []
                self._close(path, number)
            else:
                words.append(_unquoted(token))
        self._add(path, number, words, depth)

    def _add(self, path: str, number: int, words: list[str], depth: int) -> None:
        if not words:
            return
        line = Line(path, number, tuple(words))
        if _INCLUDES.fullmatch(line.word) and len(words) == 2:
            self._include(line, depth)
        else:
            self._here.append(line)

    @property
    def _here(self) -> list[Line]:
        if not self._stack:
            return self._top
        block = self._stack[-1].block
        assert block is not None, "what is on the stack has one"
        return block

    def _open(self, path: str, number: int, words: list[str]) -> None:
        """The block of these words, or of the line before."""
        if words:
            self._here.append(Line(path, number, tuple(words)))
        elif not self._here or self._here[-1].block is not None:
            self._here.append(Line(path, number, ("{",)))
        line = self._here[-1]
        line.block = []
        self._stack.append(line)

    def _close(self, path: str, number: int) -> None:
        if self._stack:
            self._stack.pop().end = number
        else:
            self._draft.refuse(Line(path, number, ("}",)), "it closes nothing")

    def _include(self, line: Line, depth: int) -> None:
        line.take()
        pattern = os.path.join(os.path.dirname(line.file), line.words[1])
        paths = sorted(glob.glob(pattern))
        if not paths or depth >= _DEPTH:
            self._draft.refuse(line, "no such file" if not paths else "files include each other")
            return
        for path in paths:
            try:
                self._feed(path, self._read(path), depth + 1)
            except OSError as error:
                self._draft.refuse(line, f"{path}: {error.strerror}")


def _unquoted(token: str) -> str:
    if token[0] in "\"'":
        body = token[1:-1] if len(token) > 1 and token[-1] == token[0] else token[1:]
        return body.replace('\\"', '"') if token[0] == '"' else body
    return token


def _told(line: Line, text: str) -> Told:
    return Told(line.file, line.number, text)
