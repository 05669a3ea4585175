"""What a checker has to tell: changed health at once, newer probe data now and then."""

import asyncio
from collections.abc import Callable

from hadirector.core import messages, pacing

CHANGE_GAP = 0.005  # seconds between messages about changed health: a burst becomes few messages
REFRESH = 1.0  # seconds between messages that only bring newer probe data
REFRESH_MANY = 2.0
MANY = 1000  # targets

Send = Callable[[messages.Message], None]


class Outbox:
    """Verdicts waiting to be sent: changed health at once, newer probe data now and then.

    Each verdict is the whole truth of its target, so one that is lost is made good by the next.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._changed: dict[str, messages.Verdict] = {}
        self._refreshed: dict[str, messages.Verdict] = {}
        self._refresh = REFRESH
        self._changes_sent_at = 0.0  # by the loop's clock
        self._changes_due: asyncio.Handle | None = None
        self._refresh_due: asyncio.Handle | None = None

    def add(self, report: pacing.Report) -> None:
        """Send this verdict in its time; it replaces an older one of the same target."""
        target = report.verdict.target
        if report.changed or target in self._changed:
            self._changed[target] = report.verdict
            self._refreshed.pop(target, None)
            if self._changes_due is None:
                at = max(self._loop.time(), self._changes_sent_at + CHANGE_GAP)
                self._changes_due = self._loop.call_at(at, self._send_changes)
            return
        self._refreshed[target] = report.verdict
        if self._refresh_due is None:
            self._refresh_due = self._loop.call_later(self._refresh, self._send_refreshed)

    def send_whole(self, verdicts: tuple[messages.Verdict, ...]) -> None:
        """Send all of them now; nothing else is left to send then."""
        self.close()
        self._changed.clear()
        self._refreshed.clear()
        self._refresh = REFRESH_MANY if len(verdicts) > MANY else REFRESH
        self._send(messages.Verdicts(verdicts, whole=True))

    def close(self) -> None:
        """Send nothing more by itself."""
        for handle in (self._changes_due, self._refresh_due):
            if handle is not None:
                handle.cancel()
        self._changes_due = self._refresh_due = None

    def _send_changes(self) -> None:
        self._changes_due = None
        self._changes_sent_at = self._loop.time()
        verdicts = tuple(self._changed.values())
        self._changed.clear()
        self._send(messages.Verdicts(verdicts, whole=False))

    def _send_refreshed(self) -> None:
        self._refresh_due = None
        verdicts = tuple(self._refreshed.values())
        self._refreshed.clear()
        if verdicts:
            self._send(messages.Verdicts(verdicts, whole=False))
