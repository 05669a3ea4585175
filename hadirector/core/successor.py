"""Who could take over from this node, and what speaks against it."""

from dataclasses import dataclass

from hadirector.core.messages import RouterStateName
from hadirector.core.peers import Known
from hadirector.core.situation import Situation


@dataclass(frozen=True, slots=True)
class Choice:
    """The peer that is to take over; None: nobody is known, so whoever listens. `against`: why
    not to hand over, empty when nothing speaks against it."""

    successor: str | None
    against: str = ""
    warnings: tuple[str, ...] = ()


def choose(names: tuple[str, ...], here: Situation) -> Choice:
    """The best of the peers that could take these instances over."""
    heard = [known for known in here.peers.values() if known.presence is not None]
    refused = [k for k in here.peers.values() if k.presence is None and k.trouble]
    if not heard and not refused:
        return Choice(None, "", (_nobody(here),))
    alive = sorted((k for k in heard if k.alive), key=lambda k: _rank(k, names), reverse=True)
    fit = [known for known in alive if not against(known, names, here)]
    best = next(iter(fit or alive), None)
    if best is None:
        silent = [f"{k.node.name} is silent on the peer channel" for k in heard]
        return Choice(None, "; ".join([*(k.trouble for k in refused), *silent]))
    drift = f"{best.node.name} runs another configuration than this node"
    warnings = (drift,) if best.differs else ()
    why = "" if fit else "; ".join(against(known, names, here) for known in alive)
    return Choice(best.node.name, why, warnings)


def against(known: Known, names: tuple[str, ...], here: Situation) -> str:
    """Why a live peer should not take these over, as far as its presence tells."""
    said, node = known.presence, known.node.name
    assert said is not None
    if said.standby:
        return f"{node} is in standby"
    for name in names:
        states = said.states_of(name)
        if not states:
            return f"{node} does not run {name}"
        for router, state in states.items():
            if state not in ("backup", "master"):
                return f"{router} is in {state} on {node}"
    if not said.ready:
        return f"{node} is not ready: {said.reason}"
    for service, met in here.services.items():
        if met and not said.services.get(service, True):
            return f"{service} is below quorum on {node}, and up here"
    return ""


def hindrance(names: tuple[str, ...], here: Situation, standby: bool) -> str:
    """Why this node cannot take over what a peer hands to it: the same, by its own knowledge."""
    if standby:
        return "in standby"
    for name in names:
        routers = here.routers_of([name])
        if not routers:
            return f"{name} does not run here"
        for router in routers:
            if router.state in (RouterStateName.INIT, RouterStateName.FAULT):
                return f"{name}/ipv{router.family} is in {router.state.value}: {router.reason}"
    return "" if here.ready.ready else f"not ready: {here.ready.reason}"


def _rank(known: Known, names: tuple[str, ...]) -> tuple[list[int], int]:
    """By priority, as far as told; else by that of the node. The least counts first: who has the
    best for each instance ranks before all others, and keeps what it is given."""
    assert known.presence is not None
    said = known.presence.priorities
    told = [p for router, p in said.items() if router.rpartition("/")[0] in names]
    return sorted(told), known.node.priority


def _nobody(here: Situation) -> str:
    by = "handing over by priority 0, to whoever hears it"
    if not here.peers:
        return f"no other node is configured: {by}"
    return f"{', '.join(here.peers)} was never heard on the peer channel: {by}"
