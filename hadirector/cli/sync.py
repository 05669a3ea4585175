"""`hadirector sync` and `hadirector resync`: whether the standby has every connection."""

import argparse
import json
import sys
import time
from typing import Any

from hadirector.cli import watch
from hadirector.cli.live import add_verb, ask
from hadirector.cli.sync_table import table

PATIENCE = 60.0  # seconds: a million connections
LOOK_EVERY = 0.3

_SYNC = """\
How complete each standby is, by the last comparison with its master, and by what measure: exact
where both read their whole connection tables for it, estimated where they know them from the
stream of sync records and the kernel's counters. Exit status: 0 when no connection is known to be
missing and every standby that ever connected is ready, else 1."""

_RESYNC = """\
On the master: compare every standby with this node now, and send what it does not have. On a
standby: ask its master for that. Nothing is ever sent from a standby to a master, and nothing that
is there already is sent again. Exit status: 0 when nothing is missing, else 1."""


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add these verbs."""
    text = "roles, completeness of the standby, lag, losses"
    parser = add_verb(verbs, "sync", sync, text, _SYNC)
    help_text = "print connection records as they pass, until interrupted"
    parser.add_argument("--watch", action="store_true", help=help_text)
    text = "compare and complete the standby's connections now"
    add_verb(verbs, "resync", resync, text, _RESYNC)


def sync(options: argparse.Namespace) -> int:
    """Print how it stands."""
    if options.watch:
        return watch.watch(options)
    told = _status(options)
    print(json.dumps(told, indent=2) if options.json else table(told))
    return 0 if _is_well(told) else 1


def resync(options: argparse.Namespace) -> int:
    """Ask, and wait until it was compared."""
    before = _rounds(_status(options))
    code, told = ask(options.socket, "POST", "/v1/resync")
    if code != 200:
        print(told.get("error", f"refused ({code})"), file=sys.stderr)
        return 1
    until = time.monotonic() + PATIENCE
    while True:
        time.sleep(LOOK_EVERY)
        now = _status(options)
        left = _left(before, now)
        if (not left and not now["missing"]) or time.monotonic() > until:
            break
    print(json.dumps(now, indent=2) if options.json else table(now))
    for text in left:
        print(f"hadirector: {text}", file=sys.stderr)
    return 0 if not left and not now["missing"] else 1


def _is_well(sync: dict[str, Any]) -> bool:
    ready = all(one["ready"] for one in sync["standbys"].values())
    return ready and not sync["missing"] and sync["ready"] is not False


def _left(before: dict[str, int], sync: dict[str, Any]) -> list[str]:
    """Who was not compared since then."""
    others = {**sync["standbys"], **sync["masters"]}
    if not others:
        return ["nobody is there to be compared with"]
    return [
        f"not compared with {node}: {one['reason']}"
        for node, one in others.items()
        if one["rounds"] == before.get(node, 0)
    ]


def _rounds(sync: dict[str, Any]) -> dict[str, int]:
    return {node: one["rounds"] for node, one in {**sync["standbys"], **sync["masters"]}.items()}


def _status(options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = ask(options.socket, "GET", "/v1/status")[1]["sync"]
    return found
