"""Programs as they are run: deadline, output, and what is left of them. All of them are real."""

import asyncio
import ctypes
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hadirector.core.messages import Event, Run
from hadirector.core.runner_messages import Ran, RunEnd
from hadirector.shell import child, programs

_FAN_CLASS_CONTENT, _FAN_MARK_ADD, _FAN_OPEN_EXEC_PERM, _AT_FDCWD = 4, 1, 0x40000, -100
_libc = ctypes.CDLL(None)
PATIENCE = 20.0  # seconds for anything to come true on a busy host
SH = "/bin/sh"


class Running:
    """Programs, and what was told of them."""

    def __init__(self) -> None:
        self.told: list[Ran] = []
        self.programs = programs.Programs(self.told.append)

    def start(self, *command: str, timeout: float = PATIENCE, about: Event | None = None) -> None:
        ticket = f"test/{time.monotonic_ns()}"
        self.programs.start(Run(ticket, command, {"HADIRECTOR_TEST": "1"}, timeout, about))

    async def ended(self) -> Ran:
        """The first that is told to be gone."""
        await until(lambda: any(ran.gone for ran in self.told))
        return next(ran for ran in self.told if ran.gone)


async def until(holds: Callable[[], bool], patience: float = PATIENCE) -> None:
    async with asyncio.timeout(patience):
        while not holds():  # noqa: ASYNC110 - nothing tells of another process's deeds
            await asyncio.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether a process runs; a zombie that waits for init does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def hanging(path: Path) -> Iterator[None]:
    """Whoever executes this file waits for ever, or to be killed (fanotify(7))."""
    group = _libc.fanotify_init(_FAN_CLASS_CONTENT, os.O_RDONLY)
    if group < 0:
        pytest.skip("fanotify needs CAP_SYS_ADMIN")
    try:
        mask = ctypes.c_uint64(_FAN_OPEN_EXEC_PERM)
        if _libc.fanotify_mark(group, _FAN_MARK_ADD, mask, _AT_FDCWD, os.fsencode(path)) != 0:
            pytest.skip("this kernel asks nobody before it executes (FANOTIFY_ACCESS_PERMISSIONS)")
        yield
    finally:
        if group >= 0:
            os.close(group)


def pids_in(folder: Path) -> list[int]:
    """The numbers that files of a folder hold by now."""
    return [int(text) for path in folder.iterdir() if (text := path.read_text().strip())]


async def test_a_program_ends_with_its_status_and_its_last_line() -> None:
    running = Running()

    running.start(SH, "-c", "echo checking; echo; echo disk full >&2; echo '  '; exit 3")

    ended = await running.ended()
    assert (ended.end, ended.status, ended.reason) == (RunEnd.EXITED, 3, "exit 3: disk full")


async def test_arguments_are_given_as_they_are_without_a_shell(tmp_path: Path) -> None:
    running = Running()

    running.start("/bin/echo", "$HOME; rm -rf *", "`id`")

    assert (await running.ended()).reason == "exit 0: $HOME; rm -rf * `id`"


async def test_the_environment_is_its_own_and_nothing_is_open() -> None:
    running = Running()
    os.environ["SECRET_OF_THE_DAEMON"] = "1"
    left_open = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(left_open, True)
    code = (
        "import os; print(sorted(os.environ), [n for n in range(3, 99) if os.path.exists("
        "f'/proc/self/fd/{n}')], os.getcwd(), os.getsid(0) == os.getpid(), "
        "open('/proc/self/oom_score_adj').read().strip())"
    )

    running.start(sys.executable, "-I", "-c", code)

    ended = await running.ended()
    os.close(left_open)
    assert ended.reason == "exit 0: ['HADIRECTOR_TEST', 'LC_ALL', 'PATH'] [] / True 0"


async def test_what_cannot_be_executed_says_so_in_one_clear_reason(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("exit 0\n")
    (tmp_path / "text").chmod(0o755)
    (tmp_path / "script").write_text("#!/no/such/interpreter\n")
    (tmp_path / "script").chmod(0o755)
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    reasons = {}

    for name in ("missing", "script", "text", "plain", "."):
        running = Running()
        running.start(str(tmp_path / name))
        ended = await running.ended()
        assert ended.end is RunEnd.REFUSED
        reasons[name] = ended.reason.removeprefix("cannot be executed: ")

    interpreter = "no such file, or its first line names an interpreter that is not there"
    permission = "permission denied: the daemon's user must be able to execute it"
    assert reasons == {
        "missing": interpreter,
        "script": interpreter,
        "text": "neither a program nor a script that begins with #!",
        "plain": permission,
        ".": permission,
    }


async def test_a_group_that_ignores_the_request_is_killed_whole(tmp_path: Path) -> None:
    """The script, its child and its grandchild ignore SIGTERM, and are dead all the same."""
    pids = tmp_path / "pids"
    script = tmp_path / "stubborn"
    script.write_text(
        f"#!/bin/sh\ntrap '' TERM\n(sleep 1000 & echo $! >>{pids}; sleep 1000) &\n"
        f"echo $! >>{pids}\necho $$ >>{pids}\necho hung\nwhile :; do sleep 1000; done\n"
    )
    script.chmod(0o755)
    running = Running()

    running.start(str(script), timeout=1.0)
    await until(lambda: pids.exists() and len(pids.read_text().split()) == 3)
    family = [int(pid) for pid in pids.read_text().split()]
    assert all(map(lives, family))

    ended = await running.ended()
    assert [ran.gone for ran in running.told] == [False, True]
    assert {ran.reason for ran in running.told} == {"not done after 1 s, killed: hung"}
    assert ended.end is RunEnd.LATE
    assert 1.0 <= ended.took <= 1.0 + programs.KILL_AFTER + 5.0
    await until(lambda: not any(map(lives, family)))


async def test_a_program_whose_disk_hangs_costs_its_own_time_only(tmp_path: Path) -> None:
    """The kernel asks a watcher that never answers, before it executes the program."""
    shutil.copy("/bin/true", tmp_path / "hangs")
    running = Running()
    with hanging(tmp_path / "hangs"):
        running.start(str(tmp_path / "hangs"), timeout=1.0)
        running.start("/bin/echo", "well")

        await until(lambda: len(running.told) == 3)

    assert [(ran.end, ran.gone) for ran in running.told] == [
        (RunEnd.EXITED, True),
        (RunEnd.LATE, False),
        (RunEnd.LATE, True),
    ]
    assert running.told[0].took < 1.0 <= running.told[1].took


async def test_one_that_obeys_the_request_may_clean_up(tmp_path: Path) -> None:
    running = Running()
    command = f"trap 'echo clean >{tmp_path}/trace; exit 0' TERM; while :; do sleep 0.01; done"

    running.start(SH, "-c", command, timeout=0.5)

    assert (await running.ended()).end is RunEnd.LATE
    assert (tmp_path / "trace").read_text() == "clean\n"


async def test_what_a_program_leaves_behind_is_killed_with_its_end(tmp_path: Path) -> None:
    running = Running()

    running.start(SH, "-c", f"sleep 1000 & echo $! >{tmp_path}/pid; echo done")

    assert (await running.ended()).reason == "exit 0: done"
    pid = int((tmp_path / "pid").read_text())
    await until(lambda: not lives(pid))


async def test_a_flood_of_output_costs_neither_memory_nor_the_cpu() -> None:
    running = Running()
    before = time.process_time()

    running.start("/usr/bin/yes", "flood" * 20, timeout=2.0)

    ended = await running.ended()
    spent = time.process_time() - before
    one = running.programs
    assert ended.end is RunEnd.LATE
    assert ended.reason.startswith("not done after 2 s, killed: flood")
    assert len(ended.reason) < programs.LINE + 60
    assert one._under_way == {}
    assert spent < 1.0  # of two seconds: reading it all would take all of them


async def test_a_lot_of_output_that_ends_is_a_success() -> None:
    running = Running()

    running.start(SH, "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done")

    assert (await running.ended()).reason == "exit 0: line 19999"


async def test_foreign_bytes_in_the_last_line_are_harmless() -> None:
    running = Running()

    running.start("/usr/bin/printf", r"a\033[31mb\377\0c\n")

    reason = (await running.ended()).reason
    assert reason == "exit 0: a [31mb\N{REPLACEMENT CHARACTER} c"
    assert reason.isprintable()


async def test_a_program_reads_the_event_it_is_run_for(tmp_path: Path) -> None:
    running = Running()
    event = Event(7, child.now(), "master", "front", "no advert heard", {"family": "ipv4"})

    running.start(SH, "-c", f"cat >{tmp_path}/event", about=event)

    assert (await running.ended()).status == 0
    told = json.loads((tmp_path / "event").read_text())
    assert abs(told.pop("at") - time.time()) < PATIENCE
    assert told == {
        "number": 7,
        "kind": "master",
        "subject": "front",
        "reason": "no advert heard",
        "inputs": {"family": "ipv4"},
    }


async def test_a_program_without_an_event_reads_nothing() -> None:
    running = Running()

    running.start("/usr/bin/wc", "-c")

    assert (await running.ended()).reason == "exit 0: 0"


async def test_a_killed_program_names_the_signal() -> None:
    running = Running()

    running.start(SH, "-c", "kill -SEGV $$")

    ended = await running.ended()
    assert (ended.end, ended.reason) == (RunEnd.KILLED, "killed by SIGSEGV")


async def test_all_are_ended_at_once(tmp_path: Path) -> None:
    running = Running()
    for number in range(3):
        running.start(SH, "-c", f"trap '' TERM; echo $$ >{tmp_path}/{number}; sleep 1000; :")
    await until(lambda: len(pids_in(tmp_path)) == 3)
    pids = pids_in(tmp_path)

    await running.programs.end()

    await until(lambda: not any(map(lives, pids)))


async def test_a_host_without_room_says_nothing_of_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    running = Running()
    monkeypatch.setattr(os, "fork", full)

    before = len(os.listdir("/proc/self/fd"))
    running.start(SH, "-c", "exit 0")

    assert [(ran.end, ran.reason) for ran in running.told] == [
        (RunEnd.VOID, "could not be started here: Resource temporarily unavailable")
    ]
    assert len(os.listdir("/proc/self/fd")) == before
