"""A process as the simulator runs it: a loop that turns when woken, pipes that outlive it."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf

from hadirector.core import messages
from tests.sim.agenda import Agenda

PROMPT = (0.00001, 0.0005)  # seconds a timer or a packet waits for its loop on an idle host
QUEUE = 256  # numbered messages a pipe holds, as shell/channel does
PACKETS = 400  # what the receive buffer of a socket holds for a loop that does not turn

NUMBERED = (
    messages.Order,
    messages.Obeyed,
    messages.Events,
    messages.Request,
    messages.Verdicts,
    messages.Hello,
)


class Loop:
    """Turns once for each wake-up, a little late; not while stopped or dead. `lateness` (0 to 1)
    is the chance of a wake-up being late by up to `late_by` seconds."""

    def __init__(self, agenda: Agenda, rng: random.Random, turn: Callable[[], None]) -> None:
        self.alive = True
        self.blocked_since: float | None = None
        self.lateness, self.late_by = 0.0, 0.0
        self._agenda = agenda
        self._rng = rng
        self._turn = turn
        self._when = self._wake_at = inf  # what was asked for, and with its lateness
        self._parked = (inf, inf)  # the same of a wake-up that an earlier one came before

    @property
    def runs(self) -> bool:
        """Whether it turns."""
        return self.alive and self.blocked_since is None

    def wake(self, when: float) -> None:
        """Turn at `when`, unless it will do so earlier anyway."""
        if when >= self._wake_at or not self.runs:
            return
        if self._wake_at < inf:
            self._parked = (self._when, self._wake_at)
        elif when == self._parked[0] and self._parked[1] > self._agenda.now:
            self._when, self._wake_at = self._parked  # it is on the agenda still
            return
        late = self._rng.uniform(*PROMPT)
        if self.lateness and self._rng.random() < self.lateness:
            late += self._rng.uniform(0.0, self.late_by)
        self._when = when
        self._wake_at = due = max(when, self._agenda.now) + late
        self._agenda.at(due, lambda: self._woken(due))

    def block(self) -> None:
        """Stand still (a hang, SIGSTOP, the node sleeping)."""
        if self.blocked_since is None:
            self.blocked_since = self._agenda.now
        self._wake_at = inf
        self._parked = (inf, inf)

    def resume(self) -> None:
        """Go on."""
        self.blocked_since = None
        self.wake(self._agenda.now)

    def kill(self) -> None:
        """For good."""
        self.alive = False

    def _woken(self, due: float) -> None:
        if self.runs and due == self._wake_at:
            self._wake_at = inf
            self._turn()


@dataclass(frozen=True, slots=True)
class Letter:
    """A message under way; after `valid_until` (the node's clock) its level counts as unknown."""

    message: messages.Message
    valid_until: float
    arrives_at: float


class Pipe:
    """One direction of a channel. The supervisor holds both ends, so what was sent to a dead
    process waits for its successor. The newest level of a kind replaces one not yet read."""

    def __init__(self, agenda: Agenda, rng: random.Random) -> None:
        self.cut = False
        self.wake: Callable[[float], None] = lambda _: None
        self._agenda = agenda
        self._rng = rng
        self._letters: list[Letter] = []
        self._sent_at = -inf

    def send(self, message: messages.Message, valid_until: float) -> None:
        """Queue it; the reader is woken when it arrives."""
        if self._sent_at == self._agenda.now and self._letters:
            arrives_at = self._letters[-1].arrives_at  # what is sent at once arrives at once
        else:
            arrives_at = self._agenda.now + self._rng.uniform(0.00002, 0.001)
            if self._letters:
                arrives_at = max(arrives_at, self._letters[-1].arrives_at)
        self._sent_at = self._agenda.now
        if not isinstance(message, NUMBERED):
            kind = type(message)
            self._letters = [one for one in self._letters if type(one.message) is not kind]
        self._letters.append(Letter(message, valid_until, arrives_at))
        del self._letters[:-QUEUE]
        if not self.cut:
            self.wake(arrives_at)

    def read(self) -> Iterator[Letter]:
        """What has arrived, oldest first."""
        while self._letters and not self.cut and self._letters[0].arrives_at <= self._agenda.now:
            yield self._letters.pop(0)
        if self._letters and not self.cut:
            self.wake(self._letters[0].arrives_at)  # still under way

    @property
    def at_rest(self) -> bool:
        """Whether nothing is held back in it."""
        return not self.cut and all(one.arrives_at > self._agenda.now for one in self._letters)

    def clear(self) -> None:
        """Both ends were closed."""
        self._letters.clear()

    def mend(self) -> None:
        """The cut is over."""
        self.cut = False
        if self._letters:
            self.wake(self._letters[0].arrives_at)
