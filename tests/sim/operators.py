"""What may happen to a cluster by its operators, and by what is tracked; as in faults.py."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from hadirector.core import director_events as ev
from hadirector.core import messages
from hadirector.core.requests import HandOver, Outcome, Release, StandBy
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.instances import Instance
from hadirector.core.stance import Stance
from tests.sim.node import Node
from tests.sim.scenario import ADDED, FRONT
from tests.sim.scene import Scene
from tests.sim.world import World

OPERATOR = 1.5  # seconds until he asks again
OPERATOR_GIVES_UP = 7.0  # seconds after the healing, and some patience: before the next episode


def track(scene: Scene, duration: float) -> None:
    """A tracked service fails on a node: a fault, or less priority; then it is well again."""
    node, fault = scene.node, scene.rng.random() < 0.4
    delta = 0 if fault else -scene.rng.randint(1, 120)
    scene.note(node, f"tracking: {'fault' if fault else delta}")
    failed = messages.Track(FRONT, "script probe", fault, delta, "probe fails")
    node.host.to_election.send(messages.Tracks((failed,)), float("inf"))
    ended = scene.rng.uniform(0.0, duration)
    scene.after(ended, lambda: untrack(node))


def untrack(node: Node) -> None:
    """Nothing fails."""
    node.host.to_election.send(messages.Tracks(()), float("inf"))


def handover(scene: Scene, duration: float) -> None:
    """A planned switch, forced at times, released later."""
    node, subject = scene.node, subject_of(scene.world)
    scene.note(node, f"hands over {subject}")
    answered = partial(_answer, scene, node)
    node.ask(HandOver(subject, force=scene.rng.random() < 0.3), answered)
    scene.after(duration * scene.rng.random(), lambda: node.ask(Release(subject)))


def standby(scene: Scene, duration: float) -> None:
    """A node is taken out for maintenance, and is back later."""
    node = scene.node
    scene.note(node, "standby on")
    answered = partial(_answer, scene, node)
    node.ask(StandBy(on=True, force=scene.rng.random() < 0.3), answered)
    scene.after(duration * scene.rng.random(), lambda: node.ask(StandBy(on=False), answered))


def back_on_duty(scene: Scene, node: Node) -> None:
    """An operator who asks again until nothing keeps the node from serving, while the cluster is
    given time to settle: not into the next episode."""
    episode, until = (
        scene.episodes,
        scene.world.agenda.now + OPERATOR_GIVES_UP + 2 * scene.world.scenario.patience,
    )

    def again() -> None:
        stance = node.director.core.operations.stance if node.director else node.host.stance
        over = scene.episodes != episode or scene.world.agenda.now >= until
        if stance != Stance() and not over:
            node.ask(Release())
            node.ask(StandBy(on=False))
            scene.after(OPERATOR, again)

    scene.after(OPERATOR, again)


def _answer(scene: Scene, node: Node, outcome: Outcome) -> None:
    scene.note(node, f"{outcome.verdict.value}: {'; '.join(outcome.lines)}")


def subject_of(world: World) -> str:
    """What is handed over: the group, where there is one."""
    return "director" if world.scenario.layout == "group" else FRONT


def reload_priority(scene: Scene, duration: float) -> None:
    """One node's priority changes; every node reads the new file, one after the other. Not to 1,
    which says that anybody else is wanted."""
    chosen, priority = scene.node, scene.rng.randint(2, 254)
    scene.note(chosen, f"priority of {FRONT} becomes {priority}")
    for node in scene.world.nodes:
        own = node is chosen
        change = _own_priority(priority) if own else _peers(scene.world, node, chosen, priority)
        # A later file is read later: else the nodes would go on with different ones.
        read_at = scene.world.agenda.now + min(duration, scene.rng.random())
        scene.read_at[node.name] = max(scene.read_at.get(node.name, 0.0), read_at)
        scene.world.agenda.at(
            scene.read_at[node.name],
            lambda n=node, c=change: reload(n, c, True),  # type: ignore[misc]  # bound defaults
        )


def reload_addresses(scene: Scene, duration: float) -> None:
    """A virtual address is added, or taken away again."""
    scene.note(None, f"reload: {ADDED.address} comes or goes")
    for node in scene.world.nodes:
        scene.after(min(duration, scene.rng.random()), lambda n=node: reload(n, toggled))  # type: ignore[misc]  # a bound default


def toggled(instance: Instance) -> Instance:
    """With ADDED if it had it not, else without."""
    had = ADDED in instance.virtual_addresses
    kept = tuple(v for v in instance.virtual_addresses if v != ADDED)
    return replace(instance, virtual_addresses=kept if had else (*kept, ADDED))


def reload(node: Node, change: Callable[[Instance], Instance], whole: bool = False) -> None:
    """Change FRONT in a node's file, or its `whole` group: those that move together have the same
    priorities. A running director reads it now."""
    grouped = whole and bool(node.host.config.sync_groups)
    instances = tuple(
        change(i) if i.name == FRONT or grouped else i for i in node.host.config.instances
    )
    config: Config = replace(node.host.config, instances=instances)
    node.host.config = replace(config, digest=f"{config.digest}+")
    if node.director is not None:
        node.director.put(ev.Configured(node.host.config))


def _own_priority(priority: int) -> Callable[[Instance], Instance]:
    return lambda instance: replace(instance, priority=priority)


def _peers(
    world: World, node: Node, changed: Node, priority: int
) -> Callable[[Instance], Instance]:
    """`peer_priorities` have the other nodes' order."""
    at = [other for other in world.nodes if other is not node].index(changed)

    def change(instance: Instance) -> Instance:
        known = list(instance.peer_priorities)
        known[at] = priority
        return replace(instance, peer_priorities=tuple(known))

    return change
