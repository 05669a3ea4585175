"""What an episode's single fault may cost: promises made to a scene, and how long things take."""

from collections.abc import Callable

from hadirector.core.settings.cluster import LeaseMode
from tests.sim import faults
from tests.sim.faults import Scene
from tests.sim.invariants import Key, Promise
from tests.sim.node import Node
from tests.sim.scenario import ADDED, FRONT

KNOWN_WITHIN = 0.15  # seconds: a burst may have to wait 0.1 s for the one before it
SLACK = 0.02  # seconds: loops that wake late, packets in flight
PEER_SILENCE = 2.0  # seconds after which a peer is not alive
DIRECTOR_SILENCE = 10.0  # seconds after which an election is on its own


def a_master(scene: Scene) -> tuple[Node, list[Key]]:
    """A node that is master of something, and of what."""
    invariants = scene.world.invariants
    victim = invariants.masters(scene.rng.choice(invariants.every()))[0]
    return victim, [key for key in invariants.every() if victim in invariants.masters(key)]


def front(scene: Scene) -> Key:
    return next(key for key in scene.world.invariants.every() if key[0] == FRONT)


def priority_of(scene: Scene, key: Key, node: Node) -> int:
    router = scene.world.invariants.router(node, key)
    return router.effective_priority if router else 0


def takeover_time(scene: Scene, key: Key, survivors: list[Node], intervals: int = 3) -> float:
    """RFC 9568 6.1: the best survivor waits `intervals` and its skew time."""
    scenario = scene.world.scenario
    best = max(priority_of(scene, key, node) for node in survivors)
    unit = scenario.advert_int if scenario.version == 3 else 1.0
    return intervals * scenario.advert_int + (256 - best) / 256 * unit + SLACK


def served(scene: Scene, key: Key, not_by: Node) -> bool:
    """Another node is master and holds every address."""
    invariants = scene.world.invariants
    masters = [node for node in invariants.masters(key) if node is not not_by]
    return any(all(node.holds(a) for a in invariants.addresses(key)) for node in masters)


def covered(scene: Scene, keys: list[Key]) -> bool:
    invariants = scene.world.invariants
    return all(invariants.holders(a) for key in keys for a in invariants.addresses(key))


def switch(scene: Scene, victim: Node, keys: list[Key], takes: float) -> float:
    for key in keys:
        eventually(scene, f"switch of {key}", lambda key=key: served(scene, key, victim), takes)  # type: ignore[misc]  # a bound default
    lasts = takes + scene.world.scenario.patience
    always(scene, "an address without a holder", lambda: covered(scene, keys), lasts)
    return lasts


def clients_follow(scene: Scene, keys: list[Key], lasts: float) -> None:
    """Soon after one node alone answers for a router's addresses, clients turn to it: also one that
    asked while two of them answered."""
    world, invariants = scene.world, scene.world.invariants
    alone: dict[Key, tuple[str, float]] = {}  # the one, and since when

    def follow() -> bool:
        now = world.agenda.now
        for key in keys:
            addresses = invariants.addresses(key)
            holders = {node.name for address in addresses for node in invariants.holders(address)}
            name = holders.pop() if len(holders) == 1 else ""
            if key not in alone or alone[key][0] != name:
                alone[key] = (name, now)
            late = now - alone[key][1] > KNOWN_WITHIN
            if name and late and any(world.cache.get(a) != name for a in addresses):
                return False
        return True

    world.asked = True
    scene.after(lasts, lambda: setattr(world, "asked", False))
    always(scene, "clients turn to the one that answers alone", follow, lasts)


def nothing_moves(scene: Scene, keys: list[Key], until: float) -> None:
    invariants = scene.world.invariants
    masters = {key: invariants.masters(key)[0] for key in keys}

    def holds() -> bool:
        for key, master in masters.items():
            if any(node is not master for node in invariants.masters(key)):
                return False
            addresses = [a for a in invariants.addresses(key) if a != ADDED.address]
            if not all(master.holds(a) for a in addresses):
                return False
        return True

    always(scene, f"mastership of {sorted(masters)} moved", holds, until)


def lease_ends(scene: Scene, victim: Node, extra: float) -> float:
    """A dead or hung node's addresses go by themselves."""
    lasts = scene.world.invariants.lease_bound() + extra + SLACK
    if scene.world.scenario.lease.mode is LeaseMode.OFF or lasts > faults.SILENCE - 0.5:
        return 0.0
    eventually(
        scene,
        f"{victim.name}'s addresses end",
        lambda: not victim.host.kernel.addresses,
        lasts,
        "lease-ends",
    )
    return lasts


def permanent_when_alone(scene: Scene, survivors: list[Node]) -> float:
    """The last node alive holds its addresses for ever."""
    if len(survivors) > 1:
        return 0.0
    (alone,) = survivors
    # The lease of the takeover is told to end once the peer's silence was long enough.
    lasts = max(PEER_SILENCE + 0.6, 4 * scene.world.scenario.patience) + SLACK
    eventually(
        scene,
        f"{alone.name} holds for ever",
        lambda: all(h.lifetime is None for h in alone.host.kernel.addresses.values()),
        lasts,
        "permanent-alone",
    )
    return lasts


def eventually(
    scene: Scene, what: str, holds: Callable[[], bool], within: float, invariant: str = "promise"
) -> None:
    until = scene.world.agenda.now + within
    scene.world.invariants.promises.append(
        Promise(invariant, f"{what} not within {within:.4g} s", holds, until, eventually=True)
    )


def always(scene: Scene, what: str, holds: Callable[[], bool], lasts: float) -> None:
    until = scene.world.agenda.now + lasts
    scene.world.invariants.promises.append(Promise("promise", what, holds, until, eventually=False))


def is_master(scene: Scene, node: Node, keys: list[Key]) -> bool:
    return any(node in scene.world.invariants.masters(key) for key in keys)
