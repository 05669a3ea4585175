"""core/vrrp under anything that may happen, in any order: what holds in every state."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hadirector.core.settings.instances import Preempt
from hadirector.core.vrrp import Router
from hadirector.core.vrrp_states import (
    HOLDING,
    Advertise,
    Backup,
    Candidate,
    Effect,
    Fault,
    Init,
    Leaving,
    Master,
    Release,
    Stopped,
    Take,
    Tell,
    Waking,
)
from tests.core.routers import FRONT, HIGHER, PEER, T0, WELL, said, with_standing


class AnyLife(RuleBasedStateMachine):
    """One router, its clock, and the addresses as the shell would have them."""

    router: Router

    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self.placed = False

    @initialize(
        preempt=st.sampled_from(list(Preempt)),
        priority=st.sampled_from([1, 100, 254, 255]),
        advert_int=st.sampled_from([0.01, 1.0, 40.0]),
        startup_delay=st.sampled_from([None, 0.0, 3.0]),
        noted_ago=st.sampled_from([None, 0.0, 1e9]),
    )
    def begin(
        self,
        preempt: Preempt,
        priority: int,
        advert_int: float,
        startup_delay: float | None,
        noted_ago: float | None,
    ) -> None:
        instance = replace(
            FRONT,
            preempt=preempt,
            priority=priority,
            advert_int=advert_int,
            startup_delay=startup_delay,
        )
        noted_at = None if noted_ago is None else T0 - noted_ago
        self.router = Router(instance, self.now, noted_at)

    def do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Take():
                    self.placed = True
                case Release():
                    assert self.placed, "released what was not held"
                    self.placed = False
                case Advertise(priority=priority):
                    assert 0 <= priority <= 255
                case Tell(reason=reason):
                    assert reason

    @rule(share=st.floats(0.01, 12.0))
    def time_passes(self, share: float) -> None:
        """Whole intervals and parts of them, as a shell late by anything would see them."""
        self.now += share * self.router.instance.advert_int
        self.do(self.router.tick(self.now))

    @precondition(lambda self: self.router.deadline is not None)
    @rule()
    def the_deadline_is_met(self) -> None:
        assert self.router.deadline is not None
        self.now = max(self.now, self.router.deadline)
        self.do(self.router.tick(self.now))
        after = self.router.deadline
        assert after is None or after > self.now, "a tick left its own deadline in the past"

    @rule(
        priority=st.sampled_from([0, 1, 99, 100, 101, 254, 255]),
        source=st.sampled_from([PEER, HIGHER]),
        faster=st.booleans(),
    )
    def an_advert_is_heard(self, priority: int, source: str, faster: bool) -> None:
        interval = self.router.instance.advert_int * (0.1 if faster else 1)
        peer = HIGHER if source == HIGHER else PEER
        self.do(self.router.heard(said(priority, max(interval, 0.01)), peer, self.now))

    @rule(
        faulty=st.booleans(),
        delta=st.sampled_from([-120, -10, 0, 10]),
        ready=st.booleans(),
        accompanied=st.booleans(),
        silent=st.booleans(),
        held=st.booleans(),
        standby=st.sampled_from(["", "alone", "aside"]),
    )
    def its_standing_changes(
        self,
        faulty: bool,
        delta: int,
        ready: bool,
        accompanied: bool,
        silent: bool,
        held: bool,
        standby: str,
    ) -> None:
        standing = with_standing(
            faults=("eth0 is down",) if faulty else (),
            delta=delta,
            ready=ready,
            accompanied=accompanied,
            silent=silent,
            held=held,
            standby=bool(standby),
            aside="another node could be master" if standby == "aside" else "",
        )
        self.do(self.router.update(standing, self.now))

    @rule()
    def all_is_well(self) -> None:
        self.do(self.router.update(WELL, self.now))

    @rule(order=st.sampled_from(["give way", "promote", "relegate", "network"]))
    def an_order_comes(self, order: str) -> None:
        match order:
            case "give way":
                self.do(self.router.give_way(self.now))
            case "promote":
                self.do(self.router.promote("ordered to", self.now))
            case "relegate":
                self.do(self.router.relegate("its group yielded", self.now))
            case _:
                self.do(self.router.hear_network(self.now))

    @rule(priority=st.sampled_from([50, 200]))
    def it_is_configured(self, priority: int) -> None:
        instance = replace(self.router.instance, priority=priority)
        self.do(self.router.configured(instance, self.now))

    @precondition(lambda self: self.router.standing.known)
    @rule(chance=st.integers(0, 9))
    def it_is_stopped(self, chance: int) -> None:
        if chance == 0:
            self.do(self.router.stop(self.now))

    @invariant()
    def addresses_are_where_the_state_says(self) -> None:
        assert self.placed == isinstance(self.router.state, HOLDING)

    @invariant()
    def a_router_at_fault_is_no_master(self) -> None:
        if self.router.standing.faults:
            assert isinstance(self.router.state, Fault | Stopped)

    @invariant()
    def in_standby_nobody_rises_by_himself_where_another_could(self) -> None:
        if self.router.standing.aside:
            assert not isinstance(self.router.state, Candidate)

    @invariant()
    def every_live_state_ends_some_day(self) -> None:
        state, deadline = self.router.state, self.router.deadline
        if isinstance(state, Backup | Master | Waking | Leaving):
            longest = 4 * max(self.router.instance.advert_int, 1.0) + 10
            assert deadline is not None
            assert deadline <= self.now + longest
        if isinstance(state, Init):
            assert (deadline is None) == (not self.router.standing.known)

    @invariant()
    def every_state_has_a_reason_and_a_beginning(self) -> None:
        assert self.router.reason
        assert self.router.since <= self.now


AnyLife.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyLife = AnyLife.TestCase
