"""Two whole daemons on one wire: what is tracked fails on one, and the other takes over for it.

Also the hooks of a real daemon: each transition told, in order, and not again after a restart.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.daemon import Daemon, until
from tests.kernel.pair import Machine, machines, needs_root

pytestmark = [pytest.mark.kernel, needs_root]

CONFIG = """
cluster: shop
nodes:
  lb1: {{priority: 150, address: 192.0.2.1}}
  lb2: {{priority: 100, address: 192.0.2.2}}
scripts:
  disk:
    command: [{folder}/disk-ok]
    interval: 300ms
    timeout: 3s  # a new process is slow on a starved guest; longer than interval is a warning
vrrp:
  defaults: {{advert_int: 300ms}}
  instances:
    front:
      interface: eth0
      virtual_router_id: 51
      virtual_addresses: [192.0.2.10/24]
      preempt: always
      startup_delay: 0
      {tracked}
checks:
  port: {{type: tcp, interval: 1s, timeout: 1s, fast_interval: 200ms, rise: 1, fall: 2}}
virtual_services:
  web:
    address: 192.0.2.10:80
    check: port
    on_failure: quiesce
    real_servers: [127.0.0.11:8080]
hooks:
  - {{events: [master, backup, fault, stopped], command: [{folder}/notify], timeout: 5s}}
"""
DISK_OK = """#!/bin/sh
cat {folder}/disk
test ! -e {folder}/full
"""
NOTIFY = """#!/bin/sh
echo "$HADIRECTOR_EVENT $HADIRECTOR_SUBJECT" >>{folder}/told
cat >>{folder}/events
test ! -e {folder}/refuse
"""
KINDS = ("master", "backup", "fault", "track_down", "track_up")
SERVER = "import socket, time; s = socket.create_server(('127.0.0.11', 8080)); time.sleep(9999)"


@dataclass
class Node(Daemon):
    """A daemon on a machine of its own, with the programs of its configuration in its folder."""

    machine: Machine = field(kw_only=True)
    tracked: str = field(kw_only=True)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        for name, text in (("disk-ok", DISK_OK), ("notify", NOTIFY)):
            (self.folder / name).write_text(text.format(folder=self.folder))
            (self.folder / name).chmod(0o755)
        (self.folder / "disk").write_text("3 GB free\n")
        self.text = CONFIG.format(folder=self.folder, tracked=self.tracked)
        super().__post_init__()
        self.server = self.machine.spawn(sys.executable, "-c", SERVER)

    def launch(self) -> None:
        arguments = ["run", "-c", str(self.folder / "hadirector.yaml"), "--node", self.node]
        with self.log.open("ab") as log:
            self.process = self.machine.spawn(
                *(sys.executable, "-m", "hadirector", *arguments), stderr=log, stdout=log
            )

    def ask(self) -> dict[str, Any] | None:
        """Its status, without the second that a command line takes on a starved guest."""
        with socket.socket(socket.AF_UNIX) as asking, contextlib.suppress(OSError, ValueError):
            asking.settimeout(5.0)
            asking.connect(str(self.folder / "run" / "control.sock"))
            asking.sendall(b"GET /v1/status HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: asking.recv(65_536), b""))
            told: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
            return told
        return None

    def router(self) -> dict[str, Any]:
        """The state of its virtual router."""
        told = self.ask()
        routers = told["instances"]["front"]["routers"] if told else {}
        found: dict[str, Any] = routers.get("ipv4", {})
        return found

    def looked(self) -> bool:
        """Whether everything it tracks was looked at."""
        told = self.ask()
        tracked = told["instances"]["front"]["tracked"].values() if told else ()
        return bool(tracked) and all(one["health"] != "unknown" for one in tracked)

    def idle(self) -> bool:
        """Whether its hook has nothing to do."""
        told = self.ask()
        return told is not None and [(h["running"], h["waiting"]) for h in told["hooks"]] == [
            (None, 0)
        ]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Its journal's lines of a kind."""
        lines = self.run("events", "--json").stdout.splitlines()
        return [event for event in map(json.loads, lines) if event["kind"] == kind]

    def told(self) -> list[str]:
        """What its hook was told."""
        path = self.folder / "told"
        return path.read_text().splitlines() if path.exists() else []


def start(folder: Path, pair: tuple[Machine, Machine], tracked: str) -> tuple[Node, Node]:
    """Both nodes, the first one master."""
    one, two = (
        Node(
            folder / name,
            "",
            name,
            machine=machine,
            tracked=tracked.format(folder=folder, name=name),
        )
        for name, machine in zip(("lb1", "lb2"), pair, strict=True)
    )
    for node in (one, two):
        node.launch()
    until("both answer", lambda: one.ask() is not None and two.ask() is not None)
    until("the first is master", lambda: one.router().get("state") == "master")
    until("the second follows", lambda: two.router().get("state") == "backup")
    until("all is looked at", lambda: one.looked() and two.looked())
    return one, two


@pytest.fixture
def pair() -> Iterator[tuple[Machine, Machine]]:
    with machines() as (one, two):
        yield one, two


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    """Whatever a test starts ends with it."""
    started: list[Node] = []
    yield started
    for node in started:
        node.__exit__()
        node.server.kill()
        node.server.wait()


def test_a_script_that_fails_costs_priority_and_the_peer_takes_over(
    tmp_path: Path, pair: tuple[Machine, Machine], nodes: list[Node]
) -> None:
    one, two = start(tmp_path, pair, "track_scripts: {{disk: -60}}")
    nodes += [one, two]
    (one.folder / "disk").write_text("0 GB free\n")
    (one.folder / "full").touch()

    until("the second is master", lambda: two.router()["state"] == "master")

    router = one.router()
    assert (router["state"], router["priority"], router["effective_priority"]) == (
        "backup",
        150,
        90,
    )
    down = one.events("track_down")
    assert [(e["subject"], e["reason"]) for e in down] == [
        ("front/script disk", "exit 1: 0 GB free: priority -60")
    ]
    assert "front/script disk: exit 1: 0 GB free: priority -60" in one.run("status").stdout
    assert "exit 1: 0 GB free: priority -60" in one.run("explain", "front").stdout
    assert one.machine.holds() is False
    assert two.machine.holds() is True

    (one.folder / "full").unlink()
    until("the first is back", lambda: one.router()["state"] == "master")
    assert [e["reason"] for e in one.events("track_up")] == ["exit 0: 0 GB free"]


def test_a_fault_is_told_with_the_last_words_of_the_script(
    tmp_path: Path, pair: tuple[Machine, Machine], nodes: list[Node]
) -> None:
    one, two = start(tmp_path, pair, "track_scripts: [disk]")
    nodes += [one, two]
    (one.folder / "disk-ok").write_text("#!/bin/sh\necho still looking\nsleep 100\n")

    until("the second is master", lambda: two.router()["state"] == "master")

    router = one.router()
    assert router["state"] == "fault"
    assert router["reason"] == "script disk: not done after 3 s, killed: still looking"
    until("hooks are told", lambda: one.told()[-1:] == ["fault front"])
    until("hooks are told", lambda: two.told()[-1:] == ["master front"])


def test_a_file_that_is_written_adds_to_the_priority(
    tmp_path: Path, pair: tuple[Machine, Machine], nodes: list[Node]
) -> None:
    for name in ("lb1", "lb2"):
        (tmp_path / f"{name}.weight").write_text("0\n")
    one, two = start(tmp_path, pair, "track_files: {{{folder}/{name}.weight: 10}}")
    nodes += [one, two]

    (tmp_path / "lb1.weight").write_text("-6\n")
    took = until("the second is master", two.machine.holds)

    assert took < 6.0  # a look each half second, three adverts, and a starved guest
    until("the first follows", lambda: one.router()["state"] == "backup")
    assert one.router()["effective_priority"] == 90
    (tmp_path / "lb1.weight").unlink()
    until("the first is back", lambda: one.router()["state"] == "master")
    assert [e["reason"] for e in one.events("track_down")] == [
        "says -6: priority -60",
        "No such file or directory: counts as 0",
    ]


def test_a_process_that_dies_is_missed(
    tmp_path: Path, pair: tuple[Machine, Machine], nodes: list[Node]
) -> None:
    running = {}
    for name in ("hadtest-lb1", "hadtest-lb2"):  # the namespaces share one table of processes
        shutil.copy("/bin/sleep", tmp_path / name)
        running[name] = subprocess.Popen([tmp_path / name, "9999"])
    try:
        one, two = start(tmp_path, pair, "track_processes: [hadtest-{name}]")
        nodes += [one, two]

        running["hadtest-lb1"].kill()
        running["hadtest-lb1"].wait()

        until("the second is master", lambda: two.router()["state"] == "master")
        assert one.router()["reason"] == "process hadtest-lb1: not running"
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def test_a_service_lost_here_and_up_at_the_peer_moves_the_address(
    tmp_path: Path, pair: tuple[Machine, Machine], nodes: list[Node]
) -> None:
    one, two = start(tmp_path, pair, "track_services: {{web: -60}}")
    nodes += [one, two]

    one.server.kill()
    until("it counts", lambda: bool(one.events("track_down")))
    until("the second is master", lambda: two.router()["state"] == "master")

    assert [e["reason"] for e in one.events("track_down")] == [
        "0 of 1 servers up, quorum 1; lb2 reports it up: priority -60"
    ]
    two.server.kill()
    until("it counts no more", lambda: one.router()["effective_priority"] == 150)
    assert one.events("track_up")[-1]["reason"] == (
        "0 of 1 servers up, quorum 1; no peer reports it up"
    )


@pytest.mark.long
def test_servers_that_die_for_both_move_nothing(
    tmp_path: Path, pair: tuple[Machine, Machine], nodes: list[Node]
) -> None:
    one, two = start(tmp_path, pair, "track_services: {{web: -60}}")
    nodes += [one, two]

    one.server.kill()
    two.server.kill()

    until("both see it", lambda: all(node.events("quorum_lost") for node in nodes))
    until("and long after", _after(6.0))
    assert one.router()["state"] == "master"
    assert [node.events("track_down") for node in nodes] == [[], []]


@pytest.mark.long
def test_a_new_director_repeats_nothing_and_costs_no_mastership(
    tmp_path: Path, pair: tuple[Machine, Machine], nodes: list[Node]
) -> None:
    one, two = start(tmp_path, pair, "track_scripts: {{disk: -60}}")
    nodes += [one, two]
    (one.folder / "full").touch()
    until("the second is master", lambda: two.router()["state"] == "master")
    until("hooks are told", lambda: one.told()[-1:] == ["backup front"] and one.idle())
    until("hooks are told", lambda: two.told()[-1:] == ["master front"] and two.idle())
    before = one.told(), two.told()
    story = [[len(node.events(kind)) for kind in KINDS] for node in nodes]
    pids = {node.node: node.pid("director") for node in nodes}

    os.kill(pids["lb1"], signal.SIGKILL)
    assert two.run("restart-director").returncode == 0
    until("new ones answer", lambda: all(n.pid("director") not in (0, pids[n.node]) for n in nodes))
    until("all is looked at", lambda: one.looked() and two.looked())
    until("and long after", _after(3.0))

    assert (one.told(), two.told()) == before
    assert [node.router()["state"] for node in nodes] == ["backup", "master"]
    assert one.router()["effective_priority"] == 90
    assert story == [[len(node.events(kind)) for kind in KINDS] for node in nodes]


def test_a_hook_that_fails_is_told_again_until_it_succeeds_and_last_at_the_end(
    tmp_path: Path, pair: tuple[Machine, Machine], nodes: list[Node]
) -> None:
    one, two = start(tmp_path, pair, "track_scripts: {{disk: -60}}")
    nodes += [one, two]
    until("told", lambda: one.told()[-1:] == ["master front"] and one.idle())
    first = len(one.told())
    (one.folder / "refuse").touch()
    (one.folder / "full").touch()

    until("it was tried again", lambda: one.told()[first:] == ["backup front"] * 2)
    status = one.run("status").stdout
    (one.folder / "refuse").unlink()
    until("it is done", lambda: bool(one.events("hook_done")))
    tries = len(one.told())

    assert f"{one.folder}/notify for backup of front: exit 1" in status
    assert len(one.events("hook_failed")) == 1
    said = json.loads((one.folder / "events").read_text().splitlines()[first - 1])
    assert (said["kind"], said["subject"]) == ("master", "front")
    assert one.stop() == 0
    assert one.told()[tries:] == ["stopped front"]


def _after(seconds: float) -> Callable[[], bool]:
    """Becomes true in so many seconds."""
    passed = threading.Event()
    threading.Timer(seconds, passed.set).start()
    return passed.is_set
