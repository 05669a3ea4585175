"""Planned switches between two real daemons: handover, release, standby, and who refuses."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.daemon import COMMAND, Daemon, until
from tests.kernel.namespace import has_ipvs
from tests.kernel.pair import Machine, machines, stays
from tests.kernel.test_election_keepalived import KEEPALIVED, Rival

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not has_ipvs, reason="needs ip_vs and root")]

CONFIG = """
cluster: shop
nodes:
  lb1: {{priority: 150, address: 192.0.2.1}}
  lb2: {{priority: 100, address: 192.0.2.2}}
{more}
vrrp:
  defaults: {{advert_int: {interval}}}
  instances:
    front:
      interface: eth0
      virtual_router_id: 51
      virtual_addresses: [192.0.2.10/24]
      startup_delay: 0s
"""
KEY = f"1 {'5a' * 32}\n"
MASTER_DOWN = 3.7  # seconds at adverts of 1 s: who preempts does it within this


class Pair:
    """lb1 of priority 150 and lb2 of priority 100, each with a daemon of its own."""

    def __init__(self, one: Machine, two: Machine, folder: Path, text: str) -> None:
        self.machines = (one, two)
        self.daemons = tuple(
            Daemon(_folder(folder, name), text, name, machine.enter)
            for name, machine in (("lb1", one), ("lb2", two))
        )

    def begin(self) -> tuple[Daemon, Daemon]:
        """Both run, lb1 is master and each knows that the other is ready."""
        one, two = self.daemons
        for daemon in (one, two):
            daemon.launch()
        for daemon, peer in ((one, "lb2"), (two, "lb1")):
            until(f"{daemon.node} knows {peer}", lambda d=daemon, p=peer: knows(d, p))  # type: ignore[misc]  # bound defaults
        until("lb1 is master", lambda: state(one) == "master" and state(two) == "backup")
        return one, two

    def holders(self) -> tuple[bool, bool]:
        """Who of lb1 and lb2 has the address on."""
        one, two = self.machines
        return one.holds(), two.holds()

    def end(self) -> None:
        for daemon in self.daemons:
            daemon.__exit__()


def _folder(above: Path, name: str) -> Path:
    folder = above / name
    folder.mkdir()
    return folder


def state(daemon: Daemon) -> str:
    """Of front's router."""
    routers = (daemon.ask() or {}).get("instances", {}).get("front", {}).get("routers", {})
    return str(routers.get("ipv4", {}).get("state", ""))


def knows(daemon: Daemon, peer: str) -> bool:
    told = (daemon.ask() or {}).get("peers", {}).get(peer, {})
    return bool(told.get("alive") and told.get("ready"))


def status(daemon: Daemon) -> dict[str, Any]:
    told = daemon.ask()
    assert told is not None
    return told


def make(folder: Path, more: str = "", interval: str = "1s") -> Iterator[Pair]:
    with machines() as (one, two), ExitStack() as ends:
        pair = Pair(one, two, folder, CONFIG.format(more=more, interval=interval))
        ends.callback(pair.end)
        yield pair


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.key"
    path.write_text(KEY)
    path.chmod(0o600)
    return path


@pytest.fixture
def keyed(tmp_path: Path, key: Path) -> Iterator[Pair]:
    yield from make(tmp_path, f"key_file: {key}")


@pytest.fixture
def keyless(tmp_path: Path) -> Iterator[Pair]:
    yield from make(tmp_path)


def took_ms(line: str) -> float:
    """From `front: lb2 took over in 9 ms`, and what follows from it."""
    found = re.match(r"front: \S+ took over in ([\d.]+) (ms|s)\n", line)
    assert found, line
    return float(found[1]) * (1 if found[2] == "ms" else 1000)


def test_a_handover_by_key_moves_the_address_at_once_and_it_stays_moved_until_released(
    keyed: Pair,
) -> None:
    one, two = keyed.begin()

    done = one.run("handover", "front", "--reason", "a new NIC")

    assert done.returncode == 0, done.stderr
    assert took_ms(done.stdout) < 300  # by priority 0 alone it would be 610
    until("the address has moved", lambda: keyed.holders() == (False, True), 1.0)
    assert stays(lambda: keyed.holders() == (False, True), MASTER_DOWN + 1)
    told = status(one)
    assert told["instances"]["front"]["hold"]["reason"] == "handed over to lb2: a new NIC"
    assert told["trouble"][0] == (
        "front is held back: handed over to lb2: a new NIC; `hadirector release front` ends it"
    )
    assert (
        "a handover is not yet released" in told["instances"]["front"]["routers"]["ipv4"]["reason"]
    )
    assert two.run("handover", "front").returncode == 0  # back: an order ends a hold
    until("lb1 has it again", lambda: keyed.holders() == (True, False), 1.0)
    until("the hold is over", lambda: status(one)["instances"]["front"]["hold"] is None)

    assert one.run("handover").returncode == 0
    released = one.run("release")
    assert released.stdout == "front: released; preempts as configured (when-synced)\n"
    until("lb1 preempts", lambda: keyed.holders() == (True, False), MASTER_DOWN + 3)


@pytest.mark.long
def test_a_hold_outlives_every_process_and_a_reboot(keyed: Pair) -> None:
    one, _ = keyed.begin()
    assert one.run("handover", "front").returncode == 0

    for process in ("election", "director"):
        before = one.pid(process)
        os.kill(before, signal.SIGKILL)
        until("a new one runs", lambda p=process, b=before: one.pid(p) not in (0, b))  # type: ignore[misc]  # bound defaults
        assert stays(lambda: keyed.holders() == (False, True), MASTER_DOWN + 1), process
    one.kill()
    time.sleep(0.5)
    one.start()  # as after a power cut
    until("it listens", lambda: state(one) == "backup")
    assert stays(lambda: keyed.holders() == (False, True), MASTER_DOWN + 1)
    assert status(one)["instances"]["front"]["hold"] is not None

    keyed.daemons[1].kill()

    until("an absent master is replaced", keyed.machines[0].holds, MASTER_DOWN + 2)
    until("that ends the hold", lambda: status(one)["instances"]["front"]["hold"] is None)


def test_without_a_key_priority_0_moves_it(keyless: Pair) -> None:
    one, _ = keyless.begin()

    done = one.run("handover", "front")

    assert done.returncode == 0, done.stderr
    assert 400 < took_ms(done.stdout) < 1500  # lb2's skew time is 0.61 s
    assert stays(lambda: keyless.holders() == (False, True), MASTER_DOWN + 1)
    assert one.run("release", "front").returncode == 0
    until("lb1 preempts", lambda: keyless.holders() == (True, False), MASTER_DOWN + 3)


def test_what_speaks_against_it_is_told_and_nothing_moves(keyed: Pair, key: Path) -> None:
    one, two = keyed.begin()

    def refused(daemon: Daemon, why: str, *more: str) -> None:
        done = daemon.run("handover", *more)
        assert done.returncode == 4, (done.stdout, done.stderr)
        assert f"refused: {why}" in done.stderr
        assert keyed.holders() == (True, False)

    refused(two, "front: this node is backup; its master is 192.0.2.1: ask there", "front")
    unknown = one.run("handover", "frnt")
    assert unknown.returncode == 1
    assert "no instance or sync group is named 'frnt'; known: front" in unknown.stderr

    assert two.run("standby", "on").returncode == 0
    until("lb1 knows", lambda: status(one)["peers"]["lb2"]["standby"] is True)
    refused(one, "lb2 is in standby", "front")
    assert two.run("standby", "off").returncode == 0

    keyed.machines[1].run("ip", "link", "add", "spare", "type", "dummy")
    text = two.text.replace(
        "startup_delay: 0s", "startup_delay: 0s\n      track_interfaces: [spare]"
    )
    two.write(text)
    assert two.run("reload").returncode == 0
    until("lb2 is in fault", lambda: state(two) == "fault")
    until("lb1 knows", lambda: status(one)["peers"]["lb2"]["state"] == {"front/ipv4": "fault"})
    refused(one, "front/ipv4 is in fault on lb2", "front")
    two.write(two.text)
    assert two.run("reload").returncode == 0
    until("lb2 is well", lambda: state(two) == "backup")

    (key.parent / "other.key").write_text(f"2 {'a5' * 32}\n")
    (key.parent / "other.key").chmod(0o600)
    two.write(two.text.replace(str(key), str(key.parent / "other.key")))
    assert two.run("reload").returncode == 0
    until("lb1 believes lb2 no more", lambda: not knows(one, "lb2"))
    refused(one, "lb2 is silent on the peer channel", "front")
    assert "lb2 signs with a key we do not have (id 2)" in status(one)["trouble"]
    told = [e for e in one.run("events").stdout.splitlines() if "peer_refused" in e]
    assert len(told) == 1


def test_if_nobody_takes_over_the_addresses_never_leave(keyed: Pair) -> None:
    one, two = keyed.begin()
    two.kill()
    until("lb2 is silent", lambda: not knows(one, "lb2"))

    asked = subprocess.Popen(
        [*COMMAND, "handover", "front", "--force", *one.where],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert stays(keyed.machines[0].holds, 5.0)
    _, error = asked.communicate(timeout=20)

    assert asked.returncode == 1
    assert "failed: front: nobody took over; this node is master again" in error
    assert state(one) == "master"
    assert status(one)["instances"]["front"]["hold"] is None


def test_standby_stays_out_over_a_restart_and_serves_only_when_nobody_else_is_there(
    keyed: Pair,
) -> None:
    one, two = keyed.begin()

    done = one.run("standby", "on", "--reason", "kernel")
    assert done.returncode == 0, done.stderr
    assert took_ms(done.stdout) < 300
    one.kill()
    one.start()
    until("it knows lb2", lambda: knows(one, "lb2"))
    assert stays(lambda: keyed.holders() == (False, True), MASTER_DOWN + 2)
    told = status(one)
    assert told["standby"]["reason"] == "kernel"
    assert told["trouble"][0] == "in standby; `hadirector standby off` ends it"
    shown = one.run("status").stdout
    assert shown.startswith("lb1: in standby, BACKUP of front; ")
    assert "\nSTANDBY for " in shown

    os.kill(two.pid("election"), signal.SIGKILL)  # back at once: no reason to serve
    assert stays(lambda: not keyed.machines[0].holds(), 3.0)
    until("lb2 has it", lambda: state(two) == "master")

    two.kill()
    until("the last node serves", keyed.machines[0].holds, MASTER_DOWN + 4)
    until("and says so", lambda: "serves front" in status(one)["trouble"][0])
    two.start()
    until("lb2 takes it at once", lambda: state(two) == "master" and state(one) == "backup")
    assert keyed.holders() == (False, True)

    assert one.run("standby", "off").returncode == 0
    until("it preempts as configured", lambda: keyed.holders() == (True, False), MASTER_DOWN + 4)


@pytest.mark.long
@pytest.mark.skipif(KEEPALIVED is None, reason="keepalived is not installed")
def test_a_keepalived_takes_over_by_priority_0_and_keeps_it_until_released(
    keyed: Pair, tmp_path: Path
) -> None:
    one = keyed.daemons[0]
    one.launch()
    until("lb1 is master", lambda: state(one) == "master")
    rival = Rival(keyed.machines[1], tmp_path, 100, 1.0)
    try:
        time.sleep(2.0)
        done = one.run("handover", "front")

        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("front: 192.0.2.2 took over in ")
        assert "lb2 was never heard on the peer channel" in done.stderr
        assert stays(lambda: keyed.holders() == (False, True), MASTER_DOWN + 1)
        assert one.run("release").returncode == 0
        until("lb1 preempts", lambda: keyed.holders() == (True, False), MASTER_DOWN + 3)
    finally:
        rival.end()
