"""Tracked things and hooks in the director's core: from the runner's word to the level told."""

from dataclasses import replace

import pytest

from hadirector.core import director_events as ev
from hadirector.core import explain, messages, peers, status
from hadirector.core.attendance import SAVE_EVERY
from hadirector.core.director import Director
from hadirector.core.hooks import Pending
from hadirector.core.messages import Event, Health, Process, RouterStateName, Run, Track, Tracks
from hadirector.core.runner_messages import (
    FileSeen,
    FilesSeen,
    ProcessesSeen,
    ProcessSeen,
    Ran,
    RunEnd,
    Watch,
)
from hadirector.core.settings.cluster import Config, Hook, Script
from hadirector.core.settings.instances import Instance, Tracked, TrackedFile
from tests.core import farm
from tests.core.desk import DONE, from_checker, kinds, read
from tests.core.electorate import FRONT
from tests.core.farm import ONE, TWO

INF = float("inf")
DISK = Script("disk", ("/disk-ok",), 5.0, 2.0, 2, 2)
NOTIFY = Hook(("master", "backup", "server_down", "quorum_lost"), ("/notify",), 5.0)
EVERYTHING = replace(
    FRONT,
    track_scripts=(Tracked("disk", -10),),
    track_files=(TrackedFile("/run/weight", 1),),
    track_processes=(Tracked("haproxy", None),),
    track_services=(Tracked("web", -60),),
)
BY_DISK = replace(FRONT, track_scripts=EVERYTHING.track_scripts)
BY_SERVICE = replace(FRONT, track_services=EVERYTHING.track_services)


def config(*instances: Instance, hooks: tuple[Hook, ...] = ()) -> Config:
    return replace(farm.CONFIG, instances=instances, scripts=(DISK,), hooks=hooks)


def from_runner(message: messages.Message) -> ev.From:
    return ev.From(Process.RUNNER, message, INF)


def state(alive: bool) -> messages.Processes:
    """What the shell tells of the runner: there, or dead."""
    ended = "" if alive else "died (SIGKILL)"
    return messages.Processes(
        (messages.ProcessState(Process.RUNNER, 9, 0.0, 0, 0.0, 0.0, alive, ended),)
    )


HELLO = from_runner(messages.Hello(Process.RUNNER, 9))


def sent(actions: tuple[ev.Action, ...], to: Process) -> list[messages.Message]:
    return [a.message for a in actions if isinstance(a, ev.Send) and a.to is to]


def runs(actions: tuple[ev.Action, ...]) -> list[Run]:
    return [m for m in sent(actions, Process.RUNNER) if isinstance(m, Run)]


def tracks(actions: tuple[ev.Action, ...]) -> list[Tracks]:
    return [m for m in sent(actions, Process.ELECTION) if isinstance(m, Tracks)]


def running(made: Config, left_over: tuple[Pending, ...] = ()) -> Director:
    """A director at second 0 with its servers up and a runner that is there."""
    director = Director("1", frozenset(), 0.0, left_over=left_over)
    director.handle(ev.Configured(made), 0.0)
    director.handle(read({}), 0.0)
    director.handle(DONE, 0.0)
    director.handle(from_checker(farm.verdicts((ONE, Health.UP), (TWO, Health.UP))), 0.0)
    director.handle(DONE, 0.0)
    director.handle(from_runner(state(alive=True)), 0.0)
    return director


def ran(run: Run, status_: int) -> ev.From:
    reason = "exit 0" if status_ == 0 else f"exit {status_}: full"
    return from_runner(Ran(run.ticket, RunEnd.EXITED, status_, reason, 0.1))


def lb2(sequence: int, up: bool) -> ev.Heard:
    return ev.Heard(
        peers.Presence("shop", "lb2", 1, sequence, "d1", "1", True, "", services={"web": up})
    )


def in_state(name: RouterStateName) -> messages.Routers:
    router = messages.Router("front", 4, name, 150, 150, None, 0.0, "", {}, (), {}, True)
    return messages.Routers((router,))


def moved(kind: str, at: float = 1.0) -> ev.From:
    event = Event(1, at, kind, "front", "told", {"family": "ipv4"})
    return ev.From(Process.ELECTION, messages.Events((event,)), INF)


# --- the runner comes and goes ---------------------------------------------------------------


def test_there_is_no_runner_while_there_is_nothing_for_it() -> None:
    director = Director("1", frozenset(), 0.0)

    begun = director.handle(ev.Configured(config(FRONT, BY_SERVICE)), 0.0)
    wanted = director.handle(ev.Configured(config(BY_DISK)), 1.0)
    again = director.handle(ev.Configured(config(EVERYTHING)), 2.0)
    gone = director.handle(ev.Configured(config(FRONT)), 3.0)

    assert [
        [a.wanted for a in actions if isinstance(a, ev.Employ)]
        for actions in (begun, wanted, again, gone)
    ] == [[], [True], [], [False]]


def test_a_runner_that_says_hello_is_told_what_to_watch_and_run() -> None:
    director = running(config(EVERYTHING))

    actions = director.handle(HELLO, 0.1)

    assert sent(actions, Process.RUNNER) == [
        Watch(("/run/weight",), ("haproxy",)),
        Run("script/disk/1", ("/disk-ok",), {"HADIRECTOR_SCRIPT": "disk"}, 2.0),
    ]


def test_a_dead_runner_changes_nothing_and_what_it_ran_is_run_by_the_next() -> None:
    director = running(config(BY_DISK))
    first = runs(director.handle(HELLO, 0.1))[0]
    director.handle(ran(first, 1), 0.2)
    second = runs(director.handle(ev.Woken(), 5.2))
    assert second

    died = director.handle(from_runner(state(alive=False)), 5.3)
    waiting = director.handle(ev.Woken(), 99.0)
    revived = director.handle(HELLO, 99.1)

    assert kinds(died) == [("process_died", "runner")]
    assert runs(waiting) == []
    assert [track.delta for level in tracks(waiting) for track in level.tracks] == [-10]
    assert len(runs(revived)) == 1
    assert "the runner is dead" in str(_status(director)["trouble"])


# --- readiness and the level -----------------------------------------------------------------


def test_a_node_is_not_ready_before_everything_was_looked_at() -> None:
    director = running(config(EVERYTHING))
    reasons = [director.readiness().reason]
    (run,) = runs(director.handle(HELLO, 0.1))

    for message in (
        ran(run, 0).message,
        FilesSeen((FileSeen("/run/weight", 0),)),
        ProcessesSeen((ProcessSeen("haproxy", 1),)),
    ):
        director.handle(from_runner(message), 0.2)
        reasons.append(director.readiness().reason)

    assert reasons == [
        "script disk and 2 more: no result yet",
        "process haproxy and 1 more: no result yet",
        "process haproxy: no result yet",
        "services programmed and checks settled",
    ]


def test_a_result_reaches_the_election_at_once_and_the_journal() -> None:
    director = running(config(BY_DISK))
    (run,) = runs(director.handle(HELLO, 0.1))

    actions = director.handle(ran(run, 1), 0.2)

    failing = Track("front", "script disk", False, -10, "script disk: exit 1: full")
    assert tracks(actions) == [Tracks((failing,))]
    assert kinds(actions) == [("track_down", "front/script disk")]
    assert messages.Ready(True, "services programmed and checks settled") in sent(
        actions, Process.ELECTION
    )


def test_a_new_election_is_told_what_fails() -> None:
    director = running(config(BY_DISK))
    (run,) = runs(director.handle(HELLO, 0.1))
    director.handle(ran(run, 1), 0.2)

    hello = ev.From(Process.ELECTION, messages.Hello(Process.ELECTION, 1), INF)

    assert [len(level.tracks) for level in tracks(director.handle(hello, 0.3))] == [1]


# --- services --------------------------------------------------------------------------------


def test_a_service_lost_here_and_up_at_a_peer_counts_after_the_peers_checks_could_see_it() -> None:
    director = running(config(BY_SERVICE))
    director.handle(lb2(1, True), 2.0)
    director.handle(from_checker(farm.verdicts((ONE, Health.DOWN), (TWO, Health.DOWN))), 2.5)

    levels = []
    for sequence in range(2, 20):
        now = 2.5 + 0.25 * sequence
        actions = [*director.handle(lb2(sequence, True), now), *director.handle(ev.Woken(), now)]
        levels += [(now, level) for level in tracks(tuple(actions)) if level.tracks]

    # One interval, two timeouts and a fast interval, a presence, and the margin: 3.2 s.
    assert levels[0] == (
        5.75,
        Tracks(
            (
                Track(
                    "front",
                    "service web",
                    False,
                    -60,
                    "service web: 0 of 2 servers up, quorum 1; lb2 reports it up",
                ),
            )
        ),
    )


@pytest.mark.parametrize("peer", [None, False])
def test_a_service_lost_without_a_better_peer_does_not_count(peer: bool | None) -> None:
    director = running(config(BY_SERVICE))
    down = from_checker(farm.verdicts((ONE, Health.DOWN), (TWO, Health.DOWN)))
    levels = [*tracks(director.handle(down, 2.5))]

    for sequence in range(1, 30):
        now = 2.5 + 0.25 * sequence
        if peer is not None:
            levels += tracks(director.handle(lb2(sequence, peer), now))
        levels += tracks(director.handle(ev.Woken(), now))

    assert {level.tracks for level in levels} == {()}


def test_a_director_that_starts_lets_peers_speak_before_it_says_anything_of_services() -> None:
    director = Director("1", frozenset(), 10.0)
    director.handle(ev.Configured(config(BY_SERVICE)), 10.0)
    director.handle(read({}), 10.0)
    down = from_checker(farm.verdicts((ONE, Health.DOWN), (TWO, Health.DOWN)))

    early = tracks(director.handle(down, 10.1))
    director.handle(lb2(1, True), 10.2)
    later = [*tracks(director.handle(lb2(2, True), 11.9))]
    later += tracks(director.handle(ev.Woken(), 13.5))

    assert set(early + later) == {Tracks((), ("service web",))}


# --- hooks -----------------------------------------------------------------------------------


def test_a_transition_reaches_the_hook_and_waits_for_a_runner() -> None:
    director = running(config(FRONT, hooks=(NOTIFY,)))
    director.handle(ev.From(Process.ELECTION, in_state(RouterStateName.MASTER), INF), 1.0)

    early = director.handle(moved("master"), 1.0)
    late = director.handle(HELLO, 1.5)

    assert runs(early) == []
    assert [r.environment["HADIRECTOR_EVENT"] for r in runs(late)] == ["master"]


def test_a_state_that_is_so_no_more_by_then_is_not_told() -> None:
    director = running(config(FRONT, hooks=(NOTIFY,)))
    director.handle(moved("master"), 1.0)
    director.handle(ev.From(Process.ELECTION, in_state(RouterStateName.BACKUP), INF), 1.1)

    assert runs(director.handle(HELLO, 1.5)) == []


def test_servers_and_quorum_reach_the_hook() -> None:
    director = running(config(FRONT, hooks=(NOTIFY,)))
    director.handle(HELLO, 0.5)

    told = []
    down = from_checker(farm.verdicts((ONE, Health.DOWN), (TWO, Health.DOWN)))
    actions = director.handle(down, 1.0)
    while found := runs(actions):
        told += [
            (r.environment["HADIRECTOR_EVENT"], r.environment["HADIRECTOR_SUBJECT"]) for r in found
        ]
        actions = director.handle(ran(found[0], 0), 1.0)

    assert told == [
        ("server_down", f"web/{ONE}"),
        ("server_down", f"web/{TWO}"),
        ("quorum_lost", "web"),
    ]


def saves(actions: tuple[ev.Action, ...]) -> list[list[str]]:
    """The kinds of the events in each note."""
    found = (a.pending for a in actions if isinstance(a, ev.SaveHooks))
    return [[pending.event.kind for pending in note] for note in found]


def test_what_is_still_to_be_told_is_noted_and_forgotten_when_it_is() -> None:
    director = running(config(FRONT, hooks=(NOTIFY,)))
    director.handle(HELLO, 0.5)
    director.handle(ev.From(Process.ELECTION, in_state(RouterStateName.MASTER), INF), 1.0)

    noted = director.handle(moved("master"), 1.0)
    (run,) = runs(noted)
    forgotten = director.handle(ran(run, 0), 1.1)

    assert (saves(noted), saves(forgotten)) == ([["master"]], [[]])


def test_notes_of_many_events_are_made_once_a_second() -> None:
    director = running(config(FRONT, hooks=(NOTIFY,)))
    director.handle(from_checker(farm.verdicts((ONE, Health.DOWN))), 1.0)

    early = director.handle(from_checker(farm.verdicts((TWO, Health.DOWN))), 1.1)
    late = director.handle(ev.Woken(), 1.0 + SAVE_EVERY)

    assert (saves(early), saves(late)) == ([], [["server_down", "server_down", "quorum_lost"]])


def test_a_director_that_starts_goes_on_telling_what_still_holds() -> None:
    left_over = (Pending(("/notify",), Event(1, 0.5, "master", "front", "then", {})),)
    holds, moved_on = (
        running(config(FRONT, hooks=(NOTIFY,)), left_over=left_over) for _ in range(2)
    )
    for director, name in (
        (holds, RouterStateName.MASTER),
        (moved_on, RouterStateName.BACKUP),
    ):
        director.handle(ev.From(Process.ELECTION, in_state(name), INF), 1.0)
        director.handle(HELLO, 1.0)

    assert [len(runs(d.handle(ev.Woken(), 3.5))) for d in (holds, moved_on)] == [1, 0]


# --- what is shown ---------------------------------------------------------------------------


def _status(director: Director) -> dict[str, object]:
    told = status.build(director, status.Shell(), 1000.0, {})
    assert isinstance(told, dict)
    return {**told}


def test_status_and_explain_show_what_fails_why_and_what_it_does() -> None:
    director = running(config(BY_DISK, hooks=(NOTIFY,)))
    (run,) = runs(director.handle(HELLO, 0.1))
    director.handle(ran(run, 1), 0.2)

    told = _status(director)
    instances, explained = told["instances"], explain.build(director, "front", lambda _: 1000.0)
    assert isinstance(instances, dict)
    assert isinstance(explained, dict)
    assert instances["front"]["tracked"] == {
        "script disk": {
            "health": "down",
            "since": 1000.2,
            "weight": -10,
            "effect": "priority -10",
            "reason": "exit 1: full",
        }
    }
    assert told["trouble"] == ["front/script disk: exit 1: full: priority -10"]
    assert told["hooks"] == [
        {
            "command": ["/notify"],
            "events": ["master", "backup", "server_down", "quorum_lost"],
            "waiting": 0,
            "running": None,
            "failing": [],
        }
    ]
    assert explained["now"] == ["front/script disk: down: exit 1: full: priority -10"]
    assert str(explained["history"]).count("track_down") == 1
    assert "runner" in str(told["processes"])
