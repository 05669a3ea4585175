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

Each state carries its deadline; `deadline` is the only timer. Methods return effects in order. What
a router is and what is read off it is in core/virtual_router, what it does as a master in
core/mastership; here is what happens to it, and the other states.
"""

from dataclasses import replace
from typing import assert_never

from hadirector.core.address import Address
from hadirector.core.advert import RESIGN, Advert
from hadirector.core.hearing import STARTUP_PATIENCE, Ears, holding_back
from hadirector.core.listening import (
    master_down_interval,
    seconds,
    soonest_takeover,
    waited,
)
from hadirector.core.mastership import Mastership
from hadirector.core.settings.instances import Instance
from hadirector.core.vrrp_states import (
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
    Stopped,
    Successor,
    Tell,
    Then,
    Waking,
)

SETTLED = 1.0  # seconds: until then the announcements of the takeover itself are still to come
DEAF_LOOKS_EVERY = 1.0  # seconds at most between looks whether the master it cannot hear is there


class Router(Mastership):
    """One virtual router."""

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

    # --- Backup ------------------------------------------------------------------------------

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
