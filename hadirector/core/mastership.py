"""A master's side of RFC 9568 6.4.3: advertising, rivals, sleep, and leaving in order.

The rules are those of core/vrrp, which has the other states; a backup's side is core/listening.
"""

from dataclasses import replace

from hadirector.core import priority
from hadirector.core.address import Address
from hadirector.core.advert import OWNER, RESIGN, Advert
from hadirector.core.hearing import IN_THE_DARK
from hadirector.core.listening import peers_patience, seconds, soonest_takeover
from hadirector.core.virtual_router import VirtualRouter
from hadirector.core.vrrp_states import (
    Advertise,
    Effect,
    Leaving,
    Master,
    Proclaim,
    Release,
    Stopped,
    Successor,
    Take,
    Tell,
    Then,
    Waking,
)

SUCCESSOR_SETTLES = 0.02  # seconds from a keepalived's first advert to its addresses


class Mastership(VirtualRouter):
    """What a router does from becoming master until it has given the addresses up."""

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
            self.ears.go_dark(self._listener.down_interval, now)

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
        # Whoever says so had the addresses a moment ago, so clients may have learnt them there; it
        # may just be giving up. Of announcements no storm can come (core/announce).
        proclaim: list[Effect] = [Proclaim(duel=True)]
        if now < state.reassert_at:
            return [*proclaim, *told]
        effects = self._advertise(now)
        self.state = Master(
            advert_at=now + self.instance.advert_int,
            sent_at=now,
            reassert_at=now + self.instance.advert_int / 2,
        )
        return [*effects, *proclaim, *told]

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

    # --- Waking, Leaving ---------------------------------------------------------------------

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
