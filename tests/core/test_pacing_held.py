"""The schedule and held connections: one sign of death and one probe that agrees are a verdict."""

import heapq
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import pacing
from hadirector.core.held import Broken, End, Hold, Release, Stands
from hadirector.core.messages import Health, Targets
from hadirector.core.pacing import Ended, Outcome, Report, Schedule, Start, Stop, Woken
from hadirector.core.settings.checks import Check, Target
from tests.core.test_pacing import CHECK, GOOD, OURS, SILENT, ended, target
from tests.core.test_pacing import REFUSED as WRONG

CHECKED = replace(CHECK, held=True)
REFUSED = Outcome(pacing.Cause.REFUSED, "refused")


def holding(check: Check = CHECKED) -> tuple[Schedule, int, float]:
    """A schedule whose only target is up and held, the connection's number, and the time."""
    schedule = Schedule(10, room=10)
    schedule.handle(Targets((target(check=check),)), 0.0)
    slot = schedule.next_at()
    assert slot is not None
    (start,) = schedule.handle(Woken(), slot)
    assert isinstance(start, Start)
    _, hold = schedule.handle(ended(start, GOOD), slot + 0.01)
    assert isinstance(hold, Hold)
    assert schedule.handle(Stands(hold.number), slot + 0.02) == []
    return schedule, hold.number, slot + 0.02


def report(actions: list[pacing.Action]) -> Report:
    (found,) = (action for action in actions if isinstance(action, Report))
    return found


def start_of(actions: list[pacing.Action]) -> Start:
    (found,) = (action for action in actions if isinstance(action, Start))
    return found


def test_a_held_connection_that_ends_starts_a_probe_at_once_and_refused_is_down() -> None:
    schedule, number, now = holding()

    start = start_of(schedule.handle(Broken(number, End.CLOSED), now + 0.3))
    told = report(schedule.handle(ended(start, REFUSED, 0.001), now + 0.301))

    assert told.verdict.health is Health.DOWN
    assert told.changed
    assert told.verdict.last is not None
    assert told.verdict.last.detail == "refused, and its held connection was closed after 300ms"


def looks(schedule: Schedule, start: Start, now: float) -> list[list[pacing.Action]]:
    """Good probes from this one on, each started when it is due, until nothing is asked for at
    once any more."""
    found = [schedule.handle(ended(start, GOOD, 0.001), now)]
    for _ in pacing.LOOKS:
        due = schedule.next_at()
        assert due is not None
        start = start_of(schedule.handle(Woken(), due))
        found.append(schedule.handle(ended(start, GOOD, 0.001), due))
    return found


def test_good_probes_after_the_end_change_nothing_and_leave_the_slots_where_they_were() -> None:
    schedule, number, now = holding()
    due = schedule.next_at()

    start = start_of(schedule.handle(Broken(number, End.CLOSED), now + 0.3))
    found = looks(schedule, start, now + 0.301)

    assert [[type(action) for action in actions] for actions in found] == [[Report]] * 3
    assert not any(report(actions).changed for actions in found)
    assert schedule.next_at() == due


def test_a_listener_that_its_kernel_closes_last_is_found_closed_by_the_second_look() -> None:
    schedule, number, now = holding()

    start = start_of(schedule.handle(Broken(number, End.CLOSED), now + 0.3))
    schedule.handle(ended(start, GOOD, 0.001), now + 0.301)
    due = schedule.next_at()
    assert due is not None
    start = start_of(schedule.handle(Woken(), due))
    told = report(schedule.handle(ended(start, REFUSED, 0.001), due))

    assert due - now < 0.32
    assert told.verdict.health is Health.DOWN


def test_a_connection_that_lived_long_is_re_opened_as_soon_as_its_server_is_known_to_live() -> None:
    schedule, number, now = holding(replace(CHECKED, interval=100.0))

    start = start_of(schedule.handle(Broken(number, End.CLOSED), now + 60))
    found = looks(schedule, start, now + 60.1)

    assert [type(action) for action in found[-1]] == [Report, Hold]


def test_any_other_wrong_answer_after_the_end_takes_a_second_one_at_once() -> None:
    schedule, number, now = holding(replace(CHECKED, fall=5))

    start = start_of(schedule.handle(Broken(number, End.CLOSED), now + 0.1))
    actions = schedule.handle(ended(start, WRONG, 0.001), now + 0.101)
    told = report(schedule.handle(ended(start_of(actions), WRONG, 0.001), now + 0.102))

    assert report(actions).verdict.health is Health.FALLING
    assert told.verdict.health is Health.DOWN


def test_a_second_probe_that_is_good_leaves_nothing_of_it() -> None:
    schedule, number, now = holding()

    start = start_of(schedule.handle(Broken(number, End.CLOSED), now + 0.1))
    again = start_of(schedule.handle(ended(start, WRONG, 0.001), now + 0.101))
    told = report(schedule.handle(ended(again, GOOD, 0.001), now + 0.102))

    assert told.verdict.health is Health.UP


@pytest.mark.parametrize("outcome", [SILENT, replace(SILENT, cause=pacing.Cause.UNREACHABLE)])
def test_silence_after_the_end_is_one_of_fall_like_any_other(outcome: Outcome) -> None:
    schedule, number, now = holding()

    start = start_of(schedule.handle(Broken(number, End.RESET), now + 0.1))
    told = report(schedule.handle(ended(start, outcome, 0.5), now + 0.6))

    assert told.verdict.health is Health.FALLING


def test_an_end_that_was_to_be_expected_is_no_sign_of_death() -> None:
    schedule, number, now = holding(replace(CHECKED, interval=1000.0))
    for _ in range(2):
        now += 60
        start = start_of(schedule.handle(Broken(number, End.CLOSED), now))
        _, hold = looks(schedule, start, now)[-1]
        assert isinstance(hold, Hold)
        number = hold.number
        schedule.handle(Stands(number), now)

    start = start_of(schedule.handle(Broken(number, End.CLOSED), now + 58))
    told = report(schedule.handle(ended(start, REFUSED), now + 58))

    assert told.verdict.health is Health.FALLING


def test_a_probe_under_way_when_it_ends_is_waited_for_and_followed_by_another() -> None:
    schedule, number, _ = holding()
    due = schedule.next_at()
    assert due is not None
    start = start_of(schedule.handle(Woken(), due))

    assert schedule.handle(Broken(number, End.CLOSED), due + 0.01) == []
    again = start_of(schedule.handle(ended(start, GOOD, 0.02), due + 0.02))
    told = report(schedule.handle(ended(again, REFUSED, 0.001), due + 0.021))

    assert told.verdict.health is Health.DOWN


def test_a_probe_under_way_that_is_refused_after_the_end_is_the_verdict_itself() -> None:
    schedule, number, _ = holding()
    due = schedule.next_at()
    assert due is not None
    start = start_of(schedule.handle(Woken(), due))

    schedule.handle(Broken(number, End.CLOSED), due + 0.01)
    actions = schedule.handle(ended(start, REFUSED, 0.02), due + 0.02)

    assert [type(action) for action in actions] == [Report]
    assert report(actions).verdict.health is Health.DOWN


def test_a_void_probe_settles_nothing_and_is_repeated_first() -> None:
    schedule, number, now = holding()

    start = start_of(schedule.handle(Broken(number, End.CLOSED), now + 0.3))
    again = start_of(schedule.handle(ended(start, OURS, 0.001), now + 0.301))
    told = report(schedule.handle(ended(again, REFUSED, 0.001), now + 0.302))

    assert told.verdict.health is Health.DOWN


def test_a_server_that_is_silent_and_out_has_its_connection_let_go() -> None:
    schedule, number, _ = holding()
    due = schedule.next_at()
    assert due is not None
    start = start_of(schedule.handle(Woken(), due))
    start = start_of(schedule.handle(ended(start, SILENT, 0.5), due + 0.5))

    actions = schedule.handle(ended(start, SILENT, 0.5), due + 1.0)

    assert report(actions).verdict.health is Health.DOWN
    assert Release(number) in actions


def test_a_server_that_answers_wrongly_keeps_its_connection() -> None:
    schedule, _, _ = holding(replace(CHECKED, fall=1))
    due = schedule.next_at()
    assert due is not None
    start = start_of(schedule.handle(Woken(), due))

    actions = schedule.handle(ended(start, REFUSED), due)

    assert [type(action) for action in actions] == [Report]


def test_many_ends_at_once_are_probed_within_the_bound_and_before_what_is_due_by_its_slot() -> None:
    schedule = Schedule(200, room=1000)
    targets = tuple(target(number, CHECKED) for number in range(1, 501))
    schedule.handle(Targets(targets), 0.0)
    flying: list[Start] = []
    holds: list[Hold] = []
    now = 2.0
    for _ in range(40):
        for action in schedule.handle(Woken(), now):
            if isinstance(action, Start):
                flying.append(action)
        for start in flying:
            found = schedule.handle(ended(start, GOOD), now)
            holds += [action for action in found if isinstance(action, Hold)]
            flying = [*flying[1:], *(a for a in found if isinstance(a, Start))]
    for hold in holds:
        schedule.handle(Stands(hold.number), now)
    assert len(holds) == 500

    now += 1.5  # by now every target has a slot due as well
    started = [s for h in holds for s in schedule.handle(Broken(h.number, End.CLOSED), now)]

    assert len(started) == 200
    assert len({s.target.id for s in started if isinstance(s, Start)}) == 200


OUTCOMES = {"good": GOOD, "refused": REFUSED, "wrong": WRONG, "silent": SILENT, "ours": OURS}
STEPS = (*OUTCOMES, "wake", "stands", "closed", "reset", "pace", "less")
EVERYBODY = tuple(target(number, CHECKED) for number in range(1, 6))


class Hands:
    """Carries out what a schedule says, and asserts its promises."""

    def __init__(self, in_flight: int, room: int) -> None:
        self.schedule = Schedule(in_flight, room)
        self.now = 0.0
        self.flying: dict[int, Target] = {}
        self.open: list[int] = []
        self._in_flight, self._room = in_flight, room
        self.do(Targets(EVERYBODY))

    def do(self, event: pacing.Event) -> None:
        for action in self.schedule.handle(event, self.now):
            match action:
                case Start(one, ticket):
                    assert one not in self.flying.values(), "a second probe beside the first"
                    self.flying[ticket] = one
                case Stop(ticket):
                    del self.flying[ticket]
                case Hold(number, _):
                    self.open.append(number)
                case Release(number):
                    self.open.remove(number)
                case Report():
                    pass
        assert len(self.flying) <= self._in_flight
        assert len(self.open) == len(self.schedule.holds) <= self._room
        at = self.schedule.next_at()
        assert at is None or at <= self.now + 8.0

    def step(self, step: str, which: int, pause: float) -> None:
        self.now += pause
        if step in OUTCOMES and self.flying:
            ticket = list(self.flying)[which % len(self.flying)]
            self.do(Ended(self.flying.pop(ticket).id, ticket, OUTCOMES[step], pause, 0.0))
        elif step in ("closed", "reset") and self.open:
            self.do(Broken(self.open.pop(which % len(self.open)), End(step)))
        elif step == "stands" and self.open:
            self.do(Stands(self.open[which % len(self.open)]))
        elif step == "pace":
            pace = replace(CHECKED, interval=1.0 + which)
            self.do(Targets(tuple(target(number, pace) for number in range(1, 6))))
        elif step == "less":
            self.do(Targets(EVERYBODY[: which % 6]))
        else:
            self.do(Woken())


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 7), st.floats(0.0, 0.7))))
def test_whatever_happens_no_probe_overlaps_its_predecessor_and_bounds_hold(
    steps: list[tuple[str, int, float]],
) -> None:
    """Any order of ends, of probes and of held connections, and of reloads."""
    hands = Hands(in_flight=3, room=3)

    for step in steps:
        hands.step(*step)


IDLE = 40.0  # seconds that these servers let a client idle


def chance(fall: int, servers: int, minutes: float, seed: int) -> Counter[str]:
    """What happens to servers that close idle clients, and of whose probes one in a hundred fails
    by chance: a wrong answer, or none."""
    dice = random.Random(seed)
    check = replace(CHECKED, interval=1.0, fast_interval=0.2, fall=fall)
    schedule, now, found = Schedule(servers, servers), 0.0, Counter[str]()
    schedule.handle(Targets(tuple(target(number, check) for number in range(1, servers + 1))), now)
    ends: list[tuple[float, int, pacing.Event]] = []
    while now < 60 * minutes:
        due = schedule.next_at()
        at = now + 1 if due is None else max(now, due)
        event: pacing.Event = Woken()
        if ends and ends[0][0] <= at:
            at, _, event = heapq.heappop(ends)
        now = at
        for action in schedule.handle(event, now):
            if isinstance(action, Start):
                good = now < 2 or dice.random() >= 0.01
                outcome = GOOD if good else dice.choice((WRONG, SILENT))
                took = 0.5 if outcome is SILENT else 0.001
                found["probes"] += 1
                heapq.heappush(ends, (now + took, action.ticket, ended(action, outcome, took)))
            elif isinstance(action, Report) and action.changed:
                found[action.verdict.health.value] += 1
            elif isinstance(action, Hold):
                number = action.number
                heapq.heappush(ends, (now + 0.001, -number, Stands(number)))
                heapq.heappush(ends, (now + IDLE, -number, Broken(number, End.CLOSED)))
                found["held"] += 1
    return found


def test_one_probe_in_a_hundred_that_fails_by_chance_takes_no_server_out_at_fall_3() -> None:
    for seed in range(3):
        found = chance(fall=3, servers=20, minutes=10, seed=seed)
        assert found["probes"] > 10_000
        assert found["falling"] > 60
        assert found["held"] > 20 * 10
        assert found["down"] == 0


def test_at_fall_2_chance_alone_takes_out_about_six_in_a_hundred_servers() -> None:
    found = chance(fall=2, servers=100, minutes=10, seed=1)

    assert 0 < found["down"] < 20
