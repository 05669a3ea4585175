"""What is tracked: what counts, from when to when, what it does, and what is told of it."""

from dataclasses import replace

import pytest

from hadirector.core import messages
from hadirector.core.messages import Event, Health, Track, Tracks
from hadirector.core.runner_messages import (
    FileSeen,
    FilesSeen,
    ProcessesSeen,
    ProcessSeen,
    Ran,
    RunEnd,
)
from hadirector.core.settings.cluster import Script
from hadirector.core.settings.instances import Instance, Tracked, TrackedFile
from hadirector.core.tracking import Kind, Seen, Thing, Tracking
from tests.core.electorate import FRONT, INSIDE

DISK = Script("disk", ("/disk-ok",), 5.0, 2.0, rise=2, fall=3)
WEIGHT = "/run/weight"
PATIENCE = {"web": 3.0}
BY_DISK = replace(FRONT, track_scripts=(Tracked("disk", -10),))
BY_FILE = replace(FRONT, track_files=(TrackedFile(WEIGHT, 2),))
BY_PROCESS = replace(FRONT, track_processes=(Tracked("haproxy", None),))
BY_SERVICE = replace(FRONT, track_services=(Tracked("web", -60),))


def tracking(*instances: Instance, past: tuple[Event, ...] = ()) -> Tracking:
    made = Tracking(past)
    made.configure(instances, (DISK,), PATIENCE, 0.0)
    return made


def run(made: Tracking, *good: bool, at: float = 1.0) -> None:
    """The script ran, with these results."""
    for one in good:
        end = Ran("t", RunEnd.EXITED, 0 if one else 1, "exit 0" if one else "exit 1: full", 0.1)
        made.ran("disk", end, at)


def read(made: Tracking, *numbers: int | None, at: float = 1.0) -> None:
    """The file was read, with these results."""
    for number in numbers:
        reason = "" if number is not None else "empty"
        made.files_seen(FilesSeen((FileSeen(WEIGHT, number, reason),)), at)


def look(made: Tracking, *counts: int) -> None:
    """The processes were looked at."""
    for count in counts:
        made.processes_seen(ProcessesSeen((ProcessSeen("haproxy", count),)), 1.0)


def serve(
    made: Tracking, below: bool | None, *peers: str, at: float, reason: str = "0 of 2 up"
) -> None:
    """The service was looked at."""
    made.services_seen({"web": Seen(below, reason, peers)}, at)


def effects(made: Tracking) -> list[tuple[str, bool, int, str]]:
    """What the election is told."""
    return [(t.instance, t.fault, t.delta, t.reason) for t in made.tracks().tracks]


def told(made: Tracking) -> list[tuple[str, str, str]]:
    return [(change.kind, change.subject, change.reason) for change in made.changes()]


# --- before the first look -------------------------------------------------------------------


@pytest.mark.parametrize("instance", [BY_DISK, BY_FILE, BY_PROCESS, BY_SERVICE])
def test_what_was_not_looked_at_is_neither_well_nor_failing(instance: Instance) -> None:
    made = tracking(instance)

    (thing,) = made.conditions
    assert made.unknown() == (thing,)
    assert made.tracks() == Tracks((), (str(thing),))
    assert told(made) == []


# --- scripts ---------------------------------------------------------------------------------


def test_the_first_run_of_a_script_settles_it() -> None:
    made = tracking(BY_DISK)

    run(made, False)

    assert made.tracks() == Tracks(
        (Track("front", "script disk", False, -10, "script disk: exit 1: full"),)
    )
    assert told(made) == [("track_down", "front/script disk", "exit 1: full: priority -10")]


@pytest.mark.parametrize(
    ("good", "fails"),
    [
        ((True, False, False), False),
        ((True, False, False, False), True),
        ((True, False, False, True, False, False), False),
        ((False, True), True),
        ((False, True, True), False),
        ((False, True, False, True), True),
    ],
)
def test_after_that_rise_and_fall_count(good: tuple[bool, ...], fails: bool) -> None:
    made = tracking(BY_DISK)

    run(made, *good)

    assert bool(made.tracks().tracks) is fails


def test_the_beginning_and_the_end_of_a_failure_are_told_once() -> None:
    made = tracking(BY_DISK)
    stories = []

    for good in (True, False, False, False, False, True, True, True):
        run(made, good)
        stories.append(told(made))

    assert stories == [
        *([],) * 3,
        [("track_down", "front/script disk", "exit 1: full: priority -10")],
        *([],) * 2,
        [("track_up", "front/script disk", "exit 0")],
        [],
    ]


def test_each_instance_is_affected_as_it_says() -> None:
    made = tracking(BY_DISK, replace(INSIDE, track_scripts=(Tracked("disk", None),)))

    run(made, False)

    assert effects(made) == [
        ("front", False, -10, "script disk: exit 1: full"),
        ("inside", True, 0, "script disk: exit 1: full"),
    ]
    assert told(made) == [
        ("track_down", "front/script disk", "exit 1: full: priority -10"),
        ("track_down", "inside/script disk", "exit 1: full: fault"),
    ]


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "fault", "delta"),
    [
        (1, False, 2),
        (-10, False, -20),
        (-126, False, -252),
        (-127, True, 0),
        (-1000, True, 0),
        (127, False, 253),
        (1000, False, 253),
    ],
)
def test_a_file_counts_times_the_factor(number: int, fault: bool, delta: int) -> None:
    made = tracking(BY_FILE)

    read(made, number)

    assert effects(made) == [("front", fault, delta, f"file {WEIGHT}: says {number}")]


def test_a_file_that_says_nothing_special_does_nothing() -> None:
    made = tracking(BY_FILE)

    read(made, 0)

    assert (effects(made), told(made), made.unknown()) == ([], [], ())


def test_a_file_that_is_empty_for_one_look_is_being_rewritten() -> None:
    made = tracking(BY_FILE)

    read(made, -10, None)
    assert effects(made)[0][2] == -20
    read(made, -10, None, -15)

    assert effects(made) == [("front", False, -30, f"file {WEIGHT}: says -15")]


def test_a_file_without_a_number_counts_as_0_and_that_is_told() -> None:
    made = tracking(BY_FILE)
    read(made, -10)
    told(made)

    read(made, None, None)

    assert effects(made) == []
    assert told(made) == [("track_down", f"front/file {WEIGHT}", "empty: counts as 0")]
    read(made, 0)
    assert told(made) == [("track_up", f"front/file {WEIGHT}", "says 0")]


def test_each_new_number_is_told_with_what_it_does() -> None:
    made = tracking(BY_FILE)
    stories = []

    for number in (0, -5, -6, 4, 0):
        read(made, number)
        stories += told(made)

    subject = f"front/file {WEIGHT}"
    assert stories == [
        ("track_down", subject, "says -5: priority -10"),
        ("track_down", subject, "says -6: priority -12"),
        ("track_up", subject, "says 4: priority +8"),
        ("track_up", subject, "says 0"),
    ]


def test_a_file_whose_disk_is_silent_stays_as_it_was_and_that_is_shown() -> None:
    made = tracking(BY_FILE)
    read(made, -10)

    made.files_seen(FilesSeen((), (WEIGHT,)), 2.0)

    reason = f"file {WEIGHT}: says -10; its disk does not answer now"
    assert effects(made) == [("front", False, -20, reason)]
    read(made, -10)
    assert effects(made) == [("front", False, -20, f"file {WEIGHT}: says -10")]


# --- processes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "fails"),
    [((3,), False), ((0,), True), ((1, 0), False), ((1, 0, 0), True), ((1, 0, 1, 0), False),
     ((0, 1), False)],
)  # fmt: skip
def test_a_process_is_missed_by_two_looks_in_a_row(counts: tuple[int, ...], fails: bool) -> None:
    made = tracking(BY_PROCESS)

    look(made, *counts)

    failing = [("front", True, 0, "process haproxy: not running")]
    assert effects(made) == (failing if fails else [])


def test_a_table_that_could_not_be_read_changes_nothing() -> None:
    made = tracking(BY_PROCESS)
    look(made, 1)

    made.processes_seen(ProcessesSeen((), "/proc: Input/output error"), 2.0)
    made.processes_seen(ProcessesSeen((), "/proc: Input/output error"), 3.0)

    assert effects(made) == []
    assert made.unknown() == ()


# --- services --------------------------------------------------------------------------------


def test_a_service_counts_once_a_peer_had_the_time_to_see_the_same() -> None:
    made = tracking(BY_SERVICE)
    serve(made, False, "lb2", at=0.0)

    serve(made, True, "lb2", at=1.0)
    assert effects(made) == []
    assert made.deadline() == 4.0
    serve(made, True, "lb2", at=3.9)
    assert effects(made) == []
    serve(made, True, "lb2", at=4.0)

    assert effects(made) == [("front", False, -60, "service web: 0 of 2 up; lb2 reports it up")]
    assert made.deadline() is None
    assert told(made) == [
        ("track_down", "front/service web", "0 of 2 up; lb2 reports it up: priority -60")
    ]


@pytest.mark.parametrize("peers", [(), ("lb2",)])
def test_it_counts_no_more_when_it_is_up_or_no_peer_is_better(peers: tuple[str, ...]) -> None:
    made = tracking(BY_SERVICE)
    serve(made, True, "lb2", at=0.0)
    serve(made, True, "lb2", at=3.0)
    assert effects(made)
    told(made)

    serve(made, not peers, *peers, at=5.0, reason="now")

    assert effects(made) == []
    reason = "now" if peers else "now; no peer reports it up"
    assert told(made) == [("track_up", "front/service web", reason)]


def test_servers_that_die_for_everybody_cause_nothing() -> None:
    made = tracking(BY_SERVICE)
    serve(made, False, "lb2", at=0.0)

    serve(made, True, "lb2", at=1.0)
    serve(made, True, at=2.5)
    serve(made, True, at=10.0)

    assert effects(made) == []
    assert told(made) == []
    assert made.deadline() is None


def test_a_service_without_a_verdict_leaves_all_as_it_was() -> None:
    made = tracking(BY_SERVICE)
    serve(made, None, "lb2", at=0.0)
    assert made.tracks() == Tracks((), ("service web",))
    serve(made, True, "lb2", at=1.0)
    assert made.tracks() == Tracks((), ("service web",))

    serve(made, None, "lb2", at=9.0)

    assert made.tracks() == Tracks((), ("service web",))
    assert made.deadline() is None


# --- reload and restart ----------------------------------------------------------------------


def test_a_reload_keeps_what_stays_and_forgets_what_goes() -> None:
    made = tracking(BY_DISK, replace(INSIDE, track_processes=BY_PROCESS.track_processes))
    run(made, False)
    look(made, 0)
    told(made)

    made.configure([BY_DISK], [replace(DISK, interval=60.0, fall=1)], PATIENCE, 2.0)

    assert effects(made) == [("front", False, -10, "script disk: exit 1: full")]
    assert list(made.conditions) == [Thing(Kind.SCRIPT, "disk")]
    assert told(made) == []


def test_another_command_is_another_question() -> None:
    made = tracking(BY_DISK)
    run(made, False)

    made.configure([BY_DISK], [replace(DISK, command=("/other",))], PATIENCE, 2.0)

    assert made.tracks() == Tracks((), ("script disk",))


def test_a_reload_that_changes_the_weight_tells_the_new_effect() -> None:
    made = tracking(BY_DISK)
    run(made, False)
    told(made)

    made.configure([replace(FRONT, track_scripts=(Tracked("disk", None),))], [DISK], PATIENCE, 2.0)

    assert told(made) == [("track_down", "front/script disk", "exit 1: full: fault")]


def event(kind: str, effect: str, at: float = 5.0) -> Event:
    return Event(1, at, kind, "front/script disk", "told", {"effect": effect})


@pytest.mark.parametrize(
    ("past", "good", "news"),
    [
        (event("track_down", "priority -10"), False, []),
        (event("track_down", "priority -10"), True, ["track_up"]),
        (event("track_up", ""), False, ["track_down"]),
        (event("track_up", ""), True, []),
        (event("track_down", "priority -10", at=-5.0), False, ["track_down"]),
        (event("track_down", "priority -10", at=-5.0), True, []),
    ],
)
def test_a_director_that_starts_tells_what_is_new_since_the_one_before(
    past: Event, good: bool, news: list[str]
) -> None:
    made = tracking(BY_DISK, past=(past,))

    run(made, good)

    assert [kind for kind, _, _ in told(made)] == news


def test_a_script_that_is_tracked_no_more_may_still_end() -> None:
    made = tracking(FRONT)

    run(made, False)
    read(made, -10)
    look(made, 0)

    assert made.conditions == {}
    assert made.tracks() == messages.Tracks(())


def test_doubt_shows() -> None:
    made = tracking(BY_DISK)

    run(made, True, False)

    (condition,) = made.conditions.values()
    assert (condition.health, condition.reason) == (Health.FALLING, "exit 1: full")
