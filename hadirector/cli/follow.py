"""`hadirector events -f`: what happens, across directors that come and go.

A director that leaves or dies ends the stream and not the following: its successor has the journal
and goes on where it stood. Only when no daemon is there any more is there nothing to follow.
"""

import time
from collections.abc import Iterator
from typing import Any

from hadirector.cli.live import Unreachable, stream
from hadirector.shell import alone

PATIENCE = 30.0  # seconds for a successor: one that hangs is replaced sooner
GONE = 5.0  # seconds without any daemon: one that is restarted as a whole is back sooner
RETRY = 0.3


def events(path: str) -> Iterator[Any]:
    """Every entry once, in order; Unreachable when nobody tells any more."""
    last, lost_at = 0, 0.0
    while True:
        trouble: Unreachable | None = None
        try:
            for event in stream(path, f"/v1/events?since={last}"):
                last, lost_at = event["number"], 0.0
                yield event
        except Unreachable as error:
            trouble = error
        if last == 0 and trouble is not None:
            raise trouble  # nobody answered even once
        lost_at = lost_at or time.monotonic()
        waited = time.monotonic() - lost_at
        if waited > PATIENCE or (waited > GONE and alone.holder() is None):
            raise trouble or Unreachable(f"the daemon on {path} left")
        time.sleep(RETRY)
