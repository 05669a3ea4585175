"""Beside a real keepalived: refused in the same network namespace, at home in another."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import fresh_namespace, has_ipvs
from tests.kernel.pair import Machine

KEEPALIVED = shutil.which("keepalived", path="/usr/sbin:/usr/bin:/sbin:/bin")

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not has_ipvs, reason="needs ip_vs and root"),
    pytest.mark.skipif(KEEPALIVED is None, reason="keepalived is not installed"),
]

CONFIG = "cluster: shop\nnodes:\n  lb1: {priority: 150}\n"


class Rival:
    """A keepalived that does nothing, here or on a machine."""

    def __init__(self, folder: Path, machine: Machine | None = None) -> None:
        assert KEEPALIVED is not None
        (folder / "keepalived.conf").write_text("global_defs {\n}\n")
        command = [KEEPALIVED, "--dont-fork", "--vrrp", "--log-console"]
        command += ["--use-file", str(folder / "keepalived.conf")]
        command += ["--pid", str(folder / "pid"), "--vrrp_pid", str(folder / "vrrp.pid")]
        options: dict[str, object] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        spawn = subprocess.Popen if machine is None else None
        self.process: subprocess.Popen[bytes] = (
            spawn(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if spawn is not None
            else machine.spawn(*command, **options)  # type: ignore[union-attr]  # one of the two
        )
        until("keepalived runs", lambda: (folder / "pid").exists())

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """One that is not started yet, in a namespace of the test's own."""
    with fresh_namespace():
        made = Daemon(tmp_path, CONFIG)
        yield made
        made.__exit__()


def test_beside_a_keepalived_it_refuses_to_start_with_one_line(
    daemon: Daemon, tmp_path: Path
) -> None:
    rival = Rival(tmp_path)
    try:
        daemon.launch()
        assert daemon.process is not None
        assert daemon.process.wait(60) == 1
    finally:
        rival.end()

    (line,) = daemon.log.read_text().splitlines()
    assert line == (
        f"hadirector: keepalived runs in this network namespace as process {rival.process.pid}: "
        "both would fight over the same addresses and services; stop it first (systemctl disable "
        "--now keepalived), or start with --force"
    )


def test_a_keepalived_of_another_namespace_is_no_concern(daemon: Daemon, tmp_path: Path) -> None:
    elsewhere = Machine()
    rival = Rival(tmp_path, elsewhere)
    try:
        daemon.start()
        told = daemon.ask()
        assert told is not None
        assert told["trouble"] == []
        assert daemon.stop() == 0
    finally:
        rival.end()
        elsewhere.end()


@pytest.mark.long
def test_one_that_comes_later_is_an_event_and_trouble_while_it_is_there(
    daemon: Daemon, tmp_path: Path
) -> None:
    def troubles() -> list[str]:
        told = daemon.ask()
        return [] if told is None else [t for t in told["trouble"] if "keepalived" in t]

    daemon.start()
    assert troubles() == []

    rival = Rival(tmp_path)
    try:
        until("it is noticed", lambda: bool(troubles()))
        assert "keepalived runs in this network namespace" in troubles()[0]
        assert "neighbour" in daemon.run("events").stdout
    finally:
        rival.end()

    until("it is gone", lambda: not troubles())
    assert daemon.stop() == 0


def test_another_daemon_with_directories_of_its_own_is_refused_too(
    daemon: Daemon, tmp_path: Path
) -> None:
    daemon.start()
    (tmp_path / "other").mkdir()
    other = Daemon(tmp_path / "other", CONFIG)

    other.launch()

    assert other.process is not None
    assert other.process.wait(60) == 1
    (line,) = other.log.read_text().splitlines()
    assert "another hadirector" in line
    assert "in this network namespace" in line
    assert daemon.stop() == 0
