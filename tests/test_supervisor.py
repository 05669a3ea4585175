"""The supervisor without a kernel: the lock of the runtime directory, silence, what it imports."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hadirector import supervisor
from hadirector.core import messages
from hadirector.core.messages import Process
from hadirector.shell import channel, child, systemd

HOLDER = """
import signal, sys
from hadirector import supervisor
with supervisor.only_one(sys.argv[1]):
    print("held", flush=True)
    signal.pause()
"""
HEAVY = ("aiohttp", "pyroute2", "scapy", "yaml")


def test_nothing_heavy_is_imported_by_what_watches_the_others() -> None:
    code = (
        "import sys, hadirector.cli.run, hadirector.supervisor\n"
        f"print(sorted(sys.modules.keys() & set({HEAVY})))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_a_daemon_beside_a_living_one_is_refused_at_once(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    started = time.monotonic()

    with pytest.raises(supervisor.Locked, match="another hadirector runs"):  # noqa: SIM117  # one raises
        with supervisor.only_one(str(tmp_path)):
            pass

    assert time.monotonic() - started < 1.0
    holder.send_signal(signal.SIGTERM)
    holder.communicate()


def test_the_lock_is_waited_for_while_children_of_a_dead_daemon_leave(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with supervisor.only_one(str(tmp_path)) as lock:
        left_over = subprocess.Popen(["sleep", "1"], pass_fds=(lock,))
    started = time.monotonic()

    with supervisor.only_one(str(tmp_path)):
        waited = time.monotonic() - started

    left_over.wait()
    assert 0.5 < waited < 3.0
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1
    assert "waits for the former daemon to leave" in told[0]


def test_children_that_never_leave_are_not_waited_for_without_end(tmp_path: Path) -> None:
    with supervisor.only_one(str(tmp_path)) as lock:
        left_over = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))

    with pytest.raises(supervisor.Locked, match="another hadirector runs"):  # noqa: SIM117  # one raises
        with supervisor.only_one(str(tmp_path), patience=0.3):
            pass

    left_over.kill()
    left_over.wait()


class Clock:
    """CLOCK_BOOTTIME as the test tells it, running on by itself."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return time.monotonic() + self.ahead


class Living:
    """A child as the supervisor holds it; counts how often it was killed."""

    pid = 0

    def __init__(self) -> None:
        self.killed = 0

    def kill(self) -> None:
        self.killed += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(child, "now", clock.now)
    return clock


def _running(node: supervisor.Supervisor) -> dict[Process, Living]:
    """Every child runs and was heard just now."""
    living = {}
    for process, ward in node._wards.items():
        living[process] = Living()
        ward.running = living[process]  # type: ignore[assignment]  # what of Popen is used
        ward.heard(child.now())
    return living


async def test_who_was_frozen_together_with_the_supervisor_is_not_killed(clock: Clock) -> None:
    node = supervisor.Supervisor("none", -1)
    node._open_links()
    living = _running(node)
    watch = asyncio.create_task(node._watch())
    await asyncio.sleep(0.1)

    clock.ahead += 3600.0  # a suspend: seen at the next wake-up
    await asyncio.sleep(2.2)

    watch.cancel()
    assert [one.killed for one in living.values()] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("silent_for", "killed"),
    [
        (4.0, set()),
        (6.0, {Process.DIRECTOR}),
        (11.0, {Process.ELECTION, Process.DIRECTOR, Process.CHECKER}),
        (16.0, set(supervisor.CHILDREN)),
    ],
)
async def test_the_director_is_replaced_before_the_election_gives_up_on_it(
    clock: Clock, silent_for: float, killed: set[Process]
) -> None:
    node = supervisor.Supervisor("none", -1)
    node._open_links()
    living = _running(node)
    for ward in node._wards.values():
        ward.heard(child.now() - silent_for)
    node._changed.set()  # or it would look in a second

    watch = asyncio.create_task(node._watch())
    await asyncio.sleep(0.2)

    watch.cancel()
    assert {process for process, one in living.items() if one.killed} == killed


@pytest.mark.parametrize(("status", "pause"), [(0, supervisor.SIGNAL_PAUSE), (-9, 0.0)])
async def test_who_left_at_a_signal_is_not_started_before_ours_can_have_come(
    monkeypatch: pytest.MonkeyPatch, status: int, pause: float
) -> None:
    pauses: list[float] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda delay, *_: pauses.append(delay))
    node = supervisor.Supervisor("none", -1)
    ward = node._wards[Process.ELECTION]
    ward.since = child.now() - 2 * supervisor.STEADY

    node._restart(ward, status)

    assert pauses == [pause]


async def test_a_child_cannot_have_another_one_restarted_nor_break_who_watches_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    obeyed: list[messages.Request] = []
    monkeypatch.setattr(supervisor.Supervisor, "_obey", lambda _, request: obeyed.append(request))
    node = supervisor.Supervisor("none", -1)
    node._open_links()
    for sender in (Process.CHECKER, Process.DIRECTOR):
        end = channel.Channel(node._ends[(sender, Process.SUPERVISOR)], "supervisor")
        for subject in ("director", "election", "nobody"):
            kind = messages.RequestKind.RESTART
            end.send(messages.Request(kind, f"{sender.value}-{subject}", subject))

    await asyncio.sleep(0.1)

    assert [request.token for request in obeyed] == ["director-director"]


@pytest.mark.parametrize(
    ("leaving", "hung", "ended"),
    [
        (False, "", "died (SIGKILL)"),
        (False, "was killed: silent for 5 s", "was killed: silent for 5 s"),
        (True, "", ""),
    ],
)
async def test_how_a_process_died_is_told_to_the_director(
    leaving: bool, hung: str, ended: str
) -> None:
    node = supervisor.Supervisor("none", -1)
    ward = node._wards[Process.CHECKER]
    ward.leaving, ward.hung = leaving, hung

    node._restart(ward, -9)

    told = {state.process: state for state in node._processes().processes}
    assert (told[Process.CHECKER].ended, told[Process.CHECKER].restarts) == (ended, 1)
    assert ward.hung == ""


class Ended(Living):
    """A child that has died."""

    def wait(self) -> int:
        return -9


async def test_a_director_that_dies_during_a_reload_leaves_nobody_waiting_for_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(systemd.Notify, "tell", lambda _, *lines: told.append(lines[0]))
    monkeypatch.setattr(supervisor.Supervisor, "_restart", lambda *_: None)
    node = supervisor.Supervisor("none", -1)
    ready = channel.Received(messages.Heartbeat(0.0, 0.0, ready=True), 0.0)
    ask = messages.Request(messages.RequestKind.RELOADING, "t")
    node._take(Process.DIRECTOR, ready)
    node._take(Process.DIRECTOR, channel.Received(ask, 0.0))
    node._take(Process.DIRECTOR, ready)  # it still lives

    ward = node._wards[Process.DIRECTOR]
    ward.running, ward.pidfd = Ended(), os.pidfd_open(os.getpid())  # type: ignore[assignment]  # what of Popen is used
    node._ended(Process.DIRECTOR)
    node._take(Process.DIRECTOR, channel.Received(messages.Heartbeat(0.0, 0.0, ready=False), 0.0))
    before = list(told)
    node._take(Process.DIRECTOR, ready)
    node._take(Process.DIRECTOR, ready)

    assert before == ["READY=1", "RELOADING=1"]
    assert told == ["READY=1", "RELOADING=1", "READY=1"]
