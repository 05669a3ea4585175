"""A director node with its daemon, and all the ways it can die."""

import http.client
import ipaddress
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from labkit import ipvs, topology
from labkit.node import Node
from labkit.setup import Setup, hadirector_yaml, keepalived_conf
from labkit.story import Story
from labkit.topology import LINKS, Network

CONTROL_SOCKET = "/run/hadirector/control.sock"
HADIRECTOR = str(Path(sys.executable).with_name("hadirector"))
KEEPALIVED = os.environ.get("KEEPALIVED", "keepalived")  # another one, to measure against it


class Director:
    """lb1 or lb2. The subclasses know one product each."""

    product = suffix = ""

    def __init__(self, name: str, network: Network, directory: Path, story: Story) -> None:
        self.name = name
        self.directory = directory
        self.setup = Setup()
        self.config = directory / f"{name}.{self.suffix}"
        self.log = directory / f"{name}.log"
        self._network = network
        self._story = story
        self._daemon: subprocess.Popen[bytes] | None = None
        self._logged = 0  # where in the log the present daemon begins

    @property
    def node(self) -> Node:
        return self._network.nodes[self.name]

    # What the products do differently.

    def write_config(self, setup: Setup) -> None:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def pid_of(self, process: str) -> int:
        """The process that does the election, the checks (director) ..."""
        raise NotImplementedError

    def reload(self) -> None:
        """Asks for the changed configuration to be taken; does not wait."""
        self._signal(signal.SIGHUP)

    # Life.

    def configure(self, setup: Setup) -> None:
        """Writes the configuration `start` and `reload` use."""
        self.setup = setup
        self.write_config(setup)

    def configure_as(self, text: str) -> None:
        """The same with a configuration that is written already."""
        self.config.write_text(text)

    def start(self) -> None:
        """Starts the daemon in the foreground; its log is appended to `log`."""
        with self.log.open("ab") as log:
            self._logged = log.tell()
            self._daemon = self.node.spawn(self.command(), log)

    def stop(self, wait: float = 30.0) -> int:
        """A clean stop: SIGTERM, and until it has left; its exit status."""
        self.terminate()
        return self.wait_gone(wait)

    def wait_gone(self, wait: float = 30.0) -> int:
        """Until it has left, as it was told to; its exit status."""
        status = self._daemon.wait(wait) if self._daemon else 0
        self._daemon = None
        return status

    def terminate(self) -> None:
        """SIGTERM alone."""
        self._signal(signal.SIGTERM)

    def kill_all(self) -> None:
        """kill -9 of every process at once; the kernel's part (addresses, IPVS) stays as it is."""
        self.node.signal_all(signal.SIGSTOP)
        self.node.signal_all(signal.SIGKILL)
        self._reap()

    def kill(self, process: str) -> None:
        """kill -9 of one process."""
        os.kill(self.pid_of(process), signal.SIGKILL)

    def freeze(self) -> None:
        """The daemon hangs, the kernel goes on."""
        self.node.signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on where it was."""
        self.node.signal_all(signal.SIGCONT)

    def power_off(self) -> None:
        """The machine is gone: nothing leaves or reaches it from one instant to the next."""
        doomed = self.node.processes()
        self._network.plug(self.name, LINKS, up=False)
        self._story.owner(self.name, held=False)
        for pid in doomed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kill_all()

    def power_on(self) -> None:
        """The machine again, new: no addresses, no connections; `start` starts the daemon."""
        state = self._saved_state()
        self.node.end()
        self._network.add(self.name)
        for path, content in state.items():
            target = self.node.path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def pull(self, link: str) -> None:
        """The cable of `front` or `back` is pulled."""
        self._network.plug(self.name, (link,), up=False)

    def plug(self, link: str) -> None:
        """And put back."""
        self._network.plug(self.name, (link,), up=True)

    def alive(self) -> bool:
        """The main process runs."""
        return self._daemon is not None and self._daemon.poll() is None

    # Seen from outside.

    def said(self) -> str:
        """What is in its log since it was started last."""
        return self.log.read_bytes()[self._logged :].decode(errors="replace")

    def weights(self) -> dict[str, int]:
        """Weight by server in the kernel."""
        return ipvs.weights(self.node)

    def endpoints(self) -> set[tuple[str, str]]:
        """(service, server) of every destination in the kernel."""
        return {(d.service, d.server) for d in ipvs.read(self.node)}

    def holds(self, address: str) -> bool:
        """The kernel has this address now."""
        if ":" in address:
            return (
                ipaddress.ip_address(address).packed.hex() in self.node.net("if_inet6").read_text()
            )
        text = self.node.net("fib_trie").read_text()
        # How far it is indented depends on what else is in the trie.
        return re.search(rf"\|-- {re.escape(address)}\n +/32 host LOCAL", text) is not None

    def wait(self, met: Callable[[], bool], what: str, within: float = 20.0) -> float:
        """Until `met`; returns the seconds it took. The log is shown if it never is."""
        start = time.monotonic()
        while time.monotonic() - start < within:
            if met():
                return time.monotonic() - start
            if self._daemon is not None and self._daemon.poll() is not None:
                break
            time.sleep(0.005)
        raise RuntimeError(f"{self.name}: no {what} within {within:g} s\n{self._last_words()}")

    def wait_serving(self, within: float = 30.0) -> float:
        """Until every configured server has its weight in the kernel."""
        wanted = {a: w for s in self.setup.services for a, w in s.servers.items()}
        return self.wait(lambda: self.weights() == wanted, "full IPVS table", within)

    def wait_master(self, within: float = 20.0, address: str = topology.VIP) -> float:
        """Until this node holds the virtual address."""
        return self.wait(lambda: self.holds(address), "virtual address", within)

    # Inside.

    def _signal(self, number: int) -> None:
        if self._daemon:
            self._daemon.send_signal(number)

    def _reap(self) -> None:
        if self._daemon:
            self._daemon.wait(10)
            self._daemon = None

    def _saved_state(self) -> dict[str, bytes]:
        """What is on disk survives a reboot."""
        root = self.node.path("/run/lab-state")
        files = [path for path in root.rglob("*") if path.is_file()]
        prefix = len(str(self.node.path("")))
        return {"/" + str(f)[prefix:].lstrip("/"): f.read_bytes() for f in files}

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = self.log.read_text(errors="replace").splitlines()
            return "\n".join(lines[-20:])
        return "(no log)"


class Hadirector(Director):
    """Our daemon, known by its command line and its control socket."""

    product, suffix = "hadirector", "yaml"

    def write_config(self, setup: Setup) -> None:
        secret = self.directory / f"{self.name}.pass"
        if setup.password:
            secret.touch(mode=0o600)
            secret.write_text(setup.password + "\n")
        self.config.write_text(hadirector_yaml(setup, str(secret)))

    def command(self) -> list[str]:
        return [HADIRECTOR, "run", "-c", str(self.config), "--node", self.name]

    def pid_of(self, process: str) -> int:
        if process == "supervisor" and self._daemon:
            return self._daemon.pid
        return int(self.status()["processes"][process]["pid"])

    def status(self) -> dict[str, Any]:
        """GET /v1/status."""
        return self._ask("GET", "/v1/status")

    def get(self, target: str) -> dict[str, Any]:
        """What the API answers."""
        return self._ask("GET", target)

    def post(self, target: str) -> dict[str, Any]:
        """An operator's request, without the CPU that starting the command line takes."""
        return self._ask("POST", target)

    def _ask(self, method: str, target: str) -> dict[str, Any]:
        connection = _UnixConnection(str(self.node.path(CONTROL_SOCKET)))
        try:
            connection.request(method, target)
            answer = connection.getresponse()
            found: dict[str, Any] = json.loads(answer.read())
            return found
        finally:
            connection.close()

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs a hadirector command on this node."""
        return subprocess.run(
            [HADIRECTOR, *words],
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
            preexec_fn=self.node.enter,
        )


class Keepalived(Director):
    """The rival, for the ratio."""

    product, suffix = "keepalived", "conf"

    def write_config(self, setup: Setup) -> None:
        self.config.write_text(keepalived_conf(setup, self.name))

    def start(self) -> None:
        # A killed one's child stays a zombie until init looks, and passes for a running keepalived.
        for stale in self.node.path("/run").glob("*.pid"):
            stale.unlink()
        super().start()

    def command(self) -> list[str]:
        files = ["-p", "/run/keepalived.pid", "-r", "/run/vrrp.pid", "-c", "/run/checkers.pid"]
        # TMPDIR: where it writes what it is asked for; /tmp is shared by all nodes.
        run = ["env", "TMPDIR=/run", KEEPALIVED, "-n", "-l", "-D", "-f", str(self.config)]
        return [*run, *files]

    def pid_of(self, process: str) -> int:
        name = {"election": "vrrp", "director": "checkers", "supervisor": "keepalived"}[process]
        return int(self.node.path(f"/run/{name}.pid").read_text())

    def vrrp(self) -> list[dict[str, Any]]:
        """Its instances as it tells them: `data` (state 1 is backup, 2 master) and `stats`.

        RuntimeError while it starts: the signal that asks would end it then.
        """
        if not self.alive() or "STATE (init)" not in self.said():
            raise RuntimeError(f"{self.name}: keepalived is not up")
        told = self.node.path("/run/keepalived.json")
        told.unlink(missing_ok=True)
        self._signal(_json_signal())
        for _ in range(400):
            with suppress(OSError, ValueError):
                found: list[dict[str, Any]] = json.loads(told.read_text())
                return found
            time.sleep(0.005)
        raise RuntimeError(f"{self.name}: keepalived does not tell its state")


def keepalived_version() -> str:
    """2.2.7, for example; RuntimeError when it does not say."""
    done = subprocess.run([KEEPALIVED, "--version"], text=True, capture_output=True, check=False)
    found = re.search(r"Keepalived v([\d.]+)", done.stderr + done.stdout)
    if found is None:
        raise RuntimeError(f"{KEEPALIVED} does not tell its version")
    return found[1]


@cache
def _json_signal() -> int:
    """The number of the signal that asks for it: real-time ones differ from libc to libc."""
    done = subprocess.run([KEEPALIVED, "--signum=JSON"], text=True, capture_output=True, check=True)
    return int(done.stdout)


PRODUCTS: dict[str, type[Director]] = {"hadirector": Hadirector, "keepalived": Keepalived}


class _UnixConnection(http.client.HTTPConnection):
    """http.client over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
