"""What an operator breaks on a running node: it is told, mended, and costs no more than it must."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import fresh_namespace, has_ipvs

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not has_ipvs, reason="needs ip_vs and root")]

CONFIG = """
cluster: shop
nodes:
  lb1: {priority: 150}
"""
SYSCTL = Path("/proc/sys/net/ipv4/vs/expire_nodest_conn")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with fresh_namespace(), Daemon(tmp_path, CONFIG) as running:
        until("all is well", lambda: trouble(running) == "")
        yield running


def trouble(daemon: Daemon) -> str:
    """Every trouble of its status, or `no answer`."""
    told = daemon.ask()
    return "no answer" if told is None else "\n".join(told["trouble"])


def test_a_hanging_election_is_a_trouble_and_the_node_not_ready(daemon: Daemon) -> None:
    election = daemon.pid("election")
    os.kill(election, signal.SIGSTOP)

    took = until("the silence is told", lambda: "election is silent" in trouble(daemon), 8)
    told = daemon.ask()
    os.kill(election, signal.SIGCONT)

    assert took < 6
    assert told is not None
    assert not told["ready"]
    until("it is believed again", lambda: "silent" not in trouble(daemon))


def test_a_changed_setting_is_set_back_within_two_seconds_and_told(daemon: Daemon) -> None:
    until("it is ours", lambda: SYSCTL.read_text() == "1\n")
    SYSCTL.write_text("0\n")

    assert until("it is set back", lambda: SYSCTL.read_text() == "1\n") < 2
    until("it is told", lambda: "was set to 0, set back to 1" in daemon.run("events").stdout)


def test_a_bad_file_is_a_trouble_and_a_restart_goes_on_with_the_last_good_one(
    daemon: Daemon,
) -> None:
    good = daemon.text
    daemon.write(f"{good}nonsense: 1\n")
    refused = daemon.run("reload")
    told = trouble(daemon)

    assert daemon.stop() == 0
    daemon.start()
    again = trouble(daemon)
    daemon.write(good)
    mended = daemon.run("reload")

    assert refused.returncode == 1
    assert "was refused at" in told
    assert "unknown key 'nonsense'" in again
    assert mended.returncode == 0
    assert trouble(daemon) == ""


def test_a_removed_runtime_directory_costs_nothing_not_even_when_the_director_dies(
    daemon: Daemon,
) -> None:
    director = daemon.pid("director")
    shutil.rmtree(daemon.folder / "run")
    os.kill(director, signal.SIGKILL)

    until("another director answers", lambda: daemon.pid("director") not in (0, director))
    shutil.rmtree(daemon.folder / "run")
    until("it answers again", lambda: "was removed while running" in trouble(daemon))

    assert (daemon.folder / "run" / "config.good").exists()
    assert "Traceback" not in daemon.log.read_text()


def test_signals_of_keepalived_and_hangups_end_nobody(daemon: Daemon) -> None:
    before = daemon.pids()
    for pid in before.values():
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(pid, number)
    until("the state was logged", lambda: "see hadirector status" in daemon.log.read_text())

    assert daemon.pids() == before


def test_a_second_daemon_with_other_directories_is_refused(
    daemon: Daemon, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Daemon(tmp_path_factory.mktemp("other"), CONFIG)
    other.launch()
    assert other.process is not None

    assert other.process.wait(60) == 1
    assert "runs in this network namespace" in other.log.read_text()
    assert "Traceback" not in other.log.read_text()
