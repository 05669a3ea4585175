"""Routers of a node that move together (a sync group, coupled families; one alone is a group too).

1. A fault of one is a fault of all, and what degrades one degrades all.
2. They become master together, once each of them has found its master down or holds one already:
   a link on which the present master is still heard keeps the whole group waiting.
3. If one yields to a better advert, the others give up with priority 0.
4. A router added to a group that is master joins it; mastership is not lost over a reload.
"""

from collections.abc import Callable
from functools import partial

from hadirector.core.election_types import Action
from hadirector.core.member import Journal, Member
from hadirector.core.node_view import NodeView
from hadirector.core.roster import Roster
from hadirector.core.vrrp_states import (
    Backup,
    Candidate,
    Effect,
    Leaving,
    Master,
    State,
    Waking,
)


class Ensemble:
    """Lets a router act, and those that move with it follow. `touched`: whatever acted since it
    was cleared, in order."""

    def __init__(self, roster: Roster, view: NodeView, journal: Journal) -> None:
        self.touched: dict[Member, None] = {}
        self._roster = roster
        self._view = view
        self._journal = journal

    def touch(self, *members: Member) -> None:
        """These may look different now, and be due at another time."""
        self.touched |= dict.fromkeys(members)

    def act(self, member: Member, act: Callable[[float], list[Effect]], now: float) -> list[Action]:
        """Let one router act, then those that move with it."""
        before = member.router.state
        self.touched[member] = None
        actions = self._carry_out(member, act(now), now)
        others = [m for m in self._roster.together(member) if m is not member]
        if others:
            actions += self._follow(member, before, others, now)
        return actions

    def _follow(
        self, member: Member, before: State, others: list[Member], now: float
    ) -> list[Action]:
        """Rules 2 to 4, after `member` left the state `before`."""
        after = member.router.state
        actions: list[Action] = []
        if isinstance(before, Master | Waking) and isinstance(after, Backup):
            for other in others:
                reason = f"with {member.instance.name}, which yielded"
                actions += self._carry_out(other, other.router.relegate(reason, now), now)
            return actions
        if isinstance(before, Leaving) and isinstance(after, Master):
            if any(isinstance(o.router.state, Backup) for o in others):
                reason = "its sync group has been handed over"
                return self._carry_out(member, member.router.relegate(reason, now), now)
            return []
        return self.rise(member, now)

    def rise(self, member: Member, now: float) -> list[Action]:
        """Rules 2 and 4: all that move with it at once, in the order of the configuration."""
        group = self._roster.together(member)
        actions: list[Action] = []
        if self._may_rise(group):
            for one in group:
                self._roster.joining.discard(one.key)
                effects = one.router.promote("with its sync group", now)
                actions += self._carry_out(one, effects, now)
        return actions

    def _may_rise(self, group: list[Member]) -> bool:
        """Whether each is a candidate or a master already; one that joins masters is neither."""
        masters = any(isinstance(m.router.state, Master | Waking) for m in group)
        return all(
            isinstance(m.router.state, Candidate | Master | Waking)
            or (masters and m.key in self._roster.joining and isinstance(m.router.state, Backup))
            for m in group
        )

    def _carry_out(self, member: Member, effects: list[Effect], now: float) -> list[Action]:
        self.touched[member] = None
        if not effects:
            return []
        elsewhere = partial(self._roster.elsewhere, member)
        return member.carry_out(effects, self._view, elsewhere, self._journal, now)
