"""Two or more relays with a network between them that does what it is told."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hadirector.core.address import Address
from hadirector.core.keys import Key
from hadirector.core.relay import Relay, Settings, ToKernel, Told, ToPeer
from hadirector.core.relay_messages import RelayPeer

KEY = Key(1, bytes(range(32)))
SYNC_ID = 51
T0 = 1000.0
DELAY = 0.001  # seconds from one to the other


def datagram(number: int, sync_id: int = SYNC_ID) -> bytes:
    """One of the kernel's, as far as the relay looks: its head, and something that tells it."""
    body = number.to_bytes(36, "big")
    return bytes((0, sync_id)) + (8 + len(body)).to_bytes(2, "big") + bytes((1, 1, 0, 0)) + body


def number_of(payload: bytes) -> int:
    """Which one that was."""
    return int.from_bytes(payload[8:], "big")


@dataclass
class End:
    """One node: its relay, what its kernel was handed, and what was told."""

    name: str
    address: Address
    relay: Relay
    taken: list[int] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)


@dataclass
class Wire:
    """Carries datagrams, in the order of their arrival; `drops` says which are lost."""

    names: tuple[str, ...] = ("lb1", "lb2")
    keys: tuple[Key, ...] = (KEY,)
    multicast: bool = False
    sync_ids: dict[str, int] = field(default_factory=dict)
    now: float = T0
    ends: dict[str, End] = field(init=False)
    drops: Callable[[bytes], bool] = lambda raw: False
    jitter: Callable[[], float] = lambda: 0.0
    heard: list[tuple[str, bytes]] = field(default_factory=list)  # what whoever listens has
    flying: list[tuple[float, int, str, str, bytes]] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.ends = {}
        for name in self.names:
            self.start(name)

    def start(self, name: str) -> None:
        """A new relay of this node, with a memory as a new process has it."""
        number = self.names.index(name) + 1
        old = self.ends.get(name)
        self.count += 1
        end = End(name, Address(f"10.9.0.{number}"), Relay(1_000_000 + self.count))
        end.taken = old.taken if old else []
        self.ends[name] = end
        self.follow(name, self.keys)

    def follow(self, name: str, keys: tuple[Key, ...]) -> None:
        """The node reads its key file."""
        peers = {
            other: None if self.multicast else Address(f"10.9.0.{n}")
            for n, other in enumerate(self.names, 1)
            if other != name
        }
        sync_id = self.sync_ids.get(name, SYNC_ID)
        self.ends[name].relay.follow(Settings("shop", name, sync_id, peers, keys))

    def say(self, name: str, *numbers: int) -> None:
        """The kernel's master thread of a node sends these."""
        for number in numbers:
            raw = self.ends[name].relay.outgoing(datagram(number), self.now)
            if raw is not None:
                for other in self.names:
                    if other != name:
                        self.send(name, other, raw)

    def send(self, sender: str, to: str, raw: bytes) -> None:
        """Onto the wire."""
        self.heard.append((sender, raw))
        if not self.drops(raw):
            self.count += 1
            at = self.now + DELAY + self.jitter()
            self.flying.append((at, self.count, sender, to, raw))

    def hear(self, to: str, raw: bytes, source: Address) -> None:
        """A datagram comes to a node from this address."""
        end = self.ends[to]
        for action in end.relay.incoming(raw, source, self.now):
            self._act(end, action)

    def run(self, seconds: float) -> None:
        """Let time pass: datagrams arrive, and relays do what is due."""
        until = self.now + seconds
        while True:
            arrival = min(self.flying, default=None)
            due = min(end.relay.deadline() for end in self.ends.values())
            at = min(due, arrival[0] if arrival else due)
            if at > until:
                break
            self.now = max(self.now, at)
            if arrival is not None and arrival[0] <= due:
                self.flying.remove(arrival)
                _, _, sender, to, raw = arrival
                self.hear(to, raw, self.ends[sender].address)
                continue
            for end in self.ends.values():
                if end.relay.deadline() <= self.now:
                    for action in end.relay.due(self.now):
                        self._act(end, action)
        self.now = until

    def meet(self) -> None:
        """Until everybody believes everybody."""
        self.run(1.5)
        for end in self.ends.values():
            assert all(account.alive for account in self.accounts(end.name).values())
        self.heard.clear()

    def accounts(self, name: str) -> dict[str, RelayPeer]:
        """What a node knows of its peers' records."""
        return self.ends[name].relay.accounts(self.now)

    def taken(self, name: str = "lb2") -> list[int]:
        """What the kernel of a node was handed, in order."""
        return self.ends[name].taken

    def refused(self, name: str = "lb2", peer: str = "lb1") -> dict[str, int]:
        """What a node refused of a peer, by flaw; without what every start brings."""
        counts = dict(self.accounts(name)[peer].refused)
        counts.pop("stale", None)
        return counts

    def _act(self, end: End, action: ToKernel | ToPeer | Told) -> None:
        match action:
            case ToKernel(_, payload):
                end.taken.append(number_of(payload))
            case ToPeer(peer, raw):
                for other in self.names if self.multicast else (peer,):
                    if other != end.name:
                        self.send(end.name, other, raw)
            case Told():
                end.told.append(action)


def losing(share: float, seed: int) -> Callable[[bytes], bool]:
    """A network that loses this share of all datagrams."""
    chance = random.Random(seed)
    return lambda raw: chance.random() < share
