"""What a daemon finds of its former life, or changes by a reload, on the real kernel."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import fresh_namespace, has_ipvs, run

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not has_ipvs, reason="needs ip_vs and root")]

CONFIG = """
cluster: shop
nodes:
  lb1: {priority: 150}
checks:
  port: {type: tcp, interval: 300ms, timeout: 200ms, rise: 1, fall: 2}
virtual_services:
  web:
    address: 192.0.2.10:80
    scheduler: rr
    forward: nat
    check: port
    fallback: 127.0.0.99:8080
    real_servers: [127.0.0.11:8080, 127.0.0.12:8080]
"""
MORE = CONFIG.replace("127.0.0.12:8080]", "127.0.0.12:8080, 127.0.0.13:8080]")


@pytest.fixture(autouse=True)
def namespace() -> Iterator[None]:
    with fresh_namespace():
        run("ip", "addr", "add", "192.0.2.10/32", "dev", "lo")
        yield


def table() -> dict[str, int]:
    """Weights by address, as the real ipvsadm reads them."""
    rules = [line.split() for line in run("ipvsadm", "-S", "-n").splitlines()]
    return {
        rule[rule.index("-r") + 1].partition(":")[0]: int(rule[rule.index("-w") + 1])
        for rule in rules
        if rule[0] == "-a"
    }


@contextmanager
def spare_watched() -> Iterator[list[dict[str, int]]]:
    """Collects every table seen in which the fallback does not serve."""
    missing: list[dict[str, int]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            found = table()
            if not found.get("127.0.0.99"):
                missing.append(found)
            time.sleep(0.01)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield missing
    finally:
        over.set()
        watching.join()


def kill_everything(daemon: Daemon) -> None:
    """As a power cut would, but for the kernel."""
    pids = daemon.pids()
    os.kill(pids["supervisor"], signal.SIGSTOP)  # it neither replaces the others nor ends them
    for pid in reversed(pids.values()):  # children leave when their parent is gone
        os.kill(pid, signal.SIGKILL)
    assert daemon.process is not None
    daemon.process.wait()


def test_a_fallback_that_serves_goes_on_through_reload_and_death(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        until("the spare serves", lambda: table().get("127.0.0.99") == 1)
        with spare_watched() as missing:
            daemon.write(MORE)
            assert daemon.run("reload").returncode == 0
            until("the new server is known", lambda: "127.0.0.13" in table())
            kill_everything(daemon)
            daemon.start()
            until("it runs again", lambda: (daemon.ask() or {}).get("ready") is True)
        assert daemon.stop() == 0

    assert missing == []


def test_a_death_is_told_once_also_when_it_was_the_directors_own(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        for victim in ("checker", "director"):
            old = daemon.pid(victim)
            os.kill(old, signal.SIGKILL)
            until("another one runs", lambda: daemon.pid(victim) not in (0, old))  # noqa: B023  # in its turn
        until("it is told", lambda: daemon.run("events").stdout.count("process_died") >= 2)
        time.sleep(1.5)
        told = daemon.run("events").stdout
        assert daemon.stop() == 0

    lines = [line for line in told.splitlines() if "process_died" in line]
    assert len(lines) == 2
    assert "checker" in lines[0]
    assert "director" in lines[1]
    assert all("died (SIGKILL)" in line for line in lines)


def test_sync_threads_of_a_killed_daemon_end_when_the_section_is_gone(tmp_path: Path) -> None:
    def threads() -> int:
        return run("ipvsadm", "-L", "--daemon").count("sync daemon")

    sync = "connection_sync: {interface: lo, sync_id: 51}\n"
    with Daemon(tmp_path, CONFIG + sync) as daemon:
        until("both run", lambda: threads() == 2)
        until("they are noted", lambda: "sync_id" in _borrowed(tmp_path))
        kill_everything(daemon)
        daemon.write(CONFIG)
        assert threads() == 2

        daemon.start()

        until("they end", lambda: threads() == 0)
        assert daemon.stop() == 0


def _borrowed(folder: Path) -> str:
    path = folder / "state/borrowed-settings.json"
    return path.read_text() if path.exists() else ""
