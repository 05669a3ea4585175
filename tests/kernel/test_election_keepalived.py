"""One election process beside a real keepalived: the protocol as others speak it."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hadirector.core.messages import OrderKind, RouterStateName
from tests.kernel.pair import VIP, Machine, Node, eventually, instance, machines, needs_root, stays

KEEPALIVED = shutil.which("keepalived", path="/usr/sbin:/usr/bin:/sbin:/bin")

pytestmark = [
    pytest.mark.kernel,
    needs_root,
    pytest.mark.skipif(KEEPALIVED is None, reason="keepalived is not installed"),
]

MASTER, BACKUP = RouterStateName.MASTER, RouterStateName.BACKUP

CONFIG = """
global_defs {{
    vrrp_version 3
}}
vrrp_instance front {{
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority {priority}
    advert_int {interval}
    virtual_ipaddress {{
        192.0.2.10/24
    }}
}}
"""


class Rival:
    """A keepalived on a machine."""

    def __init__(
        self, machine: Machine, folder: Path, priority: int, interval: float = 0.1
    ) -> None:
        self.machine = machine
        file = folder / "keepalived.conf"
        file.write_text(CONFIG.format(priority=priority, interval=interval))
        assert KEEPALIVED is not None
        self.log = (folder / "keepalived.log").open("wb")
        self.process = machine.spawn(
            *(KEEPALIVED, "--dont-fork", "--vrrp", "--log-console", "--log-detail"),
            *("--use-file", str(file), "--pid", str(folder / "pid")),
            *("--vrrp_pid", str(folder / "vrrp.pid")),
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        self._vrrp_pid = folder / "vrrp.pid"

    def kill(self) -> None:
        """kill -9 of both its processes."""
        self.process.kill()
        subprocess.run(("kill", "-9", self._vrrp_pid.read_text().strip()), check=True)
        self.process.wait()

    def end(self) -> None:
        """Stop it, whatever state it is in."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)
        self.log.close()


@pytest.fixture
def wire() -> Iterator[tuple[Machine, Machine]]:
    with machines() as made:
        yield made


@pytest.fixture
def ours(wire: tuple[Machine, Machine]) -> Iterator[Node]:
    node = Node(wire[0], 1)
    yield node
    node.end()


@pytest.fixture
def lower(wire: tuple[Machine, Machine], tmp_path: Path) -> Iterator[Rival]:
    rival = Rival(wire[1], tmp_path, 100)
    yield rival
    rival.end()


@pytest.fixture
def slow_lower(wire: tuple[Machine, Machine], tmp_path: Path) -> Iterator[Rival]:
    rival = Rival(wire[1], tmp_path, 100, 1.0)
    yield rival
    rival.end()


@pytest.fixture
def higher(wire: tuple[Machine, Machine], tmp_path: Path) -> Iterator[Rival]:
    rival = Rival(wire[1], tmp_path, 200)
    yield rival
    rival.end()


def test_a_lower_keepalived_follows_us_and_takes_over_when_we_are_killed(
    ours: Node, lower: Rival
) -> None:
    eventually(lower.machine.holds, 8.0)
    ours.configure(instance(150))

    eventually(lambda: ours.state() is MASTER and not lower.machine.holds(), 3.0)
    assert stays(lambda: ours.machine.holds() and not lower.machine.holds(), 2.0)

    ours.process.kill()
    assert eventually(lower.machine.holds, 2.0) < 0.6


def test_a_lower_keepalived_succeeds_us_at_once_when_we_leave(
    ours: Node, slow_lower: Rival
) -> None:
    ours.configure(instance(150, advert_int=1.0))
    eventually(lambda: ours.state() is MASTER, 6.0)
    time.sleep(1.5)  # until keepalived has started and follows
    assert not slow_lower.machine.holds()

    ours.order(OrderKind.STOP)

    # Its skew time is 0.61 s; without priority 0 it would be 3.61 s.
    assert stays(ours.machine.holds, 0.3)
    assert eventually(slow_lower.machine.holds, 4.0) < 1.5
    assert ours.process.wait(5) == 0
    assert not ours.machine.holds()


def test_we_follow_a_higher_keepalived_and_replace_it_when_it_is_killed(
    ours: Node, higher: Rival
) -> None:
    ours.configure(instance(150))
    eventually(lambda: higher.machine.holds() and ours.state() is BACKUP, 8.0)
    assert stays(lambda: not ours.machine.holds(), 1.0)
    eventually(lambda: ours.master() == "192.0.2.2", 1.0)

    higher.kill()

    assert eventually(ours.machine.holds, 2.0) < 0.5


def test_we_succeed_a_keepalived_that_stops_within_the_skew_time(ours: Node, higher: Rival) -> None:
    ours.configure(instance(150))
    eventually(lambda: higher.machine.holds() and ours.state() is BACKUP, 8.0)

    higher.process.send_signal(signal.SIGTERM)

    assert eventually(ours.machine.holds, 2.0) < 0.3
    eventually(lambda: ours.state() is MASTER, 1.0)
    assert ours.routers["front"].counters["pri_zero_rcvd"] >= 1
    assert ours.routers["front"].reason == "192.0.2.2 gave up (priority 0)"


def test_neither_side_counts_an_error(ours: Node, lower: Rival) -> None:
    ours.configure(instance(150))
    eventually(lambda: ours.state() is MASTER, 5.0)
    time.sleep(2.0)
    ours.read()

    wrong = ("_err", "_mismatch", "_failure", "_type_rcvd")
    counters = ours.routers["front"].counters
    errors = {name: count for name, count in counters.items() if count and name.endswith(wrong)}
    assert errors == {}
    log = Path(lower.log.name).read_text()
    assert "Entering BACKUP STATE" in log
    assert not [line for line in log.splitlines() if "invalid" in line.lower() or "err" in line]
    assert VIP in log
