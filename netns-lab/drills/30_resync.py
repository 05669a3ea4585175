"""The standby reboots, then the master dies: every connection goes on, the idle ones too.

While the standby is away clients have opened connections: some that never sent anything, some idle
since one request, some busy. The kernel's own sync tells a standby that comes back only of those
that send packets, and of those only now and then. Once the standby says that it is ready (or, with
keepalived, after 10 s) the master loses power.

`nat`, `dr`, `ipv6` (NAT): how packets get to the servers. `slow`: connections that say something
each 4 s under a TCP timeout of 12 s, which age out of a standby that is told every 50th packet
only. `sealed`: over the relay (transport: authenticated). `loss`: 30 % of the sync datagrams do not
get to the standby. `early`: the master dies 2 s after the standby serves, whatever it says. At the
end the dead master comes back, with the higher priority: it must not take over before it has all
connections.
"""

import resource
import time
from dataclasses import dataclass, replace

from labkit import sealed, topology
from labkit.director import Director, Hadirector
from labkit.drills import Figures, Goal, at_least, at_most
from labkit.lab import Lab
from labkit.server import DIRECT_PORT
from labkit.setup import Setup, direct, nat, nat6

MANY = 500
DESCRIPTORS = 8192
WAIT = 10.0  # seconds for a rival that does not tell when it is ready
EARLY = 2.0
RUNS = 3


@dataclass(frozen=True, slots=True)
class Scene:
    """One variant. `period` is that of active connections, in seconds; `outlast`: the blow comes so
    many seconds after READY; `early`: it comes then, READY or not; `loss` in percent of the sync
    datagrams that leave the master."""

    kinds: dict[str, int]
    port: int = 80
    address: str = topology.VIP
    period: float = 2.0
    extra: str = ""
    sealed: bool = False
    loss: int = 0
    outlast: float = 0.0
    early: bool = False


_NAT = Scene({"fresh": MANY, "idle": MANY, "active": MANY})
_WAYS = {
    "nat": _NAT,
    "dr": replace(_NAT, port=DIRECT_PORT),
    "ipv6": replace(_NAT, address=topology.VIP6),
}


def _slow(scene: Scene) -> Scene:
    # Twice the timeout after READY: who is not repeated meanwhile is gone.
    extra = "timeouts: {tcp: 12s}\n"
    return replace(scene, kinds={"active": MANY}, period=4.0, extra=extra, outlast=25.0)


def _variants() -> dict[str, Scene]:
    """By name: the way, alone or behind what is different besides."""
    plain = {**_WAYS, **{f"slow-{way}": _slow(scene) for way, scene in _WAYS.items()}}
    kept = {f"sealed-{name}": replace(scene, sealed=True) for name, scene in plain.items()}
    early = {f"early-{way}": replace(scene, early=True) for way, scene in _WAYS.items()}
    return {**plain, **kept, **early, "loss": replace(_NAT, loss=30)}


VARIANTS = _variants()


def _goals(scene: Scene) -> dict[str, Goal]:
    survive: dict[str, Goal] = {f"{kind}_survive": at_least(n) for kind, n in scene.kinds.items()}
    # Of the rounds: the whole table, and what of it was lost.
    return {**survive, "ready_s": at_most(15), "rounds": at_most(2), "early_takeover": at_most(0)}


GOALS = {name: _goals(scene) for name, scene in VARIANTS.items()}


def run(lab: Lab, variant: Scene) -> Figures:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    lab.start(_setup(lab, variant))
    lab.lb1.wait_master(address=variant.address)
    with lab.hold_at(variant.address, variant.port, variant.period, variant.kinds) as held:
        assert held.total == sum(variant.kinds.values()), held.opened
        compared = _compared(lab.lb2)
        lab.note("lb2 reboots")
        lab.lb2.power_off()
        time.sleep(1.0)
        if variant.loss:
            sealed.lose(lab.lb1.node, variant.loss)
        lab.lb2.power_on()
        lab.lb2.configure(lab.lb1.setup)
        lab.lb2.start()
        took = _wait_ready(lab.lb2, variant)
        rounds = max(0, _compared(lab.lb2) - compared - 1)  # the last one found nothing missing
        time.sleep(variant.outlast)
        lab.note("lb1 loses power")
        lab.lb1.power_off()
        lab.lb2.wait_master(address=variant.address)
        time.sleep(1.0)
        lab.note("connections are asked")
        survivors = held.survivors()
        early = _comes_back_too_early(lab, variant.address)
    told = {f"{kind}_survive": survivors[kind] for kind in variant.kinds}
    return {**told, "ready_s": took, "rounds": rounds, "early_takeover": early}


def _setup(lab: Lab, scene: Scene) -> Setup:
    ours = lab.product == "hadirector"
    return Setup(
        services=(nat(), direct(), nat6()),
        advert_int=0.5,
        preempt="when-synced" if ours else "always",
        extra=scene.extra + (sealed.key(lab.directory) if scene.sealed and ours else ""),
        transport="transport: authenticated" if scene.sealed and ours else "",
    )


def _compared(standby: Director) -> int:
    """How often its master has compared it."""
    if not isinstance(standby, Hadirector):
        return 0
    return int(standby.status()["sync"]["masters"].get("lb1", {}).get("rounds", 0))


def _wait_ready(standby: Director, scene: Scene) -> float:
    """Until it says that it has everything; seconds since it was started."""
    begun = time.monotonic()
    standby.wait_serving()
    if scene.early:
        time.sleep(EARLY)
        return time.monotonic() - begun
    if not isinstance(standby, Hadirector):
        time.sleep(WAIT)
        return WAIT
    standby.wait(lambda: _is_ready(standby), "readiness", within=60.0)
    return time.monotonic() - begun


def _is_ready(director: Hadirector) -> bool:
    status = director.status()
    return bool(status["ready"] and status["sync"]["completeness"] == 100)


def _comes_back_too_early(lab: Lab, address: str) -> int:
    """The former master, of the higher priority, comes back: whether it takes over before it has
    the connections."""
    lab.note("lb1 comes back")
    lab.lb1.power_on()
    lab.lb1.configure(lab.lb1.setup)
    lab.lb1.start()
    if not isinstance(lab.lb1, Hadirector):
        return 0
    returning = lab.lb1
    returning.wait_serving()
    ready = False
    for _ in range(4000):
        holds = returning.holds(address)
        ready = ready or _is_ready(returning)
        if holds:
            return int(not ready)
        time.sleep(0.01)
    raise RuntimeError("the former master never took over again")
