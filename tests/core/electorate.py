"""A few nodes with an election each, on one perfect link: the network as three tiny functions."""

from dataclasses import dataclass, field, replace

from hadirector.core import messages
from hadirector.core.address import Address, family
from hadirector.core.election import Election
from hadirector.core.election_types import (
    Action,
    Announce,
    AskGateway,
    AskHolder,
    DirectorHeard,
    Drop,
    Input,
    LastAdverts,
    Link,
    Links,
    Note,
    PacketReceived,
    Place,
    PlacedAddress,
    Reconcile,
    Report,
    SendAdvert,
    SetLease,
    Stopped,
    Tick,
)
from hadirector.core.settings.cluster import VipLease
from hadirector.core.settings.instances import Instance, Preempt, SyncGroup, VirtualAddress

T0 = 1000.0
VIP = VirtualAddress(Address("192.0.2.10"), 24, "eth0")
INSIDE_VIP = VirtualAddress(Address("10.0.1.254"), 24, "eth1")

FRONT = Instance(
    name="front",
    interface="eth0",
    virtual_router_id=51,
    priority=150,
    version=3,
    advert_int=1.0,
    virtual_addresses=(VIP,),
    preempt=Preempt.ALWAYS,
    startup_delay=0.0,
)
INSIDE = replace(
    FRONT,
    name="inside",
    interface="eth1",
    virtual_router_id=52,
    virtual_addresses=(INSIDE_VIP,),
)


def settings(
    *instances: Instance,
    groups: tuple[SyncGroup, ...] = (),
    lease: VipLease = VipLease(),  # noqa: B008 - a frozen value
) -> messages.ElectionSettings:
    """What a director would tell."""
    return messages.ElectionSettings("lb", instances, groups, lease, "/run/hadirector/addresses")


def links(number: int, **up: bool) -> Links:
    """eth0 and eth1 of node `number`, up unless said otherwise."""
    addresses = {
        "eth0": (Address(f"198.51.100.{number}"), Address(f"fe80::{number}")),
        "eth1": (Address(f"10.0.1.{number}"), Address(f"fe80::1:{number}")),
    }
    return Links(tuple(Link(name, up.get(name, True), a) for name, a in addresses.items()))


def with_priority(priority: int, *instances: Instance) -> tuple[Instance, ...]:
    """The same instances as a node of another priority has them."""
    return tuple(replace(i, priority=priority) for i in instances)


def words(actions: tuple[Action, ...]) -> list[str]:
    """Actions in a few words each, in order; notes and reports left out."""
    return [word for action in actions for word in _words(action)]


def _words(action: Action) -> list[str]:
    match action:
        case SendAdvert(instance=name, advert=advert):
            return [f"{name} advert {advert.priority}"]
        case Place() | Drop() | SetLease():
            verb = {Place: "place", Drop: "drop", SetLease: "lease"}[type(action)]
            return [f"{verb} {_named(a)}" for a in action.addresses]
        case Announce(addresses=announced, count=count):
            return [f"announce {a.address} x{count}" for a in announced]
        case AskGateway(interface=interface):
            return [f"ask {interface}"]
        case AskHolder(address=held):
            return [f"ask {held}"]
        case messages.Event(kind=kind, subject=subject):
            return [f"{subject} {kind}".strip()]
        case Stopped():
            return ["stopped"]
        case Note() | Report() | Reconcile() | messages.Obeyed():
            return []


def _named(placed: PlacedAddress) -> str:
    lifetime = "" if placed.lifetime is None else f" for {placed.lifetime}"
    return f"{placed.address}{lifetime}"


@dataclass(slots=True)
class Electorate:
    """The nodes by name, the time, and what was done: (instant, node, words)."""

    now: float = T0
    nodes: dict[str, Election] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)  # nodes whose packets get nowhere
    silent: set[str] = field(default_factory=set)  # nodes whose director says nothing
    story: list[tuple[float, str, str]] = field(default_factory=list)

    def join(
        self, name: str, told: messages.ElectionSettings, noted: LastAdverts | None = None
    ) -> None:
        """A node starts; its number is the digit that ends its name."""
        self.nodes[name] = Election(noted)
        self.tell(name, told)
        self.tell(name, links(int(name[-1])))

    def tell(self, name: str, what: Input) -> tuple[Action, ...]:
        """One input now, and all that follows from it on the link."""
        actions = self.nodes[name].handle(what, self.now)
        self.story += [(round(self.now - T0, 3), name, word) for word in words(actions)]
        for action in actions:
            if isinstance(action, SendAdvert) and name not in self.cut:
                self.carry(name, action)
        return actions

    def carry(self, sender: str, sent: SendAdvert) -> None:
        """An advert to all others on its link (all nodes have the same links)."""
        packet = PacketReceived(sent.interface, sent.source, sent.destination, 255, sent.message)
        assert family(packet.source) == sent.family
        for name in [n for n in self.nodes if n != sender and n not in self.cut]:
            self.tell(name, packet)

    def run(self, seconds: float) -> list[tuple[float, str, str]]:
        """Let time pass, deadline by deadline; the story of it, adverts of routine left out."""
        began, until = len(self.story), self.now + seconds
        while (soonest := self._soonest()) is not None and soonest[0] <= until:
            self.now = max(self.now, soonest[0])
            if soonest[1] not in self.silent:
                self.tell(soonest[1], DirectorHeard())
            self.tell(soonest[1], Tick())
        self.now = until
        return [s for s in self.story[began:] if "advert" not in s[2] or s[2].endswith(" 0")]

    def _soonest(self) -> tuple[float, str] | None:
        due = [(at, name) for name, e in self.nodes.items() if (at := e.deadline()) is not None]
        return min(due, default=None)

    def holders(self, vip: VirtualAddress = VIP) -> list[str]:
        """The nodes that hold an address."""
        return [
            name
            for name, election in self.nodes.items()
            if vip.address in {a.address for a in election.desired().addresses}
        ]


def pair(*instances: object) -> Electorate:
    """lb1 (150) and lb2 (100), 6 s after both started: lb1 is master of all."""
    electorate = Electorate()
    chosen = [i for i in instances if isinstance(i, type(FRONT))] or [FRONT]
    electorate.join("lb1", settings(*chosen))
    electorate.join("lb2", settings(*with_priority(100, *chosen)))
    electorate.run(6.0)
    assert electorate.holders() == ["lb1"]
    return electorate


def order(kind: messages.OrderKind, subject: str = "", token: str = "t") -> messages.Order:
    return messages.Order(kind, token, subject)
