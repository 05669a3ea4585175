"""Processes by name: against /proc of this host, with processes of the test's own."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hadirector.shell.process_table import ProcessTable

PATIENCE = 20.0


@contextmanager
def started(*command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def program(folder: Path, name: str) -> Path:
    """A program of this name that sleeps."""
    shutil.copy("/bin/sleep", folder / name)
    return folder / name


def count(table: ProcessTable) -> dict[str, int]:
    seen, _ = table.look()
    assert not seen.trouble
    return {one.name: one.count for one in seen.processes}


def soon(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_a_process_is_found_when_it_comes_and_missed_when_it_goes(tmp_path: Path) -> None:
    table = ProcessTable(["hadtest-one"])
    before = count(table)

    with started(program(tmp_path, "hadtest-one"), "60"):
        assert soon(lambda: count(table) == {"hadtest-one": 1})
        with started(tmp_path / "hadtest-one", "60"):
            assert soon(lambda: count(table) == {"hadtest-one": 2})

    assert before == {"hadtest-one": 0}
    assert count(table) == {"hadtest-one": 0}


def test_a_zombie_does_not_count(tmp_path: Path) -> None:
    table = ProcessTable(["hadtest-dead"])
    process = subprocess.Popen([program(tmp_path, "hadtest-dead"), "60"])
    try:
        assert soon(lambda: count(table) == {"hadtest-dead": 1})

        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        assert Path(f"/proc/{process.pid}/comm").read_text() == "hadtest-dead\n"
        assert count(table) == {"hadtest-dead": 0}
    finally:
        process.kill()
        process.wait()


def test_part_of_a_name_is_not_the_name(tmp_path: Path) -> None:
    table = ProcessTable(["hadtest", "hadtest-two", "adtest-two"])

    with started(program(tmp_path, "hadtest-two"), "60"):
        assert soon(lambda: count(table)["hadtest-two"] == 1)

        assert count(table) == {"hadtest": 0, "hadtest-two": 1, "adtest-two": 0}


def test_a_name_longer_than_the_kernel_keeps_is_told_from_its_like(tmp_path: Path) -> None:
    table = ProcessTable(["hadtest-long-name-one", "hadtest-long-name-two"])

    with started(program(tmp_path, "hadtest-long-name-one"), "60"):
        assert soon(lambda: sum(count(table).values()) > 0)

        assert count(table) == {"hadtest-long-name-one": 1, "hadtest-long-name-two": 0}


def test_a_path_is_what_the_process_was_executed_as(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        program(folder, "hadtest-path")
    table = ProcessTable([str(here / "hadtest-path"), str(there / "hadtest-path")])

    with started(here / "hadtest-path", "60"):
        assert soon(lambda: sum(count(table).values()) > 0)

        assert list(count(table).values()) == [1, 0]


def test_a_script_has_its_own_name_and_path_not_its_interpreters(tmp_path: Path) -> None:
    script = tmp_path / "hadtest-script"
    script.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    script.chmod(0o755)
    table = ProcessTable(["hadtest-script", str(script)])

    with started(script):
        assert soon(lambda: count(table) == {"hadtest-script": 1, str(script): 1})


def test_a_process_that_renames_itself_late_is_found_by_a_whole_look() -> None:
    code = "import time; time.sleep(1); open('/proc/self/comm', 'w').write('hadtest-late')"
    table = ProcessTable(["hadtest-late"])

    with started(sys.executable, "-c", f"{code}; time.sleep(60)") as process:
        assert soon(
            lambda: (
                count(table) == {"hadtest-late": 0}
                and table._young.keys().isdisjoint({process.pid})
            )
        )
        assert soon(lambda: count(table) == {"hadtest-late": 1})


def test_looks_take_a_hundredth_of_a_core_at_most() -> None:
    table = ProcessTable(["hadtest-none"])
    spent = pauses = 0.0

    for _ in range(20):
        cpu = time.thread_time()
        _, pause = table.look()
        spent += time.thread_time() - cpu
        pauses += pause

    assert spent <= 0.011 * pauses


def test_a_table_that_hides_others_is_no_knowledge(tmp_path: Path) -> None:
    (tmp_path / "4711").mkdir()
    (tmp_path / "4711" / "comm").write_text("hadtest-hid\n")

    hidden, _ = ProcessTable(["hadtest-hid"], str(tmp_path)).look()
    missing, _ = ProcessTable(["hadtest-hid"], str(tmp_path / "proc")).look()

    assert (hidden.processes, missing.processes) == ((), ())
    assert hidden.trouble == f"{tmp_path} hides other users' processes (hidepid)"
    assert missing.trouble == f"{tmp_path}/proc: No such file or directory"
