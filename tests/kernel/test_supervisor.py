"""The supervisor: what systemd is told, and what becomes of processes that hang."""

import os
import select
import signal
import socket
import time
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


class Manager:
    """The service manager's end of sd_notify."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[str] = []
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._sock.bind(str(path))

    def heard(self, line: str) -> bool:
        """Whether this line was told so far."""
        while True:
            try:
                self.told += self._sock.recv(4096).decode().splitlines()
            except BlockingIOError:
                return line in self.told

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(manager.path))
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    with fresh_namespace():
        yield manager
    manager.close()


def test_systemd_is_told_ready_reloading_alive_and_stopping(
    manager: Manager, tmp_path: Path
) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        until("ready", lambda: manager.heard("READY=1"))
        until("alive", lambda: manager.heard("WATCHDOG=1"))
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        until("reloading", lambda: manager.heard("RELOADING=1"))
        until("reloaded", lambda: manager.heard("STATUS=reloaded"))
        assert daemon.stop() == 0

    assert manager.heard("STOPPING=1")


@pytest.mark.usefixtures("manager")
def test_a_process_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        old = daemon.pid("checker")
        os.kill(old, signal.SIGSTOP)

        until("another checker runs", lambda: daemon.pid("checker") not in (0, old))


@pytest.mark.usefixtures("manager")
def test_children_leave_in_order_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        pids = [daemon.pid(name) for name in ("election", "director", "checker")]
        assert daemon.process is not None
        daemon.process.kill()
        daemon.process.wait()

        until("all are gone", lambda: not any(_alive(pid) for pid in pids))

    assert not (tmp_path / "run" / "control.sock").exists()


@pytest.mark.usefixtures("manager")
def test_a_stopped_daemon_takes_little_time_and_leaves_no_process(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        pids = [daemon.pid(name) for name in ("election", "director", "checker")]
        started = time.monotonic()
        assert daemon.stop() == 0

    assert time.monotonic() - started < 15.0
    assert not any(_alive(pid) for pid in pids)


@pytest.mark.long
@pytest.mark.usefixtures("manager")
def test_a_freeze_of_everything_kills_nobody(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        before = daemon.pids()
        for number, seconds in ((signal.SIGSTOP, 12.0), (signal.SIGCONT, 3.0)):
            for pid in before.values():
                os.kill(pid, number)
            time.sleep(seconds)

        assert daemon.pids() == before
        assert daemon.stop() == 0


@pytest.mark.usefixtures("manager")
def test_a_hung_director_is_replaced_before_the_election_resigns(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        old = daemon.pid("director")
        started = time.monotonic()
        os.kill(old, signal.SIGSTOP)

        until("it is killed", lambda: not _alive(old))
        assert 3.5 < time.monotonic() - started < 8.0
        until("another director runs", lambda: daemon.pid("director") not in (0, old))


@pytest.mark.usefixtures("manager")
def test_sigterm_to_all_at_once_lets_them_leave_in_order(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        pids = daemon.pids()
        watched = {name: os.pidfd_open(pid) for name, pid in pids.items() if name != "supervisor"}
        for pid in (pids["checker"], pids["director"], pids["election"], pids["supervisor"]):
            os.kill(pid, signal.SIGTERM)

        order = []
        while watched:
            ready, _, _ = select.select(list(watched.values()), [], [], 20.0)
            assert ready
            order += [name for name, descriptor in watched.items() if descriptor in ready]
            for name in order:
                if name in watched:
                    os.close(watched.pop(name))
        assert daemon.process is not None
        assert daemon.process.wait(20) == 0

    assert order == ["election", "director", "syncer", "checker"]
    assert daemon.log.read_text().count("election scheduling=") == 1  # none was started again


@pytest.mark.usefixtures("manager")
def test_a_new_daemon_waits_until_the_children_of_a_killed_one_are_gone(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        pids = daemon.pids()
        os.kill(pids["checker"], signal.SIGSTOP)
        assert daemon.process is not None
        daemon.process.kill()
        daemon.process.wait()
        until("the director has left", lambda: not _alive(pids["director"]))

        daemon.launch()
        told = "hadirector: waits for the former daemon to leave"
        until("it waits", lambda: told in daemon.log.read_text())
        assert daemon.ask() is None
        os.kill(pids["checker"], signal.SIGCONT)

        until("it runs", lambda: daemon.ask() is not None)
        assert not _alive(pids["checker"])
        assert daemon.log.read_text().count(told) == 1
        assert daemon.stop() == 0


@pytest.mark.usefixtures("manager")
def test_the_checker_owns_nothing_and_may_do_nothing(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        tasks = list(Path(f"/proc/{daemon.pid('checker')}/task").iterdir())
        threads = [(task / "status").read_text() for task in tasks]

    assert len(threads) >= 2  # its log has a thread of its own: capabilities are a thread's
    for status in threads:
        assert "\nUid:\t65534\t65534\t65534\t65534\n" in status
        assert "\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n" in status


def _alive(pid: int) -> bool:
    """Whether it runs; a zombie nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
