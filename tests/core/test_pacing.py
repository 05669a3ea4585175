"""The schedule of probes: slots, bounds, void probes."""

from dataclasses import replace

import pytest

from hadirector.core import pacing
from hadirector.core.address import Endpoint, canonical
from hadirector.core.messages import Health, Probe, Targets, Verdict, Wish
from hadirector.core.pacing import Cause, Ended, Outcome, Report, Schedule, Start, Woken
from hadirector.core.settings.checks import Check, CheckType, Target, target_id
from hadirector.core.slots import first_slot

GOOD = Outcome(Cause.GOOD, "connected")
REFUSED = Outcome(Cause.ANSWERED, "refused")
SILENT = Outcome(Cause.SILENT, "no answer within 500ms")
OURS = Outcome(Cause.OURS, "Too many open files")

CHECK = Check(
    name="page",
    type=CheckType.TCP,
    interval=1.0,
    fast_interval=0.25,
    timeout=0.5,
    rise=2,
    fall=2,
    held=False,
)


def target(number: int = 1, check: Check = CHECK) -> Target:
    endpoint = Endpoint(canonical(f"10.0.{number >> 8}.{number & 255}"), 80)
    return Target(target_id(check.name, endpoint), check, endpoint)


def started(one: Target, at: float = 0.0, in_flight: int = 10) -> tuple[Schedule, Start, float]:
    """A schedule of one target whose first probe has just started, and when that was."""
    schedule = Schedule(in_flight)
    assert schedule.handle(Targets((one,)), at) == []
    slot = schedule.next_at()
    assert slot is not None
    (start,) = schedule.handle(Woken(), slot)
    assert isinstance(start, Start)
    return schedule, start, slot


def ended(start: Start, outcome: Outcome, took: float = 0.01, stalled: float = 0.0) -> Ended:
    return Ended(start.target.id, start.ticket, outcome, took, stalled)


def wake(schedule: Schedule) -> tuple[Start, float]:
    """Start the next probe at its instant."""
    at = schedule.next_at()
    assert at is not None
    (start,) = schedule.handle(Woken(), at)
    assert isinstance(start, Start)
    return start, at


def test_first_probe_gives_the_first_verdict() -> None:
    schedule, start, slot = started(target())

    actions = schedule.handle(ended(start, GOOD, took=0.012), slot + 0.012)

    end = slot + 0.012
    probe = Probe(ok=True, answered=True, detail="connected", ms=12.0, at=end)
    verdict = Verdict(target().id, Health.UP, end, probe)
    assert actions == [Report(verdict, changed=True)]
    assert schedule.verdicts() == (verdict,)


def test_a_probe_that_changes_nothing_is_reported_as_such() -> None:
    schedule, start, slot = started(target())
    schedule.handle(ended(start, GOOD), slot + 0.25)
    start, at = wake(schedule)

    (report,) = schedule.handle(ended(start, GOOD, took=0.25), at + 0.25)

    probe = Probe(ok=True, answered=True, detail="connected", ms=250.0, at=at + 0.25)
    assert report == Report(Verdict(target().id, Health.UP, slot + 0.25, probe), changed=False)


@pytest.mark.parametrize(
    ("cause", "ok", "answered"),
    [
        (Cause.GOOD, True, True),
        (Cause.ANSWERED, False, True),
        (Cause.PARTIAL, False, True),
        (Cause.SILENT, False, False),
        (Cause.UNREACHABLE, False, False),
    ],
)
def test_a_probe_tells_an_answer_from_silence(cause: Cause, ok: bool, answered: bool) -> None:
    schedule, start, slot = started(target())

    (report,) = schedule.handle(ended(start, Outcome(cause, "x"), took=0.5), slot + 0.5)

    assert isinstance(report, Report)
    assert report.verdict.last == Probe(ok, answered, "x", 500.0, slot + 0.5)


def test_slots_do_not_drift_with_the_length_of_probes() -> None:
    schedule, start, slot = started(target())

    for turn in range(1, 6):
        schedule.handle(ended(start, GOOD), slot + turn - 1 + 0.3 * (turn % 3))
        start, at = wake(schedule)
        assert at == pytest.approx(slot + turn)

    assert schedule.counts == pacing.Counts(due=6, done=5)


def test_doubt_is_probed_fast_until_it_is_settled() -> None:
    schedule, start, slot = started(target())
    schedule.handle(ended(start, GOOD), slot)
    healths, gaps, before = [], [], slot

    for outcome in (REFUSED, REFUSED, REFUSED, GOOD, GOOD, GOOD):
        start, at = wake(schedule)
        (report,) = schedule.handle(ended(start, outcome), at)
        assert isinstance(report, Report)
        healths.append(report.verdict.health)
        gaps.append(round(at - before, 6))
        before = at

    assert healths == [
        Health.FALLING,
        Health.DOWN,
        Health.DOWN,
        Health.RISING,
        Health.UP,
        Health.UP,
    ]
    assert gaps == [1.0, 0.25, 1.0, 1.0, 0.25, 1.0]


def test_after_a_first_probe_within_a_second_long_intervals_are_used_whole() -> None:
    slow = replace(CHECK, interval=30.0)
    schedule = Schedule(1000)
    schedule.handle(Targets(tuple(target(n, slow) for n in range(1, 101))), 0.0)
    starts: list[list[float]] = [[], [], []]
    seen: dict[str, int] = {}

    while (now := schedule.next_at()) is not None and now < 61.0:
        for action in schedule.handle(Woken(), now):
            assert isinstance(action, Start)
            number = seen[action.target.id] = seen.get(action.target.id, -1) + 1
            starts[min(number, 2)].append(now)
            schedule.handle(Ended(action.target.id, action.ticket, GOOD, 0.0, 0.0), now)

    assert max(starts[0]) <= 1.0
    within = [sum(1 for at in starts[1] if 3 * n <= at < 3 * n + 3) for n in range(10)]
    assert (len(starts[1]), min(within) >= 3) == (100, True), within
    assert schedule.counts.missed == 0


def test_a_target_is_never_probed_twice_at_once_and_missed_slots_are_counted() -> None:
    schedule, start, slot = started(target())

    assert schedule.handle(Woken(), slot + 1.0) == []
    assert schedule.next_at() is None
    schedule.handle(ended(start, GOOD), slot + 2.5)

    assert schedule.next_at() == pytest.approx(slot + 3)
    assert schedule.counts == pacing.Counts(due=3, done=1, missed=2)


def test_new_targets_start_within_a_second_evenly_and_always_at_the_same_place() -> None:
    targets = [target(number) for number in range(1, 10_001)]

    slots = [first_slot(one, 50.0) - 50.0 for one in targets]

    assert slots == [first_slot(one, 50.0) - 50.0 for one in targets]
    assert min(slots) >= 0
    assert max(slots) < 1
    tenths = [sum(tenth <= slot * 10 < tenth + 1 for slot in slots) for tenth in range(10)]
    assert all(900 < count < 1100 for count in tenths)


def test_a_short_interval_bounds_the_spread() -> None:
    short = replace(CHECK, interval=0.1)

    assert all(first_slot(target(number, short), 0.0) < 0.1 for number in range(1, 200))


def test_probes_in_flight_are_bounded_and_the_longest_due_goes_first() -> None:
    schedule = Schedule(in_flight=2)
    targets = [target(number) for number in range(1, 5)]
    schedule.handle(Targets(tuple(targets)), 0.0)
    order = sorted(targets, key=lambda one: first_slot(one, 0.0))

    first = schedule.handle(Woken(), 1.0)
    assert schedule.next_at() is None
    assert isinstance(first[0], Start)
    then = schedule.handle(ended(first[0], GOOD), 1.01)

    assert [a.target for a in first if isinstance(a, Start)] == order[:2]
    assert [type(action) for action in then] == [Report, Start]
    assert isinstance(then[1], Start)
    assert then[1].target == order[2]


def test_starts_of_one_turn_are_bounded_and_the_next_turn_is_at_once() -> None:
    schedule = Schedule(in_flight=1000)
    schedule.handle(Targets(tuple(target(number) for number in range(1, 101))), 0.0)

    assert len(schedule.handle(Woken(), 1.0)) == pacing.STARTS_PER_TURN
    next_at = schedule.next_at()
    assert next_at is not None
    assert next_at <= 1.0
    assert len(schedule.handle(Woken(), 1.0)) == 100 - pacing.STARTS_PER_TURN


def test_a_late_start_is_counted() -> None:
    schedule = Schedule(10)
    schedule.handle(Targets((target(),)), 0.0)
    slot = schedule.next_at()
    assert slot is not None

    schedule.handle(Woken(), slot + pacing.LATE_START + 0.01)

    assert schedule.counts == pacing.Counts(due=1, late=1)


def test_a_void_probe_is_repeated_at_once_a_bounded_number_of_times_and_counts_neither_way() -> (
    None
):
    schedule, start, slot = started(target())
    schedule.handle(ended(start, GOOD), slot)
    before = schedule.verdicts()
    start, at = wake(schedule)

    for _ in range(pacing.VOID_RETRIES):
        (again,) = schedule.handle(ended(start, OURS), at + 0.1)
        assert isinstance(again, Start)
        assert again.target == start.target
        assert again.ticket != start.ticket
        start = again
    last = schedule.handle(ended(start, OURS), at + 0.1)

    assert last == []
    assert schedule.next_at() == pytest.approx(at + 1.0)
    assert schedule.verdicts() == before
    assert schedule.counts == pacing.Counts(due=2, done=1, void=3)


def test_what_cannot_be_probed_is_told_until_a_probe_counts_again() -> None:
    schedule, start, at = started(target())
    told = [schedule.blind.reasons()]
    for outcome in (OURS,) * (pacing.VOID_RETRIES + 1):
        told.append(schedule.blind.reasons())
        actions = schedule.handle(ended(start, outcome), at)
        start = next((a for a in actions if isinstance(a, Start)), start)
    told.append(schedule.blind.reasons())
    start, at = wake(schedule)
    schedule.handle(ended(start, SILENT, took=0.5), at + 0.5)
    told.append(schedule.blind.reasons())

    endpoint = start.target.endpoint
    reason = f"this node cannot reach {endpoint}: Too many open files; weights stay as they are"
    assert told == [(), (), (), (), (reason,), ()]


def test_a_target_that_is_no_longer_probed_is_not_told_as_out_of_reach() -> None:
    schedule, start, at = started(target())
    for _ in range(pacing.VOID_RETRIES + 1):
        actions = schedule.handle(ended(start, OURS), at)
        start = next((a for a in actions if isinstance(a, Start)), start)
    assert schedule.blind.reasons()

    schedule.handle(Targets(()), at)

    assert schedule.blind.reasons() == ()


def test_each_slot_has_its_own_retries_of_void_probes() -> None:
    schedule, start, at = started(target())

    for slot in (at, at + 1.0):
        for _ in range(pacing.VOID_RETRIES):
            (again,) = schedule.handle(ended(start, OURS), slot)
            assert isinstance(again, Start)
            start = again
        assert schedule.handle(ended(start, OURS), slot) == []
        start, _ = wake(schedule)

    assert schedule.counts == pacing.Counts(due=3, void=6)


def test_a_silent_server_in_doubt_is_probed_again_at_the_end_of_its_timeout() -> None:
    schedule, start, slot = started(target())
    schedule.handle(ended(start, GOOD), slot)
    start, at = wake(schedule)

    _, again = schedule.handle(ended(start, SILENT, took=0.5), at + 0.5)

    assert isinstance(again, Start)
    assert schedule.counts == pacing.Counts(due=3, done=2)


@pytest.mark.parametrize(
    ("outcome", "stalled", "void"),
    [
        (SILENT, 0.0, False),
        (SILENT, 0.125, False),
        (SILENT, 0.13, True),
        (Outcome(Cause.PARTIAL, "x"), 0.13, True),
        (REFUSED, 0.4, False),
        (GOOD, 0.4, False),
        (Outcome(Cause.UNREACHABLE, "x"), 0.4, False),
        (OURS, 0.0, True),
    ],
    ids=str,
)
def test_only_what_ran_out_of_time_while_we_stood_still_is_void(
    outcome: Outcome, stalled: float, void: bool
) -> None:
    start = Start(target(), 1)

    assert pacing.is_void(ended(start, outcome, 0.5, stalled), CHECK) is void


def test_a_warning_of_a_good_probe_is_reported_with_it() -> None:
    schedule, start, slot = started(target())

    (report,) = schedule.handle(ended(start, Outcome(Cause.GOOD, "well", "ends soon")), slot + 0.01)

    assert isinstance(report, Report)
    assert report.verdict.last is not None
    assert report.verdict.last.warning == "ends soon"


def test_what_an_agent_does_not_say_again_holds() -> None:
    one = target(check=replace(CHECK, type=CheckType.AGENT, rise=1, fall=1))
    schedule, start, at = started(one)
    seen = []
    for up, wish in ((True, None), (False, Wish.DRAIN), (None, None), (True, None), (None, None)):
        (report,) = schedule.handle(ended(start, replace(GOOD, up=up, wish=wish)), at + 0.01)
        assert isinstance(report, Report)
        last = report.verdict.last
        seen.append((report.verdict.health, last.wish if last else None))
        start, at = wake(schedule)

    assert seen == [
        (Health.UP, None),
        (Health.DOWN, Wish.DRAIN),
        (Health.DOWN, Wish.DRAIN),
        (Health.UP, Wish.DRAIN),
        (Health.UP, Wish.DRAIN),
    ]
