"""Whether a node has the connections of those it may have to replace.

    nobody to have any from      ready: no other node is master of anything
    its master judges it         as it was judged last, for `VERDICT_HOLDS` seconds
    a master that cannot judge   not ready, and why; `preempt: when-synced` waits `sync_wait` for it
    a master is heard, and no    not ready, and why: its director may have died, or our keys differ;
    peer that we know of says    `sync_wait` ends that, too. Beside a master that is no director of
    that it is that              ours there is nobody to wait for: ready

Within `FIRST_WORD` seconds of the start a peer that was not heard yet may be master.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

from hadirector.core.syncer_messages import Standby, SyncRole, SyncRoles

FIRST_WORD = 5.0  # seconds: presences come each half second
VERDICT_HOLDS = 150.0  # seconds: comparisons come each minute
FEW = 4  # connections: those that end are forgotten a little later here than in the kernel
SHARE = 0.2  # of what was heard, for the same reason
DOUBT_EVERY = 60.0  # seconds: comparisons come as often by themselves


@dataclass(frozen=True, slots=True)
class Master:
    """What is known of the conversation with one: its last verdict, when it came, and why there is
    no conversation if there is none."""

    standing: Standby | None = None
    heard_at: float = 0.0
    trouble: str = ""


def by_our_clock(
    node: str, standing: Standby, now: float, before: Standby | None = None
) -> Standby:
    """A verdict that came just now, with its instants by this host's clock, and under the name of
    the master that gave it. One that came without a comparison since the one `before`, as none
    was possible, keeps its instants."""
    if standing.compared_at is None:
        return replace(standing, node=node)
    if before is not None and before.rounds == standing.rounds and not standing.ready:
        compared, equal, resync = before.compared_at, before.equal_at, before.resync_at
        return replace(standing, node=node, compared_at=compared, equal_at=equal, resync_at=resync)
    shift = now - standing.compared_at
    equal, resync = standing.equal_at, standing.resync_at
    return replace(
        standing,
        node=node,
        compared_at=now,
        equal_at=None if equal is None else equal + shift,
        resync_at=None if resync is None else resync + shift,
    )


class Doubt:
    """Whether a standby whose kernel does not take what is sent is to be compared before it is due.
    We hear the wire, the kernel's thread only what filters let through; what has another sync_id
    neither of us takes. Other clusters may well use the same network all day: what they say is
    reason for one comparison in `DOUBT_EVERY` seconds."""

    def __init__(self) -> None:
        self._refused = 0
        self._at = -inf

    def look(self, refused: int, heard: int, counted: int, now: float) -> str:
        """Why, or nothing: so many datagrams were refused so far, so many connections did the sync
        interface bring, and so many does the kernel count."""
        more, self._refused = refused > self._refused, refused
        if more and now - self._at >= DOUBT_EVERY:
            self._at = now
            return "records on the sync interface were refused"
        if heard - counted > max(FEW, SHARE * heard):
            return "the kernel has fewer connections than the wire brought"
        return ""


def masters(roles: SyncRoles) -> list[str]:
    """The nodes that this one is standby of."""
    if roles.role is SyncRole.MASTER:
        return []
    return [peer.node for peer in roles.peers if peer.alive and peer.masters]


def judge(
    roles: SyncRoles | None, listening: bool, known: Mapping[str, Master], since: float, now: float
) -> tuple[bool, str]:
    """Ready or not, and why. `since` is when the syncer heard its roles first."""
    if roles is None:
        return False, "the syncer does not know its role yet"
    if roles.role is SyncRole.MASTER:
        return True, "this node is master"
    wanted = masters(roles)
    if not wanted:
        unheard = [peer.node for peer in roles.peers if not peer.alive]
        if unheard and now - since < FIRST_WORD:
            return False, f"{unheard[0]} was not heard yet"
        hidden = [peer.node for peer in roles.peers if peer.hidden]
        if hidden and roles.obeys:
            heard = f"a master is heard at {roles.obeys[0]}, and {hidden[0]}'s director is not"
            return False, f"{heard}: nobody says which connections are there"
        return True, "no other director is master: there is nobody to have connections from"
    if not listening:
        return False, "the backup thread does not listen"
    for node in wanted:
        ready, reason = _of(node, known.get(node, Master()), now)
        if not ready:
            return False, reason
    return True, "; ".join(f"{node}: {_said(known[node])}" for node in wanted)


def _of(node: str, master: Master, now: float) -> tuple[bool, str]:
    standing = master.standing
    if standing is None:
        why = f": {master.trouble}" if master.trouble else ""
        return False, f"not compared with {node} yet{why}"
    if now - master.heard_at > VERDICT_HOLDS:
        why = master.trouble or "it is silent"
        return False, f"not compared with {node} for {now - master.heard_at:.0f} s: {why}"
    return standing.ready, f"{node}: {standing.reason}"


def _said(master: Master) -> str:
    assert master.standing is not None
    return f"{master.standing.reason} ({master.standing.measure.value})"
