"""What must stand where in a JSON answer.

A path has dots between its steps, `checks.db.0.up`; a number is a place in a list. One that begins
with a slash is a JSON Pointer (RFC 6901), for keys with dots in them.
"""

import json
from functools import lru_cache

from hadirector.core.pacing import Outcome
from hadirector.core.settings.questions import JsonWanted
from hadirector.shell.probes import base

SHOWN = 40  # characters of a value that is not the wanted one


def judge(body: bytes, wanted: tuple[JsonWanted, ...], cut: bool) -> Outcome:
    """Whether everything is as wanted; `cut`: the body went on beyond what was read."""
    if cut:
        return base.answered("body is too long to be read as JSON")
    try:
        tree = json.loads(body)
    except (ValueError, RecursionError):
        starts = f"it starts {base.excerpt(body)}" if body else "it is empty"
        return base.answered(f"body is not JSON: {starts}")
    for one in wanted:
        try:
            found = _find(tree, steps(one.path))
        except LookupError:
            return base.answered(f"JSON {one.path} is not there, expected {one.wanted}")
        if not _equal(found, _wanted(one.wanted)):
            return base.answered(f"JSON {one.path} is {_shown(found)}, expected {one.wanted}")
    return base.good("JSON as expected")


def steps(path: str) -> tuple[str, ...]:
    """The keys and places that a path leads through."""
    if path.startswith("/"):
        return tuple(s.replace("~1", "/").replace("~0", "~") for s in path[1:].split("/"))
    return tuple(path.split("."))


def _find(tree: object, path: tuple[str, ...]) -> object:
    for step in path:
        if isinstance(tree, dict):
            tree = tree[step]
        elif isinstance(tree, list) and step.isascii() and step.isdecimal() and len(step) < 10:
            tree = tree[int(step)]
        else:
            raise LookupError(step)
    return tree


def _equal(found: object, wanted: object) -> bool:
    """As JSON has it: true is not 1."""
    return found == wanted and isinstance(found, bool) is isinstance(wanted, bool)


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value[: SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


@lru_cache(maxsize=1024)
def _wanted(text: str) -> object:
    return json.loads(text)
