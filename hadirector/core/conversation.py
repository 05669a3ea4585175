"""Is a genuine datagram new? One conversation with one peer, without anybody's wall clock.

Whoever can listen can send a datagram again later, or hold it up; the MAC does not help. Numbers
that only grow stop a replay as long as the receiver remembers them, which a restarted one does
not, and a restarted sender cannot go on where it was. So each datagram also echoes the mark
(incarnation, sequence) of the last one heard of the recipient, and is believed only if

1. it echoes one of our own datagrams of this life, sent at most `WINDOW` seconds ago: so it was
   made after that, and is no older than that by our own clock, whatever its sender's clock says;
2. it comes after the last one believed, within one incarnation of its sender, or was overtaken by
   it no longer than `REORDER` ago: the network delivers what is sent at once in any order; and
3. its incarnation is not one that another has followed upon, and a new one echoes something of
   ours that is later than all the one before it has echoed: what a life began after another had
   heard of us was made before that other one began, also where nobody ever heard of it.

Hence nothing recorded before our start is believed (1: our incarnation was never used before),
nothing twice (2), nothing that was held up for long (1), and nothing of a director that has been
replaced (3; within the window, after it rule 1 does). A restarted peer is believed as soon as it
echoes us, however its clock was set, and so is one that slept.

At first nobody has anything to echo. Who gets a genuine datagram that is not new (`STALE`) echoes
it at once in a datagram of its own, at most each `ANSWER_EVERY` seconds: the other one believes
that one, echoes it in turn, and is believed. A replay can cause such an answer and nothing more.

What cannot be had by this: hearing a peer to which our own datagrams do not get. Whoever is not
heard is not believed, so a cut in one direction silences both.
"""

import math
from collections import deque

from hadirector.core.seal import Flaw, Mark

WINDOW = 5.0  # seconds: presences each 0.5 s, so ten lost in a row
REORDER = 0.1  # seconds: far longer than two datagrams sent at once are apart on any cluster's wire
ANSWER_EVERY = 0.1  # seconds
_SENT = 1024  # datagrams remembered: far more than are sent in a window
_BELIEVED = 64  # sequences remembered: more than come within REORDER
_RETIRED = 16  # directors of the peer that were replaced; the window forgets them sooner


class Conversation:
    """With one peer. `heard` is the last datagram of the peer that was believed."""

    def __init__(self, incarnation: int) -> None:
        self.heard = Mark()
        self._incarnation = incarnation
        self._sequence = 0
        self._sent: deque[tuple[int, float]] = deque(maxlen=_SENT)
        self._believed: deque[tuple[int, float]] = deque(maxlen=_BELIEVED)  # with their instants
        self._retired: deque[int] = deque(maxlen=_RETIRED)
        self._answered_at = -math.inf
        self._echoed = 0  # the latest of our own sequences that the present incarnation echoed

    def next(self, now: float) -> Mark:
        """The mark of a datagram that is sent now."""
        self._sequence += 1
        self._sent.append((self._sequence, now))
        return Mark(self._incarnation, self._sequence)

    def judge(self, mark: Mark, echo: Mark, now: float) -> Flaw | None:
        """What is wrong with a genuine datagram; None: it is new, and counts from now on."""
        if mark.incarnation in self._retired:
            return Flaw.REPLAYED
        same = mark.incarnation == self.heard.incarnation
        if same and mark.sequence <= self.heard.sequence and not self._overtaken(mark, now):
            return Flaw.REPLAYED
        if not self._is_recent(echo, now):
            return Flaw.STALE
        if not same and echo.sequence <= self._echoed:
            return Flaw.STALE
        self._echoed = max(self._echoed, echo.sequence)
        if not same:
            if self.heard.incarnation != 0:
                self._retired.append(self.heard.incarnation)
            self._believed.clear()
        self._believed.append((mark.sequence, now))
        if not same or mark.sequence > self.heard.sequence:
            self.heard = mark
        return None

    def owes_answer(self, now: float) -> bool:
        """Whether a stale datagram is to be answered now; one that is not comes again."""
        if now < self._answered_at + ANSWER_EVERY:
            return False
        self._answered_at = now
        return True

    def _overtaken(self, mark: Mark, now: float) -> bool:
        """Whether it was not believed before, and those that came first did so just now."""
        later = [(sequence, at) for sequence, at in self._believed if sequence >= mark.sequence]
        return bool(later) and all(
            sequence != mark.sequence and now - at <= REORDER for sequence, at in later
        )

    def _is_recent(self, echo: Mark, now: float) -> bool:
        while self._sent and self._sent[0][1] < now - WINDOW:
            self._sent.popleft()
        if echo.incarnation != self._incarnation or not self._sent:
            return False
        return self._sent[0][0] <= echo.sequence <= self._sequence
