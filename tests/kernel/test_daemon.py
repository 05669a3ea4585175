"""One director on the real kernel: it programs, repairs, survives its own deaths, and leaves."""

import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
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
    protocol: tcp
    scheduler: rr
    forward: nat
    check: port
    on_failure: quiesce
    real_servers: [127.0.0.11:8080, 127.0.0.12:8080]
"""
DNS = """
  dns:
    address: 192.0.2.10:53
    protocol: udp
    scheduler: sh
    forward: dr
    check: port
    real_servers: [127.0.0.11:53]
"""


@pytest.fixture
def servers() -> Iterator[dict[str, socket.socket]]:
    """Two real servers on loopback, in a namespace of the test's own."""
    with fresh_namespace():
        run("ip", "addr", "add", "192.0.2.10/32", "dev", "lo")
        listening = {}
        for address in ("127.0.0.11", "127.0.0.12"):
            listening[address] = socket.create_server((address, 8080))
        yield listening
        for server in listening.values():
            server.close()


@pytest.fixture
def daemon(servers: dict[str, socket.socket], tmp_path: Path) -> Iterator[Daemon]:
    """A daemon whose two servers are in service."""
    assert servers
    with Daemon(tmp_path, CONFIG) as running:
        until("both servers have weight", lambda: weights() == {"11": 1, "12": 1})
        yield running


def weights() -> dict[str, int]:
    """Weights by the last number of the address, as the real ipvsadm reads them."""
    rules = [line.split() for line in run("ipvsadm", "-S", "-n").splitlines()]
    servers = [rule for rule in rules if rule[0] == "-a"]
    return {
        rule[rule.index("-r") + 1].split(":")[0].split(".")[3]: int(rule[rule.index("-w") + 1])
        for rule in servers
    }


def test_a_flushed_table_is_whole_again_within_a_second(daemon: Daemon) -> None:
    run("ipvsadm", "-C")

    # The bound is the product's second, and one for a starved guest.
    until("the table is back", lambda: weights() == {"11": 1, "12": 1}, patience=2.0)
    events = daemon.run("events").stdout
    assert "drift" in events


def test_a_dead_server_gets_weight_0_and_its_weight_back(
    daemon: Daemon, servers: dict[str, socket.socket]
) -> None:
    servers["127.0.0.11"].close()
    until("the dead server is out", lambda: weights() == {"11": 0, "12": 1})

    servers["127.0.0.11"] = socket.create_server(("127.0.0.11", 8080))
    until("it is back", lambda: weights() == {"11": 1, "12": 1})

    told = daemon.run("explain", "web/127.0.0.11:8080").stdout
    assert "server_down" in told
    assert "refused" in told


def test_a_strangers_service_is_left_alone_by_reload_and_stop(daemon: Daemon) -> None:
    run("ipvsadm", "-A", "-t", "192.0.2.10:8443", "-s", "lc")
    daemon.write(CONFIG + DNS)

    assert daemon.run("reload").returncode == 0
    until("dns is there", lambda: "-A -u 192.0.2.10:53 -s sh" in run("ipvsadm", "-S", "-n"))
    assert daemon.stop() == 0

    assert run("ipvsadm", "-S", "-n").split() == ["-A", "-t", "192.0.2.10:8443", "-s", "lc"]


def test_a_bad_file_is_refused_with_its_line_and_changes_nothing(daemon: Daemon) -> None:
    before = run("ipvsadm", "-S", "-n")
    daemon.write(CONFIG.replace("scheduler: rr", "schedular: rr"))

    refused = daemon.run("reload")

    assert refused.returncode == 1
    assert "hadirector.yaml:13:" in refused.stderr
    assert "did you mean 'scheduler'" in refused.stderr.replace('"', "'")
    assert run("ipvsadm", "-S", "-n") == before


@pytest.mark.parametrize("how", ["restart-director", "kill"])
def test_a_new_director_adopts_the_table_without_touching_it(daemon: Daemon, how: str) -> None:
    run("ipvsadm", "-Z")
    with socket.create_connection(("192.0.2.10", 80)):
        pass
    old = daemon.pid("director")

    if how == "kill":
        os.kill(old, signal.SIGKILL)
    else:
        assert daemon.run("restart-director").returncode == 0
    until("another director answers", lambda: daemon.pid("director") not in (0, old))

    # Counters survive only in a table that nobody emptied; the kernel sums them each 2 s.
    def connections() -> str:
        return run("ipvsadm", "-L", "-n", "--stats").splitlines()[3].split()[2]

    until("the connection is counted", lambda: connections() == "1", 5.0)
    assert weights() == {"11": 1, "12": 1}


@pytest.mark.long
def test_a_slow_start_goes_on_over_a_restart_of_the_director(
    servers: dict[str, socket.socket], tmp_path: Path
) -> None:
    slow = CONFIG.replace("scheduler: rr", "scheduler: wrr\n    slow_start: 20s")
    with Daemon(tmp_path, slow) as daemon:
        until("both servers have weight", lambda: weights() == {"11": 1, "12": 1})
        servers["127.0.0.12"].close()
        until("it is out", lambda: weights()["12"] == 0)
        servers["127.0.0.12"] = socket.create_server(("127.0.0.12", 8080))
        until("it begins slowly", lambda: 3 <= weights()["12"] < 8)
        old, seen = daemon.pid("director"), [weights()]

        assert daemon.run("restart-director").returncode == 0

        def watched() -> bool:
            if (now := weights()) != seen[-1]:
                seen.append(now)
            return now == {"11": 1, "12": 1}

        until("it has its whole weight", watched, 30.0)
        assert daemon.pid("director") not in (0, old)
        daemon.stop()

    shares = [found["12"] / found["11"] for found in seen]
    assert shares == sorted(shares)
    # A step is 5 %; what time brought while no director ran comes at once.
    assert max(b - a for a, b in itertools.pairwise(shares)) <= 0.3, seen


def test_a_director_whose_kept_configuration_cannot_be_read_reads_the_file(
    daemon: Daemon,
) -> None:
    old = daemon.pid("director")
    (daemon.folder / "run" / "config.good").write_text("garbage")

    os.kill(old, signal.SIGKILL)
    until("another director answers", lambda: daemon.pid("director") not in (0, old))

    assert weights() == {"11": 1, "12": 1}


def test_a_dead_checker_freezes_weights_and_is_replaced(daemon: Daemon) -> None:
    old = daemon.pid("checker")

    os.kill(old, signal.SIGKILL)
    until("another checker runs", lambda: daemon.pid("checker") not in (0, old))

    assert weights() == {"11": 1, "12": 1}
    events = daemon.run("events").stdout
    assert "server_down" not in events


def test_stopping_gives_the_kernel_back_as_it_was(
    servers: dict[str, socket.socket], tmp_path: Path
) -> None:
    setting = Path("/proc/sys/net/ipv4/vs/expire_nodest_conn")
    before = setting.read_text()
    assert servers
    with Daemon(tmp_path, CONFIG) as daemon:
        until("the setting is made", lambda: setting.read_text() == "1\n")
        assert daemon.stop() == 0

    assert run("ipvsadm", "-S", "-n") == ""
    assert setting.read_text() == before == "0\n"


def test_settings_of_a_killed_daemon_are_given_back_by_the_next(
    servers: dict[str, socket.socket], tmp_path: Path
) -> None:
    setting = Path("/proc/sys/net/ipv4/vs/expire_nodest_conn")
    assert servers
    with Daemon(tmp_path, CONFIG) as daemon:
        until("the setting is made", lambda: setting.read_text() == "1\n")
        until("it is recorded", lambda: (tmp_path / "state/borrowed-settings.json").exists())
        pids = daemon.pids()
        os.kill(pids["supervisor"], signal.SIGSTOP)  # it neither replaces the others nor ends them
        for pid in reversed(pids.values()):  # children leave when their parent is gone
            os.kill(pid, signal.SIGKILL)
        assert daemon.process is not None
        daemon.process.wait()
        daemon.start()
        assert daemon.stop() == 0

    assert setting.read_text() == "0\n"


def test_both_sync_threads_run_with_their_settings_and_end_with_the_daemon(
    servers: dict[str, socket.socket], tmp_path: Path
) -> None:
    assert servers
    vs = Path("/proc/sys/net/ipv4/vs")
    before = (vs / "sync_threshold").read_text()
    sync = "connection_sync: {interface: lo, sync_id: 51}\n"
    with Daemon(tmp_path, CONFIG + sync) as daemon:
        until("both run", lambda: run("ipvsadm", "-L", "--daemon").count("sync daemon") == 2)
        told = run("ipvsadm", "-L", "--daemon")
        settings = [(vs / name).read_text().split() for name in ("sync_threshold", "backup_only")]
        assert daemon.stop() == 0

    assert told.count("mcast=lo, syncid=51") == 2
    assert settings == [["0", "1"], ["0"]]
    assert run("ipvsadm", "-L", "--daemon").count("sync daemon") == 0
    assert (vs / "sync_threshold").read_text() == before


def test_a_missing_sync_interface_is_told_and_used_once_it_comes(
    servers: dict[str, socket.socket], tmp_path: Path
) -> None:
    assert servers
    sync = "connection_sync: {interface: hd7, sync_id: 51}\n"
    with Daemon(tmp_path, CONFIG + sync) as daemon:
        until("it is told", lambda: "no interface hd7" in daemon.run("events").stdout)

        run("ip", "link", "add", "hd7", "type", "dummy")
        run("ip", "link", "set", "hd7", "up", "multicast", "on")
        run("ip", "addr", "add", "10.9.9.1/24", "dev", "hd7")

        until("both run", lambda: run("ipvsadm", "-L", "--daemon").count("mcast=hd7") == 2)
        assert daemon.stop() == 0


def test_two_daemons_with_the_same_directories_are_refused(daemon: Daemon) -> None:
    arguments = ["run", "-c", str(daemon.folder / "hadirector.yaml"), "--node", "lb1"]
    done = subprocess.run(
        [sys.executable, "-m", "hadirector", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "another hadirector runs" in done.stderr
