"""Weights follow what agents on real servers report, and their operators' words are obeyed."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kernel.daemon import COMMAND, Daemon, until
from tests.kernel.namespace import fresh_namespace, has_ipvs, run
from tests.kernel.test_orders import server, table

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not has_ipvs, reason="needs ip_vs and root")]

ONE, TWO = "127.0.0.11", "127.0.0.12"
CONFIG = f"""
cluster: shop
nodes:
  lb1: {{priority: 150}}
checks:
  port: {{type: tcp, interval: 300ms, timeout: 200ms, rise: 1, fall: 2}}
  load: {{type: agent, port: 8888, interval: 300ms}}
virtual_services:
  web:
    address: 192.0.2.10:80
    scheduler: wrr
    check: port
    feedback: {{check: load, change: 50, deadband: 5, smooth: 500ms}}
    real_servers: [{{address: "{ONE}:8080", weight: 10}}, {{address: "{TWO}:8080", weight: 10}}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Two servers with an agent each; how much of the first is free stands in `free`."""
    (tmp_path / "free").write_text("100\n")
    (tmp_path / "whole").write_text("100\n")
    with fresh_namespace(), ExitStack() as ends:
        run("ip", "addr", "add", "192.0.2.10/32", "dev", "lo")
        for address, source in ((ONE, "free"), (TWO, "whole")):
            ends.enter_context(server(address))
            agent = subprocess.Popen(
                (
                    *(*COMMAND, "agent", "--listen", f"{address}:8888"),
                    *(
                        "--source",
                        f"file:{tmp_path}/{source}",
                        "--state-dir",
                        str(tmp_path / source[0]),
                    ),
                )
            )
            ends.callback(agent.wait)
            ends.callback(agent.kill)
        yield tmp_path


def says(folder: Path, word: str) -> None:
    """The operator of the first server says it there."""
    command = (*COMMAND, "agent", word, "--state-dir", str(folder / "f"), "--reason", "disk")
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def test_weights_follow_the_agents_and_a_drain_ordered_on_the_server(folder: Path) -> None:
    with Daemon(folder, CONFIG) as daemon:
        until("both have all of their weight", lambda: table() == {ONE: 20, TWO: 20})
        (folder / "free").write_text("30\n")
        until("the busy one gets less", lambda: table() == {ONE: 6, TWO: 20})
        (folder / "free").write_text("0\n")
        until("and never nothing", lambda: table() == {ONE: 2, TWO: 20})
        says(folder, "drain")
        until("it is drained", lambda: table()[ONE] == 0)
        told = daemon.run("explain", f"web/{ONE}:8080").stdout
        says(folder, "maint")
        until("it is out", lambda: ONE not in table())
        says(folder, "ready")
        until("it is back", lambda: table().get(ONE, 0) > 0)

    assert "weight 0: drained by its own operator (agent says drain)" in told
