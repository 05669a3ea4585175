"""The schedule of probes when its targets are replaced, removed, or come from elsewhere."""

from dataclasses import replace

import pytest

from hadirector.core.messages import Health, Probe, Targets, Verdict
from hadirector.core.pacing import Outcome, Report, Schedule, Start, Stop, Woken
from hadirector.core.settings.checks import CheckType
from hadirector.core.slots import first_slot
from tests.core.test_pacing import CHECK, GOOD, REFUSED, ended, started, target, wake


def test_unchanged_targets_keep_verdict_schedule_and_probe_under_way() -> None:
    schedule, start, slot = started(target(1))
    (report,) = schedule.handle(ended(start, GOOD), slot)
    assert isinstance(report, Report)
    start, at = wake(schedule)

    actions = schedule.handle(Targets((target(1), target(2))), at + 0.001)

    assert [a for a in actions if not isinstance(a, Start)] == []
    assert schedule.verdicts()[0] == report.verdict
    (kept,) = [a for a in schedule.handle(ended(start, GOOD), at + 0.002) if isinstance(a, Report)]
    assert kept.verdict.target == target(1).id


def test_a_removed_target_is_stopped_and_its_end_ignored() -> None:
    schedule, start, slot = started(target())

    assert schedule.handle(Targets(()), slot + 0.1) == [Stop(start.ticket)]
    assert schedule.handle(ended(start, REFUSED), slot + 0.2) == []
    assert schedule.verdicts() == ()
    assert schedule.next_at() is None


def test_another_pace_keeps_the_verdict_and_starts_a_new_grid() -> None:
    schedule, start, slot = started(target())
    (report,) = schedule.handle(ended(start, GOOD), slot)
    assert isinstance(report, Report)
    pace = replace(CHECK, interval=30.0, fast_interval=5.0, timeout=2.0, rise=5, fall=5, held=True)

    assert schedule.handle(Targets((target(check=pace),)), slot + 0.1) == []

    assert schedule.verdicts() == (report.verdict,)
    assert schedule.next_at() == first_slot(target(check=pace), slot + 0.1)


@pytest.mark.parametrize(
    "question",
    [{"path": "/other"}, {"body": "OK"}, {"type": CheckType.HTTP}, {"port": 81}, {"host": "a"}],
    ids=str,
)
def test_another_question_starts_at_unknown(question: dict[str, str]) -> None:
    schedule, start, slot = started(target())
    schedule.handle(ended(start, GOOD), slot)
    other = replace(target(), check=replace(CHECK, **question))  # type: ignore[arg-type]  # mixed

    schedule.handle(Targets((other,)), slot + 0.1)

    assert schedule.verdicts() == (Verdict(other.id, Health.UNKNOWN, slot + 0.1, None),)


def test_a_thousand_reloads_leave_no_stale_tries_behind() -> None:
    schedule = Schedule(10)

    for turn in range(1000):
        check = replace(CHECK, interval=10.0 + turn % 2)
        schedule.handle(Targets((target(check=check),)), float(turn) * 1e-6)

    assert len(schedule.handle(Woken(), 100.0)) == 1


@pytest.mark.parametrize(
    ("known", "answer", "then"),
    [
        (Health.UP, REFUSED, Health.FALLING),
        (Health.FALLING, REFUSED, Health.DOWN),
        (Health.DOWN, GOOD, Health.RISING),
        (Health.RISING, GOOD, Health.UP),
        (Health.UNKNOWN, REFUSED, Health.DOWN),
    ],
)
def test_a_target_that_comes_from_elsewhere_goes_on_from_what_was_known(
    known: Health, answer: Outcome, then: Health
) -> None:
    last = Probe(True, True, "connected", 1.0, 40.0)
    verdict = Verdict(target().id, known, 30.0, last, alone=known is Health.DOWN)
    schedule = Schedule(10)
    schedule.handle(Targets((target(),), known=(verdict,)), 50.0)
    first = schedule.verdicts()
    start, at = wake(schedule)

    (report,) = schedule.handle(ended(start, answer), at + 0.1)

    assert first == (verdict,)
    assert isinstance(report, Report)
    assert (report.verdict.health, report.verdict.alone) == (then, False)


def test_what_was_known_elsewhere_does_not_replace_what_is_known_here() -> None:
    schedule, start, slot = started(target())
    schedule.handle(ended(start, GOOD), slot + 0.1)
    stale = Verdict(target().id, Health.DOWN, 0.0, None)
    other = replace(CHECK, path="/other")

    schedule.handle(Targets((target(),), known=(stale,)), slot + 0.2)
    same = schedule.verdicts()[0].health
    schedule.handle(Targets((target(check=other),), known=(stale,)), slot + 0.3)

    assert (same, schedule.verdicts()[0].health) == (Health.UP, Health.UNKNOWN)
