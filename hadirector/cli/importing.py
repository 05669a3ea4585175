"""`hadirector import`: another program's configuration as ours."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hadirector.core.errors import HadirectorError

if TYPE_CHECKING:
    from hadirector.config.imports.draft import Draft

Reader = Callable[[dict[str, str], argparse.Namespace], "Draft"]

_MORE = """\
Our YAML goes to stdout. What could not be carried over, or needs your eye, goes to stderr, each
with FILE:LINE; nothing is left out in silence. FILE may be - for standard input.
ipvsadm: rules as `ipvsadm -Sn` writes them, or a script of ipvsadm commands.
keepalived: keepalived.conf of one director, or those of both: they become the nodes of one file.
ldirectord: ldirectord.cf. heartbeat: ha.cf, haresources, authkeys, and ldirectord.cf.
Exit status: 0 fine; 1 a file cannot be read, or the result would not pass `hadirector check`,
which is told."""


class Unreadable(HadirectorError):
    """A file that cannot be read."""


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "import",
        help="another program's configuration as ours",
        description="Make a configuration of another program's.",
        epilog=_MORE,
    )
    parser.add_argument("program", choices=tuple(_READERS))
    parser.add_argument("files", nargs="+", metavar="FILE")
    text = "of keepalived: take the lines @ID, as its -i does"
    parser.add_argument("-i", "--config-id", metavar="ID", default="", help=text)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the YAML, and what did not fit into it."""
    try:
        texts = {path: _text(path) for path in options.files}
        draft = _READERS[options.program](texts, options)
    except Unreadable as error:
        print(f"hadirector: {error}", file=sys.stderr)
        return 1
    written = draft.write()
    print(written, end="")
    for told in sorted(set(draft.told)):
        print(told, file=sys.stderr)
    mistakes = _mistakes(written)
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    return 1 if mistakes else 0


def _text(path: str) -> str:
    try:
        text = sys.stdin.read() if path == "-" else _opened(path)
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from None
    if "\0" in text:
        raise Unreadable(f"{path}: has a NUL byte in it: is it the text of a configuration?")
    return text


def _mistakes(written: str) -> list[str]:
    """What `hadirector check` would say against it."""
    from hadirector.config.load import load_for_check
    from hadirector.config.problem import Severity

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result"
        path.write_text(written, encoding="utf-8")
        loaded = load_for_check(str(path))
    found = dict.fromkeys(
        f"the result, line {problem.line}: {problem.text}"
        for one in loaded
        for problem in one.problems
        if problem.severity is Severity.ERROR
    )
    return list(found)


def _ipvsadm(texts: dict[str, str], _: argparse.Namespace) -> "Draft":
    from hadirector.config.imports import ipvsadm

    return ipvsadm.read(texts)


def _keepalived(texts: dict[str, str], options: argparse.Namespace) -> "Draft":
    from hadirector.config.imports import keepalived

    return keepalived.read(texts, options.config_id, _opened)


def _ldirectord(texts: dict[str, str], _: argparse.Namespace) -> "Draft":
    from hadirector.config.imports import ldirectord

    return ldirectord.read(texts)


def _heartbeat(texts: dict[str, str], _: argparse.Namespace) -> "Draft":
    from hadirector.config.imports import heartbeat

    return heartbeat.read(texts)


def _opened(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")


_READERS: dict[str, Reader] = {
    "ipvsadm": _ipvsadm,
    "keepalived": _keepalived,
    "ldirectord": _ldirectord,
    "heartbeat": _heartbeat,
}
