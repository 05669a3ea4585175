"""Who does not have the connections it should have, and whether that lasts longer than a rejoin.

A standby that joins is complete within seconds: 100,000 connections take less than 5, a million
some 20. A comparison that finds something missing is made good by the next round, a third of a
second later. Neither is anything to wake somebody for; what lasts is.

    this node       a standby whose masters do not call it complete
    a standby       of this node, alive, that lacks something or cannot be compared
    nobody          alive and standby, and never asked for connections: no link, another release
"""

from collections.abc import Iterable

from hadirector.core.peers import Known
from hadirector.core.syncer_messages import Synced, SyncRole

REJOIN = 20.0  # seconds that any rejoin may take
PER_SECOND = 20_000  # connections; a slow pace, for networks that drop some

THIS_NODE = "this node, as standby,"


def lacking(synced: Synced, role: SyncRole, standbys: Iterable[Known], port: int) -> dict[str, str]:
    """Why, by who lacks connections; `standbys` are those that should have this node's."""
    found = {} if synced.ready else {THIS_NODE: synced.reason}
    if role is SyncRole.BACKUP:
        return found
    compared = {one.node: one for one in synced.standbys}
    for known in standbys:
        name = known.node.name
        one = compared.get(name)
        if one is None:
            found[f"standby {name}"] = f"its syncer does not connect to us (TCP port {port})"
        elif not one.ready:
            found[f"standby {name}"] = one.reason
    return found


class Absences:
    """Since when each of them lacks connections; instants are CLOCK_BOOTTIME."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._since: dict[str, float] = {}

    def look(self, reasons: dict[str, str], now: float) -> None:
        """How it is now. Who has them begins anew."""
        self._since = {who: self._since.get(who, now) for who in reasons}
        self._reasons = reasons

    def late(self, connections: int, now: float) -> list[str]:
        """A sentence for each that lacks them for longer than a rejoin of so many takes."""
        most = REJOIN + connections / PER_SECOND
        return [
            f"{who} would lose connections: {reason}"
            for who, reason in self._reasons.items()
            if now - self._since[who] > most
        ]
