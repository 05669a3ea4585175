"""What one virtual router is at a moment, and what is read off it; core/vrrp says how it moves."""

import math

from hadirector.core import priority
from hadirector.core.advert import OWNER
from hadirector.core.duel import Duels, Side
from hadirector.core.hearing import Ears
from hadirector.core.listening import Listener
from hadirector.core.settings.instances import Instance
from hadirector.core.vrrp_states import (
    HOLDING,
    Backup,
    Effect,
    Fault,
    Hold,
    Init,
    Leaving,
    Standing,
    State,
    Stopped,
    Tell,
    Then,
    deadline_of,
    name_of,
)


class VirtualRouter:
    """A state with its reason. `noted_at`: when a former process of this node last advertised for
    it as master (-inf: nobody may rely on it, but the network is there); None: a fresh start."""

    def __init__(self, instance: Instance, now: float, noted_at: float | None = None) -> None:
        self.instance = instance
        self.standing = Standing()
        self.state: State = Init(None)
        self.since = now
        self.reason = "starting"
        self.inputs: dict[str, str] = {}
        self.duels = Duels()
        self.ears = Ears(network=noted_at is not None)
        self.lead: VirtualRouter | None = None  # of the routers that move together, if not this one
        self.tie_won_at = -math.inf
        self._tie_lost_at: float | None = None  # since when a tie is heard that this one loses
        self._noted_at = noted_at

    # --- readings ----------------------------------------------------------------------------

    @property
    def effective_priority(self) -> int:
        """What counts in the election of a master."""
        return priority.LAST_RESORT if self.ears.dark else self._own_priority

    @property
    def advertised_priority(self) -> int:
        """What a master says; rule 3."""
        if self.ears.dark:
            return priority.LAST_RESORT
        return priority.advertised(self.instance, self.standing)

    @property
    def side(self) -> Side:
        """Itself in a duel."""
        return Side(self.instance, self.standing)

    @property
    def holds_addresses(self) -> bool:
        """Whether the virtual addresses are to be on this node."""
        return isinstance(self.state, HOLDING)

    @property
    def can_rise(self) -> bool:
        """Whether `promote` makes it master, or it is one: not at fault, not before its start."""
        leaves = isinstance(self.state, Leaving) and self.state.then is Then.STOPPED
        return not leaves and not isinstance(self.state, Init | Fault | Stopped)

    @property
    def waits_for_network(self) -> bool:
        """Whether it stands at the automatic startup gate, or is master in the dark."""
        gated = isinstance(self.state, Init) and self.state.start_at is not None
        return (gated and self._gates_itself) or (self.ears.dark and not self.ears.network)

    @property
    def listens_in_vain(self) -> bool:
        """Whether it waits for a first advert, and asks who answers for its addresses."""
        return isinstance(self.state, Backup) and not self.ears.advert and self._gates_itself

    @property
    def is_deaf(self) -> bool:
        """Whether it is in its present state for lack of hearing."""
        holds_back = isinstance(self.state, Backup) and self.state.hold is Hold.DEAF
        return holds_back or self.ears.dark

    @property
    def contest(self) -> priority.Contest:
        """Whether a peer says that it is master beside this one."""
        own = self.advertised_priority
        return priority.contest(self.standing.claims, own, self.standing.source)

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return deadline_of(self.state)

    # --- what the transitions share ---------------------------------------------------------

    @property
    def _listener(self) -> Listener:
        return Listener(self.instance, self.standing, self._own_priority)

    @property
    def _own_priority(self) -> int:
        return priority.effective(self.instance, self.standing)

    @property
    def _gates_itself(self) -> bool:
        """`startup_delay: auto`."""
        return self.instance.startup_delay is None

    @property
    def _takes_at_once(self) -> bool:
        """An owner of the addresses waits for nobody; but it gave them away if it is held."""
        return self.effective_priority == OWNER and not self.standing.held

    def _end_duels(self, why: str, now: float) -> list[Effect]:
        """No master any more."""
        self.ears.leave_the_dark()
        return [*self.duels.give_up(why, self.side, now)]

    def _moved(self, reason: str, inputs: dict[str, str], now: float) -> Tell:
        """Note a transition, and the line about it."""
        self.since, self.reason = now, reason
        self.inputs = {"priority": str(self.effective_priority), **inputs}
        kind = "stopped" if isinstance(self.state, Stopped) else name_of(self.state).value
        return Tell(kind, reason, self.inputs)
