"""Where a fault plays."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.sim.node import Node
from tests.sim.world import World


@dataclass(slots=True)
class Scene:
    """Where a fault plays."""

    world: World
    rng: random.Random
    episodes: int = 0  # begun so far
    read_at: dict[str, float] = field(default_factory=dict)  # when a node reads its latest file

    @property
    def node(self) -> Node:
        """Some node."""
        return self.rng.choice(self.world.nodes)

    @property
    def pair(self) -> tuple[Node, Node]:
        """Two nodes, in some order."""
        one, other = self.rng.sample(self.world.nodes, 2)
        return one, other

    def after(self, delay: float, call: Callable[[], None]) -> None:
        """Later."""
        self.world.agenda.after(delay, call)

    def note(self, node: Node | None, what: str) -> None:
        """One line of the trace."""
        self.world.note(node.name if node else "net", f"! {what}")


Fault = Callable[[Scene, float], None]
