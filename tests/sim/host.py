"""What of a node outlives its processes: clock, kernel, links, channels, note, configuration."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hadirector.core import election_types as et
from hadirector.core.address import Address
from hadirector.core.settings.cluster import Config
from hadirector.core.stance import Stance
from tests.sim.agenda import Agenda
from tests.sim.kernel import Kernel
from tests.sim.network import Network
from tests.sim.process import Pipe

INTERFACES = ("eth0", "eth1")


@dataclass(slots=True)
class Host:
    """One node as its processes find it. `stalled`: seconds its clock stood still so far (a
    paused virtual machine; in a suspended one the clock counts on)."""

    index: int
    config: Config
    agenda: Agenda
    network: Network
    rng: random.Random
    links_changed: Callable[[], None]
    kernel: Kernel = field(init=False)
    to_election: Pipe = field(init=False)
    to_director: Pipe = field(init=False)
    stop_order: Pipe = field(init=False)
    note: et.LastAdverts = field(default_factory=dict)
    down: set[str] = field(default_factory=set)  # interfaces without carrier
    stalled: float = 0.0
    first_verdict: float = 0.2  # seconds the checker takes for its first round
    starts: int = 0  # of directors: their incarnation
    stance: Stance = field(default_factory=Stance)  # on disk

    def __post_init__(self) -> None:
        self.boot()
        self.to_election = Pipe(self.agenda, self.rng)
        self.to_director = Pipe(self.agenda, self.rng)
        self.stop_order = Pipe(self.agenda, self.rng)

    def boot(self) -> None:
        """A kernel that knows nothing."""
        self.kernel = Kernel(self.agenda, self.rng, self.links_changed)

    def forget(self) -> None:
        """The supervisor is gone: channels and the shared note with it."""
        self.note.clear()
        for pipe in (self.to_election, self.to_director, self.stop_order):
            pipe.clear()

    @property
    def name(self) -> str:
        return self.config.node

    def clock(self) -> float:
        """CLOCK_BOOTTIME of this node."""
        return self.agenda.now - self.stalled

    def when(self, instant: float) -> float:
        """An instant of this node's clock in virtual time."""
        return instant + self.stalled

    def own_addresses(self, interface: str) -> tuple[Address, ...]:
        """What the system configured on an interface."""
        return own_addresses(self.index, interface)

    def links(self) -> et.Links:
        """Every interface as the kernel has it now."""
        held = self.kernel.addresses
        return et.Links(
            tuple(
                et.Link(
                    name,
                    name not in self.down,
                    (*self.own_addresses(name), *(a for a, where in held if where == name)),
                )
                for name in INTERFACES
            )
        )


def own_addresses(index: int, interface: str) -> tuple[Address, ...]:
    """The IPv4 and the link-local address of node `index` on an interface. Who has the highest
    differs from link to link and from family to family, as it may anywhere."""
    segment = INTERFACES.index(interface)
    other = 8 - index
    return (
        Address(f"198.51.{100 + segment}.{(other if segment else index) + 1}"),
        Address(f"fe80::{segment + 1}:{(index if segment else other) + 1:x}"),
    )
