"""One virtual router: RFC 9568 section 6.4, to be read beside it.

    Init --startup--> Backup --master down--> Master --better advert--> Backup
                      Backup --> Candidate --> Master      (waiting for its sync group)
    Master --stop, handover--> Leaving --successor heard--> Stopped, Backup
    Master --slept too long--> Waking  --any advert--> Backup, --silence--> Master
    Fault: from and to anywhere

The rules, in the order in which they win:

1. Who advertises a higher priority is master; of two equal ones the higher address (6.4.3). A
   master yields to a better advert at once and whatever else is configured.
2. A backup listens. If no advert it obeys comes for three of the master's intervals and its skew
   time, or for the skew time alone after priority 0, it becomes master (6.4.2).
3. An advert of lower priority is not obeyed, so the timer runs out and the higher one preempts,
   unless this router holds back (core/listening). To be obeyed in turn, a master under
   `preempt: never` advertises 254 unless it is degraded.
4. A master answers a lower advert with its own at once, but not more than twice in an interval:
   an advert that comes back through a loop must not become a storm.
5. Of routers that move together the first, their lead, decides between equal priorities: on each
   link another node may have the higher address, and each would yield to the other for ever. Where
   the lead does not hear the rival, the router that does decides after one and a half intervals.

What the RFC leaves out and two directors need:

- Who yields to a better advert sends a last one after it has dropped the addresses: the winner
  hears it, and announces them again when nobody else answers for them any more.
- Leaving keeps the addresses until the successor is heard, so clients lose nothing meanwhile.
- Waking: a master whose own advert is late by more than its peers' patience does not know whether
  it is one still. It listens for an interval before it says anything.
- A node whose director is silent, or that is in standby, advertises priority 1: anyone alive takes
  over, and where nobody is, nothing changes.
- A backup in standby whose master is down goes on listening while another node could be master.
- Who handed over does not preempt its successor (`held`); absence of one is no preempting.
- Who cannot hear yet must not push a healthy master out of its place: core/hearing.
- Two masters that hear each other are told of when it begins and when it ends: core/duel.

Each state carries its deadline; `deadline` is the only timer. Methods return effects in order.
"""

import math
from dataclasses import replace
from typing import assert_never

from hadirector.core import priority
from hadirector.core.address import Address
from hadirector.core.advert import OWNER, RESIGN, Advert
from hadirector.core.duel import Duels, Side
from hadirector.core.hearing import IN_THE_DARK, STARTUP_PATIENCE, Ears, holding_back
from hadirector.core.listening import (
    Listener,
    master_down_interval,
    peers_patience,
    seconds,
    soonest_takeover,
    waited,
)
from hadirector.core.settings.instances import Instance
from hadirector.core.vrrp_states import (
    HOLDING,
    Advertise,
    Backup,
    Candidate,
    Effect,
    Fault,
    Hold,
    Init,
    Leaving,
    Master,
    Proclaim,
    Release,
    Standing,
    State,
    Stopped,
    Successor,
    Take,
    Tell,
    Then,
    Waking,
    deadline_of,
    name_of,
)

SUCCESSOR_SETTLES = 0.02  # seconds from a keepalived's first advert to its addresses
SETTLED = 1.0  # seconds: until then the announcements of the takeover itself are still to come
DEAF_LOOKS_EVERY = 1.0  # seconds at most between looks whether the master it cannot hear is there


class Router:
    """One virtual router. `noted_at`: when a former process of this node last advertised for it
    as master (-inf: nobody may rely on it, but the network is there); None: a fresh start."""

    def __init__(self, instance: Instance, now: float, noted_at: float | None = None) -> None:
        self.instance = instance
        self.standing = Standing()
        self.state: State = Init(None)
        self.since = now
        self.reason = "starting"
        self.inputs: dict[str, str] = {}
        self.duels = Duels()
        self.ears = Ears(network=noted_at is not None)
        self.lead: Router | None = None  # of the routers that move together, if not this one
        self.tie_won_at = -math.inf
        self._tie_lost_at: float | None = None  # since when a tie is heard that this one loses
        self._noted_at = noted_at

    # --- readings ----------------------------------------------------------------------------

    @property
    def effective_priority(self) -> int:
        """What counts in the election of a master."""
        return priority.LAST_RESORT if self.ears.dark else self._own_priority

    @property
    def advertised_priority(self) -> int:
        """What a master says; rule 3."""
        if self.ears.dark:
            return priority.LAST_RESORT
        return priority.advertised(self.instance, self.standing)

    @property
    def side(self) -> Side:
        """Itself in a duel."""
        return Side(self.instance, self.standing)

    @property
    def holds_addresses(self) -> bool:
        """Whether the virtual addresses are to be on this node."""
        return isinstance(self.state, HOLDING)

    @property
    def can_rise(self) -> bool:
        """Whether `promote` makes it master, or it is one: not at fault, not before its start."""
        leaves = isinstance(self.state, Leaving) and self.state.then is Then.STOPPED
        return not leaves and not isinstance(self.state, Init | Fault | Stopped)

    @property
    def waits_for_network(self) -> bool:
        """Whether it stands at the automatic startup gate, or is master in the dark."""
        gated = isinstance(self.state, Init) and self.state.start_at is not None
        return (gated and self._gates_itself) or (self.ears.dark and not self.ears.network)

    @property
    def listens_in_vain(self) -> bool:
        """Whether it waits for a first advert, and asks who answers for its addresses."""
        return isinstance(self.state, Backup) and not self.ears.advert and self._gates_itself

    @property
    def is_deaf(self) -> bool:
        """Whether it is in its present state for lack of hearing."""
        holds_back = isinstance(self.state, Backup) and self.state.hold is Hold.DEAF
        return holds_back or self.ears.dark

    @property
    def contest(self) -> priority.Contest:
        """Whether a peer says that it is master beside this one."""
        own = self.advertised_priority
        return priority.contest(self.standing.claims, own, self.standing.source)

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return deadline_of(self.state)

    # --- what happens ------------------------------------------------------------------------

    def tick(self, now: float) -> list[Effect]:
        """Time passed: do what the deadline asks for, if it is reached."""
        effects = self._notice_sleep(now)
        if self.deadline is None or now < self.deadline:
            return effects
        match self.state:
            case Init():
                effects += self._start(now, "nothing heard from the network")
            case Backup():
                effects += self._tick_backup(self.state, now)
            case Master():
                effects += self._tick_master(now)
            case Waking():
                effects += self._resume(now, "slept, and nobody took over")
            case Leaving(then=then, successor=Successor(advert, source)):
                effects += self._succeed(advert, source, then, now)
            case Leaving(then=Then.BACKUP):
                effects += self._resume(now, "handover failed: nobody took over")
            case Leaving():
                self.state = Stopped()
                effects += [Release(), self._moved("no successor was heard", {}, now)]
            case Candidate() | Fault() | Stopped():
                raise AssertionError("a state without a deadline ticked")
            case unreachable:
                assert_never(unreachable)
        return effects

    def heard(self, advert: Advert, source: Address, now: float) -> list[Effect]:
        """A lawful advert for this virtual router, not from one of our own addresses."""
        effects = self._notice_sleep(now) + self.hear_network(now)
        self.ears.advert = True
        match self.state:
            case Backup():
                effects += self._heard_as_backup(self.state, advert, source, now)
            case Candidate(was=backup):
                effects += self._heard_as_backup(backup, advert, source, now)
            case Master():
                effects += self._heard_as_master(self.state, advert, source, now)
            case Waking():
                effects += self._heard_waking(advert, source, now)
            case Leaving():
                effects += self._heard_leaving(self.state, advert, source, now)
            case Init() | Fault() | Stopped():
                pass
            case unreachable:
                assert_never(unreachable)
        return effects

    def hear_network(self, now: float) -> list[Effect]:
        """Frames pass: the automatic startup gate opens."""
        if not self._gates_itself:
            return []
        self.ears.light(self._listener.down_interval, now)
        if isinstance(self.state, Init) and self.state.start_at is not None:
            return self._start(now, "the network was heard")
        return []

    def update(self, standing: Standing, now: float) -> list[Effect]:
        """The node's view of this router changed."""
        said = self.advertised_priority
        before, self.standing = self.standing, standing
        if before.linked and not standing.linked and self._gates_itself:
            self.ears = Ears(network=False)  # it is to be heard anew
        match self.state:
            case Stopped():
                return []
            case Fault(faults=faults):
                return self._update_fault(faults, now)
            case Init(start_at=None) if not standing.known:
                return []  # nor a fault: an address that settles is no trouble
            case _ if standing.faults:
                return self._become_fault(now)
            case Init(start_at=None):
                return self._open_gate(now)
            case Master() if self.advertised_priority != said:
                return self._advertise(now)
            case Candidate(was=backup) if standing.aside:
                return self._stand_aside(backup.cause, now)
            case Master() if now > self.since + SETTLED and standing.lost_claim(before):
                return [Proclaim(duel=True)]
            case _:
                return []

    def configured(self, instance: Instance, now: float) -> list[Effect]:
        """Other settings for the same virtual router; mastership is not touched, and the peers
        learn priority and interval at once."""
        self.instance = instance
        return self._advertise(now) if isinstance(self.state, Master) else []

    def stop(self, now: float) -> list[Effect]:
        """Leave for good, in order. Priority 0 first; see Leaving."""
        match self.state:
            case Master() | Waking() | Leaving(then=Then.BACKUP):
                return self._leave(Then.STOPPED, "stopping", now)
            case Leaving() | Stopped():
                return []
            case Init() | Backup() | Candidate() | Fault():
                self.state = Stopped()
                return [self._moved("stopping", {}, now)]
            case unreachable:
                assert_never(unreachable)

    def give_way(self, now: float) -> list[Effect]:
        """Handover: give mastership away; holding back afterwards is a level (`Standing.held`)."""
        if isinstance(self.state, Master | Waking):
            return self._leave(Then.BACKUP, "handover", now)
        return []

    def promote(self, reason: str, now: float) -> list[Effect]:
        """Become master without waiting: ordered to, or with the rest of the sync group."""
        match self.state:
            case Backup():
                return self._become_master(reason, {}, now)
            case Candidate(was=backup):
                cause = f"{backup.cause} ({reason})"
                return self._become_master(cause, waited(backup, now), now)
            case Leaving(then=Then.BACKUP):
                return self._resume(now, reason)
            case Init() | Leaving() | Master() | Waking() | Fault() | Stopped():
                return []
            case unreachable:
                assert_never(unreachable)

    def relegate(self, reason: str, now: float) -> list[Effect]:
        """Give up with the rest of the sync group, which lost elsewhere."""
        if not isinstance(self.state, Master | Waking):
            return []
        self.state = self._listener.silence(now)
        over = self._end_duels("gave up", now)
        return [Advertise(RESIGN), Release(), self._moved(reason, {}, now), *over]

    # --- Init --------------------------------------------------------------------------------

    def _open_gate(self, now: float) -> list[Effect]:
        """The links are known: adopt mastership, start, or wait for the network first."""
        patience = soonest_takeover(self.instance)
        if self._noted_at is not None and now - self._noted_at < patience:
            inputs = {"last_advert_ago": seconds(now - self._noted_at)}
            return self._become_master("adopted from the process before", inputs, now)
        if self.ears.network:
            return self._start(now, "listening first")
        delay = self.instance.startup_delay
        if delay == 0 or (delay is None and self._takes_at_once):
            return self._start(now, "starting")
        wait = STARTUP_PATIENCE if delay is None else delay
        self.state = Init(now + wait)
        what = "to hear the network, at most" if delay is None else "its startup_delay,"
        self.since, self.reason = now, f"waits {what} {seconds(wait)} s"
        return []

    def _start(self, now: float, reason: str) -> list[Effect]:
        """RFC 9568 6.4.1, the Startup event."""
        self.ears.listen(now)
        self.ears.network |= not self._gates_itself
        self.state = self._listener.silence(now)
        listens = self._moved(reason, {}, now)
        if not self._takes_at_once:
            return [listens]
        effects = self._master_down(self.state, "owner of the addresses", now)
        return effects or [listens]  # none: it waits for its group, as a backup

    @property
    def _takes_at_once(self) -> bool:
        """An owner of the addresses waits for nobody; but it gave them away if it is held."""
        return self.effective_priority == OWNER and not self.standing.held

    # --- Backup ------------------------------------------------------------------------------

    @property
    def _listener(self) -> Listener:
        return Listener(self.instance, self.standing, self._own_priority)

    @property
    def _own_priority(self) -> int:
        return priority.effective(self.instance, self.standing)

    @property
    def _gates_itself(self) -> bool:
        """`startup_delay: auto`."""
        return self.instance.startup_delay is None

    def _tick_backup(self, state: Backup, now: float) -> list[Effect]:
        if now < state.master_down_at:
            return self._overdue(state)
        patience = master_down_interval(self.instance.version, 1, state.interval)
        if now - state.master_down_at > patience and not state.graced:
            # We slept; adverts sent meanwhile may not have reached us yet. Listen, once.
            self.state = replace(state, master_down_at=now + state.interval, graced=True)
            return []
        return self._master_down(state, state.cause, now)

    def _overdue(self, state: Backup) -> list[Effect]:
        """Not ready for longer than sync_wait beside a master of lower priority."""
        self.state = replace(state, overdue_at=None, impatient=True)
        foreign = state.master is None or self.standing.is_foreign(state.master)
        then = "preempting a foreign master" if foreign else "waiting on"
        wait = f"not ready after {self.instance.sync_wait:g} s"
        self.reason = f"{wait} ({self.standing.ready_reason}): {then}"
        return [Tell("sync_wait", self.reason, {"master": str(state.master)})]

    def _heard_as_backup(
        self, before: Backup, advert: Advert, source: Address, now: float
    ) -> list[Effect]:
        after, obeyed = self._listener.hear(before, advert, source, now)
        candidate = isinstance(self.state, Candidate) and not obeyed
        self.state = Candidate(after) if candidate else after
        if not obeyed:
            return []
        said = (before.master, before.priority, before.hold, before.impatient)
        if said == (after.master, after.priority, after.hold, after.impatient):
            return []
        self.reason = f"following {source}, priority {advert.priority}"
        if after.hold is not None:
            self.reason += f": {after.hold.value}"
        self.inputs = {"heard": str(advert.priority), "priority": str(self.effective_priority)}
        return [Tell("following", self.reason, self.inputs)] if before.master is None else []

    def _master_down(self, state: Backup, cause: str, now: float) -> list[Effect]:
        """RFC 9568 6.4.2, the timer fires."""
        if self.standing.aside:
            return self._stand_aside(cause, now)
        claims = self.standing.claims
        if self.listens_in_vain and self.ears.is_deaf(bool(claims), now):
            return self._wait_deaf(state, now)
        if self.standing.coupled:
            self.state = Candidate(state)
            self.reason = f"{cause}; waiting for its sync group"
            return []
        return self._become_master(cause, waited(state, now), now)

    def _stand_aside(self, cause: str, now: float) -> list[Effect]:
        """In standby, while another node could be master: listen on, and say so once."""
        self.state = self._listener.silence(now)
        before, self.reason = self.reason, f"{cause}; {self.standing.aside}"
        return [] if self.reason == before else [Tell("standby_waits", self.reason, {})]

    def _wait_deaf(self, state: Backup, now: float) -> list[Effect]:
        """A master is there, and this router hears nothing of it."""
        waits = min(self.instance.advert_int, DEAF_LOOKS_EVERY)
        self.state = replace(state, master_down_at=now + waits, hold=Hold.DEAF)
        if not self.ears.tells():
            return []
        self.reason = holding_back(self.standing.claims, self.instance.interface)
        return [Tell("deaf", self.reason, {"priority": str(self.effective_priority)})]

    def _become_master(self, reason: str, inputs: dict[str, str], now: float) -> list[Effect]:
        """Advert first: whoever would rise as well learns it before anything slower is done."""
        assert not self.standing.faults, self.standing.faults
        self._begin_mastership(now)
        if self.ears.dark:
            reason += f"; {IN_THE_DARK}"
        moved = self._moved(reason, inputs, now)
        return [Advertise(self.advertised_priority), Take(), Proclaim(duel=False), moved]

    def _begin_mastership(self, now: float) -> None:
        self.state = Master(now + self.instance.advert_int, sent_at=now, reassert_at=now)
        if self._gates_itself and self.instance.priority != OWNER:
            self.ears.go_dark(now)

    # --- Master ------------------------------------------------------------------------------

    def _heard_as_master(
        self, state: Master, advert: Advert, source: Address, now: float
    ) -> list[Effect]:
        """RFC 9568 6.4.3: priority 0 and lower ones are answered, a better one is obeyed."""
        own = self.advertised_priority
        if self._loses(advert, source, now):
            better = f"yielding to {self.standing.called(source)}, a better one"
            return self._yield(advert, source, better, now)
        # The last word of the one we took over from is no news.
        settled = now >= self.since + self.instance.advert_int
        told = self.duels.heard(advert, source, own, self.side, settled, now)
        if now < state.reassert_at:
            return [*told]
        effects = self._advertise(now)
        self.state = Master(
            advert_at=now + self.instance.advert_int,
            sent_at=now,
            reassert_at=now + self.instance.advert_int / 2,
        )
        # Whoever says so had the addresses a moment ago, so clients may have learnt them there.
        return [*effects, Proclaim(duel=True), *told]

    def _loses(self, advert: Advert, source: Address, now: float) -> bool:
        """Whether this master has to give way to that one. Rule 5 is about equal ones."""
        own = self.advertised_priority
        if not priority.is_better(advert.priority, source, own, self.standing.source):
            if advert.priority == own:
                self.tie_won_at = now
            return False
        if advert.priority > own or self.lead is None:
            return True
        interval = self.instance.advert_int
        if self._tie_lost_at is None or now - self._tie_lost_at > 4 * interval:
            self._tie_lost_at = now
        # On its own link the lead hears the same rival within an interval, if it hears it at all.
        waited_enough = now - self._tie_lost_at >= 1.5 * interval
        return waited_enough and self.lead.tie_won_at < self._tie_lost_at

    def _yield(self, advert: Advert, source: Address, reason: str, now: float) -> list[Effect]:
        """Drop at once. The last word is only for a better one: it would unseat a lower one."""
        own = self.advertised_priority
        better = priority.is_better(advert.priority, source, own, self.standing.source)
        self.state = self._listener.follow(advert, source, now)
        inputs = {"heard": str(advert.priority), "from": source}
        last_word = [Advertise(own)] if better else []
        over = self._end_duels(f"yielded to {self.standing.called(source)}", now)
        return [Release(), *last_word, self._moved(reason, inputs, now), *over]

    def _end_duels(self, why: str, now: float) -> list[Effect]:
        """No master any more."""
        self.ears.leave_the_dark()
        return [*self.duels.give_up(why, self.side, now)]

    def _tick_master(self, now: float) -> list[Effect]:
        told: list[Effect] = [*self.duels.pass_time(self.side, now)]
        if why := self.ears.see(now):
            self.reason = f"{why}: priority {self.effective_priority} from now on"
            told.append(Tell("dark_over", self.reason, {}))
        return self._advertise(now) + told

    def _advertise(self, now: float) -> list[Effect]:
        """One advert now; a scheduled one keeps the rhythm, any other starts it anew."""
        assert isinstance(self.state, Master)
        interval = self.instance.advert_int
        due = self.state.advert_at
        next_at = due + interval if due <= now < due + interval else now + interval
        self.state = replace(self.state, advert_at=next_at, sent_at=now)
        return [Advertise(self.advertised_priority)]

    # --- Waking, Leaving, Fault --------------------------------------------------------------

    def _notice_sleep(self, now: float) -> list[Effect]:
        """A master that could not advertise for as long as its peers wait may be none any more."""
        if not isinstance(self.state, Master):
            return []
        slept = now - self.state.sent_at
        if slept <= soonest_takeover(self.instance):
            return []
        self.state = Waking(now + self.instance.advert_int)
        self.reason = f"slept {seconds(slept)} s: listening before speaking"
        told = Tell("late_wake", self.reason, {"slept": seconds(slept)})
        return [told, *self._end_duels("slept", now)]

    def _heard_waking(self, advert: Advert, source: Address, now: float) -> list[Effect]:
        if advert.priority == RESIGN:
            return self._resume(now, f"{source} gave up (priority 0)")
        return self._yield(advert, source, f"{source} took over while this node slept", now)

    def _resume(self, now: float, reason: str) -> list[Effect]:
        """Master again. The addresses are put on again: their lease may have ended meanwhile."""
        self._begin_mastership(now)
        self.reason = reason
        told = Tell("resumed", reason, {})
        return [Advertise(self.advertised_priority), Take(), Proclaim(duel=True), told]

    def _leave(self, then: Then, reason: str, now: float) -> list[Effect]:
        self.state = Leaving(now + peers_patience(self.instance), then)
        self.reason = f"{reason}: waiting for a successor"
        return [Advertise(RESIGN), Tell("leaving", self.reason, {}), *self._end_duels("left", now)]

    def _heard_leaving(
        self, state: Leaving, advert: Advert, source: Address, now: float
    ) -> list[Effect]:
        """keepalived speaks first and puts its addresses on then; one of ours does it at once."""
        if advert.priority == RESIGN:
            if state.successor is not None and state.successor.source == source:
                until = now + peers_patience(self.instance)
                self.state = replace(state, until=until, successor=None)
            return []
        if self.standing.accompanied:
            return self._succeed(advert, source, state.then, now)
        if state.successor is None:
            successor = Successor(advert, source)
            self.state = replace(state, until=now + SUCCESSOR_SETTLES, successor=successor)
        return []

    def _succeed(self, advert: Advert, source: Address, then: Then, now: float) -> list[Effect]:
        """The successor speaks: from now on the addresses are its."""
        follows = then is Then.BACKUP
        self.state = self._listener.follow(advert, source, now) if follows else Stopped()
        inputs = {"heard": str(advert.priority), "from": source}
        return [Release(), self._moved(f"{source} took over", inputs, now)]

    def _become_fault(self, now: float) -> list[Effect]:
        faults = self.standing.faults
        effects: list[Effect] = []
        if isinstance(self.state, Master | Waking):
            effects.append(Advertise(RESIGN))
        if self.holds_addresses:
            effects.append(Release())
        leaving = isinstance(self.state, Leaving) and self.state.then is Then.STOPPED
        self.state = Stopped() if leaving else Fault(faults)
        self._noted_at = None
        moved = self._moved("; ".join(faults), {}, now)
        return [*effects, moved, *self._end_duels("failed", now)]

    def _update_fault(self, faults: tuple[str, ...], now: float) -> list[Effect]:
        if self.standing.faults:
            self.state = Fault(self.standing.faults)
            self.reason = "; ".join(self.standing.faults)
            return []
        if self.ears.network:
            return self._start(now, f"no fault any more: {'; '.join(faults)}")
        self.state = Init(None)
        return [self._moved("no fault any more", {}, now), *self._open_gate(now)]

    def _moved(self, reason: str, inputs: dict[str, str], now: float) -> Tell:
        """Note a transition, and the line about it."""
        self.since, self.reason = now, reason
        self.inputs = {"priority": str(self.effective_priority), **inputs}
        kind = "stopped" if isinstance(self.state, Stopped) else name_of(self.state).value
        return Tell(kind, reason, self.inputs)
