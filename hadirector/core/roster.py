"""Which virtual routers a node has, which of them move together, and what a reload changes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from hadirector.core import address, advert, coupling
from hadirector.core.address import Family
from hadirector.core.coupling import Key
from hadirector.core.election_types import Desired, LastAdverts, PacketReceived
from hadirector.core.member import Member
from hadirector.core.messages import ElectionSettings
from hadirector.core.settings.instances import (
    Authentication,
    AuthenticationKind,
    Instance,
    SyncGroup,
)
from hadirector.core.vrrp_states import HOLDING, Stopped


@dataclass(slots=True)
class Changes:
    """What new settings ask for: these leave, these get other settings, these are new."""

    leaving: list[Member] = field(default_factory=list)
    changed: list[tuple[Member, Instance]] = field(default_factory=list)


class Roster:
    """The routers by name; those that are leaving are kept apart until they have left."""

    def __init__(self, last_adverts: LastAdverts) -> None:
        self.members: dict[Key, Member] = {}
        self.departing: list[Member] = []
        self.joining: set[Key] = set()  # new in a group that was master already
        self.heard: set[str] = set()  # interfaces by which anything came in
        self._last_adverts = dict(last_adverts)
        self._groups: dict[Key, list[Key]] = {}
        self._sync_groups: tuple[SyncGroup, ...] = ()

        self._by_wire: dict[tuple[str, int, Family], list[Member]] = {}

    def __iter__(self) -> Iterator[Member]:
        yield from list(self.members.values())
        yield from list(self.departing)

    def together(self, member: Member) -> list[Member]:
        """All that move with it, itself included; one that is leaving is alone."""
        if self.members.get(member.key) is not member:
            return [member]
        return [self.members[key] for key in self._groups[member.key]]

    def named(self, subject: str) -> list[Member]:
        """Those an order speaks of, with all that move with them: an instance, one of its routers
        ("front/ipv6"), a sync group, or ("") every one."""
        groups = {g.name: g.instances for g in self._sync_groups}
        names = groups.get(subject, (subject,))
        named = [
            m
            for m in self.members.values()
            if subject in ("", f"{m.instance.name}/ipv{m.family}") or m.instance.name in names
        ]
        return list({m.key: m for one in named for m in self.together(one)}.values())

    def addressees(self, packet: PacketReceived) -> list[Member]:
        """The routers a packet claims to speak of: one, and its forerunner while that leaves."""
        vrid = advert.vrid_of(packet.message)
        if vrid is None:
            return []
        return self._by_wire.get((packet.interface, vrid, address.family(packet.source)), [])

    def holdings(self) -> Desired:
        """What the masters hold; an address held twice is listed once. The devices are those of
        all."""
        every = [(m, m.belongings()) for m in self]
        held = [mine for m, mine in every if m.router.holds_addresses]
        addresses = {(a.address, a.interface): a for one in reversed(held) for a in one.addresses}
        return Desired(
            tuple(reversed(addresses.values())),
            tuple(dict.fromkeys(r for one in held for r in one.routes)),
            tuple(dict.fromkeys(r for one in held for r in one.rules)),
            tuple(dict.fromkeys(d for _, mine in every for d in mine.devices)),
        )

    def elsewhere(self, member: Member) -> Desired:
        """What other masters of this node hold of what `member` has: shared things stay."""
        claims = member.claims
        sharing = [m for m in self if not m.claims.isdisjoint(claims) and m is not member]
        held = [m.belongings() for m in sharing if m.router.holds_addresses]
        return Desired(
            tuple(a for one in held for a in one.addresses),
            tuple(r for one in held for r in one.routes),
            tuple(r for one in held for r in one.rules),
        )

    def forget_stopped(self) -> None:
        """Let those go that have left."""
        if any(isinstance(m.router.state, Stopped) for m in self.departing):
            self.departing = [m for m in self.departing if not isinstance(m.router.state, Stopped)]
            self._index()

    def dismiss_all(self) -> list[Member]:
        """Make every router one that is leaving."""
        leaving = list(self.members.values())
        self.departing += leaving
        self.members = {}
        return leaving

    def rebuild(self, settings: ElectionSettings, now: float) -> Changes:
        """Take on new settings. What did not change is not touched."""
        wanted = {
            (instance.name, family): _of_family(instance, family)
            for instance in settings.instances
            for family in instance.families()
        }
        self._groups = coupling.groups(settings.instances, settings.sync_groups)
        self._sync_groups = settings.sync_groups
        changes = Changes()
        present = self._kept(wanted)
        for member in self.members.values():
            key = next((key for key, kept in present.items() if kept is member), None)
            if key is None:
                changes.leaving.append(member)
            elif wanted[key] != member.instance:
                changes.changed.append((member, wanted[key]))
        self.departing += changes.leaving
        self.members = {
            key: present.get(key) or Member(instance, key[1], now, self._noted(key, instance))
            for key, instance in wanted.items()
        }
        self.joining = {key for key in wanted if key not in present and self._joins(key, present)}
        for key, member in self.members.items():
            lead = self.members[self._groups[key][0]].router
            member.router.lead = None if lead is member.router else lead
        self._last_adverts.clear()
        self._index()
        return changes

    def _kept(self, wanted: dict[Key, Instance]) -> dict[Key, Member]:
        """The routers that stay what they are, under their new names: peers know a router by its
        place on the wire, and a name is nobody's business but ours."""
        by_identity = {(_identity(m.instance), m.family): m for m in self.members.values()}
        found = {
            key: member
            for key, instance in wanted.items()
            if (member := by_identity.get((_identity(instance), key[1]))) is not None
        }
        return found

    def _index(self) -> None:
        """By what an advert says of itself."""
        self._by_wire = {}
        for m in self:
            wire = (m.instance.interface, m.instance.virtual_router_id, m.family)
            self._by_wire.setdefault(wire, []).append(m)

    def _noted(self, key: Key, instance: Instance) -> float | None:
        """What the process before noted of a new router: a group adopts mastership as a whole or
        not at all. -inf: nothing to rely on, but the network is known to be there."""
        group = self._groups[key]
        notes = [self._last_adverts.get(other) for other in group]
        masters = [note for note in notes if note is not None]
        if len(masters) == len(group):
            return min(masters)
        ran_before = any(other in self._last_adverts for other in group)
        return -math.inf if ran_before or instance.interface in self.heard else None

    def _joins(self, key: Key, present: dict[Key, Member]) -> bool:
        others = (present[other] for other in self._groups[key] if other in present)
        return any(isinstance(other.router.state, HOLDING) for other in others)


def _of_family(instance: Instance, family: Family) -> Instance:
    """The settings of one family's router: IPv6 knows version 3 only, which has no password."""
    if family == 4 or instance.version == 3:
        return instance
    by_password = instance.authentication.kind is AuthenticationKind.PASS
    authentication = Authentication() if by_password else instance.authentication
    return replace(instance, version=3, authentication=authentication)


def _identity(instance: Instance) -> tuple[object, ...]:
    """What makes it the same virtual router for its peers."""
    return instance.interface, instance.virtual_router_id, instance.version, instance.vmac
