"""An operator's orders to a running node: handover, release, standby; and a peer's.

    operator --> Request --> core/handover --> orders to the own election
                    |             ^     |
                 Stance           |     +----> questions to the successor's director
                    |          answers, reports
       level to the election, file of the state directory

`stance` is what they leave behind. It is told to the election as a level, so that a new process,
or a node that was rebooted, holds back as its predecessor did. A hold ends when it is released,
or when this node became master all the same: the successor was gone.

In standby a node stays out while another one is master, or alive on the peer channel and able to
be; it serves only when nobody else is left, and says so. Strictly out is what `systemctl stop` is
for; it hands over, too.
"""

from collections.abc import Callable, Iterable
from math import inf

from hadirector.core import director_events as ev
from hadirector.core import handover as switching
from hadirector.core import messages, successor
from hadirector.core.handover import Handover, Preparing, Switching, Yielding
from hadirector.core.messages import OrderKind, Process, RouterStateName
from hadirector.core.peer_messages import Answer, Order, Prepare, TakeOver, Told
from hadirector.core.requests import (
    HandOver,
    Operation,
    OrderServer,
    Outcome,
    Release,
    StandBy,
    Verdict,
)
from hadirector.core.services import Change
from hadirector.core.settings.cluster import Config
from hadirector.core.situation import Situation
from hadirector.core.stance import Pause, Since, Stance, moved_by
from hadirector.core.takeover import Step, TakeOvers, order

LEVEL_HOLDS = inf  # the last one is kept in any case
SAVE_WITHIN = 2.0  # seconds a reply waits for the disk


class Operations:
    """One node's. Each method gives what is to be done and told, in order; `situation` what its
    director knows, None before it is configured."""

    def __init__(self, stance: Stance, situation: Callable[[], Situation | None]) -> None:
        self.stance = stance
        self._situation = situation
        self._current: Handover | None = None
        self._saving = 0  # files under way
        self._unsaved = ""  # why the last one was not written
        self._replies: list[tuple[str, Outcome, float]] = []  # waiting for the disk until then
        self._takeovers = TakeOvers()
        self._serving_told = False

    @property
    def deadline(self) -> float:
        """When `due` has something to do."""
        current = self._current.deadline if self._current else inf
        return min([current, *(until for _, _, until in self._replies)])

    def waits(self, now: float) -> str | None:
        """What a handover that is under way waits for; None: there is none."""
        return None if self._current is None else self._current.waits(now)

    @property
    def unsaved(self) -> str | None:
        """Why a restart would forget the stance; empty: it would not, None: it is being written."""
        return None if self._saving else self._unsaved

    def level(self) -> ev.Send:
        """What the election is to know."""
        return ev.Send(Process.ELECTION, self.stance.level(), LEVEL_HOLDS)

    # --- in ----------------------------------------------------------------------------------

    def handle(self, event: ev.Order, now: float) -> list[Step]:
        """An operator's request, a peer's word, or the disk's."""
        here = self._situation()
        if here is None:
            return []
        match event:
            case ev.Asked(token, request):
                assert not isinstance(request, OrderServer), "core/orders takes it"
                return self._ask(token, request, here, now)
            case ev.PeerSaid(node, message):
                assert not isinstance(message, Told), "core/orders takes it"
                return self._peer_said(node, message, here, now)
            case ev.StanceSaved(trouble):
                self._saving -= 1
                self._unsaved = trouble
                return self._due_replies(now)

    def obeyed(self, told: messages.Obeyed, now: float) -> list[Step]:
        """The own election answers an order."""
        answered = self._takeovers.obeyed(told)
        if answered is not None:
            return answered
        here, current = self._situation(), self._current
        if here is None or current is None or not isinstance(current.phase, Yielding):
            return []
        if told.token not in current.phase.orders:
            return []
        if told.refused:
            return self._finish(Outcome(Verdict.FAILED, (told.refused,)), here, now)
        left = current.phase.orders - {told.token}
        current.phase = Yielding(current.phase.until, left)
        if left:
            return []
        current.switch(here, now)
        return self._question(now)

    def look(self, now: float) -> list[Step]:
        """The own routers' states are told anew."""
        here = self._situation()
        if here is None:
            return []
        steps: list[Step] = []
        if self._current is not None:
            outcome = self._current.outcome(here, now)
            steps += self._finish(outcome, here, now) if outcome else []
        return [*steps, *self._end_holds(here), *self._tell_serving(here)]

    def configured(self, config: Config) -> list[Step]:
        """What is no longer configured is no longer held."""
        gone = set(self.stance.holds) - {instance.name for instance in config.instances}
        if not gone:
            return []
        told = [Change("hold_ended", name, "no longer configured") for name in sorted(gone)]
        return [*told, *self._take_stance(self.stance.without(gone))]

    def keep_pause(self, pause: Pause | None) -> list[Step]:
        """IPVS is left alone, or no more: that is for the next director as well."""
        return self._take_stance(self.stance.in_pause(pause))

    def due(self, now: float) -> list[Step]:
        """Time passed."""
        steps = self._due_replies(now)
        here, current = self._situation(), self._current
        if here is None or current is None or now < current.deadline:
            return steps
        match current.phase:
            case Preparing(until=until) if now >= until:
                text = f"{current.successor} does not answer on the peer channel"
                outcome: Outcome | None = Outcome(Verdict.REFUSED, (_forcible(text),))
            case Yielding():
                outcome = Outcome(Verdict.FAILED, ("the election does not answer",))
            case _:
                outcome = current.outcome(here, now)
        if outcome is not None:
            return [*steps, *self._finish(outcome, here, now)]
        return [*steps, *self._question(now)]

    # --- who asks what -----------------------------------------------------------------------

    def _ask(self, token: str, request: Operation, here: Situation, now: float) -> list[Step]:
        """An operator's request; a Reply with this token follows."""
        if self._current is not None:
            under_way = f"a handover of {', '.join(self._current.names)} is under way"
            return self._reply(token, Outcome(Verdict.REFUSED, (under_way,)), now)
        match request:
            case HandOver():
                return self._hand_over(token, request, here, now)
            case Release():
                return self._release(token, request, here, now)
            case StandBy(on=True):
                return self._begin_standby(token, request, here, now)
            case StandBy():
                return self._end_standby(token, here, now)

    def _peer_said(self, node: str, said: Order, here: Situation, now: float) -> list[Step]:
        """A director with our key asks or answers."""
        match said:
            case Prepare(token, names):
                why = successor.hindrance(names, here, self.stance.standby is not None)
                if self._current is not None:
                    why = "it is handing over itself"
                return [ev.TellPeer(node, Answer(token, taken=False, refusal=why))]
            case TakeOver():
                return self._takeovers.ask(node, said)
            case Answer():
                return self._answered(node, said, here, now)

    # --- the operator's requests -------------------------------------------------------------

    def _hand_over(self, token: str, request: HandOver, here: Situation, now: float) -> list[Step]:
        names = moved_by(here.config, request.subject)
        if not names:
            return self._reply(token, _unknown(request.subject, here.config), now)
        mine = tuple(name for name in names if here.is_master(name))
        if request.subject and mine != names:
            text = _not_master(next(name for name in names if name not in mine), here)
            return self._reply(token, Outcome(Verdict.REFUSED, (text,)), now)
        if not mine:
            return self._reply(token, Outcome(Verdict.REFUSED, ("master of nothing here",)), now)
        return self._begin(token, request, mine, here, now)

    def _begin_standby(
        self, token: str, request: StandBy, here: Situation, now: float
    ) -> list[Step]:
        if self.stance.standby is not None:
            return self._reply(token, Outcome(Verdict.DONE, ("in standby already",)), now)
        mine = tuple(i.name for i in here.config.instances if here.is_master(i.name))
        if mine:
            return self._begin(token, request, mine, here, now)
        steps = self._enter_standby(request, now)
        text = "in standby; this node was master of nothing"
        return [*steps, *self._reply(token, _done(text), now)]

    def _end_standby(self, token: str, here: Situation, now: float) -> list[Step]:
        if self.stance.standby is None:
            return self._reply(token, _done("was not in standby"), now)
        steps = self._take_stance(self.stance.in_standby(None))
        told = Change("standby", "node", "standby ended by the operator")
        names = [instance.name for instance in here.config.instances]
        held = [
            f"{name}: still held back: {since.reason}" for name, since in self.stance.holds.items()
        ]
        lines = _freed([name for name in names if name not in self.stance.holds], "", here)
        return [told, *steps, *self._reply(token, _done("standby ended", *lines, *held), now)]

    def _release(self, token: str, request: Release, here: Situation, now: float) -> list[Step]:
        names = moved_by(here.config, request.subject)
        if request.subject and not names:
            return self._reply(token, _unknown(request.subject, here.config), now)
        held = tuple(name for name in names if name in self.stance.holds)
        if not held:
            return self._reply(token, _done("nothing was held back"), now)
        steps = self._take_stance(self.stance.without(held))
        told = [Change("hold_ended", name, "released by the operator") for name in held]
        lines = _freed(held, "released; ", here)
        return [*told, *steps, *self._reply(token, _done(*lines), now)]

    # --- a handover --------------------------------------------------------------------------

    def _begin(
        self,
        token: str,
        request: HandOver | StandBy,
        names: tuple[str, ...],
        here: Situation,
        now: float,
    ) -> list[Step]:
        choice = successor.choose(names, here)
        if choice.against and not request.force:
            outcome = Outcome(Verdict.REFUSED, (_forcible(choice.against),), choice.warnings)
            told = Change("handover_refused", ", ".join(names), choice.against)
            return [told, *self._reply(token, outcome, now)]
        forced = (f"forced although {choice.against}",) if choice.against else ()
        commanded = choice.successor is not None and here.config.key_file is not None
        self._current = Handover(
            token=token,
            request=request,
            names=names,
            parts=tuple(part for name in names for part in here.parts(name)),
            successor=choice.successor,
            commanded=commanded,
            warnings=(*forced, *choice.warnings),
            phase=Preparing(now + switching.ASK_FOR, now),
        )
        if commanded and not request.force:
            return self._question(now)
        return self._yield(now)

    def _yield(self, now: float) -> list[Step]:
        """Orders first: a master told of standby would advertise priority 1 for a moment, and
        that may reach its peers after priority 0."""
        current = self._current
        assert current is not None
        orders = current.orders()
        current.phase = Yielding(now + switching.OBEY_WITHIN, frozenset(orders))
        request, to = current.request, current.successor or "whoever hears priority 0"
        if isinstance(request, StandBy):
            steps = self._enter_standby(request, now)
        else:
            why = f"handed over to {to}" + (f": {request.reason}" if request.reason else "")
            steps = self._take_stance(self.stance.holding(current.names, Since(now, why)))
        return [*order(OrderKind.YIELD, orders), *steps]

    def _answered(self, node: str, answer: Answer, here: Situation, now: float) -> list[Step]:
        current = self._current
        if current is None or (node, answer.token) != (current.successor, current.token):
            return []
        if isinstance(current.phase, Preparing) and not answer.taken:
            if not answer.refusal:
                return self._yield(now)
            text = f"{node}: {answer.refusal}"
            return self._finish(Outcome(Verdict.REFUSED, (_forcible(text),)), here, now)
        if not isinstance(current.phase, Switching) or not answer.taken:
            return []
        if not answer.refusal:
            current.answered()
            return []
        # Nobody is to wait for priority 0's own time: the addresses never left this node.
        back = order(OrderKind.TAKE_OVER, {f"{t}/back": n for t, n in current.orders().items()})
        text = f"{node} could not take over: {answer.refusal}; this node goes on"
        return [*back, *self._finish(Outcome(Verdict.FAILED, (text,)), here, now)]

    def _question(self, now: float) -> list[Step]:
        current = self._current
        assert current is not None
        question = current.question(now)
        if question is None or current.successor is None:
            return []
        return [ev.TellPeer(current.successor, question)]

    def _finish(self, outcome: Outcome, here: Situation, now: float) -> list[Step]:
        current, self._current = self._current, None
        assert current is not None
        steps: list[Step] = []
        done = outcome.verdict is Verdict.DONE
        undone = not done and not isinstance(current.phase, Preparing)
        if undone and isinstance(current.request, HandOver):
            steps += self._take_stance(self.stance.without(current.names))
        elif undone and not current.request.force:
            steps += self._take_stance(self.stance.in_standby(None))
        kind = "handover" if done else f"handover_{outcome.verdict.value}"
        for name, line in zip(current.names, outcome.lines, strict=False):
            steps.append(Change(kind, name, line.removeprefix(f"{name}: ")))
        warnings = (*current.warnings, *(w for w in outcome.warnings if w not in current.warnings))
        told = Outcome(outcome.verdict, outcome.lines, warnings)
        return [*steps, *self._reply(current.token, told, now), *self._end_holds(here)]

    # --- what follows by itself --------------------------------------------------------------

    def _end_holds(self, here: Situation) -> list[Step]:
        """Who became master holds back no more. A handover under way is judged at its end."""
        busy = self._current.names if self._current else ()
        ended = [n for n in self.stance.holds if n not in busy and here.is_whole_master(n)]
        if not ended:
            return []
        told = [
            Change("hold_ended", name, f"this node is master again: {router.reason}")
            for name in ended
            for router in here.routers_of([name])[:1]
        ]
        return [*told, *self._take_stance(self.stance.without(ended))]

    def _tell_serving(self, here: Situation) -> list[Step]:
        """In standby, and master: nobody else is there. Not while it is handing over."""
        masters = [r for r in here.routers if r.state is RouterStateName.MASTER and not r.leaving]
        serving = self.stance.standby is not None and self._current is None and bool(masters)
        told, self._serving_told = self._serving_told, serving
        if not serving or told:
            return []
        reason = f"serves although in standby, nobody else could: {masters[0].reason}"
        return [Change("standby_serves", masters[0].instance, reason)]

    def _enter_standby(self, request: StandBy, now: float) -> list[Step]:
        why = f": {request.reason}" if request.reason else ""
        told = Change("standby", "node", f"standby begun by the operator{why}")
        return [told, *self._take_stance(self.stance.in_standby(Since(now, request.reason)))]

    def _take_stance(self, stance: Stance) -> list[Step]:
        if stance == self.stance:
            return []
        self.stance = stance
        self._saving += 1
        return [self.level(), ev.SaveStance(stance)]

    def _reply(self, token: str, outcome: Outcome, now: float) -> list[Step]:
        self._replies.append((token, outcome, now + SAVE_WITHIN))
        return self._due_replies(now)

    def _due_replies(self, now: float) -> list[Step]:
        """What is saved is answered; what a slow disk keeps is answered with a warning."""
        ready = [r for r in self._replies if self._saving == 0 or now >= r[2]]
        self._replies = [r for r in self._replies if r not in ready]
        trouble = self._unsaved or ("not written to the disk yet" if self._saving else "")
        lost = (f"a restart would forget this: {trouble}",) if trouble else ()
        return [
            ev.Reply(token, Outcome(o.verdict, o.lines, (*o.warnings, *lost)))
            for token, o, _ in ready
        ]


def _done(*lines: str) -> Outcome:
    return Outcome(Verdict.DONE, lines)


def _forcible(why: str) -> str:
    return f"{why} (--force hands over all the same)"


def _unknown(subject: str, config: Config) -> Outcome:
    known = [i.name for i in config.instances] + [g.name for g in config.sync_groups]
    text = f"no instance or sync group is named {subject!r}; known: {', '.join(known) or 'none'}"
    return Outcome(Verdict.FAILED, (text,))


def _not_master(name: str, here: Situation) -> str:
    routers = here.routers_of([name])
    if not routers:
        return f"{name}: the election has not told of it yet"
    router = next((r for r in routers if r.state is not RouterStateName.MASTER), routers[0])
    where = f"; its master is {router.master}: ask there" if router.master else ""
    return f"{name}: this node is {router.state.value}{where}"


def _freed(names: Iterable[str], how: str, here: Situation) -> list[str]:
    """What becomes of instances that nothing holds back any more."""
    preempt = {i.name: i.preempt.value for i in here.config.instances}
    return [
        f"{name}: {how}this node is master"
        if here.is_master(name)
        else f"{name}: {how}preempts as configured ({preempt[name]})"
        for name in names
    ]
