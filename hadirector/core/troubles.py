"""What somebody must look at, and the one line that says how this node is.

`build` gives a sentence for each trouble, the node's own first; `headline` is what a monitor or a
tired operator reads: the role, and the worst thing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import islice

from hadirector.core import (
    attendance_status,
    deaths,
    messages,
    own_election,
    relay_status,
)
from hadirector.core.admin import Admin
from hadirector.core.director import Director
from hadirector.core.messages import Health
from hadirector.core.weight import ServiceState, ServiceWeights

SHOWN = 5  # services told by name for each state; a farm of a thousand may be down at once
SAMPLES = 2  # servers of such a service told with their reason

_ROLES = ("master", "backup", "fault", "init")
_WORDS = {
    ServiceState.DOWN: "DOWN",
    ServiceState.FALLBACK: "on the fallback",
    ServiceState.DEGRADED: "degraded",
}


def build(director: Director, shell: Mapping[str, str]) -> list[str]:
    """Every trouble, one sentence each, what an operator did himself first; `shell` are the
    shell's, by kind."""
    told = _operators(director)
    told += _paused(director)
    if director.kernel.trouble:
        told.append(director.kernel.trouble)
    told += deaths.trouble(director.processes, director.turned_at)
    if director.election.unknown not in ("", own_election.DIED):
        told.append(director.election.unknown)
    if director.checker.silent:
        told.append("the checker is silent: weights stay as they are")
    told += director.checker.blind
    told += [
        f"{router.instance}/ipv{router.family} is in fault: {router.reason}"
        for router in director.routers
        if router.state is messages.RouterStateName.FAULT
    ]
    told += director.company.splits.troubles
    told += [
        f"{router.instance}/ipv{router.family}: {text}"
        for router in director.routers
        for text in (*router.troubles, *(c.reason for c in (*router.refused, *router.odd)))
    ]
    told += [f"{kind}: {text}" for kind, text in sorted(shell.items())]
    if director.refused:
        told.append(director.refused)
    if director.config is not None:
        told += director.sync.troubles(director.config, director.turned_at)
    told += _of_peers(director)
    told += director.orders.troubles(director.turned_at)
    if director.sync.synced is not None and director.peers is not None:
        relay = director.sync.synced.relay
        told += relay_status.troubles(relay, director.peers.known, director.turned_at)
    told += attendance_status.trouble(director.attendance)
    told += director.kernel.failing.values()
    told += _views(director)
    told += _warned(director)
    return told + _of_services(director)


def headline(director: Director, troubles: int) -> str:
    """`lb1: MASTER of front; 2 services DOWN (web, direct)`; `troubles` is how many there are."""
    config = director.config
    assert config is not None
    hurt = _hurt(director)
    worst = [
        f"{_count(len(names), 'service')} {_WORDS[state]} ({_some(names)})"
        for state, names in hurt.items()
    ]
    others = troubles - len(_of_services(director))
    if others:
        worst.append(f"{_count(others, 'other trouble' if worst else 'trouble')}")
    return f"{config.node}: {_role(director)}; {'; '.join(worst) or 'all well'}"


def _operators(director: Director) -> list[str]:
    """What waits for the operator to end it."""
    stance, told = director.operations.stance, list[str]()
    masters = [r.instance for r in director.routers if r.state is messages.RouterStateName.MASTER]
    if stance.standby is not None:
        serves = f", and serves {masters[0]}: no other node could" if masters else ""
        told.append(f"in standby{serves}; `hadirector standby off` ends it")
    return told + [
        f"{name} is held back: {since.reason}; `hadirector release {name}` ends it"
        for name, since in stance.holds.items()
    ]


def _paused(director: Director) -> list[str]:
    """That IPVS is left alone, why, and what is otherwise there than the tables of status say."""
    pause = director.kernel.pause
    if pause is None:
        return []
    left = max(0.0, pause.until - director.turned_at)
    why = f" ({pause.reason})" if pause.reason else ""
    text = f"paused{why}: no weight changes and nothing is repaired for {left:.0f} s more"
    if director.kernel.deviating:
        services = director.config.services if director.config else ()
        names = {key: service.name for service in services for key in service.keys}
        others = {names.get(key, str(key)) for key in director.kernel.deviating}
        text += f"; in the kernel other than wanted, see `hadirector ipvs`: {_some(sorted(others))}"
    return [f"{text}; `hadirector pause --end` ends it"]


def _of_peers(director: Director) -> list[str]:
    told = []
    port = director.config.peer_port if director.config else 0
    for name, known in director.peers.known.items() if director.peers else ():
        if known.missed:
            told.append(known.missed)
        if known.differs:
            told.append(f"{name} runs another configuration")
        if known.deaf:
            told.append(
                f"{name} says that it does not hear this node on the peer channel: what goes there "
                f"by UDP port {port} is dropped on the way"
            )
        if known.heard_at is not None and not known.alive:
            told.append(f"{name} is silent on the peer channel")
        if known.trouble and not known.alive:
            told.append(known.trouble)
    return told


def _warned(director: Director) -> list[str]:
    """What probes say of servers that passed: each warning with those it concerns."""
    by_text: dict[str, list[str]] = defaultdict(list)
    for target, verdict in director.services.verdicts.items():
        if verdict.last is not None and verdict.last.warning:
            by_text[verdict.last.warning].append(target)
    told = [f"{_some(targets)}: {text}" for text, targets in sorted(by_text.items())]
    more = [f"{len(told) - SHOWN} more warnings of checks"] if len(told) > SHOWN else []
    return told[:SHOWN] + more


def _views(director: Director) -> list[str]:
    """Servers that not every director can reach."""
    about = director.views.about
    told = [f"{name}: {text}" for name, text in islice(about.items(), SHOWN)]
    if len(about) > SHOWN:
        told.append(f"{len(about) - SHOWN} more servers that not every director can reach")
    return told


def _of_services(director: Director) -> list[str]:
    """A few of each state in full, the rest as a number."""
    told = []
    for state, names in _hurt(director).items():
        for name in names[:SHOWN]:
            weights = director.services.weights[name]
            told.append(f"{name} is {_WORDS[state]}: {weights.reason}{_failing(weights)}")
        if len(names) > SHOWN:
            told.append(f"{_count(len(names) - SHOWN, 'more service')} {_WORDS[state]}")
    return told


def _failing(weights: ServiceWeights) -> str:
    """The first of the servers that checks found down, and why."""
    down = [
        server
        for server in weights.servers
        if server.health.health is Health.DOWN and server.admin is Admin.ENABLED
    ]
    told = "".join(f"; {one.server.endpoint}: {one.reason}" for one in down[:SAMPLES])
    return told + (f"; and {len(down) - SAMPLES} more" if len(down) > SAMPLES else "")


def _hurt(director: Director) -> dict[ServiceState, list[str]]:
    """The services that are not up, by state, the worst state first. While a server still waits
    for its first verdict nothing bad is known of its service."""
    found: dict[ServiceState, list[str]] = {state: [] for state in _WORDS}
    for name, weights in director.services.weights.items():
        if weights.state in found and not weights.unsettled:
            found[weights.state].append(name)
    return {state: names for state, names in found.items() if names}


def _role(director: Director) -> str:
    """`MASTER of front, BACKUP of back`: an instance by its name where its routers agree."""
    if not director.routers:
        return "no instances" if director.config and not director.config.instances else "starting"
    by_instance: dict[str, list[messages.Router]] = defaultdict(list)
    for router in director.routers:
        by_instance[router.instance].append(router)
    roles: dict[str, list[str]] = {state: [] for state in _ROLES}
    for name, routers in by_instance.items():
        if len({router.state for router in routers}) == 1:
            roles[routers[0].state.value].append(name)
        else:
            for router in routers:
                roles[router.state.value].append(f"{name}/ipv{router.family}")
    word = {"init": "NOT KNOWN whether master"} if director.election.unknown else {}
    told = [f"{word.get(s, s.upper())} of {_some(names)}" for s, names in roles.items() if names]
    out = ["in standby"] if director.operations.stance.standby is not None else []
    return ", ".join([*out, *told])


def _some(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
