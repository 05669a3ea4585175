"""What goes into the election and what comes out: the vocabulary of core/election.

The shell turns the outside into an `Input`, calls `Election.handle(input, now)` and does what the
returned actions say, in their order. Three habits make that simple:

- Read first, tick last. On each wake the sockets are drained and every packet handled before the
  `Tick`: an advert that waited in the queue must win against the timer it would have stopped.
- `Links`, `Obstacles` and the director's messages are levels: the newest replaces what was told.
- `Place` and `Drop` are edges, exact and at once. `Election.desired()` is the level behind them:
  whatever `Reconcile` finds missing is put back, whatever of ours it finds too much goes.

`now` is CLOCK_BOOTTIME, float seconds, and never runs backwards.
"""

from dataclasses import dataclass, field

from hadirector.core import messages
from hadirector.core.address import Address, Family
from hadirector.core.advert import Advert
from hadirector.core.routing import Belonging, Route, Rule
from hadirector.core.settings.instances import VirtualAddress
from hadirector.core.vmac import VirtualDevice

# --- inputs ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed; sent when `Election.deadline()` is reached, and harmless at any time."""


@dataclass(frozen=True, slots=True)
class PacketReceived:
    """An IP protocol 112 packet. `message` is its payload, cut by the IP header's own length
    (Ethernet padding is gone); `ttl` is the TTL or hop limit. Own packets may be handed in: they
    are counted and dropped."""

    interface: str
    source: Address
    destination: Address
    ttl: int
    message: bytes = field(repr=False)  # version 2 may carry a password


@dataclass(frozen=True, slots=True)
class Link:
    """An interface that exists. `up`: administratively up and with carrier (IFF_LOWER_UP).

    `addresses` are all its usable addresses in the kernel's order, IPv4 primaries first, ours and
    virtual ones alike; tentative IPv6 ones are left out. The first that is not virtual (IPv6: the
    first link-local) is the source of adverts. `settling`: it has an IPv6 one that the kernel
    is still looking for duplicates of, which takes a second or two.
    """

    name: str
    up: bool
    addresses: tuple[Address, ...]
    settling: bool = False


@dataclass(frozen=True, slots=True)
class Links:
    """A level: every interface of `Election.interfaces()` that exists. Before the first one no
    router leaves init; an interface not listed is missing, which is a fault."""

    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class NetworkHeard:
    """Something out there answered on this interface (the gateway to `AskGateway`): frames pass."""

    interface: str


@dataclass(frozen=True, slots=True)
class HolderHeard:
    """Another host answered for this address on this interface, lately (to `AskHolder`)."""

    interface: str
    address: Address


@dataclass(frozen=True, slots=True)
class Obstacle:
    """An address that cannot be held here, with the reason (configured by the system, say)."""

    address: Address
    interface: str
    reason: str


@dataclass(frozen=True, slots=True)
class Obstacles:
    """A level: all obstacles known. A router with one of its addresses among them is in fault."""

    obstacles: tuple[Obstacle, ...]


@dataclass(frozen=True, slots=True)
class Deaf:
    """No socket could be opened to speak and hear VRRP of this family here, with the reason."""

    interface: str
    family: Family
    reason: str


@dataclass(frozen=True, slots=True)
class DeafEars:
    """A level: all that is deaf. A router that hears nobody would be master beside another one,
    so it is in fault instead."""

    deaf: tuple[Deaf, ...]


@dataclass(frozen=True, slots=True)
class DirectorHeard:
    """Any sign of life from the director that is none of the messages below (Hello, Heartbeat).

    The levels below count as well, so a director must send something at least every few seconds:
    after 10 s of silence this node advertises priority 1 and is not ready.
    """


@dataclass(frozen=True, slots=True)
class WallClock:
    """A level: Unix time less CLOCK_BOOTTIME, seconds; it changes when the clock is set. Adverts
    are signed with the time: a router that signs its own is in fault until it is told."""

    unix_offset: float


@dataclass(frozen=True, slots=True)
class SendFailed:
    """An advert of this router could not be sent; counted as advert_send_err."""

    instance: str
    family: Family
    reason: str


@dataclass(frozen=True, slots=True)
class AnnounceFailed:
    """A gratuitous ARP or unsolicited NA could not be sent; counted as announce_err."""

    address: VirtualAddress


@dataclass(frozen=True, slots=True)
class Moved:
    """These interfaces reach the network by another way than before: a bond changed its active
    link, a virtual machine its host, a link came back, a device was made anew."""

    interfaces: frozenset[str]


@dataclass(frozen=True, slots=True)
class Restored:
    """Somebody had removed these, and they are back."""

    things: tuple["PlacedAddress | Belonging", ...]


@dataclass(frozen=True, slots=True)
class Refusals:
    """A level: the routes and rules that should be there and that the kernel refuses, with why."""

    refused: tuple[tuple[Belonging, str], ...]


Input = (
    Tick
    | PacketReceived
    | Links
    | NetworkHeard
    | HolderHeard
    | Obstacles
    | DeafEars
    | DirectorHeard
    | WallClock
    | SendFailed
    | AnnounceFailed
    | Moved
    | Restored
    | Refusals
    | messages.ElectionSettings
    | messages.Tracks
    | messages.Ready
    | messages.Peers
    | messages.Stance
    | messages.Order
)

# --- levels ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlacedAddress:
    """A virtual address as it is to be on this node.

    `lifetime` is its valid_lft in whole seconds, renewed every third of it by the lease thread;
    None is forever. Whether it goes on as /32 (or /128) with NOPREFIXROUTE or with `prefix` is the
    shell's decision, which knows the interface's other addresses, and those of `beside`: the
    parent of a device with a virtual MAC.
    """

    address: Address
    prefix: int
    interface: str
    lifetime: int | None
    beside: str = ""


@dataclass(frozen=True, slots=True)
class Desired:
    """All of ours that the kernel should have now: what masters hold, and the devices with a
    virtual MAC of every router. Placed in this order, removed in the opposite one."""

    addresses: tuple[PlacedAddress, ...] = ()
    routes: tuple[Route, ...] = ()
    rules: tuple[Rule, ...] = ()
    devices: tuple[VirtualDevice, ...] = ()


# --- actions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendAdvert:
    """Send `message` as the payload of an IP packet of protocol 112, TTL or hop limit 255,
    TOS 0xC0, out of `interface`. It is complete, checksum included; `advert` is for the log.

    `destination` is the group (224.0.0.18, ff02::12) or one unicast peer: one action per peer.
    `hardware` is the virtual MAC to send from; empty: the interface's own.
    """

    instance: str
    family: Family
    interface: str
    source: Address
    destination: Address
    message: bytes = field(repr=False)  # as above
    advert: Advert
    hardware: bytes = b""


@dataclass(frozen=True, slots=True)
class Place:
    """Put these on at once: addresses, then routes, then rules."""

    instance: str
    family: Family
    addresses: tuple[PlacedAddress, ...]
    routes: tuple[Route, ...]
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    """Take these off at once: rules, then routes, then addresses. What another router of this
    node still holds is not listed."""

    instance: str
    family: Family
    addresses: tuple[PlacedAddress, ...]
    routes: tuple[Route, ...]
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class SetLease:
    """Change the lifetime of these addresses in place (a peer came or went, or a reload)."""

    instance: str
    family: Family
    addresses: tuple[PlacedAddress, ...]


@dataclass(frozen=True, slots=True)
class Announce:
    """Send `count` gratuitous ARPs or unsolicited NAs for each address, round robin, at once.

    An address that is not on its interface just then must be left out.
    """

    instance: str
    family: Family
    addresses: tuple[VirtualAddress, ...]
    count: int


@dataclass(frozen=True, slots=True)
class AskGateway:
    """Ask the gateways reached through `interface` for their link address (ARP, NS); an answer
    becomes `NetworkHeard`. Repeated each second while a router waits for the network."""

    interface: str


@dataclass(frozen=True, slots=True)
class AskHolder:
    """Ask who holds this address, which is not on this node; an answer becomes `HolderHeard`.
    Repeated each second while a router that has just started waits for a first advert."""

    interface: str
    address: Address


@dataclass(frozen=True, slots=True)
class Note:
    """Remember outside this process that the router's last advert as a master went out at
    `sent_at` (None: it is no master): the next election process is given it as LastAdverts."""

    instance: str
    family: Family
    sent_at: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """`Election.routers()` changed: tell the director. Counters move without it."""


@dataclass(frozen=True, slots=True)
class Reconcile:
    """`Election.desired()` changed: compare with the kernel when the urgent is done."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Every router has left in order after STOP: the process may exit."""


Action = (
    SendAdvert
    | Place
    | Drop
    | SetLease
    | Announce
    | AskGateway
    | AskHolder
    | Note
    | Report
    | Reconcile
    | Stopped
    | messages.Obeyed  # the answer to an order, for the director
    | messages.Event  # one line of the journal, for the director; numbered from 1 per process
)

LastAdverts = dict[tuple[str, Family], float | None]
"""(instance, family) -> CLOCK_BOOTTIME of the last advert sent as a master, from `Note`; None: it
gave mastership up, or never had it."""
