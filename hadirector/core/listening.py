"""A backup's side of RFC 9568 6.4.2: whom to obey, how long to wait, when to hold back.

A lower-priority master is not obeyed, so that the timer runs out and the higher one preempts,
unless this router holds back. Holding back is for a healthy master: one that advertises its
configured priority, or the 254 of `preempt: never`. A degraded one is preempted; it is known by
advertising less than any priority configured for a peer. Of a foreign router, or where no peer is
configured, nobody knows what it should advertise: it is degraded when that is less than it was
heard to before.
"""

from dataclasses import dataclass, replace

from hadirector.core.address import Address
from hadirector.core.advert import OWNER, RESIGN, Advert
from hadirector.core.priority import LAST_RESORT
from hadirector.core.settings.instances import Instance, Preempt
from hadirector.core.vrrp_states import Backup, Hold, Standing


def skew_time(version: int, priority: int, interval: float) -> float:
    """RFC 9568 6.1 and RFC 3768 6.1: the higher the priority, the sooner it acts."""
    return (256 - priority) / 256 * (interval if version == 3 else 1.0)


def master_down_interval(version: int, priority: int, interval: float) -> float:
    """How long a router of this priority waits for a master's advert."""
    return 3 * interval + skew_time(version, priority, interval)


def peers_patience(instance: Instance) -> float:
    """The longest any backup waits for this router: that of priority 1."""
    return master_down_interval(instance.version, 1, instance.advert_int)


def soonest_takeover(instance: Instance) -> float:
    """After what silence of this router another may be master: the wait of the best of its peers,
    of a foreign one if none is known."""
    best = max(instance.peer_priorities, default=OWNER - 1)
    return master_down_interval(instance.version, best, instance.advert_int)


def waited(state: Backup, now: float) -> dict[str, str]:
    """For the journal: how long the master had been silent."""
    return {} if state.heard_at is None else {"took": seconds(now - state.heard_at)}


def seconds(duration: float) -> str:
    """A duration as the journal shows it: "3.609", "20"."""
    return f"{duration:.3f}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True)
class Listener:
    """Who listens, and with which priority."""

    instance: Instance
    standing: Standing
    priority: int

    @property
    def down_interval(self) -> float:
        """How long it waits for a master it has heard nothing of."""
        return self._down_interval(self.instance.advert_int)

    def silence(self, now: float) -> Backup:
        """The state of one that has heard nothing yet; it expects its own interval."""
        interval = self.instance.advert_int
        return Backup(now + self._down_interval(interval), interval)

    def hear(
        self, state: Backup, advert: Advert, source: Address, now: float
    ) -> tuple[Backup, bool]:
        """The state after an advert, and whether it is obeyed: if not, the timer runs on."""
        if advert.priority == RESIGN:
            skew = skew_time(self.instance.version, self.priority, state.interval)
            soon = min(state.master_down_at, now + skew)
            cause = f"{source} gave up (priority 0)"
            return replace(state, master_down_at=soon, cause=cause), False
        best = max(state.best if source == state.master else 0, advert.priority)
        if advert.priority >= self.priority:
            return self.follow(advert, source, now), True
        hold = self._holds_back(replace(state, best=best), advert.priority, source)
        if hold is not None:
            return self._patiently(self.follow(advert, source, now), state, hold, best, now), True
        return self._preempt(state, advert, source, best, now)

    def follow(self, advert: Advert, source: Address, now: float) -> Backup:
        """The state of one that obeys this advert. Version 3 learns the master's interval."""
        learns = self.instance.version == 3
        interval = advert.interval if learns else self.instance.advert_int
        return Backup(
            master_down_at=now + self._down_interval(interval),
            interval=interval,
            master=source,
            priority=advert.priority,
            best=advert.priority,
            heard_at=now,
            cause=f"no advert from {source} any more",
        )

    def _down_interval(self, interval: float) -> float:
        return master_down_interval(self.instance.version, self.priority, interval)

    def _patiently(
        self, follows: Backup, before: Backup, hold: Hold, best: int, now: float
    ) -> Backup:
        """Obeying a lower priority; not being ready is suffered for `sync_wait` only."""
        follows = replace(follows, best=best, hold=hold)
        if hold is not Hold.NOT_READY:
            return follows
        if before.impatient:
            return replace(follows, impatient=True)
        waits = before.overdue_at is not None
        overdue_at = before.overdue_at if waits else now + self.instance.sync_wait
        return replace(follows, overdue_at=overdue_at)

    def _preempt(
        self, state: Backup, advert: Advert, source: Address, best: int, now: float
    ) -> tuple[Backup, bool]:
        """Discard it; but obey while the preempt delay runs, from the first one so heard."""
        preempt_at = state.preempt_at
        if preempt_at is None or source != state.master:
            preempt_at = now + self.instance.preempt_delay
        follows = replace(self.follow(advert, source, now), preempt_at=preempt_at, best=best)
        if now < preempt_at:
            return replace(follows, hold=Hold.DELAY), True
        discarded = replace(
            follows,
            master_down_at=state.master_down_at,
            interval=state.interval,
            graced=state.graced,
            cause=f"preempting {source}, whose priority {advert.priority} is lower",
        )
        return discarded, False

    def _holds_back(self, state: Backup, priority: int, source: Address) -> Hold | None:
        """Why not to preempt a master of this lower priority. A handover is an order: it holds
        before a degraded master too, but not before one that asks for anybody else."""
        if self.standing.held and priority > LAST_RESORT:
            return Hold.HANDOVER
        foreign = self.standing.is_foreign(source)
        degraded = self._is_degraded(state.best, priority, foreign)
        if self.instance.preempt is Preempt.ALWAYS or degraded:
            return None
        if self.instance.preempt is Preempt.NEVER:
            return Hold.NEVER
        if self.standing.ready or (state.impatient and foreign):
            return None
        return Hold.NOT_READY

    def _is_degraded(self, best: int, priority: int, foreign: bool) -> bool:
        known = self.instance.peer_priorities
        if known and not foreign:
            return priority < max(known) and priority not in known
        return priority < best or priority == LAST_RESORT
