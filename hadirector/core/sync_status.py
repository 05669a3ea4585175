"""Connection sync in status: how complete the standby is, and by what measure that is known.

As master this node tells of its standbys, the least complete one first; as standby of itself, as
its master judged it. What nobody has compared is null, never a guess.
"""

from hadirector.core import ipvs, relay_status
from hadirector.core.attendance_status import Json
from hadirector.core.director import Director
from hadirector.core.own_sync import role_of
from hadirector.core.peers import router_states
from hadirector.core.syncer_messages import Standby, Synced, SyncRole

CANNOT_BE_KEPT = (
    "NAT connections whose sequence numbers a helper changed (FTP control), "
    "and which template a persistent connection belongs to"
)


def build(
    director: Director, threads: tuple[ipvs.SyncThread, ...], unguarded: str, offset: float
) -> Json:
    """`sync` of status; needs a configured director. `unguarded` is told here and is no trouble:
    the shipped unit may not load that guard, and a node that is never well nobody looks at."""
    config = director.config
    assert config is not None
    sync = config.connection_sync
    synced = director.sync.synced if sync else None
    role = role_of(dict(router_states(director.routers))) if sync else None
    judged = _judged(synced, role)
    worst = min(judged, key=lambda one: (one.ready, one.completeness or 0.0), default=None)
    relay = synced.relay if synced else None
    now = director.turned_at
    return {
        "role": role.value if role else None,
        "transport": sync.transport.value if sync else None,
        "resync": sync.resync.value if sync else None,
        "ready": synced.ready if synced else None,
        "reason": synced.reason if synced else None,
        "completeness": worst.completeness if worst else None,
        "measure": worst.measure.value if worst else "estimated",
        "missing": worst.missing if worst and worst.compared_at is not None else None,
        "lag_s": None
        if worst is None or worst.equal_at is None
        else max(0.0, now - worst.equal_at),
        "lost": _lost(synced, worst),
        "last_resync": worst.resync_at + offset if worst and worst.resync_at else None,
        "source": synced.source.value if synced else None,
        "known": synced.known if synced else None,
        "unseen": synced.unseen if synced else None,
        "kept_out": synced.kept_out if synced else None,
        "cannot_be_kept": CANNOT_BE_KEPT,
        "standbys": {one.node: standing(one, now) for one in synced.standbys} if synced else {},
        "masters": {one.node: standing(one, now) for one in synced.own} if synced else {},
        "refused": dict(synced.refused) if synced else {},
        "mtu": (synced.mtu or None) if synced else None,
        "overrun": synced.overrun if synced else None,
        "threads": [thread.role.name.lower() for thread in threads],
        "unguarded": unguarded or None,
        "relay": relay_status.build(relay, offset),
    }


def standing(one: Standby, now: float) -> Json:
    """How a standby stands. Instants become ages: the master's clock is another host's."""
    return {
        "ready": one.ready,
        "reason": one.reason,
        "completeness": one.completeness,
        "measure": one.measure.value,
        "connections": one.total,
        "missing": one.missing,
        "lag_s": None if one.equal_at is None else max(0.0, now - one.equal_at),
        "lost": one.lost,
        "sent": one.sent,
        "rounds": one.rounds,
        "compared": one.compared_at is not None,
    }


def _judged(synced: Synced | None, role: SyncRole | None) -> tuple[Standby, ...]:
    if synced is None:
        return ()
    match role:
        case SyncRole.MASTER:
            return synced.standbys
        case SyncRole.BACKUP:
            return synced.own
        case _:
            return (*synced.own, *synced.standbys)


def _lost(synced: Synced | None, worst: Standby | None) -> Json:
    """Datagrams that a kernel or a relay did not get."""
    if synced is None or (worst is None and synced.relay is None):
        return None
    relayed = relay_status.lost(synced.relay) if synced.relay else 0
    return relayed + (worst.lost if worst else 0)
