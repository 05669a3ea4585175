"""One planned switch, seen from the master that gives up.

    Preparing --consent--> Yielding --own election obeyed--> Switching --successor heard--> done
        |                     |                                  |
      refused              failed                     failed: master again

The order matters. The successor is asked first whether it would, so that a refusal costs nothing.
Then the own election yields: it sends priority 0 and keeps its addresses. Only when it has said so
is the successor told to take over; were it told before, its first advert would meet a master of
higher priority that still means to be one, and the two would fight. From priority 0 on nothing can
go wrong for clients: if the word to the successor is lost, its skew time ends; if nobody takes
over within the peers' patience, the old master, which has the addresses on all the time, goes on.
Without a key, or with a foreign peer, there is nobody to ask or to tell, and it is priority 0
alone that moves mastership.
"""

from dataclasses import dataclass
from math import inf
from typing import assert_never

from hadirector.core.listening import peers_patience
from hadirector.core.messages import Router, RouterStateName
from hadirector.core.peer_messages import Prepare, TakeOver
from hadirector.core.requests import HandOver, Outcome, StandBy, Verdict
from hadirector.core.situation import Situation

ASK_EVERY = 0.1  # seconds between questions that are not answered
ASK_FOR = 1.0  # seconds until a successor that does not answer is none
OBEY_WITHIN = 2.0  # seconds for the own election: it answers in a turn, or hangs
SETTLE = 1.0  # seconds beyond the peers' patience until the election has told how it went


@dataclass(frozen=True, slots=True)
class Preparing:
    """The successor is asked whether it would."""

    until: float
    ask_at: float


@dataclass(frozen=True, slots=True)
class Yielding:
    """The own election was ordered to; these orders are not answered yet."""

    until: float
    orders: frozenset[str]


@dataclass(frozen=True, slots=True)
class Switching:
    """Priority 0 is out. `leaving`: those whose election told that they wait for a successor."""

    since: float
    until: float
    ask_at: float
    leaving: frozenset[tuple[str, int]] = frozenset()


Phase = Preparing | Yielding | Switching


@dataclass(slots=True)
class Handover:
    """`parts`: the instances, or of one that is divided what is here (`Situation.parts`).
    `successor` None: whoever hears priority 0. `commanded`: there is a key to tell it by."""

    token: str
    request: HandOver | StandBy
    names: tuple[str, ...]
    parts: tuple[str, ...]
    successor: str | None
    commanded: bool
    warnings: tuple[str, ...]
    phase: Phase

    @property
    def deadline(self) -> float:
        """When something is due."""
        match self.phase:
            case Preparing(until=until, ask_at=at) | Switching(until=until, ask_at=at):
                return min(until, at)
            case Yielding(until=until):
                return until
            case unreachable:
                assert_never(unreachable)

    def waits(self, now: float) -> str:
        """What it waits for, and for how long at most."""
        names, left = ", ".join(self.names), f"{max(0.0, self.phase.until - now):.0f} s at most"
        match self.phase:
            case Preparing():
                return f"{names}: {self.successor} is asked whether it is ready ({left})"
            case Yielding():
                return f"{names}: this node's election is to give up ({left})"
            case Switching():
                who = self.successor or "another node"
                return f"{names}: given up, and forwarding until {who} is heard as master ({left})"
            case unreachable:
                assert_never(unreachable)

    def question(self, now: float) -> Prepare | TakeOver | None:
        """What is to be asked of the successor now, if anything is."""
        match self.phase:
            case Preparing(until, ask_at) if now >= ask_at:
                self.phase = Preparing(until, now + ASK_EVERY)
                return Prepare(self.token, self.names)
            case Switching(since, until, ask_at, leaving) if now >= ask_at:
                self.phase = Switching(since, until, now + ASK_EVERY, leaving)
                return TakeOver(self.token, self.parts)
            case _:
                return None

    def orders(self) -> dict[str, str]:
        """Token -> subject of the orders to the own election."""
        return {f"{self.token}/{part}": part for part in self.parts}

    def switch(self, here: Situation, now: float) -> None:
        """The own election has yielded."""
        moved = (i for i in here.config.instances if i.name in self.names)
        patience = max(map(peers_patience, moved), default=0.0)
        self.phase = Switching(now, now + patience + SETTLE, now if self.commanded else inf)

    def answered(self) -> None:
        """The successor takes over: it need not be told again."""
        assert isinstance(self.phase, Switching)
        self.phase = Switching(self.phase.since, self.phase.until, inf, self.phase.leaving)

    def outcome(self, here: Situation, now: float) -> Outcome | None:
        """How it went, once the own election tells."""
        if not isinstance(self.phase, Switching):
            return None
        phase, routers = self.phase, here.routers_of(self.names)
        leaving = {(r.instance, int(r.family)) for r in routers if r.leaving}
        back = [
            r
            for r in routers
            if r.state is RouterStateName.MASTER
            and not r.leaving
            and ((r.instance, int(r.family)) in phase.leaving or now >= phase.until)
        ]
        if back:
            text = f"{back[0].instance}: nobody took over; this node is master again"
            return Outcome(Verdict.FAILED, (text,), self.warnings)
        if all(r.state in (RouterStateName.BACKUP, RouterStateName.FAULT) for r in routers):
            told = (*self._told(here, phase.since), self._afterwards())
            return Outcome(Verdict.DONE, told, self.warnings)
        if now >= phase.until:
            text = f"{', '.join(self.names)}: the election does not tell how it went"
            return Outcome(Verdict.FAILED, (text,), self.warnings)
        self.phase = Switching(phase.since, phase.until, phase.ask_at, phase.leaving | leaving)
        return None

    def _told(self, here: Situation, since: float) -> tuple[str, ...]:
        lines = []
        for name in self.names:
            routers = here.routers_of([name])
            took = max((r.since for r in routers), default=since) - since
            lines.append(f"{name}: {self._new_master(routers, here)} took over in {_brief(took)}")
        return tuple(lines)

    def _afterwards(self) -> str:
        """What keeps this node from taking it back, and what ends that."""
        if isinstance(self.request, StandBy):
            return "this node stays out, also after a reboot, until `hadirector standby off`"
        them = self.names[0] if len(self.names) == 1 else ""
        release = f"hadirector release {them}".rstrip()
        return f"this node holds back, also after a reboot, until `{release}`"

    def _new_master(self, routers: list[Router], here: Situation) -> str:
        if self.successor is not None and (self.commanded or len(here.peers) == 1):
            return self.successor
        return next((r.master for r in routers if r.master), "another node")


def _brief(seconds: float) -> str:
    if seconds < 1:
        return f"{max(1, round(seconds * 1000))} ms"
    return f"{seconds:.1f} s"
