"""Orders about servers on the real kernel: what IPVS does, what waits, what outlives whom."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    scheduler: wrr
    forward: nat
    check: port
    real_servers: [127.0.0.11:8080, {address: 127.0.0.12:8080, weight: 3}]
"""


def table() -> dict[str, int]:
    """Weights by address, as the real ipvsadm reads them."""
    rules = [line.split() for line in run("ipvsadm", "-S", "-n").splitlines()]
    return {
        rule[rule.index("-r") + 1].partition(":")[0]: int(rule[rule.index("-w") + 1])
        for rule in rules
        if rule[0] == "-a"
    }


@contextmanager
def server(address: str) -> Iterator[None]:
    """Takes connections and says who it is; keeps them open until its clients leave."""
    listener = socket.create_server((address, 8080))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        with connection, suppress(OSError):  # a check resets it
            connection.sendall(address.encode())
            connection.recv(1)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def connect(wanted: str) -> socket.socket:
    """A client of the service that got this server."""
    for _ in range(20):
        client = socket.create_connection(("192.0.2.10", 80), timeout=5)
        if client.recv(64).decode() == wanted:
            return client
        client.close()
    raise AssertionError(f"{wanted} serves nobody")


def test_a_drained_server_is_waited_for_and_stays_so_through_death_until_it_is_enabled(
    tmp_path: Path,
) -> None:
    with (
        fresh_namespace(),
        server("127.0.0.11"),
        server("127.0.0.12"),
        Daemon(tmp_path, CONFIG) as daemon,
    ):
        run("ip", "addr", "add", "192.0.2.10/32", "dev", "lo")
        until("both serve", lambda: table() == {"127.0.0.11": 1, "127.0.0.12": 3})
        client = connect("127.0.0.11")

        early = daemon.run("drain", "web/127.0.0.11", "--wait", "--deadline", "2s", "--reason", "x")
        client.close()
        late = daemon.run("drain", "127.0.0.11", "--wait", "--deadline", "40s")
        drained = table()
        daemon.kill()
        daemon.start()
        until("it checks again", lambda: "no verdict" not in reason(daemon, "127.0.0.11"))
        after_death = table()
        weight = daemon.run("weight", "web/127.0.0.12", "7", "--expires", "1h")
        disabled = daemon.run("disable", "127.0.0.11:8080")
        gone = table()
        enabled = daemon.run("enable", "web/127.0.0.11")
        back = table()

    assert (early.returncode, late.returncode) == (4, 0), (early, late)
    assert "the deadline has passed: web/127.0.0.11:8080: 1 connection is left" in early.stderr
    assert "weight 0, 1 active, 0 inactive connections" in early.stdout
    assert late.stdout.endswith("safe to reboot\n")
    assert drained == after_death == {"127.0.0.11": 0, "127.0.0.12": 3}
    assert (weight.returncode, disabled.returncode, enabled.returncode) == (0, 0, 0)
    assert (gone, back) == ({"127.0.0.12": 7}, {"127.0.0.11": 1, "127.0.0.12": 7})


def reason(daemon: Daemon, address: str) -> str:
    """Why a server has its weight."""
    told = daemon.ask()
    assert told is not None
    return str(told["services"]["web"]["servers"][f"{address}:8080"]["reason"])
