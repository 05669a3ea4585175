"""Scheduling and memory: what is got, and what is said where it is refused."""

import os
import subprocess
import sys

import pytest

LIGHT = """
import sys
import hadirector.election
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""

GAINED = """
import os
from hadirector.shell import realtime
standing = realtime.acquire()
pid = os.fork()  # SCHED_DEADLINE would forbid it without the reset flag
if pid == 0:
    os._exit(os.sched_getscheduler(0))
_, status = os.waitpid(pid, 0)
policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
print(standing.policy, policy, os.waitstatus_to_exitcode(status))
"""

LOCKED = """
import resource
from pathlib import Path
from hadirector.shell import realtime
why = realtime.lock_memory()
for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith("VmLck"):
        print(int(line.split()[1]) > 0, why)
"""

REFUSED = """
import ctypes, os, resource
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
from hadirector.shell import realtime
print(realtime.acquire())
print(realtime.lock_memory())
realtime.follow()
"""

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs CAP_SYS_NICE and CAP_IPC_LOCK")


def python(program: str) -> list[str]:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout.splitlines()


def test_the_election_process_imports_nothing_heavy() -> None:
    imported = set(python(LIGHT)[0].split())

    assert imported & {"pyroute2", "aiohttp", "scapy", "yaml"} == set()
    assert "hadirector" in imported


@root
def test_root_gets_a_real_time_class_and_its_children_do_not() -> None:
    (line,) = python(GAINED)

    # A CPU set in the way refuses SCHED_DEADLINE (6); SCHED_FIFO (1) is what is left then.
    assert line in ("deadline 6 0", "fifo 1 0")


@root
def test_memory_is_locked_where_no_limit_is_in_the_way() -> None:
    assert python(LOCKED) == ["True "]


@root
def test_without_rights_everything_is_refused_with_its_reason() -> None:
    standing, memory = python(REFUSED)

    assert standing.startswith("normal (deadline: Operation not permitted; fifo: ")
    assert "nice: Permission denied" in standing
    assert memory == "RLIMIT_MEMLOCK is 64 KiB (LimitMEMLOCK=infinity raises it)"
