"""All virtual routers of one node.

    packets, links, ticks, the director's levels and orders
        -> which routers they concern, and what each of those does (core/vrrp, core/member)
        -> what that means for the routers that move with it (sync groups, coupled families)
        -> actions, in the order in which they are to be done

What moves together moves by core/ensemble. The node's other rules:

1. While its director is silent (for 10 s or longer) or the node in standby, it advertises priority
   1 and keeps what it holds.
2. A removed or rebuilt instance leaves in order, as at a stop: its old router lives on until its
   successor is heard.
3. While another director is alive on the peer channel, addresses carry a lease (`NodeView`).

Timing: `deadline` is the instant of the next `Tick`. `now` is CLOCK_BOOTTIME.
"""

import math
from collections import deque
from functools import partial
from typing import assert_never

from hadirector.core import advert, messages
from hadirector.core.deadlines import Deadlines
from hadirector.core.election_types import (
    Action,
    AnnounceFailed,
    DeafEars,
    Desired,
    DirectorHeard,
    Drop,
    HolderHeard,
    Input,
    LastAdverts,
    Links,
    Moved,
    NetworkHeard,
    Obstacles,
    PacketReceived,
    Place,
    Reconcile,
    Refusals,
    Report,
    Restored,
    SendFailed,
    SetLease,
    Stopped,
    Tick,
    WallClock,
)
from hadirector.core.ensemble import Ensemble
from hadirector.core.member import Member
from hadirector.core.messages import OrderKind
from hadirector.core.node_view import NodeView, addresses_of
from hadirector.core.roster import Roster
from hadirector.core.vrrp_states import name_of

ASK_EVERY = 1.0  # seconds between questions to a gateway that has not answered
_ORDERS_REMEMBERED = 64

_Told = (
    DirectorHeard
    | messages.ElectionSettings
    | messages.Tracks
    | messages.Ready
    | messages.Peers
    | messages.Stance
)


class Election:
    """Every virtual router of a node. `last_adverts` is what former processes of this boot noted:
    a router found there skips the startup gate, and adopts mastership if the note is young."""

    def __init__(self, last_adverts: LastAdverts | None = None) -> None:
        self._roster = Roster(last_adverts or {})
        self._view = NodeView()
        self._ensemble = Ensemble(self._roster, self._view, self._journal)
        self._orders: deque[messages.Obeyed] = deque(maxlen=_ORDERS_REMEMBERED)
        self._configured = False
        self._ask_at = math.inf
        self._stopping = self._stopped = False
        self._deadlines = Deadlines[Member]()
        self._number = 0
        self._now = -math.inf

    # --- readings ----------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When the next Tick is due; None: not before something happens."""
        routers = self._deadlines.soonest()
        soonest = min(self._view.silent_at, self._ask_at, math.inf if routers is None else routers)
        return None if soonest == math.inf else soonest

    def interfaces(self) -> frozenset[str]:
        """The interfaces `Links` has to tell about."""
        return frozenset(name for member in self._roster for name in member.interfaces())

    def desired(self) -> Desired:
        """All of ours that the kernel should have now."""
        return self._roster.holdings()

    def routers(self) -> tuple[messages.Router, ...]:
        """Every virtual router as status shows it; one that is leaving too, unless another of the
        same name has its place already."""
        members = self._roster.members
        every = (m for m in self._roster if members.get(m.key, m) is m)
        return tuple(m.status(self._now) for m in every)

    # --- the one entry -----------------------------------------------------------------------

    def handle(self, what: Input, now: float) -> tuple[Action, ...]:
        """Take one input at `now`; the actions are to be done in this order."""
        now = self._now = max(now, self._now)
        actions = self._take(what, now)
        actions += self._ask_around(now)
        self._roster.forget_stopped()
        if any(isinstance(a, Place | Drop | SetLease) for a in actions):
            actions.append(Reconcile())
        if self._settle():
            actions.append(Report())
        if self._stopping and not self._roster.departing and not self._stopped:
            self._stopped = True
            actions.append(Stopped())
        return tuple(actions)

    def _settle(self) -> bool:
        """After an input: when the routers it touched are due next, and whether any of them looks
        different now. The others are not looked at: a node may have hundreds."""
        changed = False
        for member in self._ensemble.touched:
            self._deadlines.set(member, member.deadline)
            face = member.face
            changed |= face != member.told
            member.told = face
        self._ensemble.touched.clear()
        return changed

    def _take(self, what: Input, now: float) -> list[Action]:
        match what:
            case Tick():
                return self._tick(now)
            case PacketReceived():
                return self._receive(what, now)
            case Links(links=links):
                before, told = self._view.links, {link.name: link for link in links}
                if told == before:
                    return []  # events tell more than what concerns us
                first = before is None and self._configured
                self._view.links = told
                self._roster.heard &= {name for name, link in told.items() if link.up}
                return self._review(now) + ([Reconcile()] if first else [])
            case NetworkHeard() | HolderHeard():
                return self._hear_answer(what, now)
            case Obstacles() | DeafEars() | WallClock():
                return self._be_shown(what, now)
            case SendFailed() | AnnounceFailed():
                self._count(what)
                return []
            case Moved() | Restored() | Refusals():
                return self._keep_up(what, now)
            case messages.Order():
                return self._obey(what, now)
            case _:
                return self._be_told(what, now)

    def _count(self, what: SendFailed | AnnounceFailed) -> None:
        if isinstance(what, SendFailed):
            member = self._roster.members.get((what.instance, what.family))
            if member is not None:
                member.counters["advert_send_err"] += 1
            return
        for member in self._roster:
            if what.address in addresses_of(member.instance, member.family):
                member.counters["announce_err"] += 1

    def _be_shown(self, what: Obstacles | DeafEars | WallClock, now: float) -> list[Action]:
        """The shell's levels."""
        match what:
            case Obstacles(obstacles=obstacles):
                self._view.obstacles = obstacles
            case DeafEars(deaf=deaf):
                self._view.deaf = deaf
            case WallClock(unix_offset=offset):
                self._view.unix_offset = offset
            case unreachable:
                assert_never(unreachable)
        return self._review(now)

    def _keep_up(self, what: Moved | Restored | Refusals, now: float) -> list[Action]:
        """What others do to what is ours."""
        self._ensemble.touch(*self._roster)
        return [a for member in self._roster for a in member.keep_up(what, self._journal, now)]

    def _be_told(self, what: _Told, now: float) -> list[Action]:
        """The director's levels; each is a sign of life as well."""
        view = self._view
        before = view.told
        actions: list[Action] = []
        if view.director_heard(now):
            actions.append(self._journal("director_heard", "", "it speaks again", {}, now))
        match what:
            case DirectorHeard():
                pass
            case messages.ElectionSettings():
                return actions + self._configure(what, now)
            case messages.Tracks(tracks=tracks, unknown=unknown):
                view.tracks = (*tracks, *(t for t in view.tracks if t.what in unknown))
            case messages.Ready():
                view.ready = what
            case messages.Peers(peers=peers):
                view.peers, view.peers_told = peers, True
            case messages.Stance():
                view.stance = what
            case unreachable:
                assert_never(unreachable)
        if before == view.told:
            return actions  # levels are told again and again
        return actions + self._review(now)

    # --- time and network --------------------------------------------------------------------

    def _tick(self, now: float) -> list[Action]:
        actions: list[Action] = []
        if self._view.director_missed(now):
            reason = "silent for 10 s: this node advertises priority 1 from now on"
            actions.append(self._journal("director_silent", "", reason, {}, now))
            actions += self._review(now)
        for member in self._deadlines.take_due(now):
            self._ensemble.touch(member)
            actions += self._ensemble.act(member, member.router.tick, now)
            actions += [*member.announce(now), *member.calm(self._journal, now)]
        return actions

    def _receive(self, packet: PacketReceived, now: float) -> list[Action]:
        """An advert of any virtual router shows that frames pass; ours goes to its router."""
        addressees = self._roster.addressees(packet)
        if self._view.is_own(packet.interface, packet.source):
            for member in addressees:
                member.counters["own_advert"] += 1
            return []
        actions: list[Action] = []
        if packet.ttl == advert.TTL and packet.interface not in self._roster.heard:
            actions += self._hear_network(packet.interface, now)
        for member in addressees:
            heard, told = member.judge(packet, self._view, self._journal, now)
            actions += told
            if heard is not None:
                hear = partial(member.router.heard, heard, packet.source)
                actions += self._ensemble.act(member, hear, now)
        return actions

    def _hear_network(self, interface: str, now: float) -> list[Action]:
        self._roster.heard.add(interface)
        actions: list[Action] = []
        for member in self._roster:
            if member.instance.interface == interface:
                actions += self._ensemble.act(member, member.router.hear_network, now)
        return actions

    def _hear_answer(self, answer: NetworkHeard | HolderHeard, now: float) -> list[Action]:
        """Frames pass; one that answers for our addresses is a master, or was one."""
        if isinstance(answer, HolderHeard):
            for member in self._roster:
                member.hear_holder(answer, now)
        return self._hear_network(answer.interface, now)

    def _ask_around(self, now: float) -> list[Action]:
        """Ask, while routers wait at the automatic startup gate or for a first advert."""
        if now < self._ask_at < math.inf:
            return []
        if self._ask_at == math.inf and not any(m.asks for m in self._ensemble.touched):
            return []
        questions = dict.fromkeys(question for m in self._roster for question in m.asks)
        self._ask_at = now + ASK_EVERY if questions else math.inf
        return list(questions)

    # --- settings, levels, orders ------------------------------------------------------------

    def _configure(self, settings: messages.ElectionSettings, now: float) -> list[Action]:
        """Leave, change, begin; rule 2. A node that is stopping begins nothing."""
        if self._stopping:
            return []
        self._configured = True
        self._view.vip_lease, self._view.stance = settings.vip_lease, settings.stance
        self._view.secrets = settings.secrets.keeping(self._view.secrets)
        self._view.virtual = frozenset(
            v.address
            for i in settings.instances
            for v in (*i.virtual_addresses, *i.excluded_addresses)
        )
        actions: list[Action] = []
        changes = self._roster.rebuild(settings, now)
        self._ensemble.touch(*self._roster)
        for member, instance in changes.changed:
            elsewhere = self._roster.elsewhere(member)
            actions += member.exchange(instance, self._view, elsewhere, now)
            actions += self._ensemble.act(member, partial(member.router.configured, instance), now)
        for member in changes.leaving:
            actions += self._ensemble.act(member, member.router.stop, now)
        actions += self._review(now)
        for member in self._roster:  # whom it waited for may be gone
            actions += self._ensemble.rise(member, now)
        # Left-overs of a former process go now; not before it is known what is adopted.
        return actions if self._view.links is None else [*actions, Reconcile()]

    def _review(self, now: float) -> list[Action]:
        """A level changed: tell each router what it means for it."""
        actions: list[Action] = []
        for member in self._roster:
            group = [(m.instance, m.family) for m in self._roster.together(member)]
            standing = self._view.standing(member.instance, member.family, group)
            if standing != member.router.standing:
                actions += member.introduce(standing.source)
                actions += self._ensemble.act(member, partial(member.router.update, standing), now)
                member.follow_contest(now)
            lease = member.renew_lease(self._view)
            if lease:
                self._ensemble.touch(member)
                actions += lease
        return actions

    def _obey(self, order: messages.Order, now: float) -> list[Action]:
        """An order, once; the answer is given again to who asks again."""
        if order.kind is OrderKind.STOP:
            return [] if self._stopping else self._stop(now)
        if order.kind is OrderKind.RELOAD:
            return []  # settings come from the director
        answered = next((one for one in self._orders if one.token == order.token), None)
        if answered is not None:
            return [answered]
        named = self._roster.named(order.subject)
        refused = self._refusal(order.kind, named)
        self._orders.append(messages.Obeyed(order.token, refused))
        if refused:
            reason = f"{order.kind.value}: {refused}"
            told = self._journal("order_refused", order.subject, reason, {}, now)
            return [self._orders[-1], told]
        actions: list[Action] = [self._orders[-1]]
        for member in named:
            router = member.router
            act = (
                router.give_way
                if order.kind is OrderKind.YIELD
                else partial(router.promote, "ordered to")
            )
            actions += self._ensemble.act(member, act, now)
        return actions

    def _refusal(self, kind: OrderKind, named: list[Member]) -> str:
        """Why an order cannot be obeyed: what moves together moves together or not at all."""
        if not named:
            return "this node is leaving" if self._stopping else "no such instance or sync group"
        if kind is OrderKind.YIELD:
            holds = any(m.router.holds_addresses for m in named)
            return "" if holds else f"{named[0].instance.name} is not master here"
        for member in named:
            if not member.router.can_rise:
                state = name_of(member.router.state).value
                return f"{member.instance.name} is in {state}: {member.router.reason}"
        return ""

    def _stop(self, now: float) -> list[Action]:
        """Every router leaves in order; Stopped follows when the last has."""
        self._stopping = True
        self._view.silent_at = math.inf  # the director leaves as well
        actions: list[Action] = []
        for member in self._roster.dismiss_all():
            actions += self._ensemble.act(member, member.router.stop, now)
        return actions

    def _journal(
        self, kind: str, subject: str, reason: str, inputs: dict[str, str], now: float
    ) -> messages.Event:
        self._number += 1
        return messages.Event(self._number, now, kind, subject, reason, inputs)
