"""`hadirector reload`: what was changed, what the file is warned of, and what came of it."""

import argparse
import json
import sys
import time
from typing import Any

from hadirector.cli import live

AFTERMATH = 1.0  # seconds to wait for what a new configuration breaks: a fault shows within that
_POLL = 0.2
_NOTHING = "nothing changed"


def reload(options: argparse.Namespace) -> int:
    """Have the daemon read its file again; 1 when it is refused."""
    _, before = live.ask(options.socket, "GET", "/v1/status")
    code, told = live.ask(options.socket, "POST", "/v1/reload", live.RELOAD_DEADLINE)
    if code == 200:
        old = set(before.get("trouble", ()))
        told["changed"], told["trouble"] = _aftermath(options.socket, told.get("since", 0), old)
    if options.json:
        print(json.dumps(told))
        return 0 if code == 200 else 1
    if code != 200:
        print(told.get("error", f"refused ({code})"), file=sys.stderr)
        return 1
    for warning in told.get("warnings", ()):
        print(warning, file=sys.stderr)
    print(f"reloaded: {told['changed']}" if told["changed"] else "reloaded")
    for text in told["trouble"]:
        print(f"TROUBLE: {text}", file=sys.stderr)
    return 0


def _aftermath(path: str, since: int, old: set[str]) -> tuple[str, list[str]]:
    """What was changed, and the troubles that were none before."""
    deadline = time.monotonic() + AFTERMATH
    changed = ""
    while not changed.startswith(_NOTHING) and time.monotonic() < deadline:
        changed = changed or _told(live.ask(path, "GET", f"/v1/events?since={since}")[1])
        time.sleep(_POLL)
    # The worst may not come first: that a peer has the old file is seen before a missing interface.
    _, status = live.ask(path, "GET", "/v1/status")
    return changed, [text for text in status.get("trouble", ()) if text not in old]


def _told(events: list[dict[str, Any]]) -> str:
    reasons = (event["reason"] for event in events if event["kind"] == "config_reloaded")
    return next(reasons, "")
