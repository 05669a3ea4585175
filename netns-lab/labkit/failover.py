"""What every failover drill does: clients at work, a blow, and what it cost them."""

import time
from collections.abc import Callable

from labkit import topology
from labkit.drills import Figures, at_least
from labkit.lab import Lab
from labkit.load import Held

# A connection is on the standby two seconds after it was opened at the latest: so long may the
# kernel's sync thread keep a buffer that is not full.
SYNC_DELAY = 3.0
HELD = {"fresh": 20, "idle": 30, "active": 30}
SURVIVAL = {f"{kind}_survive_pc": at_least(100) for kind in HELD}


def blow(
    lab: Lab,
    what: str,
    strike: Callable[[], object],
    settle: float,
    port: int = 80,
    every: float = 0.008,
    address: str = topology.VIP,
) -> Figures:
    """Strikes under load and looks on for `settle` seconds. Needs a started pair.

    outage_ms: longest time without an answer; client_late_ms: how much of that may be the client's
    own waiting for a CPU; failed: requests lost; overlap_ms: two live nodes held the virtual
    address; takeovers: how often one took it; survival of held connections in percent, by what
    they had done before.
    """
    held_at = lab.hold_at(address, port, 0.5, HELD)
    with held_at as held, lab.load(port=port, every=every, address=address) as load:
        time.sleep(SYNC_DELAY)
        lab.await_phase(lab.lb1.setup.advert_int)
        struck = lab.note(what)
        strike()
        time.sleep(settle)
        lab.note("connections are asked")
        survival = survival_of(held)
    return {
        "outage_ms": 1000 * load.outage(struck - 0.5),
        "client_late_ms": 1000 * load.late(struck - 0.5),
        "failed": load.failed(),
        "overlap_ms": 1000 * lab.overlap(struck),
        "takeovers": lab.takeovers(struck),
        **survival,
    }


def survival_of(held: Held) -> Figures:
    """Ask every connection that was opened as HELD says, and close them."""
    survivors = held.survivors()
    return {f"{kind}_survive_pc": 100 * survivors[kind] / HELD[kind] for kind in HELD}
