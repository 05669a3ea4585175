"""What directors tell each other on the peer channel, and whether a peer is alive.

Each node sends its `Presence` to every other node several times a second and at each change; the
newest counts. Without a key it may say only what does no harm if forged (README.md, Limits).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from hadirector.core import messages
from hadirector.core.settings.cluster import Config, LeaseMode, Node

INTERVAL = 0.5  # seconds between presences of an unchanged node
FIRST_WORD = 10.0  # seconds after which a peer that never spoke is told of
SILENCE = 2.0  # seconds after which a peer is not alive: three lost in a row, and some


@dataclass(frozen=True, slots=True)
class View:
    """What a node cannot reach by its checks: some servers as `web/10.0.1.11:80`, and how many
    more. `settled`: it has a verdict of every server, and can probe; otherwise it knows nothing."""

    settled: bool = False
    down: tuple[str, ...] = ()
    more: int = 0


@dataclass(frozen=True, slots=True)
class Presence:
    """One node's word. `incarnation` grows with each start of its director, `sequence` within it.

    `routers` gives states by `instance/ipv4`, `priorities` what counts in their election, `voices`
    how they speak; `services` whether quorum is met by service name; `standby`: it is under
    maintenance. `overrides` is the digest of the orders it knows (core/orders),
    `view` what its checks see (core/views). `sync_mtu`: of its sync interface; 0: there
    is none, or it is not known. `ordered`: the digest of what is ordered there of servers, also
    where no orders go from node to node. `hears`: the nodes it hears on the peer channel; None: it
    does not tell.
    """

    cluster: str
    node: str
    incarnation: int
    sequence: int
    digest: str
    version: str
    ready: bool
    reason: str
    routers: dict[str, str] = field(default_factory=dict)
    services: dict[str, bool] = field(default_factory=dict)
    priorities: dict[str, int] = field(default_factory=dict)
    standby: bool = False
    voices: dict[str, messages.Voice] = field(default_factory=dict)
    overrides: str = ""
    view: View = View()
    sync_mtu: int = 0
    ordered: str = ""
    hears: tuple[str, ...] | None = None

    def states_of(self, instance: str) -> dict[str, str]:
        """The states of an instance's routers."""
        return {name: s for name, s in self.routers.items() if name.rpartition("/")[0] == instance}

    def able(self) -> tuple[str, ...]:
        """The instances it could be master of, or is."""
        names = dict.fromkeys(name.rpartition("/")[0] for name in self.routers)
        may = () if self.standby else names
        return tuple(n for n in may if set(self.states_of(n).values()) <= {"backup", "master"})


@dataclass(frozen=True, slots=True)
class Known:
    """A peer as this node knows it; `heard_at` is CLOCK_BOOTTIME, None before the first word.
    `differs`: it was told that it runs another configuration. `trouble`: why what came from its
    address since was not believed. `awaited_from`: since when its first word is waited for;
    `missed` says what it means that there is none. `deaf_since`: since when it says that it does
    not hear us, while we hear it; `deaf`: for too long."""

    node: Node
    presence: Presence | None = None
    heard_at: float | None = None
    alive: bool = False
    differs: bool = False
    trouble: str = ""
    awaited_from: float | None = None
    missed: str = ""
    deaf_since: float | None = None
    deaf: bool = False


class Peers:
    """The other nodes. `hear` and `age` give what became different, as (kind, node, reason)."""

    def __init__(self, config: Config) -> None:
        self._cluster, self._lease = config.cluster, config.vip_lease.mode
        self._node = config.node
        self.known: dict[str, Known] = {node.name: Known(node) for node in config.peers}
        self.refused = 0

    def follow(self, config: Config) -> None:
        """Take a new configuration; peers that stay keep what is known of them."""
        old, self._cluster, self._lease = self.known, config.cluster, config.vip_lease.mode
        self.known = {}
        for node in config.peers:
            was = old.get(node.name, Known(node))
            self.known[node.name] = replace(was, node=node)

    def hear(self, presence: Presence, own_digest: str, now: float) -> list[tuple[str, str, str]]:
        """A presence came. Strangers and what is older than the newest word are counted."""
        known = self.known.get(presence.node)
        if presence.cluster != self._cluster or known is None or _stale(presence, known):
            self.refused += 1
            return []
        told = []
        if not known.alive:
            told.append(("peer_up", presence.node, "heard on the peer channel"))
        self.known[presence.node] = replace(
            known, presence=presence, heard_at=now, alive=True, trouble="", missed=""
        )
        return told + self._hears_us(presence, now) + self.compare(own_digest)

    def _hears_us(self, presence: Presence, now: float) -> list[tuple[str, str, str]]:
        """Whether the peer hears us, by its own word. A cut in one direction shows at one end only,
        and an operator may be looking at the other."""
        known = self.known[presence.node]
        hears = presence.hears is None or self._node in presence.hears
        since = None if hears else now if known.deaf_since is None else known.deaf_since
        deaf = since is not None and now - since > SILENCE
        self.known[presence.node] = replace(known, deaf_since=since, deaf=deaf)
        if deaf == known.deaf:
            return []
        if not deaf:
            return [("peer_hears", presence.node, "hears us on the peer channel again")]
        return [("peer_deaf", presence.node, "says that it does not hear us on the peer channel")]

    def complain(self, node: str, trouble: str) -> list[tuple[str, str, str]]:
        """Something from a peer's address was not believed."""
        if node not in self.known:
            return []
        self.known[node] = replace(self.known[node], trouble=trouble)
        return [("peer_refused", node, trouble)]

    def compare(self, own_digest: str) -> list[tuple[str, str, str]]:
        """Peers whose configuration became another than ours, or the same again."""
        told = []
        for name, known in self.known.items():
            differs = known.presence is not None and known.presence.digest != own_digest
            if differs == known.differs:
                continue
            self.known[name] = replace(known, differs=differs)
            reason = (
                "runs another configuration than we do" if differs else "same configuration again"
            )
            told.append(("config_drift" if differs else "config_same", name, reason))
        return told

    def age(self, now: float) -> list[tuple[str, str, str]]:
        """Peers that fell silent, and those that never spoke."""
        told = self._missed(now)
        for name, known in self.known.items():
            if known.alive and known.heard_at is not None and now - known.heard_at > SILENCE:
                self.known[name] = replace(known, alive=False, deaf_since=None, deaf=False)
                reason = f"silent for {SILENCE:g} s on the peer channel"
                reason += f": {known.trouble}" if known.trouble else ""
                told.append(("peer_down", name, reason))
        return told

    def _missed(self, now: float) -> list[tuple[str, str, str]]:
        """Peers whose first word did not come in time: without it no address is on lease."""
        told = []
        for name, known in self.known.items():
            if known.heard_at is not None or known.missed:
                continue
            begun = now if known.awaited_from is None else known.awaited_from
            missed = _missing(known.node, self._lease) if now - begun >= FIRST_WORD else ""
            self.known[name] = replace(known, awaited_from=begun, missed=missed)
            if missed:
                told.append(("peer_missing", name, missed))
        return told

    def level(self) -> messages.Peers:
        """What the election is told."""
        return messages.Peers(tuple(_told(name, known) for name, known in self.known.items()))

    def deadline(self) -> float | None:
        """When the next peer falls silent unless it speaks."""
        return min(
            (k.heard_at + SILENCE for k in self.known.values() if k.alive and k.heard_at),
            default=None,
        )


def _told(name: str, known: Known) -> messages.Peer:
    said = known.presence
    able = said.able() if known.alive and said else ()
    return messages.Peer(name, known.alive, able, said.voices if said else {})


def router_states(routers: Iterable[messages.Router]) -> Mapping[str, str]:
    """`{"front/ipv4": "master"}` as presences carry it."""
    return {f"{router.instance}/ipv{router.family}": router.state.value for router in routers}


def router_voices(routers: Iterable[messages.Router]) -> dict[str, messages.Voice]:
    """How this node's routers speak, as presences carry it."""
    return {f"{r.instance}/ipv{r.family}": r.voice for r in routers if r.voice is not None}


def _missing(node: Node, lease: LeaseMode) -> str:
    """What it means that a peer never spoke, and what to look at."""
    where = f"at {node.address}" if node.address else "and has no address in 'nodes'"
    text = f"{node.name} was never heard on the peer channel {where}"
    if lease is LeaseMode.AUTO:
        text += ": virtual addresses are permanent, not on lease"
    return f"{text}; is it down, or an address in 'nodes' wrong on either side?"


def _stale(new: Presence, known: Known) -> bool:
    """Older than the newest word. Incarnations come from a wall clock that may be set back: a
    peer that fell silent meanwhile is believed again whatever it counts from."""
    if known.presence is None or not known.alive:
        return False
    then = known.presence
    return (new.incarnation, new.sequence) <= (then.incarnation, then.sequence)
