"""The journal: what happened and why, newest last, bounded.

Every transition of the director's core lands here with one sentence and its inputs; `events`
prints it and `explain` picks the entries of one subject.
"""

from collections import deque
from collections.abc import Iterable, Mapping

from hadirector.core.messages import Event

LONGEST = 1000  # characters of a reason; it is one sentence, but foreign text may be part of it
LONGEST_DETAIL = 200  # of a subject or an input
KEPT = 4096  # entries; a flapping farm of 1,000 servers fills it in minutes, a quiet one in months


GRAVE = frozenset(
    {
        *("split_brain", "deaf", "stranger", "bad_advert", "neighbour"),
        *("fault", "duel", "late_wake", "director_silent", "sync_wait", "order_refused"),
        *("ipvs_lost", "ipvs_refused", "ipvs_timeouts", "connection_sync", "sysctl", "drift"),
        "ipvs_paused",
        *("server_down", "quorum_lost", "peer_down", "peer_deaf", "peer_channel", "process_died"),
        *("checker_silent", "checker_blind", "config_refused", "config_drift"),
        *("state_not_saved", "api_http", "advert_refused", "advert_differs", "secrets"),
        *("peer_refused", "handover_refused", "handover_failed", "standby_serves"),
        *("stance_not_saved", "peer_missing", "election_silent", "runtime_dir", "own_address"),
        *("track_down", "hook_failed", "hook_given_up", "acceptance"),
        *("vip_restored", "vip_contested", "route_restored", "route_contested", "route_refused"),
        *("rule_restored", "rule_contested", "rule_refused"),
        *("relay_trouble", "relay_silent", "relay_refused", "private_interface"),
    }
)
"""Kinds somebody must look at: logged as warnings (`journalctl -p warning`)."""


class Journal:
    """A bounded list of events, numbered on from those of a former life."""

    def __init__(self, past: Iterable[Event] = ()) -> None:
        self._events: deque[Event] = deque(past, maxlen=KEPT)
        self._next = self._events[-1].number + 1 if self._events else 1

    @property
    def newest(self) -> int:
        """The number of the last entry, 0 before the first."""
        return self._next - 1

    def add(
        self,
        at: float,
        kind: str,
        subject: str,
        reason: str,
        inputs: Mapping[str, str] | None = None,
    ) -> Event:
        """Write an entry; `at` is CLOCK_BOOTTIME."""
        details = {name: _cut(value, LONGEST_DETAIL) for name, value in (inputs or {}).items()}
        subject, reason = _cut(subject, LONGEST_DETAIL), _cut(reason, LONGEST)
        event = Event(self._next, at, kind, subject, reason, details)
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


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"
