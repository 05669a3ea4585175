"""Connection records between directors, sealed: what one relay does with what it hears.

The kernel's sync threads speak to a private interface that leads nowhere. The relay takes what
the master thread says there, seals it and sends it to every peer; what a peer's relay sends is
opened and handed to the local backup thread there. Rules:

1. Nothing reaches the kernel but records sealed with a key of the cluster, for our sync ID, by a
   peer whose epoch a beat has proven to be alive: a beat that echoes what this relay said in the
   last seconds (core/conversation). So what was recorded before this relay began, or before its
   sender did, is nothing but stale.
2. Each datagram reaches it once, and in the order in which it was sent (core/relay_inbox). One
   that was held up for longer than a second or two is refused.
3. What is lost is noticed, by a gap or by a beat, and asked for again.
4. Without a key nothing is sent and nothing is taken in.

Records of an epoch that is not proven yet wait for its beat, which is asked for at once: a relay
that starts loses none from the moment that its peer has heard it.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from hadirector.core import relay_wire, seal
from hadirector.core.address import Address
from hadirector.core.gate import Admitted, Gate
from hadirector.core.keys import Key
from hadirector.core.relay_inbox import Inbox
from hadirector.core.relay_messages import RelayPeer
from hadirector.core.relay_outbox import Allowance, Outbox
from hadirector.core.relay_wire import Again, Beat, Records, RelayError
from hadirector.core.seal import Flaw, Mark

BEAT_EVERY = 0.5  # seconds
TAIL = 0.03  # seconds after the last record of a burst: only a beat tells that it was lost
ALIVE = 2.0  # seconds without a beat after which a peer's records are not taken any more
UNPROVEN = 256  # datagrams of a peer that wait for its beat
PATIENCE = 2.0  # seconds that they wait
_RETIRED = 16  # epochs of a peer that others followed upon


@dataclass(frozen=True, slots=True)
class ToKernel:
    """Hand this to the local backup thread; `peer` sent it."""

    peer: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class ToPeer:
    """Send this to one peer's relay."""

    peer: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """Something for the journal."""

    kind: str
    peer: str
    reason: str


Action = ToKernel | ToPeer | Told


@dataclass(frozen=True, slots=True)
class Settings:
    """What a relay needs to know. `peers` are the other nodes with the address that each sends
    from, None where that is not laid down (multicast). The first key seals, all of them open."""

    cluster: str
    node: str
    sync_id: int
    peers: Mapping[str, Address | None]
    keys: tuple[Key, ...]


@dataclass(slots=True)
class _Talk:
    """With one peer. `epoch` is the one its last beat named, and `since` what we had sent when we
    heard of it first; `inbox` is there once an epoch is proven."""

    heard_at: float | None = None
    alive: bool = False
    epoch: int = 0
    since: int = 0
    inbox: Inbox | None = None
    waiting: deque[tuple[float, Records]] = field(default_factory=deque)
    retired: deque[int] = field(default_factory=lambda: deque(maxlen=_RETIRED))
    allowance: Allowance = field(default_factory=Allowance)
    prompted_at: float = -1.0
    taken: int = 0
    again: int = 0  # of former epochs
    lost: int = 0
    sent_again: int = 0


class Relay:
    """One node's relay. `incarnation` was never used before, and is its epoch."""

    def __init__(self, incarnation: int) -> None:
        self._epoch = incarnation
        self._gate = Gate(incarnation)
        self._settings = Settings("", "", 0, {}, ())
        self._tag = b""
        self._tags: dict[bytes, str] = {}
        self._names: dict[Address, str] = {}
        self._talks: dict[str, _Talk] = {}
        self._outbox = Outbox()
        self._beat_at = 0.0
        self._tail_at: float | None = None

    @property
    def sent(self) -> int:
        """Datagrams of records sent."""
        return self._outbox.sent

    @property
    def strangers(self) -> Mapping[str, int]:
        """Datagrams of nobody we know, by flaw."""
        return dict(self._gate.refused.get("", {}))

    def follow(self, settings: Settings) -> None:
        """Take a configuration or other keys; what goes on with peers that stay goes on."""
        self._settings = settings
        self._tag = relay_wire.tag(settings.cluster, settings.node)
        self._tags = {relay_wire.tag(settings.cluster, peer): peer for peer in settings.peers}
        self._names = {a: peer for peer, a in settings.peers.items() if a is not None}
        self._talks = {peer: self._talks.get(peer) or _Talk() for peer in settings.peers}
        channel = f"{settings.cluster} relay"
        self._gate.follow(channel, settings.node, settings.peers, settings.keys)

    def outgoing(self, payload: bytes, now: float) -> bytes | None:
        """The datagram for every peer that carries one of the kernel's; None without a key, and
        for what is no sync datagram of ours."""
        settings = self._settings
        if not settings.keys or relay_wire.kernel_flaw(payload, settings.sync_id) is not None:
            return None
        self._tail_at = now + TAIL
        return self._seal(self._outbox.add(payload, now), payload)

    def incoming(self, raw: bytes, source: Address, now: float) -> list[Action]:
        """A datagram came from this address."""
        if not self._settings.keys:
            return []
        if relay_wire.is_records(raw):
            return self._records(raw, source, now)
        return self._talk(raw, source, now)

    def due(self, now: float) -> list[Action]:
        """What is due by time."""
        actions: list[Action] = []
        self._outbox.forget(now)
        for peer, talk in self._talks.items():
            actions += self._age(peer, talk, now)
            actions += self._ask(peer, talk, now)
        if now >= self._next_beat():
            self._beat_at, self._tail_at = now + BEAT_EVERY, None
            actions += [beat for peer in self._talks for beat in self._beat(peer, now)]
        return actions

    def deadline(self) -> float:
        """When `due` has something to do at the latest."""
        due = [self._next_beat()]
        for talk in self._talks.values():
            if talk.inbox is not None and (at := talk.inbox.deadline()) is not None:
                due.append(at)
        return min(due)

    def accounts(self, now: float) -> dict[str, RelayPeer]:
        """What became of each peer's records."""
        return {peer: self._account(peer, talk, now) for peer, talk in self._talks.items()}

    def _account(self, peer: str, talk: _Talk, now: float) -> RelayPeer:
        inbox = talk.inbox
        since = inbox.missing_since() if inbox is not None else None
        return RelayPeer(
            talk.alive,
            talk.heard_at,
            self._gate.signs.get(peer),
            talk.taken,
            talk.again + (inbox.again if inbox is not None else 0),
            talk.lost + (inbox.lost if inbox is not None else 0),
            0.0 if since is None else round(now - since, 3),
            talk.sent_again,
            dict(self._gate.refused.get(peer, {})),
        )

    # Records

    def _records(self, raw: bytes, source: Address, now: float) -> list[Action]:
        peer = self._sender(relay_wire.sender_of(raw), source)
        if peer is None:
            self._gate.count("", relay_wire.flaw_of(raw) or Flaw.STRANGER, now)
            return []
        try:
            records = relay_wire.open_records(raw, self._settings.keys, self._settings.sync_id)
        except RelayError as error:
            return self._refused(peer, error.flaw, now, error.identity)
        if records.sender not in self._tags:  # its head was too short to tell who sent it
            self._gate.count(peer, Flaw.STRANGER, now)
            return []
        talk = self._talks[peer]
        if talk.inbox is None or not talk.alive or records.epoch != talk.inbox.epoch:
            return self._unproven(peer, talk, records, now)
        return self._take(peer, talk.inbox, records, now)

    def _take(self, peer: str, inbox: Inbox, records: Records, now: float) -> list[Action]:
        handed = inbox.take(records.sequence, records.payload, now)
        if handed is None:
            return self._refused(peer, Flaw.REPLAYED, now)
        return self._hand_on(peer, handed)

    def _unproven(self, peer: str, talk: _Talk, records: Records, now: float) -> list[Action]:
        """Genuine, and nothing says that it is new: it waits for a beat, which is asked for."""
        if records.epoch in talk.retired:
            return self._refused(peer, Flaw.REPLAYED, now)
        talk.waiting.append((now, records))
        if len(talk.waiting) > UNPROVEN:
            talk.waiting.popleft()
            self._gate.count(peer, Flaw.STALE, now)
        return self._prompt(peer, talk, now)

    def _hand_on(self, peer: str, payloads: list[bytes]) -> list[Action]:
        self._talks[peer].taken += len(payloads)
        return [ToKernel(peer, payload) for payload in payloads]

    def _sender(self, tag: bytes | None, source: Address) -> str | None:
        """The peer that a datagram is of: by what it says, and by its address where that is laid
        down; what says nothing (another format, cut off) by its address alone."""
        if tag is None:
            return self._names.get(source)
        peer = self._tags.get(tag)
        return peer if peer is not None and self._comes_from(peer, source) else None

    def _comes_from(self, peer: str, source: Address) -> bool:
        return self._settings.peers[peer] in (None, source)

    # Beats and requests

    def _talk(self, raw: bytes, source: Address, now: float) -> list[Action]:
        claims = seal.claims(raw)
        peer = self._names.get(source) if claims is None else claims.sender
        if claims is not None and claims.recipient != self._settings.node:
            return []  # by multicast everybody hears what is said to one
        if peer not in self._talks or not self._comes_from(peer, source):
            self._gate.count("", Flaw.STRANGER, now)
            return []
        judged = self._gate.admit(raw, peer, now)
        if not isinstance(judged, Admitted):
            actions: list[Action] = []
            if judged.answer is not None:
                actions += self._beat(peer, now, judged.answer)
            if judged.complaint:
                actions.append(Told("relay_refused", peer, judged.complaint))
            return actions
        said = relay_wire.decode(judged.body)
        match said:
            case None:
                return self._refused(peer, Flaw.MALFORMED, now)
            case Beat():
                return self._beaten(peer, self._talks[peer], said, now)
            case Again():
                return self._sends_again(peer, self._talks[peer], said, now)
            case _:
                assert_never(said)

    def _beaten(self, peer: str, talk: _Talk, beat: Beat, now: float) -> list[Action]:
        """A beat that is new. Who did not know us yet is told of us at once."""
        actions: list[Action] = []
        talk.heard_at = now
        if beat.epoch != talk.epoch:
            talk.epoch, talk.since = beat.epoch, self._outbox.sent
            actions += self._beat(peer, now)
        if beat.hears != self._epoch:
            return actions
        if not talk.alive:
            talk.alive = True
            actions.append(Told("relay_heard", peer, "sealed records come, and are checked"))
        inbox = talk.inbox
        if inbox is None or inbox.epoch != beat.epoch:
            actions += self._renew(peer, talk)
            inbox = talk.inbox = Inbox(beat.epoch, beat.since)
        actions += self._hand_on(peer, inbox.learn(beat.sent, beat.oldest, now))
        waiting, talk.waiting = talk.waiting, deque()
        for _, records in waiting:
            if records.epoch != inbox.epoch or records.sequence <= beat.since:
                self._gate.count(peer, Flaw.STALE, now)
            else:
                actions += self._take(peer, inbox, records, now)
        return actions

    def _renew(self, peer: str, talk: _Talk) -> list[Action]:
        """Its relay began anew: what is held of the one before is handed on."""
        if talk.inbox is None:
            return []
        handed = talk.inbox.end()
        talk.retired.append(talk.inbox.epoch)
        talk.lost += talk.inbox.lost
        talk.again += talk.inbox.again
        return self._hand_on(peer, handed)

    def _sends_again(self, peer: str, talk: _Talk, asked: Again, now: float) -> list[Action]:
        if asked.epoch != self._epoch:
            return []
        found = self._outbox.again(asked.ranges, talk.allowance, now)
        sent: list[Action] = [ToPeer(peer, self._seal(*one)) for one in found]
        talk.sent_again += len(sent)
        return sent

    def _prompt(self, peer: str, talk: _Talk, now: float) -> list[Action]:
        """Tell a peer of us, that it may prove itself: not more often than it beats itself."""
        if now - talk.prompted_at < TAIL:
            return []
        talk.prompted_at = now
        return self._beat(peer, now)

    def _beat(self, peer: str, now: float, echo: Mark | None = None) -> list[Action]:
        talk = self._talks[peer]
        beat = Beat(self._epoch, self._outbox.sent, self._outbox.oldest, talk.epoch, talk.since)
        return self._say(peer, beat, now, echo)

    def _say(
        self, peer: str, said: Beat | Again, now: float, echo: Mark | None = None
    ) -> list[Action]:
        if not self._settings.keys:
            return []
        return [ToPeer(peer, self._gate.seal(peer, relay_wire.encode(said), now, echo))]

    # Time

    def _next_beat(self) -> float:
        return self._beat_at if self._tail_at is None else min(self._beat_at, self._tail_at)

    def _ask(self, peer: str, talk: _Talk, now: float) -> list[Action]:
        """What is missing is asked for, or given up."""
        inbox = talk.inbox
        due = inbox.deadline() if inbox is not None else None
        if inbox is None or due is None or now < due:
            return []
        actions = self._hand_on(peer, inbox.due(now))
        for ranges in inbox.asks(now):
            actions += self._say(peer, Again(inbox.epoch, ranges), now)
        return actions

    def _age(self, peer: str, talk: _Talk, now: float) -> list[Action]:
        while talk.waiting and talk.waiting[0][0] < now - PATIENCE:
            talk.waiting.popleft()
            self._gate.count(peer, Flaw.STALE, now)
        if not talk.alive or talk.heard_at is None or now - talk.heard_at <= ALIVE:
            return []
        talk.alive = False
        told = Told("relay_silent", peer, f"no beat of its relay for {ALIVE:g} s")
        held = talk.inbox.end() if talk.inbox is not None else []
        return [*self._hand_on(peer, held), told]

    def _refused(self, peer: str, flaw: Flaw, now: float, identity: int = 0) -> list[Action]:
        complaint = self._gate.reject(peer, flaw, now, identity).complaint
        return [Told("relay_refused", peer, complaint)] if complaint else []

    def _seal(self, sequence: int, payload: bytes) -> bytes:
        settings = self._settings
        return relay_wire.seal_records(
            payload, self._tag, self._epoch, sequence, settings.sync_id, settings.keys[0]
        )
