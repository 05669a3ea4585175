"""The journal: what happened and why, newest last, bounded.

Every transition of the director's core lands here with one sentence and its inputs; `events`
prints it and `explain` picks the entries of one subject.
"""

from collections import deque
from collections.abc import Iterable, Mapping

from hadirector.core.messages import Event

KEPT = 4096  # entries; a flapping farm of 1,000 servers fills it in minutes, a quiet one in months


GRAVE = frozenset(
    {
        *("fault", "duel", "late_wake", "director_silent", "sync_wait", "order_refused"),
        *("ipvs_lost", "ipvs_refused", "ipvs_timeouts", "connection_sync", "sysctl", "drift"),
        *("server_down", "quorum_lost", "checker_silent", "peer_down", "peer_channel"),
        *("config_refused", "config_drift", "state_not_saved", "api_http"),
        *("track_down", "hook_failed", "hook_given_up", "runner_died"),
    }
)
"""Kinds somebody must look at: logged as warnings (`journalctl -p warning`)."""


class Journal:
    """A bounded list of events, numbered on from those of a former life."""

    def __init__(self, past: Iterable[Event] = ()) -> None:
        self._events: deque[Event] = deque(past, maxlen=KEPT)
        self._next = self._events[-1].number + 1 if self._events else 1

    def add(
        self,
        at: float,
        kind: str,
        subject: str,
        reason: str,
        inputs: Mapping[str, str] | None = None,
    ) -> Event:
        """Write an entry; `at` is CLOCK_BOOTTIME."""
        event = Event(self._next, at, kind, subject, reason, dict(inputs or {}))
        self._next += 1
        self._events.append(event)
        return event

    def take(self, foreign: Event) -> Event:
        """Write another process's event under our own number."""
        return self.add(foreign.at, foreign.kind, foreign.subject, foreign.reason, foreign.inputs)

    def since(self, number: int) -> tuple[Event, ...]:
        """Entries with a number above `number`."""
        return tuple(event for event in self._events if event.number > number)

    def about(self, subject: str) -> Iterable[Event]:
        """Entries of a subject or of what belongs to it (`web` finds `web/10.0.1.11:80`)."""
        return (
            event
            for event in self._events
            if event.subject == subject
            or event.subject.startswith(subject + "/")
            or event.subject.endswith("/" + subject)
        )
