"""Which datagrams of the peer channel are believed, and what is said of those that are not; the
relays of connection records (core/relay) talk through a gate of their own.

Without a key everything from a peer's address is let in, unsealed: it may say only what does no
harm if forged (core/peers). With keys nothing unsealed is, and what comes in is genuine, meant
for this node, and new. What is not is counted by its flaw, and told once: a wrong key would else
fill the journal twice a second.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from hadirector.core import seal
from hadirector.core.conversation import Conversation
from hadirector.core.keys import Key
from hadirector.core.seal import Flaw, Header, Mark, SealError

QUIET = 600.0  # seconds without a flaw after which it is news again
DEAF = 3.0  # seconds of stale datagrams only: the first ones after a start are always stale


@dataclass(frozen=True, slots=True)
class Admitted:
    """A body that is believed; `sealed`: by a key, so that it may order something."""

    body: bytes
    sealed: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """Not believed. `complaint` is a sentence for the operator, empty when it was told already;
    `answer` the datagram's mark, to be echoed at once, where one is owed."""

    flaw: Flaw
    complaint: str = ""
    answer: Mark | None = None


class Gate:
    """One node's gate. `incarnation` is that of its director: never used before."""

    def __init__(self, incarnation: int) -> None:
        self.refused: dict[str, dict[str, int]] = {}  # by node, then by flaw
        self.signs: dict[str, int] = {}  # the key that a peer signed with last
        self._incarnation = incarnation
        self._cluster = self._me = ""
        self._keys: tuple[Key, ...] = ()
        self._talks: dict[str, Conversation] = {}
        self._seen: dict[tuple[str, Flaw], float] = {}  # when a flaw was met last
        self._stale: dict[str, tuple[float, float]] = {}  # since when, until when: only those

    @property
    def keyed(self) -> bool:
        """Whether datagrams are sealed."""
        return bool(self._keys)

    def follow(self, cluster: str, me: str, peers: Iterable[str], keys: tuple[Key, ...]) -> None:
        """Take a configuration; with peers that stay, the conversation goes on."""
        self._cluster, self._me, self._keys = cluster, me, keys
        before = self._talks
        self._talks = {p: before.get(p) or Conversation(self._incarnation) for p in peers}

    def seal(self, peer: str, body: bytes, now: float, echo: Mark | None = None) -> bytes:
        """The datagram of a body for one peer."""
        if not self._keys:
            return seal.UNSIGNED + body
        talk = self._talks[peer]
        header = Header(self._cluster, self._me, peer, talk.next(now), echo or talk.heard)
        return seal.seal(header, body, self._keys[0])

    def admit(self, raw: bytes, peer: str, now: float) -> Admitted | Refused:
        """Judge a datagram that came from this peer's address."""
        if not self._keys:
            return self._admit_unsealed(raw, peer, now)
        try:
            header, body, identity = seal.unseal(raw, self._keys)
        except SealError as error:
            return self._refuse(peer, error.flaw, _complaint(peer, error.flaw, error.identity), now)
        if (header.cluster, header.sender, header.recipient) != (self._cluster, peer, self._me):
            said = f"of {header.sender} in {header.cluster} for {header.recipient}"
            text = f"a datagram {said} came from {peer}'s address: compare cluster and nodes"
            return self._refuse(peer, Flaw.MISDIRECTED, text, now)
        flaw = self._talks[peer].judge(header.mark, header.echo, now)
        if flaw is Flaw.STALE:
            return self._refuse_stale(peer, header.mark, now)
        if flaw is not None:
            return self._refuse(peer, flaw, _complaint(peer, flaw, identity), now)
        self.signs[peer] = identity
        self._stale.pop(peer, None)
        return Admitted(body, sealed=True)

    def reject(self, peer: str, flaw: Flaw, now: float, identity: int = 0) -> Refused:
        """A datagram without a lawful body, or of nobody (`peer` empty)."""
        return self._refuse(peer, flaw, _complaint(peer, flaw, identity) if peer else "", now)

    def count(self, peer: str, flaw: Flaw, now: float) -> None:
        """One that is nothing to tell of."""
        self._refuse(peer, flaw, "", now)

    def _admit_unsealed(self, raw: bytes, peer: str, now: float) -> Admitted | Refused:
        if raw.startswith(seal.UNSIGNED):
            return Admitted(raw[len(seal.UNSIGNED) :], sealed=False)
        flaw = Flaw.SIGNED if raw.startswith(seal.MAGIC) else Flaw.MALFORMED
        return self._refuse(peer, flaw, _complaint(peer, flaw, 0), now)

    def _refuse_stale(self, peer: str, mark: Mark, now: float) -> Refused:
        answer = mark if self._talks[peer].owes_answer(now) else None
        began, last = self._stale.get(peer, (now, now))
        began = began if now - last < DEAF else now
        self._stale[peer] = (began, now)
        text = _complaint(peer, Flaw.STALE, 0) if now - began > DEAF else ""
        refused = self._refuse(peer, Flaw.STALE, text, now)
        return Refused(refused.flaw, refused.complaint, answer)

    def _refuse(self, peer: str, flaw: Flaw, text: str, now: float) -> Refused:
        counts = self.refused.setdefault(peer, {})
        counts[flaw.value] = counts.get(flaw.value, 0) + 1
        if not text:
            return Refused(flaw)
        before, self._seen[peer, flaw] = self._seen.get((peer, flaw)), now
        told = before is not None and now - before < QUIET
        return Refused(flaw, "" if told else text)


def _complaint(peer: str, flaw: Flaw, identity: int) -> str:
    return _COMPLAINTS[flaw].format(peer=peer, identity=identity)


_COMPLAINTS = {
    Flaw.UNSIGNED: "{peer} does not sign: it runs without key_file, or an older release",
    Flaw.SIGNED: "{peer} signs, and this node has no key_file to verify it with",
    Flaw.UNKNOWN_KEY: "{peer} signs with a key we do not have (id {identity})",
    Flaw.WRONG_KEY: (
        "{peer}'s signature is wrong: its key {identity} is another than ours of that number, or "
        "somebody forges its datagrams"
    ),
    Flaw.REPLAYED: "a datagram of {peer} came again: doubled by the network, or replayed",
    Flaw.STALE: "{peer} speaks but does not hear us: our datagrams are lost, or refused there",
    Flaw.VERSION: "{peer} runs another release, whose datagrams are not read here",
    Flaw.WRONG_SYNC_ID: "{peer} syncs with another sync_id: make it the same on every node",
    Flaw.TRUNCATED: "a datagram of {peer} was cut off on its way",
    **dict.fromkeys(
        (Flaw.MALFORMED, Flaw.MISDIRECTED, Flaw.STRANGER),
        "a datagram from {peer}'s address is none of this channel",
    ),
}
