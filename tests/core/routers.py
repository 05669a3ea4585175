"""One virtual router on a desk: its settings, what it may hear, and a few words for its states."""

from dataclasses import replace

from hadirector.core.address import Address
from hadirector.core.advert import Advert
from hadirector.core.settings.instances import Instance, Preempt, VirtualAddress
from hadirector.core.vrrp import Router
from hadirector.core.vrrp_states import Effect, Standing

OWN, PEER, HIGHER = Address("198.51.100.2"), Address("198.51.100.1"), Address("198.51.100.3")
VIP = VirtualAddress(Address("192.0.2.10"), 24, "eth0")
T0 = 1000.0  # the instant most tests begin at

FRONT = Instance(
    name="front",
    interface="eth0",
    virtual_router_id=51,
    priority=100,
    version=3,
    advert_int=1.0,
    virtual_addresses=(VIP,),
    preempt=Preempt.ALWAYS,
    startup_delay=0.0,
    peer_priorities=(90, 150),
)
WELL = Standing(known=True, source=OWN, ready=True, ready_reason="ready", accompanied=True)

DOWN = 3 + 156 / 256  # master-down of priority 100 at 1 s
SKEW = 156 / 256
PATIENCE = 3 + 255 / 256  # how long peers wait for us at most
SOONEST = 3 + 106 / 256  # how long the best of them, of priority 150, waits


def said(priority: int, interval: float = 1.0) -> Advert:
    """An advert a peer may send."""
    return Advert(3, 51, priority, interval, (VIP.address,))


def backup(instance: Instance = FRONT, standing: Standing = WELL) -> Router:
    """A router that began to listen at T0."""
    router = Router(instance, T0)
    router.update(standing, T0)
    return router


def master(instance: Instance = FRONT, standing: Standing = WELL) -> tuple[Router, float]:
    """A router that heard nobody, and the instant at which it became master."""
    router = backup(instance, standing)
    assert router.deadline is not None
    now = router.deadline
    router.tick(now)
    if standing.coupled:
        router.promote("with its sync group", now)
    assert router.holds_addresses
    return router, now


def kinds(effects: list[Effect]) -> list[str]:
    """Effects in a word each: advert priorities, and the kinds of journal lines."""
    words = []
    for effect in effects:
        name = type(effect).__name__.lower()
        detail = getattr(effect, "priority", getattr(effect, "kind", getattr(effect, "duel", "")))
        words.append(f"{name} {detail}".strip())
    return words


def with_standing(**changes: object) -> Standing:
    """WELL, but for these."""
    return replace(WELL, **changes)  # type: ignore[arg-type]  # the tests name real fields


def passing(router: Router, until: float) -> list[Effect]:
    """Time passes, deadline by deadline; all that comes of it."""
    effects: list[Effect] = []
    while (at := router.deadline) is not None and at <= until:
        effects += router.tick(at)
    return effects
