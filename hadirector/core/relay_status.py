"""The relay in status, and what of it somebody must look at."""

from collections.abc import Mapping

from hadirector.core.attendance_status import Json
from hadirector.core.peers import Known
from hadirector.core.relay_messages import RelayState

SILENCE = 5.0  # seconds without a beat of a living peer's relay: a process starts anew in less


def build(state: RelayState | None, offset: float) -> Json:
    """`sync.relay` of status; null with `transport: kernel`. Instants become Unix seconds."""
    if state is None:
        return None
    return {
        "sent": state.sent,
        "unsent": state.unsent,
        "overrun": state.overrun,
        "local": state.local,
        "strangers": dict(state.strangers),
        "peers": {
            name: {
                "alive": peer.alive,
                "heard": None if peer.heard_at is None else peer.heard_at + offset,
                "key": peer.key,
                "taken": peer.taken,
                "again": peer.again,
                "lost": peer.lost,
                "behind_s": peer.behind,
                "sent_again": peer.sent_again,
                "refused": dict(peer.refused),
            }
            for name, peer in state.peers.items()
        },
    }


def lost(state: RelayState) -> int:
    """Datagrams of records that did not come, or did not get to the kernel."""
    return state.overrun + sum(peer.lost for peer in state.peers.values())


def troubles(state: RelayState | None, known: Mapping[str, Known], now: float) -> list[str]:
    """A sentence each."""
    if state is None:
        return []
    told = list(state.troubles)
    for name, peer in state.peers.items():
        living = name in known and known[name].alive
        if living and not peer.alive and (peer.heard_at is None or now - peer.heard_at > SILENCE):
            told.append(
                f"{name}'s relay is not heard: none of its connection records come; is the sync "
                "network up, and port and keys the same on both nodes?"
            )
    return told
