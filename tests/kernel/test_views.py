"""A standby that checks, too: what it sees otherwise is told, and a takeover changes no weight."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import has_ipvs
from tests.kernel.pair import Machine, machines
from tests.kernel.test_handover import KEY, Pair, state

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not has_ipvs, reason="needs ip_vs and root")]

A, B, C = "127.0.0.11", "127.0.0.12", "127.0.0.13"
CONFIG = """
cluster: shop
nodes:
  lb1: {{priority: 150, address: 192.0.2.1}}
  lb2: {{priority: 100, address: 192.0.2.2}}
key_file: {key}
vrrp:
  defaults: {{advert_int: 200ms}}
  instances:
    front:
      interface: eth0
      virtual_router_id: 51
      virtual_addresses: [192.0.2.10/24]
      startup_delay: 0s
checks:
  port: {{type: tcp, interval: 300ms, timeout: 200ms, rise: 1, fall: 2}}
virtual_services:
  web:
    address: 192.0.2.10:80
    scheduler: wrr
    check: port
    real_servers:
      - {{address: 127.0.0.11:8080, weight: 2}}
      - {{address: 127.0.0.12:8080, weight: 3}}
      - {{address: 127.0.0.13:8080, weight: 4}}
"""
# Servers are on the loopback of each machine, so that each can have another one dead.
SERVE = """
import socket, sys, time
held = [socket.create_server((address, 8080)) for address in sys.argv[1:]]
time.sleep(600)
"""


def table(machine: Machine) -> dict[str, int]:
    """Weights by address, as the real ipvsadm reads them."""
    rules = [line.split() for line in machine.run("ipvsadm", "-S", "-n").splitlines()]
    return {
        rule[rule.index("-r") + 1].partition(":")[0]: int(rule[rule.index("-w") + 1])
        for rule in rules
        if rule[0] == "-a"
    }


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    key = tmp_path / "cluster.key"
    key.write_text(KEY)
    key.chmod(0o600)
    with machines() as (one, two), ExitStack() as ends:
        for machine, alive in ((one, ("127.0.0.11", "127.0.0.12")), (two, ("127.0.0.11",))):
            serving = machine.spawn(sys.executable, "-c", SERVE, *alive)
            ends.callback(serving.wait)
            ends.callback(serving.kill)
        made = Pair(one, two, tmp_path, CONFIG.format(key=key))
        made.daemons = tuple(
            Alike(daemon.folder, daemon.text, daemon.node, daemon.within) for daemon in made.daemons
        )
        ends.callback(made.end)
        yield made


class Alike(Daemon):
    """Its directories have the same path on both nodes, so that both have the same text."""

    def __post_init__(self) -> None:
        here = self.folder.parent / "here"
        here.mkdir(exist_ok=True)
        mount = f'mount --bind {self.folder} {here} && exec "$@"'
        self.within = (*self.within, "unshare", "--mount", "sh", "-c", mount, "sh")
        super().__post_init__()

    def write(self, text: str) -> None:
        here = self.folder.parent / "here"
        own = f"state_dir: {here}/state\nruntime_dir: {here}/run\n"
        (self.folder / "hadirector.yaml").write_text(own + text)


def views(daemon: Daemon) -> dict[str, str | None]:
    told = daemon.ask()
    assert told is not None
    servers = told["services"]["web"]["servers"]
    return {address.partition(":")[0]: server["views"] for address, server in servers.items()}


def test_each_director_says_what_only_it_sees_and_a_takeover_begins_with_its_own_weights(
    pair: Pair,
) -> None:
    lb1, lb2 = pair.begin()
    one, two = pair.machines
    until("both are settled", lambda: table(one) == {A: 2, B: 3, C: 0} and table(two)[B] == 0)
    assert lb1.run("weight", "web/127.0.0.11", "7").returncode == 0
    until("the peer knows the order", lambda: table(two) == {A: 7, B: 0, C: 0})
    until("they tell where they differ", lambda: all(views(each)[B] for each in (lb1, lb2)))
    seen = (views(lb1), views(lb2))
    before = table(two)

    lb1.kill()
    until("lb2 takes over", lambda: state(lb2) == "master")
    at_takeover = table(two)

    assert seen == (
        {A: None, B: "only this node can reach it: lb2 cannot", C: None},
        {A: None, B: "only this node cannot reach it: lb1 can", C: None},
    )
    assert at_takeover == before == {A: 7, B: 0, C: 0}
