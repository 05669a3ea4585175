"""`hadirector run`: what an operator got wrong is one line, and changes nothing."""

import argparse
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hadirector import supervisor
from hadirector.cli import run
from hadirector.config import handover
from hadirector.shell import alone, boot, last_good, neighbours
from hadirector.shell.neighbours import Neighbour

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs CAP_NET_ADMIN")

Start = Callable[..., int]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Run with an additional line of configuration; the supervisor is not started."""
    monkeypatch.setattr(supervisor, "main", lambda _blob, _lock: 0)
    monkeypatch.setattr(neighbours, "look", lambda: [])
    monkeypatch.setattr(alone, "NAME", f"\0{tmp_path}")  # others may run beside these tests

    def start(line: str = "", force: bool = False) -> int:
        file = tmp_path / "hadirector.yaml"
        file.write_text(
            f"cluster: shop\nnodes: {{lb1: {{priority: 150}}}}\n"
            f"state_dir: {tmp_path}/state\nruntime_dir: {tmp_path}/run\n{line}\n"
        )
        return run.run(argparse.Namespace(config=str(file), node="lb1", force=force))

    return start


def test_the_configuration_is_kept_for_processes_started_later(
    start: Start, tmp_path: Path
) -> None:
    assert start("") == 0

    kept = handover.decode((tmp_path / "run" / last_good.BLOB).read_bytes()).config
    assert kept is not None
    assert kept.node == "lb1"


def test_the_configuration_of_a_running_daemon_is_not_replaced(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert start("") == 0
    before = (tmp_path / "run" / last_good.BLOB).read_bytes()

    def refuse(directory: str) -> None:
        raise supervisor.Locked(f"another hadirector runs with runtime_dir {directory}")

    monkeypatch.setattr(supervisor, "only_one", refuse)
    assert start("cluster_key: nonsense") == 1
    assert start("vip_lease: 5s") == 1

    assert (tmp_path / "run" / last_good.BLOB).read_bytes() == before


def test_a_reader_that_was_killed_is_told_in_one_line(
    start: Start, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killed))

    assert start("") == 1

    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1
    assert "hadirector.yaml: not read: the process that reads it ended by SIGKILL" in told[0]


def _missing(path: Path) -> str:
    return f"api: {{socket: {path}/none/control.sock}}"


def _answering(path: Path) -> str:
    _listeners.append(socket.socket(socket.AF_UNIX))
    _listeners[-1].bind(str(path / "control.sock"))
    _listeners[-1].listen()
    return f"api: {{socket: {path}/control.sock}}"


def _no_socket(path: Path) -> str:
    (path / "control.sock").write_text("a file")
    return f"api: {{socket: {path}/control.sock}}"


def _no_directory(path: Path) -> str:
    (path / "file").write_text("a file")
    return f"api: {{socket: {path}/file/control.sock}}"


_listeners: list[socket.socket] = []


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (_missing, "none: No such file or directory"),
        (_answering, "control.sock: somebody answers there"),
        (_no_socket, "control.sock: exists and is not a socket"),
        (_no_directory, "file: Not a directory"),
    ],
)
def test_a_control_socket_that_cannot_be_had_is_told_in_one_line(
    start: Start,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    prepare: Callable[[Path], str],
    says: str,
) -> None:
    line = prepare(tmp_path)

    assert start(line) == 1

    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("hadirector: api.socket ")
    assert says in told[0]
    for listener in _listeners:
        listener.close()
    _listeners.clear()


def test_a_socket_left_behind_by_a_dead_daemon_is_no_problem(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "control.sock"))

    assert start(f"api: {{socket: {tmp_path}/control.sock}}") == 0


@pytest.mark.parametrize(
    ("found", "force", "status", "says"),
    [
        (Neighbour(7, "keepalived", certain=True), False, 1, "or start with --force"),
        (Neighbour(7, "keepalived", certain=True), True, 0, "warning: keepalived runs in this"),
        (
            Neighbour(7, "ldirectord", certain=False),
            False,
            0,
            "warning: ldirectord runs as process",
        ),
    ],
)
def test_beside_a_program_that_would_fight_it_the_daemon_does_not_start(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    found: Neighbour,
    force: bool,
    status: int,
    says: str,
) -> None:
    monkeypatch.setattr(neighbours, "look", lambda: [found])

    assert start("", force=force) == status

    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert "process 7" in line


def test_a_restart_with_a_bad_file_goes_on_with_the_last_good_one_and_says_so(
    start: Start, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert start("") == 0
    good = (tmp_path / "run" / last_good.BLOB).read_bytes()

    assert start("vip_leese: 5s") == 0

    told = capfd.readouterr().err
    assert "error: unknown key 'vip_leese'" in told
    assert "is bad: starting with the last good one" in told
    assert (tmp_path / "run" / last_good.BLOB).read_bytes() == good
    assert "vip_leese" in last_good.refused(f"{tmp_path}/run")


def test_a_mended_file_is_forgiven(start: Start, tmp_path: Path) -> None:
    start("")
    start("vip_leese: 5s")

    assert start("vip_lease: 5s") == 0
    assert last_good.refused(f"{tmp_path}/run") == ""


def test_after_a_boot_a_bad_file_is_refused(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start("")
    monkeypatch.setattr(boot, "identity", lambda: "another boot")

    assert start("vip_leese: 5s") == 1


def test_another_nodes_last_good_configuration_does_not_stand_in(
    start: Start, tmp_path: Path
) -> None:
    start("")
    file = tmp_path / "hadirector.yaml"
    file.write_text(file.read_text() + "nonsense: 1\n")

    assert run.run(argparse.Namespace(config=str(file), node="lb2")) == 1


def test_a_second_daemon_in_the_network_namespace_is_refused_in_one_line(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    with alone.alone():
        assert start("") == 1

    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1
    assert f"another hadirector (process {os.getpid()}) runs in this network namespace" in told[0]
    assert start("") == 0


def test_nobody_is_held_to_run_where_nobody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "NAME", "\0hadirector-nobody")

    assert alone.holder() is None
