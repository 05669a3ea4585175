"""One virtual router of a node: what core/vrrp decides, made into actions for the shell.

Adds what the protocol itself does not care about: the wire, which addresses, routes and rules hang
on mastership, announcements, counters and the journal's wording.
"""

from collections.abc import Callable
from itertools import islice
from typing import assert_never

from hadirector.core import address, messages, routing
from hadirector.core.address import Address, Family
from hadirector.core.advert import Advert
from hadirector.core.announce import Announcer
from hadirector.core.coupling import Key
from hadirector.core.duel import sentence
from hadirector.core.election_types import (
    Action,
    Announce,
    AskGateway,
    AskHolder,
    Desired,
    Drop,
    HolderHeard,
    Moved,
    Note,
    PacketReceived,
    Place,
    PlacedAddress,
    Refusals,
    Restored,
    SendAdvert,
    SetLease,
)
from hadirector.core.node_view import NodeView, addresses_of, device_of, homes_of, unicast_of
from hadirector.core.settings.instances import Instance, VirtualAddress
from hadirector.core.upkeep import Told, Upkeep
from hadirector.core.vrrp import Router
from hadirector.core.vrrp_states import (
    HOLDING,
    Advertise,
    Backup,
    Candidate,
    Effect,
    Leaving,
    Master,
    Proclaim,
    Release,
    Take,
    Tell,
    name_of,
)
from hadirector.core.wire import Context, Wire

_COUNTERS = (
    *("advert_send_err", "become_master", "release_master"),
    *("own_advert", "announce_err", "duels", "late_wakes"),
)

LATELY = 10.0  # seconds, and four intervals: what was wrong then counts as wrong now

Journal = Callable[[str, str, str, dict[str, str], float], messages.Event]
"""(kind, subject, reason, inputs, now) -> the numbered line."""


class Member:
    """A router with all that hangs on it. Its methods turn effects into actions, in order."""

    def __init__(
        self, instance: Instance, family: Family, now: float, noted_at: float | None
    ) -> None:
        self.family = family
        self.router = Router(instance, now, noted_at)
        self.announcer = Announcer(instance.garp)
        self.upkeep = Upkeep()
        self.wire = Wire(family)
        self.counters = self.wire.counters
        self.counters |= dict.fromkeys(_COUNTERS, 0)
        self.lifetime: int | None = None  # as placed last
        self.claims = self._claims()
        self.told: tuple[object, ...] | None = None  # its face as reported last

    @property
    def instance(self) -> Instance:
        """Its settings."""
        return self.router.instance

    @property
    def key(self) -> Key:
        """Its name within the node."""
        return self.instance.name, self.family

    @property
    def deadline(self) -> float | None:
        """When it has something to do by itself."""
        all_three = (self.router.deadline, self.announcer.deadline, self.upkeep.deadline)
        return min((at for at in all_three if at is not None), default=None)

    @property
    def face(self) -> tuple[object, ...]:
        """What a reader of the status would see changing, counters aside."""
        router = self.router
        return (
            type(router.state),
            router.reason,
            router.effective_priority,
            router.instance,
            self._master(),
            self.lifetime,
            router.standing.source,
            len(router.duels.rivals),
            self.upkeep.troubles,
        )

    def interfaces(self) -> set[str]:
        """The interfaces whose links matter to it."""
        placed = {v.interface for v in addresses_of(self.instance, self.family)}
        tracked = {t.name for t in self.instance.track_interfaces}
        return {self.instance.interface} | placed | tracked

    @property
    def asks(self) -> list[AskGateway | AskHolder]:
        """What it wants to know of the network while it is deaf."""
        asked: list[AskGateway | AskHolder] = []
        if self.router.waits_for_network:
            asked.append(AskGateway(self.instance.interface))
        if not self.router.holds_addresses and (asked or self.router.listens_in_vain):
            homes = homes_of(self.instance, self.family)
            asked += [AskHolder(at, held) for held, at in islice(homes.items(), 1)]
        return asked

    def hear_holder(self, heard: HolderHeard, now: float) -> None:
        """Another host answers for an address."""
        there = homes_of(self.instance, self.family).get(heard.address) == heard.interface
        if there and not self.router.holds_addresses:
            self.router.ears.answered(now)

    # --- in ----------------------------------------------------------------------------------

    def judge(
        self, packet: PacketReceived, view: NodeView, journal: Journal, now: float
    ) -> tuple[Advert | None, list[Action]]:
        """The advert in a packet for this virtual router; and what is to be told of its sender."""
        context = self._context(view, now)
        if context is None:
            return None, []
        judged = self.wire.judge(packet, context, now)
        inputs: dict[str, str] = {"from": packet.source}
        return judged.advert, [
            self._tell(kind, reason, inputs, journal, now) for kind, reason in judged.told
        ]

    # --- out ---------------------------------------------------------------------------------

    def carry_out(
        self,
        effects: list[Effect],
        view: NodeView,
        elsewhere: Callable[[], Desired],
        journal: Journal,
        now: float,
    ) -> list[Action]:
        """The actions of these effects. `elsewhere` tells what this node's other routers hold of
        the same; it is asked only where something goes."""
        actions: list[Action] = []
        for effect in effects:
            match effect:
                case Advertise(priority=priority):
                    actions += self._send(priority, view, now)
                case Take():
                    self.lifetime = view.lifetime(self.instance)
                    belongings = self.belongings()
                    actions.append(
                        Place(*self.key, belongings.addresses, belongings.routes, belongings.rules)
                    )
                case Release():
                    self.counters["release_master"] += 1
                    actions += self._drop(self.belongings(), elsewhere())
                    actions.append(Note(*self.key, None))
                case Proclaim(duel=duel):
                    (self.announcer.duel if duel else self.announcer.start)(now)
                    actions += self.announce(now)
                case Tell(kind=kind, reason=reason, inputs=inputs):
                    actions.append(self._tell(kind, reason, inputs, journal, now))
                case unreachable:
                    assert_never(unreachable)
        if not isinstance(self.router.state, Master):
            self.announcer.stop()
        self.follow_contest(now)
        return actions

    def follow_contest(self, now: float) -> None:
        """A peer says, or says no more, that it is master as well."""
        if isinstance(self.router.state, Master):
            self.announcer.contest(self.router.contest, now)

    def announce(self, now: float) -> list[Action]:
        """What is due of the announcements."""
        count = self.announcer.take(now)
        addresses = addresses_of(self.instance, self.family)
        return [Announce(*self.key, addresses, count)] if count and addresses else []

    def introduce(self, source: Address | None) -> list[Action]:
        """By unicast: peers are to send their adverts to where this address is now, and not to
        where it was. So it is announced before the first advert, as keepalived does."""
        news = source is not None and source != self.router.standing.source
        if not news or source is None or unicast_of(self.instance, self.family) is None:
            return []
        return [Announce(*self.key, (VirtualAddress(source, 0, self.instance.interface),), 1)]

    def keep_up(
        self, what: Moved | Restored | Refusals, journal: Journal, now: float
    ) -> list[Action]:
        """What others do to the belongings; nothing where it does not concern this router."""
        match what:
            case Moved(interfaces=moved):
                return self._move(moved, journal, now)
            case Restored(things=things):
                mine = self.belongings()
                held = {(a.address, a.interface) for a in mine.addresses}
                found = [a for a in things if isinstance(a, PlacedAddress)]
                back = [a for a in found if (a.address, a.interface) in held]
                others = [t for t in things if t in mine.routes or t in mine.rules]
                told = self.upkeep.restored([*back, *others], now)
                return [*self._say(told, journal, now), *self._announce_again(back, now)]
            case Refusals(refused=refused):
                mine = self.belongings() if self.router.holds_addresses else Desired()
                told = self.upkeep.refuse(dict(refused), (*mine.routes, *mine.rules))
                return self._say(told, journal, now)

    def calm(self, journal: Journal, now: float) -> list[Action]:
        """What is due of the above."""
        return self._say(self.upkeep.calm(now), journal, now)

    def exchange(
        self, instance: Instance, view: NodeView, elsewhere: Desired, now: float
    ) -> list[Action]:
        """Take on other settings; what is held changes by what they add and remove. The router's
        `configured` is to be called next: it tells the peers."""
        before, key = self.belongings(), self.key
        self.router.instance = instance
        self.claims = self._claims()
        self.announcer.garp = instance.garp
        # Under a new name a master is noted with the advert that follows.
        renamed: list[Action] = [] if key == self.key else [Note(*key, None), Note(*self.key, None)]
        if not self.router.holds_addresses:
            return renamed
        self.lifetime = view.lifetime(instance)
        after = self.belongings()
        actions = renamed + self._drop(_minus(before, after), elsewhere)
        added = _minus(after, before)
        if added != Desired():
            actions.append(Place(*self.key, added.addresses, added.routes, added.rules))
        if added.addresses and isinstance(self.router.state, Master):
            self.announcer.start(now)
            actions += self.announce(now)
        return actions

    def renew_lease(self, view: NodeView) -> list[Action]:
        """Change the lifetime of what is held, if it is another now."""
        lifetime = view.lifetime(self.instance)
        if not self.router.holds_addresses or lifetime == self.lifetime:
            return []
        self.lifetime = lifetime
        return [SetLease(*self.key, self.belongings().addresses)]

    def belongings(self) -> Desired:
        """What a master of this router holds."""
        family = self.family
        instance, first = self.instance, self.instance.families()[0]
        device = device_of(instance, family)
        beside = device.parent if device else ""
        return Desired(
            tuple(
                PlacedAddress(v.address, v.prefix, v.interface, self.lifetime, beside)
                for v in addresses_of(instance, family)
            ),
            tuple(
                routing.route_of(r, family, instance.interface)
                for r in instance.virtual_routes
                if routing.family_of((r.to, r.via, r.source), first) == family
            ),
            tuple(
                routing.rule_of(r, family)
                for r in instance.virtual_rules
                if routing.family_of((r.from_, r.to), first) == family
            ),
            () if device is None else (device,),
        )

    def status(self, now: float) -> messages.Router:
        """As the director, status and `explain` see it."""
        router = self.router
        master = isinstance(router.state, HOLDING)
        lately = now - LATELY - 4 * self.instance.advert_int
        every = addresses_of(self.instance, self.family)
        return messages.Router(
            instance=self.instance.name,
            family=self.family,
            state=name_of(router.state),
            priority=self.instance.priority,
            effective_priority=router.effective_priority,
            master=self._master(),
            since=router.since,
            reason=router.reason,
            inputs=dict(router.inputs),
            addresses=tuple(f"{v.address}/{v.prefix}" for v in every),
            counters=dict(self.counters),
            leased=router.holds_addresses and self.lifetime is not None,
            leaving=isinstance(router.state, Leaving),
            peers=self.wire.speakers(),
            refused=self.wire.refused(lately),
            odd=self.wire.odd(lately),
            voice=messages.Voice(router.standing.source, router.advertised_priority, master),
            rivals=tuple(rival.source for rival in router.duels.rivals),
            troubles=tuple(self._troubles(now)),
        )

    # --- helpers of the above, in their order ------------------------------------------------

    def _troubles(self, now: float) -> list[str]:
        router = self.router
        told = [sentence(rival, router.side, now) for rival in router.duels.rivals]
        return [*told, *([router.reason] if router.is_deaf else []), *self.upkeep.troubles]

    def _context(self, view: NodeView, now: float) -> Context | None:
        """What the wire is to know; None: nothing can be said or believed without a key."""
        if view.lack(self.instance):
            return None
        unix = now + (view.unix_offset or 0.0)  # asked for where adverts are signed only
        return Context(self.instance, self._listed(), view.secrets, unix, view.names)

    def _send(self, priority: int, view: NodeView, now: float) -> list[Action]:
        source, context = view.source(self.instance, self.family), self._context(view, now)
        if source is None or context is None:
            return []  # the link is gone: nothing can be said
        said = self.wire.said(priority, context)
        # A virtual MAC says where the addresses are: who has given them up must not send from it.
        device = device_of(self.instance, self.family) if self.router.holds_addresses else None
        multicast = unicast_of(self.instance, self.family) is None
        hardware = device.hardware if device is not None and multicast else b""
        sent: list[Action] = [
            SendAdvert(*self.key, self.instance.interface, source, to, payload, said, hardware)
            for to, payload in self.wire.write(priority, source, context)
        ]
        stays = isinstance(self.router.state, Master)
        return [*sent, Note(*self.key, now if stays else None)]

    def _drop(self, what: Desired, elsewhere: Desired) -> list[Action]:
        """Take off what no other router of this node holds."""
        gone = _minus(what, elsewhere)
        if gone == Desired():
            return []
        return [Drop(*self.key, gone.addresses, gone.routes, gone.rules)]

    def _move(self, moved: frozenset[str], journal: Journal, now: float) -> list[Action]:
        """Where its neighbours find a master's addresses is to be told again."""
        homes = homes_of(self.instance, self.family)
        found = sorted(moved & set(homes.values()))
        if not found or not isinstance(self.router.state, Master):
            return []
        reason = f"{', '.join(found)} reaches the network by another way: announced again"
        self.announcer.start(now)
        told = self._say([Told("announced_again", reason, {})], journal, now)
        return [*self.announce(now), *told]

    def _announce_again(self, back: list[PlacedAddress], now: float) -> list[Action]:
        """Once each: neighbours may have looked for them meanwhile."""
        if not back or not isinstance(self.router.state, Master):
            return []
        if not self.upkeep.may_announce(now):
            return []
        names = {(a.address, a.interface) for a in back}
        every = addresses_of(self.instance, self.family)
        these = tuple(v for v in every if (v.address, v.interface) in names)
        return [Announce(*self.key, these, 1)]

    def _say(self, told: list[Told], journal: Journal, now: float) -> list[Action]:
        family = {"family": f"ipv{self.family}"}
        name = self.instance.name
        return [journal(t.kind, name, t.reason, family | t.inputs, now) for t in told]

    def _tell(
        self, kind: str, reason: str, inputs: dict[str, str], journal: Journal, now: float
    ) -> messages.Event:
        if kind == messages.RouterStateName.MASTER.value:
            self.counters["become_master"] += 1
        self.counters["late_wakes"] += kind == "late_wake"
        self.counters["duels"] += kind == "duel"
        inputs = {"family": f"ipv{self.family}", **inputs}
        return journal(kind, self.instance.name, reason, inputs, now)

    def _claims(self) -> frozenset[object]:
        """What it may hold, to see quickly whether another router may hold the same."""
        all_of_it = self.belongings()
        names = {(a.address, a.interface) for a in all_of_it.addresses}
        return frozenset((*names, *all_of_it.routes, *all_of_it.rules))

    def _listed(self) -> tuple[Address, ...]:
        """The addresses an advert lists."""
        every = (v.address for v in self.instance.virtual_addresses)
        family = (a for a in every if address.family(a) == self.family)
        return tuple(islice(family, 255))  # the count is one byte

    def _master(self) -> Address | None:
        match self.router.state:
            case Backup(master=master) | Candidate(was=Backup(master=master)):
                return master
            case _:
                return self.router.standing.source if self.router.holds_addresses else None


def _minus(what: Desired, kept: Desired) -> Desired:
    """What is in the first only; an address is the same with another lifetime."""
    names = {(a.address, a.prefix, a.interface) for a in kept.addresses}
    return Desired(
        tuple(a for a in what.addresses if (a.address, a.prefix, a.interface) not in names),
        tuple(r for r in what.routes if r not in kept.routes),
        tuple(r for r in what.rules if r not in kept.rules),
    )  # devices are a level only: they stay while a router wants them
