"""Hooks: what is told, in which order, how often, and what is left untold."""

from dataclasses import replace
from itertools import pairwise

import pytest

from hadirector.core.address import Address
from hadirector.core.hooks import (
    RESUME,
    RETRY_MOST,
    UNKILLABLE,
    WAITING,
    Hooks,
    Pending,
)
from hadirector.core.messages import Event, Run
from hadirector.core.runner_messages import Ran, RunEnd
from hadirector.core.scripts import NO_WORD
from hadirector.core.settings.cluster import Config, Hook
from hadirector.core.settings.instances import VirtualAddress
from tests.core import farm
from tests.core.electorate import FRONT

NOTIFY = Hook(("master", "backup", "fault"), ("/notify", "-v"), 5.0)
PAGE = Hook(("server_down", "quorum_lost"), ("/page",), 5.0)
FINE = (RunEnd.EXITED, 0, "exit 0")
BAD = (RunEnd.EXITED, 1, "exit 1: no network")


def config(*hooks: Hook) -> Config:
    return replace(farm.CONFIG, hooks=hooks, instances=(FRONT,))


class Desk:
    """Hooks, with the truth about states, and all that was run and told."""

    def __init__(self, *hooks: Hook, left_over: tuple[Pending, ...] = ()) -> None:
        self.hooks = Hooks(left_over)
        self.hooks.configure(config(*hooks), 0.0)
        self.truth: dict[tuple[str, str], bool | None] = {}
        self.started: list[Run] = []
        self.told: list[tuple[str, str, str]] = []

    def happens(self, kind: str, subject: str = "front", at: float = 0.0, **inputs: str) -> None:
        event = Event(1, at, kind, subject, f"why {kind}", inputs)
        self.told += [(c.kind, c.subject, c.reason) for c in self.hooks.happened(event, at)]

    def start(self, at: float = 0.0) -> list[str]:
        """What is run now, in few words."""
        runs, told = self.hooks.start(lambda *what: self.truth.get(what, True), at)
        self.started += runs
        self.told += [(c.kind, c.subject, c.reason) for c in told]
        return [words(run) for run in runs]

    def end(self, how: tuple[RunEnd, int, str] = FINE, at: float = 0.0, gone: bool = True) -> None:
        """The run started last ends."""
        ran = Ran(self.started[-1].ticket, *how, 0.1, gone)
        self.told += [(c.kind, c.subject, c.reason) for c in self.hooks.ended(ran, at)]


def words(run: Run) -> str:
    environment = run.environment
    return f"{run.command[0]} {environment['HADIRECTOR_EVENT']} {environment['HADIRECTOR_SUBJECT']}"


def test_a_hook_is_told_what_happened_in_its_environment_and_on_its_input() -> None:
    desk = Desk(NOTIFY)
    desk.happens("master", family="ipv4")

    desk.start()

    event = Event(1, 0.0, "master", "front", "why master", {"family": "ipv4"})
    environment = {
        "HADIRECTOR_NODE": "lb1",
        "HADIRECTOR_CLUSTER": "shop",
        "HADIRECTOR_EVENT": "master",
        "HADIRECTOR_SUBJECT": "front",
        "HADIRECTOR_REASON": "why master",
    }
    (run,) = desk.started
    assert run == Run(run.ticket, ("/notify", "-v"), environment, 5.0, event)


def test_only_events_asked_for_are_told_and_each_hook_gets_its_own() -> None:
    desk = Desk(NOTIFY, PAGE)

    desk.happens("master")
    desk.happens("server_down", "web/10.0.1.11:80")
    desk.happens("server_up", "web/10.0.1.12:80")
    desk.happens("drift", "web")

    assert desk.start() == ["/notify master front", "/page server_down web/10.0.1.11:80"]


def test_a_hook_runs_one_command_at_a_time_in_order() -> None:
    desk = Desk(NOTIFY)
    desk.happens("backup", "front")
    desk.happens("master", "inside")

    assert desk.start() == ["/notify backup front"]
    assert desk.start() == []
    desk.end()

    assert desk.start() == ["/notify master inside"]


def test_what_was_not_told_yet_is_superseded_by_the_next_state() -> None:
    desk = Desk(NOTIFY)
    desk.happens("master", "inside")
    desk.start()

    for kind in ("master", "backup", "fault"):
        desk.happens(kind, "front")
    desk.end()

    assert desk.start() == ["/notify fault front"]
    desk.end()
    assert desk.start() == []


def test_the_next_state_waits_for_what_is_being_told() -> None:
    desk = Desk(NOTIFY)
    desk.happens("master")
    desk.start()

    desk.happens("backup")

    assert desk.start() == []
    desk.end()
    assert desk.start() == ["/notify backup front"]


def test_a_state_that_the_hook_is_not_told_of_supersedes_as_well() -> None:
    desk = Desk(PAGE)
    desk.happens("quorum_lost", "dns")
    desk.start()
    desk.happens("server_down", "web/10.0.1.11:80")

    desk.happens("server_up", "web/10.0.1.11:80")
    desk.end()

    assert desk.start() == []


def test_one_instance_of_two_families_is_told_of_once() -> None:
    desk = Desk(NOTIFY)

    desk.happens("master", family="ipv4")
    assert desk.start() == ["/notify master front"]
    desk.happens("master", family="ipv6")
    desk.end()

    assert desk.start() == []


def test_families_that_go_their_own_ways_are_told_of_apart() -> None:
    desk = Desk()
    six = VirtualAddress(Address("2001:db8::10"), 64, "eth0")
    split = replace(FRONT, couple=False, virtual_addresses=(*FRONT.virtual_addresses, six))
    desk.hooks.configure(replace(config(NOTIFY), instances=(split,)), 0.0)

    desk.happens("master", family="ipv4")
    desk.happens("backup", family="ipv6")

    assert desk.start() == ["/notify master front/ipv4"]
    desk.end()
    assert desk.start() == ["/notify backup front/ipv6"]


def test_a_state_that_was_told_and_holds_again_is_not_told_again() -> None:
    desk = Desk(NOTIFY)
    desk.happens("master")
    desk.start()
    desk.end()
    desk.happens("master", "inside")
    desk.start()

    desk.happens("backup")
    desk.happens("master")
    desk.end()

    assert desk.start() == []


def test_nor_when_it_was_left_and_came_back_while_it_was_being_told() -> None:
    desk = Desk(NOTIFY)
    desk.happens("master")
    desk.start()

    desk.happens("backup")
    desk.happens("master")
    desk.end()

    assert desk.start() == []
    assert desk.hooks.deadline() is None


def test_a_state_that_was_told_in_vain_is_told_again() -> None:
    desk = Desk(NOTIFY)
    desk.happens("master")
    desk.start()
    desk.happens("backup")
    desk.happens("master")
    desk.end(BAD)

    assert desk.start() == ["/notify master front"]


def test_a_command_that_fails_is_tried_again_with_growing_pauses() -> None:
    desk = Desk(NOTIFY)
    desk.happens("master")
    at, tries = 0.0, []

    for _ in range(9):
        assert desk.start(at) == ["/notify master front"]
        tries.append(at)
        desk.end(BAD, at)
        assert desk.start(at) == []
        at = desk.hooks.deadline() or 0.0

    pauses = [after - before for before, after in pairwise(tries)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, RETRY_MOST, RETRY_MOST]
    assert desk.told == [
        (
            "hook_failed",
            "front",
            "/notify for master: exit 1: no network; tried again until it is done",
        )
    ]
    assert desk.hooks.shown()[0].failing == (
        "/notify for master of front: exit 1: no network, 9 tries",
    )
    desk.start(at)
    desk.end(FINE, at)
    assert desk.told[1:] == [("hook_done", "front", "/notify for master: done at try 10")]
    assert desk.hooks.shown()[0].failing == ()
    assert desk.hooks.deadline() is None


def test_others_get_their_turn_while_one_fails() -> None:
    desk = Desk(NOTIFY)
    desk.happens("master", "front")
    desk.happens("master", "inside")

    desk.start()
    desk.end(BAD)

    assert desk.start() == ["/notify master inside"]
    desk.end()
    assert desk.start(1.0) == ["/notify master front"]


def test_it_is_not_tried_again_when_the_state_has_moved_on() -> None:
    desk = Desk(Hook(("master",), ("/notify",), 5.0))
    desk.happens("master")
    desk.start()
    desk.end(BAD)

    desk.happens("backup")

    assert desk.start(9.0) == []
    assert desk.told[1:] == [
        ("hook_given_up", "front", "/notify for master: given up after 1 tries: backup now")
    ]


def test_nor_when_it_moved_on_while_the_command_ran() -> None:
    desk = Desk(Hook(("master",), ("/notify",), 5.0))
    desk.happens("master")
    desk.start()

    desk.happens("fault")
    desk.end(BAD)

    assert desk.start(99.0) == []
    assert desk.told == [
        ("hook_failed", "front", "/notify for master: exit 1: no network; the state has moved on")
    ]


@pytest.mark.parametrize(("still", "started"), [(True, 1), (False, 0), (None, 0)])
def test_what_is_so_no_more_is_not_told(still: bool | None, started: int) -> None:
    desk = Desk(NOTIFY)
    desk.happens("master")
    desk.truth["master", "front"] = still

    assert len(desk.start()) == started

    assert desk.hooks.deadline() == (5.0 + NO_WORD if still else 1.0 if still is None else None)


def test_a_command_that_cannot_be_killed_holds_the_others_up_for_a_moment_only() -> None:
    desk = Desk(NOTIFY)
    desk.happens("master", "front")
    desk.happens("master", "inside")
    desk.start(0.0)

    desk.end((RunEnd.LATE, 0, "not done after 5 s, killed"), 5.0, gone=False)

    assert desk.start(5.0) == []
    assert desk.hooks.deadline() == 5.0 + UNKILLABLE
    assert desk.start(5.0 + UNKILLABLE) == ["/notify master inside"]


def test_what_ran_when_the_runner_died_is_told_again() -> None:
    desk = Desk(NOTIFY)
    desk.happens("master")
    desk.start()

    desk.hooks.lost(1.0)

    assert desk.start(1.0) == ["/notify master front"]


def test_a_hook_that_falls_far_behind_drops_servers_and_tells_but_no_instance() -> None:
    desk = Desk(Hook(("server_down", "master"), ("/page",), 5.0))
    for number in range(WAITING + 5):
        desk.happens("server_down", f"web/{number}")

    desk.happens("master")

    assert desk.hooks.shown()[0].waiting == WAITING + 1
    assert [(kind, subject) for kind, subject, _ in desk.told] == [
        ("hook_failed", f"web/{WAITING}")
    ]


def test_a_reload_keeps_the_queue_of_a_hook_that_stays() -> None:
    desk = Desk(NOTIFY, PAGE)
    desk.happens("master")
    desk.happens("quorum_lost", "web")
    desk.start()
    desk.happens("quorum_lost", "dns")

    desk.hooks.configure(config(PAGE), 1.0)

    assert [(s.hook, s.waiting, s.running) for s in desk.hooks.shown()] == [
        (PAGE, 1, "quorum_lost of web")
    ]


def test_a_hook_that_was_mended_is_told_what_the_broken_one_was_not() -> None:
    desk = Desk(NOTIFY)
    desk.happens("master")
    desk.start()
    desk.end(BAD)

    desk.hooks.configure(config(replace(NOTIFY, command=("/mended",))), 0.5)

    assert desk.start(1.0) == ["/mended master front"]


def left_over(kind: str = "master", command: str = "/notify") -> Pending:
    return Pending((command, "-v"), Event(1, -9.0, kind, "front", "then", {}))


def test_what_a_former_director_had_still_to_tell_is_told_later() -> None:
    desk = Desk(NOTIFY, left_over=(left_over(),))

    assert desk.start(0.0) == []
    assert desk.hooks.deadline() == RESUME
    assert desk.start(RESUME) == ["/notify master front"]


def test_unless_the_state_moved_on_or_nobody_wants_to_hear_it() -> None:
    moved = Desk(NOTIFY, left_over=(left_over(),))
    other = Desk(NOTIFY, left_over=(left_over(command="/other"), left_over("server_down")))

    moved.happens("backup", at=0.1)

    assert moved.start(RESUME) == ["/notify backup front"]
    assert other.start(RESUME) == []


def test_all_that_is_not_told_yet_is_there_for_the_next_director() -> None:
    desk = Desk(NOTIFY)
    desk.happens("master", "front")
    desk.happens("backup", "inside")
    desk.start()

    assert [(p.command, p.event.subject) for p in desk.hooks.pending()] == [
        (("/notify", "-v"), "front"),
        (("/notify", "-v"), "inside"),
    ]
    desk.end()
    desk.start()
    desk.end()
    assert desk.hooks.pending() == ()


def test_a_node_that_leaves_waits_for_first_tries_only() -> None:
    desk = Desk(NOTIFY)
    assert not desk.hooks.busy()
    desk.happens("backup")
    assert desk.hooks.busy()
    desk.start()
    assert desk.hooks.busy()

    desk.end(BAD)

    assert not desk.hooks.busy()


def test_without_hooks_nothing_is_kept_or_due() -> None:
    desk = Desk()

    desk.happens("master")

    assert (desk.start(), desk.hooks.deadline(), desk.hooks.pending()) == ([], None, ())
