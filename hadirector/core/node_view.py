"""What a node knows about itself: the levels told by shell and director, and what they mean for
one virtual router (its `Standing`)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hadirector.core import address, messages, vmac
from hadirector.core.address import Address, Family
from hadirector.core.election_types import Deaf, Link, Obstacle
from hadirector.core.keys import Secrets
from hadirector.core.listening import peers_patience
from hadirector.core.settings.cluster import LeaseMode, VipLease
from hadirector.core.settings.instances import (
    AuthenticationKind,
    Instance,
    Unicast,
    VirtualAddress,
)
from hadirector.core.vmac import VirtualDevice
from hadirector.core.vrrp_states import Claim, Standing

DIRECTOR_PATIENCE = 10.0  # seconds without a word before the director counts as gone
_GRACE = 2.0  # seconds more when this process slept too: the director may be as late as we are
_SLEPT = 1.0  # noticing the silence this late means that we slept

LEAST_LEASE = 2  # seconds: shorter ones end on a merely busy node


@dataclass(slots=True)
class NodeView:
    """Levels, each as told last. `links` None: not told yet. `unix_offset` is Unix time less
    CLOCK_BOOTTIME."""

    vip_lease: VipLease = field(default_factory=VipLease)
    virtual: frozenset[Address] = frozenset()
    links: dict[str, Link] | None = None
    obstacles: tuple[Obstacle, ...] = ()
    deaf: tuple[Deaf, ...] = ()
    tracks: tuple[messages.Track, ...] = ()
    ready: messages.Ready | None = None
    peers: tuple[messages.Peer, ...] = ()
    peers_told: bool = False  # ever
    stance: messages.Stance = field(default_factory=messages.Stance)
    secrets: Secrets = field(default_factory=Secrets)
    unix_offset: float | None = None
    silent: bool = False
    silent_at: float = math.inf

    @property
    def told(self) -> tuple[object, ...]:
        """All that the director tells again and again, to see whether it is anything new."""
        known = (self.tracks, self.ready, self.peers, self.peers_told, self.stance)
        return (self.silent, *known)

    def director_heard(self, now: float) -> bool:
        """A sign of life; True when it ends a silence."""
        was_silent, self.silent = self.silent, False
        self.silent_at = now + DIRECTOR_PATIENCE
        return was_silent

    def director_missed(self, now: float) -> bool:
        """Whether the director's silence begins now."""
        if now < self.silent_at:
            return False
        if now - self.silent_at > _SLEPT:
            self.silent_at = now + _GRACE
            return False
        self.silent, self.silent_at = True, math.inf
        return True

    @property
    def accompanied(self) -> bool:
        """Whether another director of this cluster is alive."""
        return any(peer.alive for peer in self.peers)

    @property
    def names(self) -> dict[Address, str]:
        """The live peers behind the addresses adverts come from."""
        return {
            voice.source: peer.node
            for peer in self.peers
            for voice in peer.voices.values()
            if peer.alive and voice.source is not None
        }

    def claims(self, instance: Instance, family: Family) -> tuple[Claim, ...]:
        """The live peers that say they are master of this virtual router."""
        key = f"{instance.name}/ipv{family}"
        voices = ((p.node, p.voices.get(key)) for p in self.peers if p.alive)
        return tuple(
            Claim(node, voice.source, voice.priority)
            for node, voice in voices
            if voice is not None and voice.master
        )

    def is_own(self, interface: str, source: Address) -> bool:
        """Whether a packet that came in by this interface is one of our own."""
        link = (self.links or {}).get(interface)
        return link is not None and source in link.addresses

    def source(self, instance: Instance, family: Family) -> Address | None:
        """Where this router's adverts come from; None: it cannot send any."""
        link = (self.links or {}).get(instance.interface)
        if link is None or not link.up:
            return None
        unicast = unicast_of(instance, family)
        if unicast is not None:
            return unicast.source if unicast.source in link.addresses else None
        for candidate in link.addresses:
            if address.family(candidate) != family or candidate in self.virtual:
                continue
            if family == 4 or is_link_local(candidate):
                return candidate
        return None

    def lack(self, instance: Instance) -> str:
        """Why this router's adverts cannot be authenticated; empty when they can, or need not."""
        if instance.authentication.kind is AuthenticationKind.HMAC and self.unix_offset is None:
            return "the time of day, which its adverts are signed with, is not known yet"
        return self.secrets.lack(instance.authentication)

    def lifetime(self, instance: Instance) -> int | None:
        """Seconds that addresses outlive this node; None: for ever."""
        if self.vip_lease.mode is LeaseMode.OFF or not self.accompanied:
            return None
        if self.vip_lease.mode is LeaseMode.SECONDS:
            return max(1, math.ceil(self.vip_lease.seconds))
        return max(LEAST_LEASE, math.ceil(peers_patience(instance)))

    def standing(
        self, instance: Instance, family: Family, together: Iterable[tuple[Instance, Family]]
    ) -> Standing:
        """What all this means for one router, given all that move with it (itself included):
        a fault of one is a fault of all, and they are degraded alike."""
        group = list(together)
        known = self.links is not None
        faults = [f"{_of(i, instance)}{f}" for i, fam in group for f in self._faults(i, fam)]
        ready = self.ready
        return Standing(
            known=known and not any(self._settles(i, fam) for i, fam in group),
            source=self.source(instance, family),
            faults=tuple(dict.fromkeys(faults)) if known else (),
            delta=sum(self._deltas([i for i, _ in group]).values()),
            ready=ready is not None and ready.ready and not self.silent,
            ready_reason="the director is silent" if self.silent else _reason(ready),
            accompanied=self.accompanied,
            silent=self.silent,
            coupled=len(group) > 1,
            held=any(i.name in self.stance.held for i, _ in group),
            standby=self.stance.standby,
            aside=self._aside({i.name for i, _ in group}),
            linked=not known or self._trouble(instance.interface) is None,
            claims=self.claims(instance, family),
            names=tuple(self.names.items()),
        )

    def _aside(self, names: set[str]) -> str:
        """Who could be master of these in the place of a node in standby. Where this node's own
        director is silent, what it said of others may be long past."""
        if not self.stance.standby or self.silent:
            return ""
        if not self.peers_told:
            return "stays out: in standby, and it is not known yet who else is there"
        able = [p.node for p in self.peers if p.alive and names.issubset(p.able)]
        return f"stays out: in standby, and {able[0]} could be master" if able else ""

    def _faults(self, instance: Instance, family: Family) -> list[str]:
        """Why this router by itself cannot be master."""
        trouble = self._trouble(instance.interface)
        if trouble is None and self.source(instance, family) is None:
            trouble = f"{instance.interface} {_lacking(instance, family)}"
        faults = [trouble] if trouble else []
        if lack := self.lack(instance):
            faults.append(lack)
        where = (instance.interface, family)
        faults += [
            f"{d.interface}: no VRRP socket for ipv{d.family}: {d.reason}"
            for d in self.deaf
            if (d.interface, d.family) == where
        ]
        weighed = {t.name for t in instance.track_interfaces if t.weight is not None}
        counted = {t.name for t in instance.track_interfaces}
        # An address whose interface is down serves nobody: as keepalived, another node is to have
        # it, unless `track_interfaces` says what that interface is worth.
        counted |= set(homes_of(instance, family).values()) - {instance.interface}
        troubles = (self._trouble(name) for name in sorted(counted - weighed))
        faults += [trouble for trouble in troubles if trouble is not None]
        faults += [t.reason for t in self.tracks if t.fault and t.instance == instance.name]
        held = {(v.address, v.interface) for v in addresses_of(instance, family)}
        return faults + [
            f"cannot hold {o.address} on {o.interface}: {o.reason}"
            for o in self.obstacles
            if (o.address, o.interface) in held
        ]

    def _settles(self, instance: Instance, family: Family) -> bool:
        """Whether the address its adverts are to come from is about to be usable."""
        link = (self.links or {}).get(instance.interface)
        waits = link is not None and link.up and link.settling
        return family == 6 and waits and self.source(instance, family) is None

    def _trouble(self, interface: str) -> str | None:
        link = (self.links or {}).get(interface)
        if link is None:
            return f"{interface} is missing"
        return None if link.up else f"{interface} is down"

    def _deltas(self, group: list[Instance]) -> dict[str, int]:
        """By what is tracked: two instances that track one thing are degraded by it once."""
        names = {instance.name for instance in group}
        deltas = {t.what: t.delta for t in self.tracks if t.instance in names and not t.fault}
        for instance in group:
            for tracked in instance.track_interfaces:
                if tracked.weight is not None and self._trouble(tracked.name):
                    deltas[f"interface {tracked.name}"] = tracked.weight
        return deltas


def addresses_of(instance: Instance, family: Family) -> tuple[VirtualAddress, ...]:
    """All a master of this family takes over, those first that its adverts list; with a virtual
    MAC those of the instance's own interface sit on its device."""
    every = instance.virtual_addresses + instance.excluded_addresses
    own = tuple(v for v in every if address.family(v.address) == family)
    device = device_of(instance, family)
    if device is None:
        return own
    return tuple(
        replace(v, interface=device.name) if v.interface == device.parent else v for v in own
    )


def homes_of(instance: Instance, family: Family) -> dict[Address, str]:
    """The interfaces that lead to a master's addresses: the device of a virtual MAC comes and goes
    with mastership, and what counts is its parent."""
    device = device_of(instance, family)
    return {
        v.address: device.parent if device and v.interface == device.name else v.interface
        for v in addresses_of(instance, family)
    }


def device_of(instance: Instance, family: Family) -> VirtualDevice | None:
    """The device with this router's virtual MAC, if it has one."""
    if not instance.vmac:
        return None
    vrid = instance.virtual_router_id
    hardware = vmac.hardware_of(vrid, family)
    return VirtualDevice(vmac.name_of(vrid, family), instance.interface, family, hardware)


def unicast_of(instance: Instance, family: Family) -> Unicast | None:
    """How this family's adverts go if not to the group."""
    unicast = instance.unicast
    return unicast if unicast and address.family(unicast.source) == family else None


def _lacking(instance: Instance, family: Family) -> str:
    unicast = unicast_of(instance, family)
    if unicast is not None:
        return f"does not have {unicast.source}, where unicast adverts are to come from"
    return f"has no {'IPv4' if family == 4 else 'link-local IPv6'} address of its own"


def is_link_local(candidate: Address) -> bool:
    """fe80::/10."""
    first, second = address.packed(candidate)[:2]
    return first == 0xFE and second & 0xC0 == 0x80


def _of(member: Instance, instance: Instance) -> str:
    return "" if member.name == instance.name else f"{member.name}: "


def _reason(ready: messages.Ready | None) -> str:
    return Standing().ready_reason if ready is None else ready.reason
