"""One seed's run: calm, faults, healing, quiet, check; again and again."""

import random
from collections.abc import Callable

from tests.sim import faults, planned, single
from tests.sim.faults import FAULTS, Scene
from tests.sim.invariants import Violation
from tests.sim.scenario import Scenario, draw
from tests.sim.world import World

START = 5.0  # seconds until a node that is started listens: its port, the gateway's answer
CATCH_UP = 4.5  # seconds for presences, levels and the refresh of announcements
CALM = 0.5  # seconds at least of looking at a settled cluster
PORT_OPENS_IN = (2.0,)  # seconds at most: it is waited for
WINDOWS = (1.0,) * 20 + (4.0,) * 9 + (30.0,)  # seconds of faults at least
KINDS = (*single.SINGLE, *planned.PLANNED)
WEIGHTS = tuple(1 if kind in single.LONG or kind in planned.PLANNED else 2 for kind in KINDS)
RESTARTS_IN = 0.5  # seconds after which healing starts what is dead


class Story:
    """Runs episodes of one seed; `run` raises Violation."""

    def __init__(self, seed: int, on_trace: Callable[[str], None] | None = None) -> None:
        """`on_trace` is given each line of the trace; without it none is kept."""
        self.scenario: Scenario = draw(seed, tuple(FAULTS))
        self.world = World(self.scenario, traced=on_trace is not None)
        if on_trace is not None:
            self.world.on_trace = on_trace
        self.scene = Scene(self.world, random.Random(f"faults {seed}"))
        self.episodes = 0

    def run(self, episodes: int) -> None:
        """Start the cluster, then this many episodes."""
        try:
            self._begin()
            for _ in range(episodes):
                self._episode()
                self.episodes += 1
        except Violation:
            raise
        except Exception as error:
            raise Violation("no-exception", f"{type(error).__name__}: {error}") from error

    def _begin(self) -> None:
        together = self.scene.rng.random() < 0.5
        for node in self.world.nodes:
            self.scene.after(0.1 if together else self.scene.rng.uniform(0.0, 3.0), node.start)
        self._quiet()

    def _episode(self) -> None:
        self.world.invariants.settled = False
        self.scene.episodes += 1
        if self.scene.rng.random() < 0.5:
            self._single()
        else:
            self._mix()
        self._heal()
        self._quiet()

    def _single(self) -> None:
        """One fault, with what it may cost."""
        (choice,) = self.scene.rng.choices(KINDS, WEIGHTS)
        if single.lawful(choice, self.scene):
            self.world.note("----", f"episode: {choice.__name__} alone")
            self.world.run(choice(self.scene))

    def _mix(self) -> None:
        """Several faults at once; only that all is well afterwards is asked."""
        rng = self.scene.rng
        window = self._window()
        kinds = [rng.choice(self.scenario.kinds) for _ in range(rng.randint(1, 5))]
        self.world.note("----", f"episode: {', '.join(kinds)} in {window:.3f} s")
        for kind in kinds:
            begin, lasts = rng.uniform(0.0, window / 2), rng.uniform(0.0, window / 2)
            self.scene.after(begin, lambda kind=kind, lasts=lasts: FAULTS[kind](self.scene, lasts))  # type: ignore[misc]  # bound defaults
        self.world.run(window)

    def _window(self) -> float:
        """A few master-down intervals, or long enough for leases and patience to end."""
        patience = self.scenario.patience
        short = self.scene.rng.uniform(1.3 * patience, 4 * patience)
        return max(short, self.scene.rng.choice(WINDOWS))

    def _heal(self) -> None:
        """Everything that is broken is mended, in no particular order."""
        self.world.note("----", "healing")
        self.world.network.heal()
        self.world.gateway_answers = True
        for node in self.scene.rng.sample(self.world.nodes, len(self.world.nodes)):
            for interface in sorted(node.host.down):
                faults.set_link(self.scene, node, interface, up=True)
            faults.power_on(self.scene, node, opens_in=PORT_OPENS_IN)
            faults.restart(node)
            node.resume_election()
            node.resume_director()
            self.scene.after(RESTARTS_IN, node.start_election)
            self.scene.after(RESTARTS_IN, node.start_director)
            faults.untrack(node)
            faults.back_on_duty(self.scene, node)

    def _quiet(self) -> None:
        """Until everything has settled, for as long as that may take; then look on for a while."""
        scenario, invariants = self.scenario, self.world.invariants
        left = START + CATCH_UP + 4 * scenario.patience + 2 * scenario.preempt_delay
        pause = max(0.3, 1.1 * scenario.advert_int)
        self.world.run(RESTARTS_IN + pause)
        left -= RESTARTS_IN + pause
        while left > 0 and not self.world.at_rest():
            self.world.run(pause)
            left -= pause
        invariants.promises.clear()
        self.world.note("----", "settled?")
        invariants.settle()
        self.world.run(max(CALM, 1.2 * scenario.patience))
        invariants.settle()
