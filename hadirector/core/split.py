"""Two masters that do not hear each other, seen over the peer channel.

The election sees only what comes in by protocol 112. Where that is filtered, each of two nodes
believes itself alone; but their directors speak to each other, and each says what its node is
master of. When two say so of one virtual router for longer than adverts need to settle it, both
directors tell of it, once, and once when it is over.

Nobody gives up for it: a peer may be heard on its own network and yet be unreachable for half of
the clients. What it changes is who announces (core/announce).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hadirector.core import advert, messages, peers
from hadirector.core.address import Address, family
from hadirector.core.listening import peers_patience, seconds
from hadirector.core.messages import RouterStateName
from hadirector.core.priority import is_better
from hadirector.core.services import Change
from hadirector.core.settings.instances import Instance

GRACE = peers.SILENCE  # seconds at least: a word that was lost on the way comes again by then

Key = tuple[str, str]  # the virtual router as "front/ipv4", the other node


@dataclass(slots=True)
class Split:
    """Two masters of one router. `told`: it has lasted for long enough."""

    since: float
    grace: float
    sentence: str
    told: bool = False


class Splits:
    """Those of this node, by router and peer."""

    def __init__(self) -> None:
        self._splits: dict[Key, Split] = {}

    @property
    def troubles(self) -> list[str]:
        """A sentence each, while they last."""
        return [f"{key[0]}: {s.sentence}" for key, s in self._splits.items() if s.told]

    def deadline(self) -> float | None:
        """When the next one has lasted for long enough."""
        due = (s.since + s.grace for s in self._splits.values() if not s.told)
        return min(due, default=None)

    def look(
        self,
        routers: Iterable[messages.Router],
        known: Mapping[str, peers.Known],
        instances: Iterable[Instance],
        now: float,
    ) -> list[Change]:
        """What began and what is over, after anybody's state changed or time passed."""
        settings = {instance.name: instance for instance in instances}
        mine = {f"{r.instance}/ipv{r.family}": r for r in routers if r.instance in settings}
        there = {
            (name, node): (router, voice)
            for name, router in mine.items()
            if router.state is RouterStateName.MASTER
            for node, peer in known.items()
            if (voice := _claim(peer, name)) is not None
        }
        gone = [key for key in self._splits if key not in there]
        told = [self._end(key, mine.get(key[0]), known, now) for key in gone]
        for key, (router, voice) in there.items():
            differs = known[key[1]].differs
            sentence = _sentence(key[1], router, voice, settings[router.instance], differs)
            split = self._splits.get(key)
            if split is None:
                grace = max(GRACE, peers_patience(settings[router.instance]))
                split = self._splits[key] = Split(now, grace, sentence)
            split.sentence = sentence
            if not split.told and now >= split.since + split.grace:
                split.told = True
                told.append([_begun(key[1], router, split)])
        return [change for changes in told for change in changes]

    def _end(
        self,
        key: Key,
        router: messages.Router | None,
        known: Mapping[str, peers.Known],
        now: float,
    ) -> list[Change]:
        split = self._splits.pop(key)
        if not split.told:
            return []
        name, node = key
        peer = known.get(node)
        if router is None or router.state is not RouterStateName.MASTER:
            how = f"this node gave way to {node}"
        elif peer is None or not peer.alive:
            how = f"{node} is silent: whether it is master still is not known"
        else:
            how = f"{node} gave way"
        instance, _, kind = name.partition("/")
        lasted = seconds(round(now - split.since, 3))
        inputs = {"family": kind, "node": node, "lasted": lasted}
        return [Change("split_brain_over", instance, f"{how}, after {lasted} s", inputs)]


def _claim(peer: peers.Known, name: str) -> messages.Voice | None:
    """How a live peer says it speaks as master of a router; None when it does not."""
    if not peer.alive or peer.presence is None:
        return None
    voice = peer.presence.voices.get(name)
    return voice if voice is not None and voice.master else None


def _begun(node: str, router: messages.Router, split: Split) -> Change:
    inputs = {
        "family": f"ipv{router.family}",
        "node": node,
        "priority": str(router.effective_priority),
    }
    return Change("split_brain", router.instance, split.sentence, inputs)


def _sentence(
    node: str, router: messages.Router, voice: messages.Voice, instance: Instance, differs: bool
) -> str:
    """`differs`: it runs another configuration, which parts two nodes as surely as a filter."""
    too = f"{node} says it is master of {instance.name} too"
    if voice.source is not None and voice.source in router.rivals:
        return (
            f"{too} and is heard here, so it does not hear this node: {_filtered(instance, router)}"
        )
    refused = next((c.reason for c in router.refused if c.source == voice.source), None)
    if refused is not None:
        return f"{too}: {refused}"
    cause, who = _filtered(instance, router), _who(router, voice)
    if differs:
        cause = (
            f"it runs another configuration: have both the same virtual_router_id "
            f"({instance.virtual_router_id} here), version and unicast?"
        )
    return f"{too}, but its adverts do not arrive: {cause} {who}"


def _filtered(instance: Instance, router: messages.Router) -> str:
    unicast = instance.unicast
    if unicast is not None and family(unicast.source) == router.family:
        return f"is protocol 112 to {unicast.source} filtered?"
    group = advert.GROUPS[router.family]
    return (
        f"is protocol 112 to {group} filtered on the way between the nodes' {instance.interface}?"
    )


def _who(router: messages.Router, voice: messages.Voice) -> str:
    """Who of the two clients are to turn to, where they reach both."""
    own = router.voice
    if own is None or voice.source is None or own.source is None:
        return "Both answer their clients"
    better = is_better(voice.priority, Address(voice.source), own.priority, own.source)
    return "It announces the addresses" if better else "This node announces the addresses"
