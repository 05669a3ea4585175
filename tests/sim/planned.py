"""What operators plan, each with what it may cost: handover, hold, standby. As in single.py."""

from collections import Counter
from collections.abc import Callable

from hadirector.core.requests import HandOver, Outcome, Request, StandBy, Verdict
from tests.sim import faults
from tests.sim.faults import Scene
from tests.sim.host import INTERFACES
from tests.sim.invariants import Key
from tests.sim.node import Node
from tests.sim.promises import (
    DIRECTOR_SILENCE,
    PEER_SILENCE,
    SLACK,
    a_master,
    always,
    eventually,
    front,
    is_master,
    priority_of,
    switch,
    takeover_time,
)
from tests.sim.single import Single

COMMANDED = 0.05  # seconds for a handover with a key: some wake-ups and packets
DEAF_FROM = 3.0  # seconds after which a node that was started anew knows its peers
COMES_BACK = 5.0  # seconds until a node that was powered on listens
REPORT = 0.1  # seconds until the director has heard of it, and the disk has the stance


def handover(scene: Scene) -> float:
    """A planned switch: the same, at once where there is a key, and nobody fights. The old master
    holds back until released, whatever of it is started anew meanwhile."""
    key = front(scene)
    victim = scene.world.invariants.masters(key)[0]
    keys = [key] if not scene.world.scenario.coupled else scene.world.invariants.every()
    takes = _gives_up(scene, victim, keys, HandOver(faults.subject_of(scene.world)))
    watch = 3 * scene.world.scenario.patience + scene.world.scenario.preempt_delay + 5.0
    back = f"{victim.name} is back before it was released"
    scene.after(
        takes + SLACK,
        lambda: always(scene, back, lambda: not is_master(scene, victim, keys), watch),
    )
    _start_anew(scene, victim, takes + 0.1)
    return max(switch(scene, victim, keys, takes), takes + 2 * SLACK + watch)


def forsaken(scene: Scene) -> float:
    """A handover, and then the successor's director is silent: that node asks for anybody, and a
    hold does not keep the old master from it."""
    key = front(scene)
    victim = scene.world.invariants.masters(key)[0]
    keys = [key] if not scene.world.scenario.coupled else scene.world.invariants.every()
    takes = _gives_up(scene, victim, keys, HandOver(faults.subject_of(scene.world)))
    others = [node for node in scene.world.nodes if node is not victim]
    comes = DIRECTOR_SILENCE + 2.0 + 2 * scene.world.scenario.patience
    comes += scene.world.scenario.preempt_delay

    def fall_silent() -> None:
        for node in others:
            scene.note(node, "director hangs")
            node.hang_director()
        helps = f"{victim.name} takes it from a node whose director is silent"
        eventually(scene, helps, lambda: is_master(scene, victim, keys), comes)

    scene.after(takes + REPORT, fall_silent)
    return takes + REPORT + comes + SLACK


def standby(scene: Scene) -> float:
    """A node is taken out for maintenance: it gives up all it has and stays out, whatever of it is
    started anew, but serves when all the others are gone, and until one of them is back."""
    victim, keys = a_master(scene)
    scenario = scene.world.scenario
    others = [node for node in scene.world.nodes if node is not victim]
    every = scene.world.invariants.every()
    # Who is configured with priority 1 is no better than one in standby.
    wanted = [key for key in every if any(priority_of(scene, key, node) > 1 for node in others)]
    takes = _gives_up(scene, victim, keys, StandBy(on=True))
    watch = DEAF_FROM + 3 * scenario.patience + scenario.preempt_delay + 2.0
    out = f"{victim.name} is master in standby"
    scene.after(
        takes + SLACK,
        lambda: always(scene, out, lambda: not is_master(scene, victim, keys), watch),
    )
    _start_anew(scene, victim, takes + 0.1)
    names = [node.name for node in others]
    ways = [(victim.name, n) for n in names] + [(n, victim.name) for n in names]
    deaf = [(plane, *way) for plane in INTERFACES for way in ways]
    # Beside a peer that lives it stays out even if it hears no master.
    scene.after(takes + DEAF_FROM, lambda: faults.cut(scene, 2 * scenario.patience, deaf))
    gone_at = takes + 2 * SLACK + watch
    serves = PEER_SILENCE + 0.6 + 2 * scenario.patience

    def lose_the_others() -> None:
        for node in others:
            scene.note(node, "power off")
            node.power_off()
        for key in scene.world.invariants.every():
            mine = f"{victim.name} serves {key} as the last one"
            eventually(
                scene,
                mine,
                lambda key=key: victim in scene.world.invariants.masters(key),  # type: ignore[misc]  # a bound default
                serves,
            )

    def get_them_back() -> None:
        for node in others:
            faults.power_on(scene, node, port=0.0)
        yields = f"{victim.name} gives way to who comes back"
        eventually(scene, yields, lambda: not is_master(scene, victim, wanted), back)

    back = COMES_BACK + 2 * scenario.patience + scenario.preempt_delay
    scene.after(gone_at, lose_the_others)
    scene.after(gone_at + serves + SLACK, get_them_back)
    return max(switch(scene, victim, keys, takes), gone_at + serves + back + 2 * SLACK)


def _gives_up(scene: Scene, victim: Node, keys: list[Key], request: Request) -> float:
    """Ask for it: how long it takes at most. With a key the successor does not wait for its skew
    time, and the old master does not answer its first advert."""
    others = [node for node in scene.world.nodes if node is not victim]
    scenario = scene.world.scenario
    # Of an instance that is divided between two nodes nothing is handed over: it is asked for.
    divided = scenario.layout == "uncoupled" and len(keys) == 1
    takes = max(takeover_time(scene, key, others, 3 if divided else 0) for key in keys)
    if divided:
        takes += scenario.preempt_delay
    elif scenario.keyed:
        takes = COMMANDED
    told: list[Outcome] = []
    scene.note(victim, f"asked for {request}")
    victim.ask(request, told.append)
    done = f"{request} done"
    eventually(scene, done, lambda: bool(told) and told[0].verdict is Verdict.DONE, takes + REPORT)
    moves = scene.world.invariants.moves
    before = Counter(moves)
    # Everything goes to one node: where another one is better for a part, that preempts its part.
    most = 1 if _best_for_all(scene, keys, others) else 2
    often = f"mastership moves more than {most} times"
    if scenario.keyed:  # by priority 0 two others of like priority may both rise
        always(
            scene, often, lambda: max((moves - before).values(), default=0) <= most, takes + REPORT
        )
    return takes


def _best_for_all(scene: Scene, keys: list[Key], nodes: list[Node]) -> bool:
    """Whether one of the nodes has the best priority for each of these routers."""
    ranks = [{node.name: priority_of(scene, key, node) for node in nodes} for key in keys]
    best = [{name for name in rank if rank[name] == max(rank.values())} for rank in ranks]
    return bool(set.intersection(*best))


def _start_anew(scene: Scene, node: Node, at: float) -> None:
    """Nothing, a process, or all of the node, with a reboot at times."""
    kinds: tuple[Callable[[], None], ...] = (
        lambda: None,
        node.kill_election,
        node.kill_director,
        node.kill_all,
        node.power_off,
    )
    chosen = scene.rng.choice(kinds)

    def back() -> None:
        faults.power_on(scene, node, port=0.0)
        node.start()

    scene.after(at, chosen)
    scene.after(at + 0.3, back)


PLANNED: tuple[Single, ...] = (handover, forsaken, standby)
