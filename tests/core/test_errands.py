"""Programs of checks: who may have what run, and what their ends say."""

from dataclasses import replace

import pytest

from hadirector.core.address import Endpoint, canonical
from hadirector.core.checker_messages import Cause, Execute, Executed
from hadirector.core.errands import AT_ONCE, NO_WORD, WAITING, Errands
from hadirector.core.messages import Run
from hadirector.core.runner_messages import Ran, RunEnd
from hadirector.core.settings.checks import Check, CheckType, Target, target_id

CHECK = Check(
    name="ldap",
    type=CheckType.EXEC,
    interval=5.0,
    fast_interval=1.0,
    timeout=2.0,
    rise=2,
    fall=2,
    held=False,
    command=("/usr/local/bin/check-ldap", "-h", "{address}", "-p={port}"),
)


def target(check: Check = CHECK) -> Target:
    endpoint = Endpoint(canonical("10.0.1.11"), 389)
    return Target(target_id("ldap", endpoint), check, endpoint)


def errands(*targets: Target) -> Errands:
    one = Errands()
    one.configure(targets or (target(),))
    return one


def ran(run: Run, status: int = 0, end: RunEnd = RunEnd.EXITED, gone: bool = True) -> Ran:
    return Ran(run.ticket, end, status, f"exit {status}", 0.1, gone)


def test_the_director_runs_what_is_configured_with_the_servers_address_and_port() -> None:
    one = errands()

    assert one.ask(Execute(target().id, 7), 0.0) == []
    (run,) = one.start(0.0)

    assert run.command == ("/usr/local/bin/check-ldap", "-h", "10.0.1.11", "-p=389")
    assert run.timeout == 2.0
    assert run.environment["HADIRECTOR_SERVER_ADDRESS"] == "10.0.1.11"
    assert one.ended(ran(run), 0.1) == [Executed(7, Cause.GOOD, "exit 0")]
    assert one.ended(ran(run), 0.1) == []


def test_a_target_that_is_not_configured_runs_nothing() -> None:
    one = errands()

    answer = one.ask(Execute("rm@10.0.1.11:389", 7), 0.0)

    assert answer == [Executed(7, Cause.OURS, "no such check")]
    assert one.start(0.0) == []


def test_only_so_many_run_at_once_and_who_waits_too_long_is_not_run() -> None:
    one = errands()
    for ticket in range(AT_ONCE + 2):
        one.ask(Execute(target().id, ticket), 0.0)

    runs = one.start(0.0)
    assert len(runs) == AT_ONCE
    assert one.start(0.1) == []
    one.ended(ran(runs[0]), 0.2)
    assert [run.ticket for run in one.start(0.2)] == [f"check/{AT_ONCE}"]
    one.ended(ran(runs[1]), 2.5)
    assert one.start(2.5) == []


def test_what_waits_is_bounded() -> None:
    one = errands()

    answers = [one.ask(Execute(target().id, ticket), 0.0) for ticket in range(WAITING + 1)]

    assert answers[:-1] == [[]] * WAITING
    assert answers[-1] == [Executed(WAITING, Cause.OURS, "too many programs wait")]


def test_one_that_is_late_is_told_once_and_its_place_is_free() -> None:
    one = errands()
    for ticket in range(AT_ONCE + 1):
        one.ask(Execute(target().id, ticket), 0.0)
    runs = one.start(0.0)

    late = Ran(runs[0].ticket, RunEnd.LATE, 0, "not done after 2 s, killed", 2.0, gone=False)
    assert one.ended(late, 2.0) == [Executed(0, Cause.SILENT, "not done after 2 s, killed")]
    assert one.start(1.9)
    assert one.ended(ran(runs[0], end=RunEnd.LATE), 9.0) == []


def test_a_run_of_which_nothing_is_heard_loses_its_place() -> None:
    one = errands()
    for ticket in range(AT_ONCE):
        one.ask(Execute(target().id, ticket), 0.0)
    one.start(0.0)

    later = 2.0 + NO_WORD
    one.ask(Execute(target().id, 99), later)
    one.ended(Ran("script/x/1", RunEnd.EXITED, 0, "exit 0", 0.0), later)

    assert [run.ticket for run in one.start(later)] == ["check/99"]


def test_the_death_of_the_runner_is_our_own_trouble() -> None:
    one = errands()
    one.ask(Execute(target().id, 1), 0.0)
    one.start(0.0)

    assert one.lost() == [Executed(1, Cause.OURS, "the process that runs programs died")]
    assert one.lost() == []


@pytest.mark.parametrize(
    ("status", "cause", "share"),
    [
        (0, Cause.GOOD, 1.0),
        (1, Cause.ANSWERED, None),
        (2, Cause.GOOD, 0.0),
        (52, Cause.GOOD, 0.5),
        (102, Cause.GOOD, 1.0),
        (103, Cause.ANSWERED, None),
        (255, Cause.ANSWERED, None),
    ],
)
def test_an_exit_status_may_tell_a_share(status: int, cause: Cause, share: float | None) -> None:
    one = errands(target(replace(CHECK, exit_share=True)))
    one.ask(Execute(target().id, 1), 0.0)
    (run,) = one.start(0.0)

    (told,) = one.ended(ran(run, status), 0.1)

    assert (told.cause, told.share) == (cause, share)


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        (RunEnd.KILLED, Cause.ANSWERED),
        (RunEnd.LATE, Cause.SILENT),
        (RunEnd.REFUSED, Cause.OURS),
        (RunEnd.VOID, Cause.OURS),
    ],
)
def test_each_end_has_its_cause(end: RunEnd, cause: Cause) -> None:
    one = errands()
    one.ask(Execute(target().id, 1), 0.0)
    (run,) = one.start(0.0)

    (told,) = one.ended(ran(run, end=end), 0.1)

    assert told.cause is cause
