"""What the kernel of a node keeps while processes come and go: addresses with leases, IPVS."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from hadirector.core import ipvs
from hadirector.core.address import Address
from hadirector.core.election_types import PlacedAddress
from tests.sim.agenda import Agenda

Place = tuple[Address, str]  # an address on an interface


@dataclass(frozen=True, slots=True)
class Held:
    """A virtual address as the kernel has it; `expires_at` is virtual time, None is never."""

    lifetime: int | None
    expires_at: float | None


class Kernel:
    """Addresses end by themselves: valid_lft counts whole seconds and is looked at once a second
    or so, hence between N and N + 1 seconds after the last renewal. `changed` is called when an
    address came or went (not for renewals)."""

    def __init__(self, agenda: Agenda, rng: random.Random, changed: Callable[[], None]) -> None:
        self.addresses: dict[Place, Held] = {}
        self.services: ipvs.Table = {}
        self._agenda = agenda
        self._rng = rng
        self._changed = changed

    def put(self, wanted: PlacedAddress) -> None:
        """Add or replace."""
        place = (wanted.address, wanted.interface)
        new = place not in self.addresses
        self._hold(place, wanted.lifetime)
        if new:
            self._changed()

    def renew(self, place: Place) -> None:
        """Start the lease anew, if it has one and has not ended."""
        held = self.addresses.get(place)
        if held is not None and held.lifetime is not None:
            self._hold(place, held.lifetime)

    def relet(self, wanted: PlacedAddress) -> None:
        """Change the lifetime in place; an address that is gone stays so."""
        place = (wanted.address, wanted.interface)
        if place in self.addresses:
            self._hold(place, wanted.lifetime)

    def remove(self, place: Place) -> None:
        """Take it off; nothing happens where it is not on."""
        if self.addresses.pop(place, None) is not None:
            self._changed()

    def sleep(self, duration: float) -> None:
        """Its ticks stood still that long: leases end later."""
        for place, held in list(self.addresses.items()):
            if held.expires_at is not None:
                self._expire_at(place, held.lifetime, held.expires_at + duration)

    def _hold(self, place: Place, lifetime: int | None) -> None:
        if lifetime is None:
            self.addresses[place] = Held(None, None)
            return
        assert lifetime >= 1, lifetime
        self._expire_at(place, lifetime, self._agenda.now + lifetime + self._rng.random())

    def _expire_at(self, place: Place, lifetime: int | None, when: float) -> None:
        held = Held(lifetime, when)
        self.addresses[place] = held

        def expire() -> None:
            if self.addresses.get(place) is held:
                self.remove(place)

        self._agenda.at(when, expire)
