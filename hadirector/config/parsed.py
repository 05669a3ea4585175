"""Trees of files as they were parsed before: what did not change is not parsed again.

A large configuration is spread over includes, and an edit changes one of them. The trees are kept
in a folder of the runtime directory, each under the digest of its file's text and of this
program's version; so nothing has to be compared or forgotten, and a file that was only touched, or
moved, is still known. The folder and all in it are their owner's alone. What is not as it was
written (another owner, a wrong sum, anything odd) is not believed: the file is parsed.

Only what is long and without a mistake is kept: warnings and errors come from parsing.
"""

import contextlib
import hashlib
import os
import stat
from typing import assert_never

import msgspec

from hadirector import __version__
from hadirector.config import yaml_tree
from hadirector.config.problem import Place, Problems
from hadirector.config.tree import Mapping, Scalar, Sequence, Tree

FOLDER = "parsed"  # in the runtime directory
LONG = 8192  # characters; less is parsed in no time
_SUM = 32  # bytes before what is kept
_LARGEST = 256 * 1024 * 1024  # bytes of one; a tree takes about twice the text


class _Scalar(msgspec.Struct, frozen=True, array_like=True, tag=0):
    line: int
    column: int
    text: str
    quoted: bool


class _Sequence(msgspec.Struct, frozen=True, array_like=True, tag=1):
    line: int
    column: int
    items: tuple["_Scalar | _Sequence | _Mapping", ...]


class _Mapping(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Each key with the line and column where it is written, and its value."""

    line: int
    column: int
    entries: tuple[tuple[str, int, int, "_Scalar | _Sequence | _Mapping"], ...]


_Kept = _Scalar | _Sequence | _Mapping
_decoder = msgspec.msgpack.Decoder(_Kept)


class Parsed:
    """The trees that an earlier reading kept in `folder`; without one nothing is known, as for a
    daemon that starts: it may be another build of the same version."""

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder if folder is not None and _is_private(folder) else None
        self._used: set[str] = set()
        self._new: dict[str, bytes] = {}
        self.again = 0  # long files that had to be parsed

    def parse(self, text: str, file: str, problems: Problems) -> Tree | None:
        """As `yaml_tree.parse`, by whichever way."""
        if len(text) < LONG:
            return yaml_tree.parse(text, file, problems)
        name = _name(text)
        self._used.add(name)
        known = _load(f"{self._folder}/{name}", file) if self._folder is not None else None
        if known is not None:
            return known
        self.again += 1
        before = problems.errors
        tree = yaml_tree.parse(text, file, problems)
        if tree is not None and problems.errors == before:
            with contextlib.suppress(UnicodeEncodeError):  # it is parsed again, then
                self._new[name] = msgspec.msgpack.encode(_kept(tree))
        return tree

    def keep(self, folder: str) -> None:
        """Have in this folder what this reading came upon, and nothing else; what cannot be
        written is parsed again."""
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(folder), 0o750, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o700)
            if not _is_private(folder):
                return
            for name, raw in self._new.items():
                _save(f"{folder}/{name}", raw)
            for name in os.listdir(folder):
                if name not in self._used:
                    os.unlink(f"{folder}/{name}")


def _name(text: str) -> str:
    sum_ = hashlib.sha256(f"{__version__}\n".encode())
    sum_.update(text.encode())  # read as UTF-8: it can be written so
    return sum_.hexdigest()


def _is_private(folder: str) -> bool:
    """Whether it is there, and nobody else may write or read in it."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and _is_ours(found)


def _is_ours(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _load(path: str, file: str) -> Tree | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as kept:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or not _is_ours(found):
                return None
            raw = kept.read(_LARGEST + 1)
        if len(raw) > _LARGEST or raw[:_SUM] != _sum(raw[_SUM:]):
            return None
        return _tree(_decoder.decode(raw[_SUM:]), file)
    except (OSError, msgspec.MsgspecError, RecursionError):
        return None


def _save(path: str, raw: bytes) -> None:
    draft = f"{path}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as kept:
        kept.write(_sum(raw) + raw)
    os.replace(draft, path)


def _sum(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=_SUM).digest()


def _kept(tree: Tree) -> _Kept:
    """The depth is bounded by the parser (yaml_tree.DEPTH)."""
    line, column = tree.at.line, tree.at.column
    match tree:
        case Scalar():
            return _Scalar(line, column, tree.text, tree.quoted)
        case Sequence():
            return _Sequence(line, column, tuple(_kept(item) for item in tree.items))
        case Mapping():
            places = tree.keys_at
            entries = (
                (key, places[key].line, places[key].column, _kept(value))
                for key, value in tree.entries.items()
            )
            return _Mapping(line, column, tuple(entries))
        case _:
            assert_never(tree)


def _tree(kept: _Kept, file: str) -> Tree:
    at = Place(file, kept.line, kept.column)
    match kept:
        case _Scalar():
            return Scalar(at, kept.text, kept.quoted)
        case _Sequence():
            return Sequence(at, tuple([_tree(item, file) for item in kept.items]))
        case _Mapping():
            return Mapping(
                at,
                {key: _tree(value, file) for key, _, _, value in kept.entries},
                {key: Place(file, line, column) for key, line, column, _ in kept.entries},
            )
        case _:
            assert_never(kept)
