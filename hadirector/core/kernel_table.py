"""This node's picture of IPVS, and what has to be done to make the kernel as it should be.

The picture (`actual`) is what was read last, with what was applied since. A verdict is planned
against it at once, without waiting for a read; the read that follows at its own pace shows whether
anybody else changed the table, and that is drift.

Order is what makes the picture right: the shell carries out actions one after the other, so a
table read after an Apply shows its effect. A read that was under way when something was applied
is thrown away and asked for anew.
"""

from collections.abc import Callable, Collection, Mapping

from hadirector.core import director_events as ev
from hadirector.core import ipvs, plan
from hadirector.core.departures import Departures, Place
from hadirector.core.drift import DriftNews
from hadirector.core.services import Change, Services
from hadirector.core.settings.cluster import Config
from hadirector.core.stance import Pause
from hadirector.core.takeover import Step

READ_EVERY = 0.5  # seconds between reads of IPVS while they are cheap: it sends no change events
READ_SHARE = 0.01  # of a core, at most: a table of 10,000 takes 0.15 s to read
READ_AT_LEAST = 60.0  # seconds: however large
UNREADABLE_RETRY = 5.0  # seconds: the module may be loaded meanwhile


class KernelTable:
    """The table of one node: what `services` want of it, and what it holds.

    `owned` are the IPVS services that are ours to change and delete, `node` gives the name that is
    told. `trouble` says why IPVS cannot be read, `failing` what it refused, by service. `seen_at`:
    when the last read began that shows everything applied so far. During a `pause` nothing is
    written: an operator works on the table by hand.
    """

    def __init__(
        self,
        services: Services,
        owned: frozenset[ipvs.ServiceKey],
        node: Callable[[], str],
        now: float,
        pause: Pause | None = None,
    ) -> None:
        self.usage = ipvs.Usage()
        self.trouble = ""
        self.failing: dict[ipvs.ServiceKey, str] = {}
        self.seen_at: float | None = None
        self.actual: dict[ipvs.ServiceKey, ipvs.Entry] | None = None
        self._services = services
        self._owned = owned
        self._node = node
        self.departures = Departures(lambda: self.usage)
        self.pause = pause
        self.deviating: set[ipvs.ServiceKey] = set()  # what a pause leaves otherwise than wanted
        self._resumed = False  # by itself, which is told with the next read
        self._now = now
        self._drift = DriftNews()
        self._applying = False
        self._pending: set[ipvs.ServiceKey] | None = set()  # None: all
        self._read_at: float | None = now

    @property
    def hindrance(self) -> str:
        """What keeps this node from serving; empty when nothing does."""
        if self.trouble:
            return self.trouble
        if self.actual is None:
            return "IPVS was not read yet"
        if self.pause is not None:
            return "IPVS is paused: an operator works on it"
        return next((f"services not programmed: {text}" for text in self.failing.values()), "")

    @property
    def decidable(self) -> bool:
        """Whether it is known which weights are in the kernel: nothing is decided before."""
        return self.actual is not None or bool(self.trouble)

    def has(self, key: ipvs.ServiceKey) -> bool:
        """Whether the kernel is known to have this service as it was made last."""
        there = self.actual is not None and key in self.actual
        return there and not self._applying and key not in self.failing

    def configured(self, before: Config | None, config: Config, now: float) -> None:
        """Another configuration: who left it may stay for a while."""
        self._now = now
        known = before.services if before else ()
        self.departures.configure(known, config.services, config.linger, now)

    def handle(self, event: ev.Kernel, now: float) -> list[Step]:
        """The kernel was read, or could not be, or did what was asked."""
        self._now = now
        match event:
            case ev.KernelRead():
                return self._read(event, now)
            case ev.KernelUnreadable(reason):
                return self._unreadable(reason, now)
            case ev.Applied():
                return self._applied(event)
            case ev.Paused(seconds, reason):
                return self._pause(seconds, reason)

    def follow(self, keys: Collection[ipvs.ServiceKey]) -> list[ev.Action]:
        """The services want these otherwise now; none of them is new, and none is gone."""
        if self._pending is not None:
            self._pending.update(keys)
        return self._reconcile()

    def follow_all(self) -> list[ev.Action]:
        """The services may want anything otherwise."""
        self._pending = None
        return self._reconcile()

    def leaving(self) -> tuple[plan.Operation, ...]:
        """What takes every service of ours out of the kernel."""
        return plan.plan({}, self.actual or {}, self._owned)

    def preview(self, wanted: ipvs.Table) -> tuple[plan.Operation, ...]:
        """What would be done if this were wanted; who is leaving already may stay a while."""
        actual = self.actual or {}
        return plan.plan(self.departures.extend(wanted, actual, self._now), actual, self._owned)

    def departing(self, before: Config, config: Config, now: float) -> Mapping[Place, float]:
        """Who would be on the way out under another configuration, and until when at most."""
        twin = self.departures.copy()
        twin.configure(before.services, config.services, config.linger, now)
        return twin.leaving

    def due(self, now: float) -> list[ev.Action]:
        """Time passed."""
        self._now = now
        if self.pause is not None and now >= self.pause.until:
            self.pause, self._read_at, self._resumed = None, now, True
        if self._read_at is None or now < self._read_at:
            return []
        self._read_at = None  # one read under way at a time
        return [ev.ReadKernel()]

    def deadline(self) -> float | None:
        """When `due` has something to do."""
        ends = self.pause.until if self.pause is not None else None
        return min((at for at in (self._read_at, ends) if at is not None), default=None)

    def _read(self, event: ev.KernelRead, now: float) -> list[Step]:
        pause = min(READ_AT_LEAST, max(READ_EVERY, event.took / READ_SHARE))
        self._read_at = now + pause
        self.usage = event.usage
        told: list[Step] = []
        if self._resumed:
            self._resumed = False
            told.append(Change("ipvs_resumed", self._node(), "the pause is over"))
        if self.trouble:
            self.trouble = ""
            told.append(Change("ipvs_back", self._node(), "IPVS answers again"))
        if self._applying:  # read before that was done: it shows the past
            return told
        self.seen_at = now - event.took
        first, self.actual = self.actual is None, dict(event.table)
        if first:
            told += [self._paused(self.pause, "still ")] if self.pause is not None else []
            told += self._services.adopt(event.table, now)
        told += self._left(now)
        wanted = self._wanted()
        steps = plan.plan(wanted, self.actual, self._owned)
        wrong = {plan.service_of(step) for step in steps}
        self.deviating = wrong if self.pause is not None else set()
        # What is as it should be is the very entry wanted: plans to come see that at a glance.
        right = self.actual.keys() - wrong
        self.actual |= {key: entry for key, entry in wanted.items() if key in right}
        if not first and self._pending == set() and self.pause is None:
            drift = (step for step in steps if plan.service_of(step) not in self.failing)
            told += [Change("drift", *line) for line in self._drift.tell(drift, now)]
        self.failing = {key: text for key, text in self.failing.items() if key in wrong}
        self._pending = None
        return [*told, *self._disown(), *self._reconcile()]

    def _pause(self, seconds: float, reason: str) -> list[Step]:
        """Nothing is written for so long; what happens meanwhile is made good after."""
        was, self._pending = self.pause, None
        if seconds:
            self.pause = Pause(self._now + seconds, reason)
            return [self._paused(self.pause)]
        self.pause = None
        why = f": {reason}" if reason else ""
        ended = [Change("ipvs_resumed", self._node(), f"IPVS is looked after again{why}")]
        return [*(ended if was is not None else ()), *self._reconcile()]

    def _paused(self, pause: Pause, still: str = "") -> Change:
        why = f": {pause.reason}" if pause.reason else ""
        left = f"{still}left alone for {pause.until - self._now:.0f} s"
        return Change("ipvs_paused", self._node(), f"IPVS is {left}: an operator works on it{why}")

    def _wanted(self) -> ipvs.Table:
        """What the services want, and who is on the way out."""
        return self.departures.extend(self._services.entries, self.actual or {}, self._now)

    def _left(self, now: float) -> list[Change]:
        """Who goes with this read: that is no drift."""
        ended = self.departures.end(self.actual or {}, now) if self.departures.leaving else []
        if ended:
            self._pending = None
        return [
            Change("server_left", f"{key}/{endpoint}", reason) for (key, endpoint), reason in ended
        ]

    def _unreadable(self, reason: str, now: float) -> list[Step]:
        self._read_at = now + UNREADABLE_RETRY
        if reason == self.trouble:
            return []
        self.trouble = reason
        verdicts = self._services.adopt({}, now) if self.actual is None else []
        return [Change("ipvs_lost", self._node(), reason), *verdicts]

    def _applied(self, event: ev.Applied) -> list[Step]:
        """What failed is tried again after the next read, which shows what the kernel has."""
        self._applying = False
        news = [t for key, t in event.failures if self.failing.get(key) != t]
        self.failing = {k: t for k, t in self.failing.items() if k not in event.tried}
        self.failing |= dict(event.failures)
        return [*(Change("ipvs_refused", self._node(), text) for text in news), *self._reconcile()]

    def _reconcile(self) -> list[ev.Action]:
        """Plan what is pending against the picture, and carry it out."""
        if self.actual is None or self._applying or self._pending == set():
            return []
        if self.pause is not None:
            self._pending = None
            return []
        desired = self._wanted()
        save: list[ev.Action] = []
        if self._pending is None:
            steps = plan.plan(desired, self.actual, self._owned)
            save = self._own()
        else:  # verdicts, which make no service
            keys = sorted(self._pending)
            part = {key: desired[key] for key in keys if key in desired}
            there = {key: self.actual[key] for key in keys if key in self.actual}
            steps = plan.plan(part, there, frozenset())
        self._pending = set()
        if not steps:
            return save
        touched = {plan.service_of(step) for step in steps}
        before = {key: self.actual.pop(key) for key in touched if key in self.actual}
        self.actual.update(plan.apply_to(before, steps))
        self._applying = True
        return [*save, ev.Apply(steps)]

    def _own(self) -> list[ev.Action]:
        """Note what is ours before it is made."""
        owned = self._owned | set(self._services.entries)
        if owned == self._owned:
            return []
        self._owned = owned
        return [ev.SaveOwned(owned)]

    def _disown(self) -> list[ev.Action]:
        """Forget what the kernel has no more: only a read can tell, a deletion may be refused."""
        owned = self._owned & (set(self._services.entries) | set(self.actual or {}))
        if owned == self._owned:
            return []
        self._owned = owned
        return [ev.SaveOwned(owned)]
