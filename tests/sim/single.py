"""Single faults in an otherwise healthy, settled cluster, each with what it may cost at most.

Each function does one thing to the world, makes its promises and gives how long they take.
"""

from collections.abc import Callable

from hadirector.core.advert import OWNER
from hadirector.core.hearing import DARK_AT_MOST, STARTUP_PATIENCE
from hadirector.core.settings.instances import Preempt
from tests.sim import faults, operators
from tests.sim.host import INTERFACES
from tests.sim.network import FLIGHT, PLANES, VRRP, Weather
from tests.sim.promises import (
    DIRECTOR_SILENCE,
    SLACK,
    a_master,
    always,
    clients_follow,
    covered,
    eventually,
    front,
    is_master,
    lease_ends,
    nothing_moves,
    permanent_when_alone,
    priority_of,
    served,
    switch,
    takeover_time,
)
from tests.sim.scenario import ADDED, FRONT
from tests.sim.scene import Scene

DUEL_ECHO = 1.0  # seconds after which a duel's winner has announced again

Single = Callable[[Scene], float]


def crash(scene: Scene) -> float:
    """The master dies at once: another one holds its addresses within the master-down interval."""
    victim, keys = a_master(scene)
    survivors = [node for node in scene.world.nodes if node is not victim]
    takes = max(takeover_time(scene, key, survivors) for key in keys)
    powered = scene.rng.random() < 0.5
    scene.note(victim, "power off" if powered else "everything killed")
    (victim.power_off if powered else victim.kill_all)()
    for key in keys:
        eventually(scene, f"takeover of {key}", lambda key=key: served(scene, key, victim), takes)  # type: ignore[misc]  # a bound default
    lasts = max(takes, lease_ends(scene, victim, 0.0) if not powered else 0.0)
    return max(lasts, permanent_when_alone(scene, survivors))


def stop(scene: Scene) -> float:
    """`systemctl stop` of the master: never without a holder, switched within the skew time."""
    victim, keys = a_master(scene)
    survivors = [node for node in scene.world.nodes if node is not victim]
    scene.note(victim, "stopping in order")
    takes = max(takeover_time(scene, key, survivors, intervals=0) for key in keys)
    victim.stop()
    return switch(scene, victim, keys, takes)


def adoption(scene: Scene) -> float:
    """The election dies and is back before its peers have waited long: nothing moves."""
    interval = scene.world.scenario.advert_int
    victim, keys = a_master(scene)
    if interval < 0.1:
        return 0.0
    nothing_moves(scene, keys, until=4 * interval)
    scene.note(victim, "election killed")
    victim.kill_election()
    back = min(1.8 * interval, 3.0)  # before a lease of 5 s ends
    scene.after(scene.rng.uniform(0.01, back), victim.start_election)
    return 4 * interval


def restart_director(scene: Scene) -> float:
    """`restart-director`, or its death: nothing moves."""
    node = scene.node
    nothing_moves(scene, scene.world.invariants.every(), until=6.0)
    scene.note(node, "director restarts")
    node.kill_director()
    scene.after(scene.rng.uniform(0.05, 4.0), node.start_director)
    return 6.0


def silent_director(scene: Scene) -> float:
    """A master's director falls silent for good: another node takes over, and nothing is
    without a holder meanwhile."""
    victim, keys = a_master(scene)
    scenario = scene.world.scenario
    others = [node for node in scene.world.nodes if node is not victim]
    takes = DIRECTOR_SILENCE + 1.5 + 2 * scenario.patience + scenario.preempt_delay
    scene.note(victim, "director hangs")
    victim.hang_director()
    # Who is configured with priority 1 is no better than one whose director is silent.
    moving = [key for key in keys if any(priority_of(scene, key, node) > 1 for node in others)]
    switch(scene, victim, moving, takes)
    return takes


def hang(scene: Scene) -> float:
    """The master's election hangs: another takes over, and its addresses end by their lease."""
    victim, keys = a_master(scene)
    survivors = [node for node in scene.world.nodes if node is not victim]
    takes = max(takeover_time(scene, key, survivors) for key in keys)
    whole = scene.rng.random() < 0.5
    faults.hang(scene, victim, whole)
    third = (scene.world.invariants.lease_bound() - 1.0) / 3
    if takes < faults.SILENCE:
        for key in keys:
            eventually(
                scene,
                f"takeover of {key}",
                lambda key=key: any(n is not victim for n in scene.world.invariants.masters(key)),  # type: ignore[misc]  # a bound default
                takes,
            )
    lasts = lease_ends(scene, victim, 0.0 if whole else third)
    return max(takes, lasts)


def reload(scene: Scene) -> float:
    """An address is added on every node: nothing moves, and the master has it on at once."""
    keys = scene.world.invariants.every()
    lasts = 3.0 + scene.world.scenario.patience
    master = scene.world.invariants.masters(front(scene))[0]
    had = master.holds(ADDED.address)
    nothing_moves(scene, keys, until=lasts)
    operators.reload_addresses(scene, 1.0)
    eventually(scene, "the new address", lambda: master.holds(ADDED.address) is not had, 1.1)
    return lasts


def reload_priority(scene: Scene) -> float:
    """One instance's priority changes: the other instances do not move."""
    if scene.world.scenario.layout != "two":
        return 0.0
    lasts = 3.0 + 2 * scene.world.scenario.patience
    keys = [key for key in scene.world.invariants.every() if key[0] != FRONT]
    nothing_moves(scene, keys, until=lasts)
    operators.reload_priority(scene, 1.0)
    return lasts


def partition(scene: Scene) -> float:
    """Two halves for a while, then one cluster again: clients are told at once, both families, and
    by the adverts alone: the peer channel may come back later."""
    scenario, world = scene.world.scenario, scene.world
    lasts = scene.rng.uniform(1.2, 2.0) * scenario.patience
    names = [node.name for node in world.nodes]
    ways = [(one, other) for one in names for other in names if one != other]
    faults.cut(scene, lasts, [(plane, *way) for plane in PLANES for way in ways])
    heals = 2 * scenario.patience + DUEL_ECHO + SLACK
    if scene.rng.random() < 0.5:
        faults.cut(scene, lasts + heals, [("peer", *way) for way in ways])
    scene.after(lasts, lambda: eventually(scene, "clients know", lambda: _known(scene), heals))
    scene.after(lasts, lambda: clients_follow(scene, world.invariants.every(), heals))
    return lasts + heals


def loop(scene: Scene) -> float:
    """A loop in the segment brings every advert back to its sender: nothing moves, and nobody
    answers itself."""
    scenario, invariants = scene.world.scenario, scene.world.invariants
    lasts = max(2.0, 5 * scenario.advert_int)
    before = sum(invariants.adverts.values())
    streams = len(invariants.every()) * (len(scene.world.nodes) - 1 if scenario.unicast else 1)
    most = before + streams * (lasts / scenario.advert_int + 2)
    faults.make_weather(scene, Weather(echo=1.0), PLANES, lasts)
    nothing_moves(scene, invariants.every(), until=lasts)
    quiet = "adverts bounded in a loop"
    always(scene, quiet, lambda: sum(invariants.adverts.values()) <= most, lasts)
    return lasts


def storm(scene: Scene) -> float:
    """A rival that hears nothing, and whose every advert comes many times: answers are bounded
    (advert-rate), and the addresses have a holder all the time."""
    lasts = 3 * scene.world.scenario.patience
    master, keys = a_master(scene)
    deaf = [node for node in scene.world.nodes if node is not master]
    ways = [(plane, master.name, node.name) for plane in INTERFACES for node in deaf]
    faults.make_weather(scene, Weather(duplicate=0.95), INTERFACES, lasts)
    faults.cut(scene, lasts, ways)
    always(scene, "an address without a holder", lambda: covered(scene, keys), lasts)
    return lasts


def suspend(scene: Scene) -> float:
    """The master sleeps until another took over. Awake, it listens before it says anything."""
    invariants, interval = scene.world.invariants, scene.world.scenario.advert_int
    victim, keys = a_master(scene)
    lasts = 3 * scene.world.scenario.patience + SLACK
    others = [node for node in scene.world.nodes if node is not victim]
    best = all(
        priority_of(scene, k, victim) > priority_of(scene, k, n) for k in keys for n in others
    )
    faults.put_to_sleep(scene, victim, lasts, counts=True)

    def listens() -> None:
        before = invariants.adverts[victim.name]
        silent = f"{victim.name} speaks before it listened"
        always(
            scene,
            silent,
            lambda: invariants.adverts[victim.name] == before or not is_master(scene, victim, keys),
            0.9 * interval - SLACK,
        )

    # One that is not the best tells the better one so, as its last word.
    if best and scene.world.scenario.preempt is not Preempt.NEVER and interval >= 0.1:
        scene.after(lasts, listens)
    return lasts + interval


def late_restart(scene: Scene) -> float:
    """The election is dead for longer than its peers wait: the next one listens first."""
    interval = scene.world.scenario.advert_int
    victim, keys = a_master(scene)
    away = 2 * scene.world.scenario.patience
    owner = any(priority_of(scene, key, victim) == OWNER for key in keys)
    scene.note(victim, "election killed")
    victim.kill_election()

    def listens() -> None:
        victim.start_election()
        adopted = f"{victim.name} is master without having listened"
        always(scene, adopted, lambda: not is_master(scene, victim, keys), 2.9 * interval)

    scene.after(away, victim.start_election if owner else listens)
    return away + 3 * interval


def comeback(scene: Scene) -> float:
    """The best node comes back with a checker that takes its time: it holds back until ready,
    and for good where preempting is never wanted."""
    scenario = scene.world.scenario
    victim, keys = a_master(scene)
    away = 2 * scenario.patience + 0.5
    ranks = [priority_of(scene, k, n) for k in keys for n in scene.world.nodes]
    scene.note(victim, "power off, a slow checker from now on")
    victim.power_off()
    victim.host.first_verdict = 2.0 + 4 * scenario.patience
    lasts = away + victim.host.first_verdict
    scene.after(away, lambda: faults.power_on(scene, victim, port=0.0))
    scene.after(lasts, lambda: setattr(victim.host, "first_verdict", 0.2))
    if scenario.preempt is not Preempt.ALWAYS and OWNER not in ranks:
        others = [node for node in scene.world.nodes if node is not victim]
        takes = max(takeover_time(scene, key, others) for key in keys)
        held = f"{victim.name} preempts before it may"
        watch = lasts - takes - SLACK
        scene.after(
            takes,
            lambda: always(scene, held, lambda: not is_master(scene, victim, keys), watch),
        )
    return lasts


def deaf_boot(scene: Scene) -> float:
    """The best node comes back deaf: its port forwards late, or its firewall lets protocol 112 in
    late, or drops it both ways. Who is not to preempt does not take a healthy master's place."""
    scenario, world = scene.world.scenario, scene.world
    victim, keys = a_master(scene)
    others = [node for node in world.nodes if node is not victim]
    away = 2 * scenario.patience + 0.5
    deaf = scene.rng.choice((1.0, 3.0, 12.0, 25.0)) + scenario.patience
    victim.host.first_verdict = 2 * (away + deaf) + 30.0
    scene.note(victim, f"power off, then deaf for {deaf:.1f} s")
    victim.power_off()

    def back() -> None:
        how = scene.rng.choice(("port", "in", "both"))
        planes = PLANES if how == "port" else tuple(VRRP.values())
        ends = [n.name for n in others] + (["gateway"] if how == "port" else [])
        ways = [(end, victim.name) for end in ends]
        ways += [(victim.name, end) for end in ends] if how != "in" else []
        faults.cut(scene, deaf, [(plane, *way) for plane in planes for way in ways])
        # A switch that snoops on groups lets adverts through a little after the rest.
        snoops = deaf + scene.rng.uniform(0.0, 2.0) * scenario.advert_int
        faults.cut(scene, snoops, [(plane, *way) for plane in VRRP.values() for way in ways])
        scene.after(FLIGHT[1], boot)  # what is under way does not come through a closed port

    def boot() -> None:
        faults.power_on(scene, victim, port=0.0)
        masters = {key: world.invariants.masters(key) for key in keys}

        def in_place() -> bool:
            """Or pushed out by another one that hears, and is better."""
            return all(
                all(node in now for node in before) or victim not in now
                for key, before in masters.items()
                for now in (world.invariants.masters(key),)
            )

        always(scene, "a healthy master lost its place to a deaf one", in_place, deaf + away)

    scene.after(away, back)

    def ready() -> None:
        """Its checker has its verdicts: the next director hears of them at once."""
        victim.host.first_verdict = 0.2
        victim.kill_director()
        victim.start_director()

    scene.after(away + deaf + away, ready)
    return away + deaf + away + SLACK


def lonely_boot(scene: Scene) -> float:
    """A site had no power, and one node is back alone on a wire where nobody says anything: it
    serves, asks for anybody else for a minute, and then stands by its own priority."""
    world, scenario = scene.world, scene.world.scenario
    victim, every = scene.node, scene.world.invariants.every()
    scene.note(None, "power off everywhere, and a gateway that does not answer")
    world.gateway_answers = False
    for node in world.nodes:
        node.power_off()
    away = 1.0
    scene.after(away, lambda: faults.power_on(scene, victim, port=0.0))
    serves = away + STARTUP_PATIENCE + scenario.patience + 0.1

    def says() -> set[int]:
        return {world.invariants.advertised(victim, key) for key in every}

    for key in every:
        mine = f"{victim.name} serves {key} alone"
        eventually(scene, mine, lambda key=key: victim in world.invariants.masters(key), serves)  # type: ignore[misc]  # a bound default
    asks = DARK_AT_MOST - scenario.patience - 1.0
    loud = f"{victim.name} is loud in the dark"
    scene.after(serves, lambda: always(scene, loud, lambda: says() == {1}, asks))
    lasts = serves + DARK_AT_MOST + scenario.advert_int + SLACK
    ends = f"{victim.name} speaks up in a dark that ends"
    scene.after(serves, lambda: eventually(scene, ends, lambda: 1 not in says(), lasts - serves))
    return lasts


def unheard(scene: Scene) -> float:
    """Protocol 112 is filtered both ways, the peer channel works: both are master, both directors
    say so, clients on the common segment turn to the better one, and it is over once."""
    world, scenario = scene.world, scene.world.scenario
    lasts = 2 * scenario.patience + max(4.0, 2 * scenario.patience) + 8.0
    names = [node.name for node in world.nodes]
    ways = [(one, other) for one in names for other in names if one != other]
    faults.cut(scene, lasts, [(plane, *way) for plane in VRRP.values() for way in ways])

    def told() -> bool:
        return all(
            node.director is not None and node.director.core.company.splits.troubles
            for node in world.nodes
        )

    told_by = lasts - 6.0
    eventually(scene, "both directors tell of two masters", told, told_by, "splits-told")

    def turn_to_the_better() -> bool:
        """Of two equal ones the higher address is better; which is for the core's own tests."""
        for key in world.invariants.every():
            ranks = {n: world.invariants.advertised(n, key) for n in world.nodes}
            best = [n.name for n in world.nodes if ranks[n] == max(ranks.values())]
            if any(world.cache.get(a) not in best for a in world.invariants.addresses(key)):
                return False
        return True

    def look() -> None:
        always(scene, "clients turn to the better one", turn_to_the_better, lasts - told_by - 5.1)

    scene.after(told_by + 5.0, look)
    return lasts


def stranger(scene: Scene) -> float:
    """Somebody else's adverts with our number, of the highest priority but for other addresses, or
    wrong in another way: nothing moves."""
    lasts = 3 * scene.world.scenario.patience
    nothing_moves(scene, scene.world.invariants.every(), until=lasts)
    faults.stranger(scene, lasts)
    return lasts


def _known(scene: Scene) -> bool:
    """One master, and clients turn to it."""
    world = scene.world
    for key in world.invariants.every():
        masters = [node.name for node in world.invariants.masters(key)]
        if len(masters) != 1 or {world.cache.get(a) for a in world.invariants.addresses(key)} != {
            masters[0]
        }:
            return False
    return True


SINGLE: tuple[Single, ...] = (
    crash,
    stop,
    adoption,
    restart_director,
    silent_director,
    hang,
    reload,
    reload_priority,
    partition,
    loop,
    storm,
    suspend,
    late_restart,
    comeback,
    deaf_boot,
    lonely_boot,
    unheard,
    stranger,
)
# They cost several times as much as the others.
LONG: tuple[Single, ...] = (
    restart_director,
    silent_director,
    storm,
    comeback,
    lonely_boot,
    unheard,
)


def lawful(single: Single, scene: Scene) -> bool:
    """Whether this single fault's promises apply: never-preempting masters keep what they get."""
    scenario = scene.world.scenario
    if single is silent_director:
        return scenario.preempt is not Preempt.NEVER
    if single is lonely_boot:
        short = scenario.advert_int <= 1.0
        return scenario.startup_delay is None and OWNER not in scenario.priorities and short
    if single is deaf_boot:
        owner = OWNER in scenario.priorities
        return (
            scenario.startup_delay is None and scenario.preempt is not Preempt.ALWAYS and not owner
        )
    return True
