"""Checks whose answers come from elsewhere, by a whole daemon on the real kernel: a program, a
report through the API, an agent, and pings that need no capability."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import fresh_namespace, has_ipvs, run

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not has_ipvs, reason="needs ip_vs and root")]

RANGE = Path("/proc/sys/net/ipv4/ping_group_range")
CONFIG = """
cluster: shop
nodes:
  lb1: {{}}
checks:
  program:
    {{type: exec, command: [{script}, "{{address}}", "{{port}}"], interval: 300ms, timeout: 2s,
     rise: 1, fall: 1}}
  pushed: {{type: external, max_age: 60s, interval: 300ms}}
  load: {{type: agent, port: 8888, interval: 300ms, rise: 1, fall: 1}}
  alive: {{type: ping, interval: 300ms, rise: 1, fall: 1}}
virtual_services:
  executed: {{address: 192.0.2.10:81, check: program, real_servers: [127.0.0.11:8080]}}
  reported: {{address: 192.0.2.10:82, check: pushed, real_servers: [127.0.0.12:8080]}}
  agreed: {{address: 192.0.2.10:83, check: load, real_servers: [127.0.0.13:8080]}}
  pinged: {{address: 192.0.2.10:84, check: {{any: [alive, pushed]}}, real_servers: [127.0.0.14:80]}}
"""


class Agent:
    """Says its line to whoever connects."""

    def __init__(self) -> None:
        self.line = b"up\n"
        self._listener = socket.create_server(("127.0.0.13", 8888))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                connection.send(self.line)


@pytest.fixture
def agent() -> Iterator[Agent]:
    with fresh_namespace():
        run("ip", "addr", "add", "192.0.2.10/32", "dev", "lo")
        yield Agent()


def server(daemon: Daemon, service: str) -> dict[str, Any]:
    told = daemon.ask()
    assert told is not None
    (found,) = told["services"][service]["servers"].values()
    return found  # type: ignore[no-any-return]


def test_programs_reports_agents_and_pings_make_weights(agent: Agent, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)  # the runner's user is to read the script
    state = tmp_path / "well"
    script = tmp_path / "check"
    script.write_text(f"#!/bin/sh\necho asked for $1 port $2\ntest -e {state}\n")
    script.chmod(0o755)
    state.touch()
    before = RANGE.read_text()

    with Daemon(tmp_path, CONFIG.format(script=script)) as daemon:

        def says(service: str, health: str) -> bool:
            return bool(server(daemon, service)["health"] == health)

        for service in ("executed", "agreed", "pinged"):
            until(f"{service} is up", lambda name=service: says(name, "up"))  # type: ignore[misc]
        assert "asked for 127.0.0.11 port 8080" in server(daemon, "executed")["reason"]
        assert "echo reply" in server(daemon, "pinged")["reason"]
        assert says("reported", "unknown")

        state.unlink()
        until("the program's word takes its server out", lambda: says("executed", "down"))
        told = daemon.run("report", "pushed", "up", "--server", "127.0.0.12", "--reason", "tests")
        assert told.stdout == "pushed: reported up for 1 server\n", told.stderr
        until("a report brings its server in", lambda: says("reported", "up"))
        assert "reported up (tests)" in server(daemon, "reported")["reason"]
        daemon.run("report", "pushed", "down")
        until("a report takes its server out", lambda: says("reported", "down"))
        refused = daemon.run("report", "load", "up")
        assert (refused.returncode, "no external check" in refused.stderr) == (1, True)
        agent.line = b"down #backup runs\n"
        until("the agent's word takes its server out", lambda: says("agreed", "down"))
        assert "the agent says down (backup runs)" in server(daemon, "agreed")["reason"]
        for held in ("CapPrm", "CapEff"):
            status = Path(f"/proc/{daemon.pid('checker')}/status").read_text()
            assert f"{held}:\t0000000000000000\n" in status
        daemon.stop()

    assert RANGE.read_text() == before
