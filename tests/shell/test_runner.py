"""The runner process: what it may do, what it does, and that nothing outlives it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hadirector.core import messages, runner_messages
from hadirector.core.messages import Process, Run
from hadirector.core.runner_messages import FileSeen, ProcessSeen, Ran, RunEnd
from hadirector.shell import channel, child, runner

PATIENCE = 30.0  # seconds for anything to come true on a busy host
SH = "/bin/sh"


class Desk:
    """A director's end: the runner it keeps, and what that said."""

    def __init__(self) -> None:
        self.said: list[messages.Message] = []
        self.director = child.Child(Process.DIRECTOR, {}, {})
        self.runner = runner.Runner(self.director, lambda _, got: self.said.append(got.message))

    def send(self, message: messages.Message) -> None:
        self.director.send(Process.RUNNER, message)

    async def greeted(self, times: int = 1) -> None:
        """It came so many times."""
        await until(lambda: sum(isinstance(m, messages.Hello) for m in self.said) == times)

    async def ran(self, *command: str) -> Ran:
        """A program's end."""
        ticket = f"t{time.monotonic_ns()}"
        self.send(Run(ticket, command, {}, PATIENCE))
        found: list[Ran] = []

        def ended() -> bool:
            found[:] = [m for m in self.said if isinstance(m, Ran) and m.ticket == ticket]
            return bool(found)

        await until(ended)
        return found[0]

    def alive(self) -> list[bool]:
        """What was told of its life, without repetition."""
        states = [m.processes[0].alive for m in self.said if isinstance(m, messages.Processes)]
        return [s for s, before in zip(states, [None, *states], strict=False) if s is not before]


@asynccontextmanager
async def kept() -> AsyncIterator[Desk]:
    desk = Desk()
    desk.runner.want(True)
    try:
        await desk.greeted()
        yield desk
    finally:
        await desk.runner.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - nothing tells of another process's deeds
            await asyncio.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether a process runs; a zombie that waits for init does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_programs_hold_no_capability_and_cannot_gain_one() -> None:
    async with kept() as desk:
        command = "grep -E '^(Cap|NoNew)' /proc/self/status | tr '\\n\\t' '  '"
        ran = await desk.ran(SH, "-c", command)

    assert ran.end is RunEnd.EXITED
    words = ran.reason.removeprefix("exit 0: ").split()
    held = dict(zip(words[::2], words[1::2], strict=True))
    assert {held[f"Cap{kind}:"] for kind in ("Inh", "Prm", "Eff", "Amb")} == {"0" * 16}
    assert held["NoNewPrivs:"] == "1"


async def test_files_and_processes_are_looked_at_and_told(tmp_path: Path) -> None:
    (tmp_path / "weight").write_text("-20\n")
    async with kept() as desk:
        desk.send(runner_messages.Watch((str(tmp_path / "weight"),), ("hadtest-none",)))

        files = runner_messages.FilesSeen((FileSeen(str(tmp_path / "weight"), -20),))
        processes = runner_messages.ProcessesSeen((ProcessSeen("hadtest-none", 0),))
        await until(lambda: files in desk.said and processes in desk.said)
        started = time.monotonic()
        (tmp_path / "weight").write_text("7\n")
        changed = runner_messages.FilesSeen((FileSeen(str(tmp_path / "weight"), 7),))
        await until(lambda: changed in desk.said)

    assert time.monotonic() - started < 5.0  # half a second, and a busy host


async def test_a_dead_runner_takes_its_programs_along_and_comes_again(tmp_path: Path) -> None:
    async with kept() as desk:
        command = f"trap '' TERM; echo $$ >{tmp_path}/pid; sleep 1000; :"
        desk.send(Run("t", (SH, "-c", command), {}, PATIENCE))
        await until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
        pid = int((tmp_path / "pid").read_text())
        first = _pid(desk)

        os.kill(first, signal.SIGKILL)

        await until(lambda: not lives(pid))
        await desk.greeted(2)
        assert _pid(desk) != first
        assert (await desk.ran("/bin/true")).status == 0
        assert desk.alive() == [True, False, True]


async def test_one_that_is_not_wanted_any_more_leaves(tmp_path: Path) -> None:
    async with kept() as desk:
        pid = _pid(desk)

        desk.runner.want(False)

        await until(lambda: desk.alive() == [True, False])
        assert not lives(pid)
        desk.runner.want(True)
        await desk.greeted(2)
        assert desk.alive() == [True, False, True]


async def test_one_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SILENCE", 2.0)
    async with kept() as desk:
        first = _pid(desk)

        os.kill(first, signal.SIGSTOP)

        await desk.greeted(2)
        assert _pid(desk) != first


async def test_nothing_outlives_a_director_that_is_killed(tmp_path: Path) -> None:
    ours, theirs = channel.pair()
    code = (
        "import subprocess, sys, os, time\n"
        f"args = ['-m', 'hadirector.runner', f'--parent={{os.getpid()}}', "
        f"'--fd=director={theirs.fileno()}']\n"
        f"print(subprocess.Popen([sys.executable, *args], pass_fds=[{theirs.fileno()}]).pid, "
        "flush=True)\n"
        "time.sleep(1000)"
    )
    director = subprocess.Popen(  # noqa: ASYNC220 - nobody waits here for anything else
        [sys.executable, "-c", code], pass_fds=[theirs.fileno()], stdout=subprocess.PIPE
    )
    theirs.close()
    assert director.stdout is not None
    pid = int(director.stdout.readline())
    command = f"trap '' TERM; echo $$ >{tmp_path}/pid; sleep 1000; :"
    raw = channel.encode(Run("t", (SH, "-c", command), {}, PATIENCE))
    ours.send(channel._HEADER.pack(1, 0, 1) + raw)
    await until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
    script = int((tmp_path / "pid").read_text())

    director.kill()
    director.wait()

    await until(lambda: not lives(script) and not lives(pid))


def _pid(desk: Desk) -> int:
    states = [m.processes[0] for m in desk.said if isinstance(m, messages.Processes)]
    return [state.pid for state in states if state.alive][-1]
