"""`hadirector sync --watch`: connection records as they pass, one in a line."""

import argparse
import json
import sys
import time
from typing import Any

from hadirector.cli import live


def watch(options: argparse.Namespace) -> int:
    """Print records until interrupted."""
    print("connection records as they pass, until interrupted", file=sys.stderr, flush=True)
    for told in live.stream(options.socket, "/v1/sync/records"):
        print(json.dumps(told) if options.json else line(told), flush=True)
    return 0


def line(told: dict[str, Any]) -> str:
    """`12:00:01 sent     TCP 198.51.100.7:40112 -> 192.0.2.10:80 -> 10.0.1.11:8080 ESTABLISHED
    nat 900 s`."""
    if "skipped" in told:
        return f"... {told['skipped']} more, not shown"
    words = [
        time.strftime("%H:%M:%S", time.localtime(told["at"])),
        "sent    " if told["sent"] else "received",
        told["protocol"],
        f"{told['client']} -> {told['virtual']} -> {told['server']}",
        told["state"],
        told["forward"],
    ]
    words += told["flags"]
    if told["fwmark"]:
        words.append(f"fwmark {told['fwmark']}")
    return " ".join([*words, f"{told['timeout']} s"])
