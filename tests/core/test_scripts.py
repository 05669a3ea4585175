"""When scripts are run: slots, places, and runs that say nothing."""

from dataclasses import replace

import pytest

from hadirector.core.messages import Run
from hadirector.core.runner_messages import Ran, RunEnd
from hadirector.core.scripts import AT_ONCE, NO_WORD, Schedule
from hadirector.core.settings.cluster import Script

DISK = Script("disk", ("/disk-ok", "/"), 5.0, 2.0, 2, 2)


def script(name: str, interval: float = 5.0) -> Script:
    return Script(name, (f"/{name}",), interval, 2.0, 2, 2)


def scheduled(*scripts: Script) -> Schedule:
    schedule = Schedule()
    schedule.configure(scripts, 0.0)
    return schedule


def ended(run: Run, end: RunEnd = RunEnd.EXITED, gone: bool = True) -> Ran:
    return Ran(run.ticket, end, 0, "exit 0", 0.1, gone)


def names(runs: list[Run]) -> list[str]:
    return [run.environment["HADIRECTOR_SCRIPT"] for run in runs]


def test_a_script_is_run_at_once_and_then_each_interval_from_its_start() -> None:
    schedule = scheduled(DISK)

    first = schedule.start(0.0)
    assert first == [
        Run("script/disk/1", ("/disk-ok", "/"), {"HADIRECTOR_SCRIPT": "disk"}, 2.0),
    ]
    assert schedule.ended(ended(first[0])) == "disk"

    assert schedule.deadline() == 5.0
    assert schedule.start(4.9) == []
    assert [run.ticket for run in schedule.start(5.0)] == ["script/disk/2"]
    assert schedule.deadline() == 10.0


def test_a_script_never_overlaps_itself_and_makes_up_for_nothing() -> None:
    schedule = scheduled(DISK)
    first = schedule.start(0.0)[0]

    assert [schedule.start(now) for now in (5.0, 10.0)] == [[], []]
    assert schedule.ended(ended(first)) == "disk"

    assert schedule.start(12.0) == []
    assert names(schedule.start(15.0)) == ["disk"]


def test_one_that_cannot_be_killed_has_its_verdict_in_time_and_keeps_its_place() -> None:
    schedule = scheduled(DISK)
    first = schedule.start(0.0)[0]

    assert schedule.ended(ended(first, RunEnd.LATE, gone=False)) == "disk"

    assert schedule.start(5.0) == []
    assert schedule.ended(ended(first, RunEnd.LATE)) is None
    assert names(schedule.start(10.0)) == ["disk"]


def test_no_more_than_so_many_run_at_once_and_the_oldest_goes_first() -> None:
    many = [script(f"s{number}") for number in range(AT_ONCE + 2)]
    schedule = scheduled(*many)

    first = schedule.start(0.0)
    assert names(first) == [f"s{number}" for number in range(AT_ONCE)]
    assert schedule.start(1.0) == []
    schedule.ended(ended(first[3]))

    assert names(schedule.start(1.0)) == [f"s{AT_ONCE}"]
    schedule.ended(ended(first[0], RunEnd.LATE, gone=False))
    assert names(schedule.start(2.0)) == [f"s{AT_ONCE + 1}"]


def test_what_this_host_could_not_start_is_no_verdict_and_comes_again() -> None:
    schedule = scheduled(DISK)
    run = schedule.start(0.0)[0]

    assert schedule.ended(ended(run, RunEnd.VOID)) is None

    assert names(schedule.start(5.0)) == ["disk"]


def test_what_ran_when_the_runner_died_is_run_again_at_once() -> None:
    schedule = scheduled(DISK)
    old = schedule.start(0.0)[0]

    schedule.lost(1.0)

    assert schedule.ended(ended(old)) is None
    assert names(schedule.start(1.0)) == ["disk"]


def test_a_run_without_any_word_is_lost() -> None:
    schedule = scheduled(replace(DISK, interval=3600.0))
    schedule.start(0.0)

    assert schedule.deadline() == 2.0 + NO_WORD
    assert names(schedule.start(2.0 + NO_WORD)) == ["disk"]


@pytest.mark.parametrize(
    ("new", "at", "verdict"),
    [
        (DISK, 5.0, "disk"),
        (replace(DISK, interval=60.0), 1.0, "disk"),
        (replace(DISK, command=("/other",)), 1.0, None),
    ],
)
def test_a_reload_disturbs_only_a_script_that_changed(
    new: Script, at: float, verdict: str | None
) -> None:
    schedule = scheduled(DISK)
    run = schedule.start(0.0)[0]

    schedule.configure([new], 1.0)

    assert schedule.deadline() == at
    assert schedule.ended(ended(run)) == verdict


def test_one_that_is_tracked_no_more_is_run_no_more() -> None:
    schedule = scheduled(DISK, script("other"))
    runs = schedule.start(0.0)

    schedule.configure([script("other")], 1.0)

    assert schedule.ended(ended(runs[0])) is None
    assert schedule.ended(ended(runs[1])) == "other"
    assert names(schedule.start(9.0)) == ["other"]


def test_nothing_is_due_when_nothing_is_tracked() -> None:
    assert scheduled().deadline() is None
    assert scheduled().start(0.0) == []
