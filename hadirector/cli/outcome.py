"""What came of an operator's order: printed, and as an exit status."""

import argparse
import json
import sys

from hadirector.cli.live import ask

EXITS = {"done": 0, "refused": 4, "failed": 1}


def post(options: argparse.Namespace, target: str, deadline: float, *, more: bool = False) -> int:
    """Give the order; the answer comes when it is known how it went. What is not done is told on
    stderr. `more`: where it goes well, somebody else prints JSON."""
    _, told = ask(options.socket, "POST", target, deadline)
    verdict = told.get("verdict", "failed")
    if options.json:
        if not more or verdict != "done":
            print(json.dumps(told))
        return EXITS[verdict]
    for warning in told.get("warnings", []):
        print(f"warning: {warning}", file=sys.stderr)
    for line in told.get("lines") or [told.get("error", "refused")]:
        if verdict == "done":
            print(line)
        else:
            print(f"{verdict}: {line}", file=sys.stderr)
    return EXITS[verdict]
