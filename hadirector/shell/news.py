"""The election's news for the director: events and the state of its routers, a moment later.

After a takeover the CPU is for clients' first packets: encoding, logging and the director's own
work on what it hears wait TELL_AFTER, and several changes of one moment become one message.
"""

import logging
from collections.abc import Callable

from hadirector.core import messages

log = logging.getLogger(__name__)

TELL_AFTER = 0.02  # seconds from a change to the director's word of it


class News:
    """What waits to be told. `routers` gives their state at the moment of telling."""

    def __init__(
        self,
        send: Callable[[messages.Message], None],
        routers: Callable[[], tuple[messages.Router, ...]],
    ) -> None:
        self.due_at: float | None = None
        self._send = send
        self._routers = routers
        self._events: list[messages.Event] = []
        self._changed = False

    def add(self, event: messages.Event, now: float) -> None:
        """An event to be logged and told."""
        self._events.append(event)
        self._wait(now)

    def changed(self, now: float) -> None:
        """The routers' state is to be told."""
        self._changed = True
        self._wait(now)

    def tell(self, now: float) -> None:
        """Tell what is due."""
        if self.due_at is not None and now >= self.due_at:
            self.flush()

    def flush(self) -> None:
        """Tell all that waits."""
        self.due_at = None
        if self._changed:
            self._changed = False
            self._send(messages.Routers(self._routers()))
        for event in self._events:
            inputs = "".join(f" {name}={value}" for name, value in event.inputs.items())
            log.info("%s subject=%s reason=%r%s", event.kind, event.subject, event.reason, inputs)
        if self._events:
            self._send(messages.Events(tuple(self._events)))
            self._events.clear()

    def _wait(self, now: float) -> None:
        if self.due_at is None:
            self.due_at = now + TELL_AFTER
