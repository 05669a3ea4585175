"""Two daemons with `transport: authenticated`: keys rotate, links go, nothing is unsealed."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hadirector.shell.private_link import NAME
from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import has_ipvs
from tests.kernel.pair import Machine, machines

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not has_ipvs, reason="needs root and a kernel with ip_vs"),
]

KEYS = ["1 " + "5a" * 32, "2 " + "c3" * 32]
TEXT = """\
cluster: lab
key_file: {keys}
nodes: {{lb1: {{address: 192.0.2.1}}, lb2: {{address: 192.0.2.2}}}}
connection_sync: {{interface: eth0, sync_id: 51, resync: never{more}}}
"""
SEALED = ", transport: authenticated"

# As the kernel's master thread: a socket of root, connected to the group, that does not loop. One
# connection of client port N for each N of the range, so many a second.
FEED = """
import socket, struct, sys, time
first, count, pace, port, link = map(int, sys.argv[1:6])
group = "224.0.0.81"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(0, socket.IP_MULTICAST_IF, struct.pack("=4s4si", b"", b"", link))
s.setsockopt(0, socket.IP_MULTICAST_LOOP, 0)
s.connect((group, port))
addresses = [socket.inet_aton(a) for a in ("10.9.9.9", "192.0.2.10", "10.0.1.11")]
for n in range(first, first + count):
    fields = (0, 6, 36, 0x100, 1, n, 80, 8080, 0, 900)
    body = struct.pack("!BBHIHHHHII4s4s4s", *fields, *addresses)
    s.send(struct.pack("!BBHBbH", 0, 51, 44, 1, 1, 0) + body)
    time.sleep(1 / pace)
"""


@dataclass
class Node:
    """A machine and its daemon."""

    machine: Machine
    daemon: Daemon
    keys: Path

    def configure(self, keys: list[str], more: str = SEALED) -> None:
        """Write key file and configuration."""
        self.keys.write_text("\n".join(keys) + "\n")
        self.keys.chmod(0o600)
        self.daemon.write(TEXT.format(keys=self.keys, more=more))

    def reload(self, keys: list[str], more: str = SEALED) -> None:
        """The same, and have it taken."""
        self.configure(keys, more)
        done = self.daemon.run("reload")
        assert done.returncode == 0, done.stderr

    @property
    def sync(self) -> dict[str, Any]:
        """Its status of connection sync."""
        told = self.daemon.ask()
        assert told is not None
        found: dict[str, Any] = told["sync"]
        return found

    def hears(self, peer: str) -> bool:
        """Whether its relay believes a peer's."""
        relay = self.sync["relay"]
        return relay is not None and bool(relay["peers"][peer]["alive"])

    def ports(self) -> set[int]:
        """The client ports of the connections in its kernel's table."""
        table = self.machine.run("cat", "/proc/net/ip_vs_conn").splitlines()[1:]
        return {int(line.split()[2], 16) for line in table}

    def index(self, link: str = NAME) -> str:
        """The number of a link; empty: there is none."""
        lines = self.machine.run("ip", "-o", "link").splitlines()
        found = (line.split(": ") for line in lines)
        return next((words[0] for words in found if words[1].partition("@")[0] == link), "")

    def feed(self, first: int, count: int, pace: int = 50, to: str = NAME) -> Any:
        """Have it tell of new connections as its kernel would."""
        index = self.index(to)
        port = "8847" if to == NAME else "8848"
        what = (str(first), str(count), str(pace), port, index)
        return self.machine.spawn(sys.executable, "-c", FEED, *what)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    with machines() as both:
        nodes = []
        for name, machine in zip(("lb1", "lb2"), both, strict=True):
            folder = tmp_path_factory.mktemp(name)
            daemon = Daemon(folder, "", name, within=machine.enter)
            node = Node(machine, daemon, folder / "keys")
            node.configure(KEYS[:1])
            daemon.launch()
            nodes.append(node)
        one, two = nodes
        try:
            until("lb1 hears lb2", lambda: one.daemon.ask() is not None and one.hears("lb2"))
            until("lb2 hears lb1", lambda: two.daemon.ask() is not None and two.hears("lb1"))
            yield one, two
        finally:
            for node in nodes:
                node.daemon.__exit__()


def test_what_one_kernel_says_is_in_the_table_of_the_other_while_keys_are_rotated(
    pair: tuple[Node, Node],
) -> None:
    one, two = pair
    both, turned = KEYS, KEYS[::-1]

    with one.feed(1000, 400) as feeding:
        for keys in (both, turned, turned[:1]):
            for node in pair:
                node.reload(keys)
        assert feeding.poll() is None, "rotation outlasted the stream: nothing was shown"
        feeding.wait(30)
    until("all are there", lambda: two.ports() >= set(range(1000, 1400)), 5.0)

    told = two.sync["relay"]["peers"]["lb1"]
    assert (told["key"], told["lost"]) == (2, 0)
    assert set(told["refused"]) <= {"stale"}
    assert two.sync["transport"] == "authenticated"


def test_records_are_shown_as_they_pass(pair: tuple[Node, Node]) -> None:
    one, two = pair
    command = [sys.executable, "-m", "hadirector", "sync", "--watch", "--json", *two.daemon.where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        with one.feed(3000, 500, pace=100) as feeding:
            told = json.loads(watching.stdout.readline())
            feeding.kill()
        watching.kill()

    assert told["client"].startswith("10.9.9.9:3")
    assert (told["virtual"], told["state"], told["sent"]) == ("192.0.2.10:80", "ESTABLISHED", False)


def test_a_private_interface_that_is_taken_away_comes_back_and_no_record_is_lost(
    pair: tuple[Node, Node],
) -> None:
    one, two = pair
    before = two.index()

    with one.feed(5000, 300, pace=100) as feeding:
        until("the first are there", lambda: 5010 in two.ports())
        two.machine.run("ip", "link", "delete", NAME)
        feeding.wait(30)
    assert two.index() not in ("", before)
    sent = set(range(5000, 5300))
    until("all are there", lambda: two.ports() >= sent, 10.0, lambda: str(sent - two.ports()))
    events = two.daemon.run("events").stdout
    assert f"{NAME} was removed by somebody; made again" in events.replace(":", "")


def test_another_transport_moves_the_threads_and_leaves_nothing(pair: tuple[Node, Node]) -> None:
    one, _ = pair

    one.reload(KEYS, more="")
    until("the kernels speak", lambda: "mcast=eth0" in one.machine.run("ipvsadm", "-L", "--daemon"))
    until("no private one", lambda: NAME not in one.machine.run("ip", "link"), 10.0)
    assert one.sync["relay"] is None
    one.reload(KEYS)
    until("it is sealed", lambda: f"mcast={NAME}" in one.machine.run("ipvsadm", "-L", "--daemon"))

    assert "mcast=eth0" not in one.machine.run("ipvsadm", "-L", "--daemon")
    assert one.daemon.stop() == 0
    assert NAME not in one.machine.run("ip", "link")
    time.sleep(0.1)
    assert one.machine.run("ipvsadm", "-L", "--daemon") == ""
