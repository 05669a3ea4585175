"""A dead network of our own is no dead server: weights hold, and it is told."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hadirector.core.address import canonical
from hadirector.shell.probes.own_link import SETTLE, OwnLink
from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import fresh_namespace, has_ipvs, run
from tests.kernel.pair import Machine, eventually, needs_root

pytestmark = [pytest.mark.kernel, needs_root]

CONFIG = """
cluster: shop
nodes:
  lb1: {priority: 150}
checks:
  port: {type: tcp, interval: 300ms, timeout: 200ms, rise: 1, fall: 2}
virtual_services:
  web:
    address: 192.0.2.10:80
    forward: nat
    check: port
    real_servers: [10.0.1.2:8080, 10.0.1.3:8080]
"""
SERVE = (
    "import socket, time\n"
    "s = [socket.create_server((a, 8080)) for a in ('10.0.1.2', '10.0.1.3')]\n"
    "time.sleep(600)"
)


@pytest.fixture
def far() -> Iterator[Machine]:
    """The machine at the other end of eth1, which has two servers' addresses."""
    machine = Machine()
    with fresh_namespace():
        run("ip", "address", "add", "192.0.2.10/32", "dev", "lo")
        run(
            *("ip", "link", "add", "eth1", "type", "veth"),
            *("peer", "name", "eth1", "netns", str(machine.pid)),
        )
        run("ip", "address", "add", "10.0.1.1/24", "dev", "eth1")
        run("ip", "address", "add", "2001:db8:1::1/64", "dev", "eth1", "nodad")
        run("ip", "link", "set", "eth1", "up")
        machine.run("ip", "address", "add", "10.0.1.2/24", "dev", "eth1")
        machine.run("ip", "address", "add", "10.0.1.3/24", "dev", "eth1")
        machine.run("ip", "link", "set", "eth1", "up")
        yield machine
    machine.end()


@pytest.mark.parametrize("server", ["10.0.1.2", "2001:db8:1::2"])
def test_a_link_without_a_carrier_is_known_as_such(far: Machine, server: str) -> None:
    now = 100.0
    link = OwnLink(lambda: now)
    eventually(lambda: link.trouble(canonical(server)) == "", 5.0)

    far.run("ip", "link", "set", "eth1", "down")

    eventually(lambda: link.trouble(canonical(server)) == "eth1 has no carrier", 5.0)
    assert link.trouble(canonical("127.0.0.1")) == ""
    assert link.trouble(canonical("203.0.113.1")) == "Network is unreachable"
    far.run("ip", "link", "set", "eth1", "up")
    eventually(lambda: "a moment ago" in link.trouble(canonical(server)), 5.0)
    now += SETTLE + 0.1
    assert link.trouble(canonical(server)) == ""
    link.close()


@pytest.mark.skipif(not has_ipvs, reason="needs ip_vs")
@pytest.mark.parametrize("end", ["ours", "theirs"])
def test_servers_behind_a_link_that_died_keep_their_weight_and_it_is_told(
    far: Machine, tmp_path: Path, end: str
) -> None:
    machine = {"ours": run, "theirs": far.run}[end]
    serving = far.spawn(sys.executable, "-c", SERVE)
    with Daemon(tmp_path, CONFIG) as daemon:
        until("both servers have weight", lambda: _weights() == ["1", "1"])

        machine("ip", "link", "set", "eth1", "down")
        until("it is told", lambda: "cannot reach 10.0.1." in daemon.run("status").stdout)
        until("for a while", lambda: len(daemon.run("events").stdout) > 0)
        during = _weights()
        machine("ip", "link", "set", "eth1", "up")
        until("it sees again", lambda: "checker_sees" in daemon.run("events").stdout)

        told = daemon.run("events", "--json").stdout
        assert daemon.stop() == 0
    serving.kill()

    assert during == ["1", "1"]
    kinds = [json.loads(line)["kind"] for line in told.splitlines()]
    assert "server_down" not in kinds
    assert kinds.count("checker_blind") == 1


def _weights() -> list[str]:
    rules = [line.split() for line in run("ipvsadm", "-S", "-n").splitlines()]
    return [rule[rule.index("-w") + 1] for rule in rules if rule[0] == "-a"]
