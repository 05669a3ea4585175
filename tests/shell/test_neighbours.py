"""Who runs beside us, from a /proc made for it and from the real one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hadirector.shell import neighbours
from hadirector.shell.neighbours import Neighbour


class Proc:
    """A /proc: who runs, and in which network namespace ("": it cannot be read)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("ours", "theirs"):
            (folder / name).write_text("")
        self.add("self", "python3", "ours")

    def add(self, pid: object, command: str, namespace: str) -> None:
        """A process."""
        process = self.folder / str(pid)
        (process / "ns").mkdir(parents=True)
        (process / "net").mkdir()
        (process / "cmdline").write_bytes(b"\0".join(w.encode() for w in command.split()) + b"\0")
        if namespace:
            os.link(self.folder / namespace, process / "ns" / "net")

    def look(self) -> list[Neighbour]:
        return neighbours.look(str(self.folder))


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("/usr/sbin/keepalived --dont-fork", "keepalived"),
        ("keepalived: vrrp", "keepalived"),
        ("/usr/bin/perl -w /usr/sbin/ldirectord start", "ldirectord"),
        ("ldirectord /etc/ha.d/ldirectord.cf", "ldirectord"),
        ("vi /etc/keepalived/keepalived.conf", None),
        ("journalctl -u keepalived", None),
        ("grep ldirectords", None),
        ("vi /usr/sbin/ldirectord", None),
    ],
)
def test_programs_that_fight_over_the_same_are_known_by_their_command(
    proc: Proc, command: str, program: str | None
) -> None:
    proc.add(77, command, "ours")

    assert proc.look() == ([Neighbour(77, program, certain=True)] if program else [])


def test_another_network_namespace_is_no_concern_and_one_that_cannot_be_read_is_uncertain(
    proc: Proc,
) -> None:
    proc.add(7, "keepalived", "theirs")
    proc.add(8, "ldirectord", "")

    assert proc.look() == [Neighbour(8, "ldirectord", certain=False)]


def test_of_many_processes_the_first_is_told(proc: Proc) -> None:
    proc.add(101, "/usr/sbin/keepalived", "ours")
    proc.add(100, "/usr/sbin/keepalived", "ours")
    proc.add(99, "/usr/sbin/keepalived", "theirs")

    assert proc.look() == [Neighbour(100, "keepalived", certain=True)]


def test_the_sentence_has_the_process_and_the_fix() -> None:
    told = str(Neighbour(7, "keepalived", certain=True))

    assert told == (
        "keepalived runs in this network namespace as process 7: both would fight over the same "
        "addresses and services; stop it first (systemctl disable --now keepalived)"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
@pytest.mark.parametrize("privileged", [True, False])
def test_namespaces_are_told_apart_also_by_a_reader_without_rights(privileged: bool) -> None:
    sleeps = ["bash", "-c", "exec -a keepalived sleep 60"]
    here = subprocess.Popen(sleeps)
    there = subprocess.Popen(["unshare", "--net", *sleeps])
    program = (
        "import os, sys, time\n"
        "from hadirector.shell import neighbours\n"
        f"{'' if privileged else 'os.setresuid(65534, 65534, 65534)'}\n"
        "found = list(neighbours.find(['keepalived']))\n"
        "print(sorted((pid, certain) for pid, _, certain in found))\n"
    )
    try:
        for _ in range(200):  # until both have become what they are to look like
            commands = [Path(f"/proc/{p.pid}/cmdline").read_bytes() for p in (here, there)]
            if all(command.startswith(b"keepalived") for command in commands):
                break
            subprocess.run(["sleep", "0.05"], check=True)
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
    finally:
        for process in (here, there):
            process.kill()
            process.wait()

    assert f"({here.pid}, True)" in done.stdout
    assert f"({there.pid}, " not in done.stdout
