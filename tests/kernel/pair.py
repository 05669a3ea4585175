"""Two machines on one wire for election tests: network namespaces with a veth pair between them.

The namespaces are held by sleeping processes and end with them; nothing has a name.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from hadirector.core import messages
from hadirector.core.address import canonical
from hadirector.core.keys import Secrets
from hadirector.core.messages import OrderKind, RouterStateName
from hadirector.core.settings.cluster import VipLease
from hadirector.core.settings.instances import Instance, Preempt, VirtualAddress
from hadirector.shell import channel

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

VIP = "192.0.2.10"
NET = "192.0.2.0/24"
_ELECTION = "hadirector.election"


class Machine:
    """A network namespace."""

    def __init__(self) -> None:
        self._anchor = subprocess.Popen(("unshare", "--net", "sleep", "infinity"))
        self.enter = ("nsenter", f"--net=/proc/{self._anchor.pid}/ns/net")
        own = os.stat("/proc/self/ns/net").st_ino
        eventually(lambda: os.stat(f"/proc/{self._anchor.pid}/ns/net").st_ino != own, 5.0)
        self.run("ip", "link", "set", "lo", "up")

    @property
    def pid(self) -> int:
        """Of the process that holds the namespace."""
        return self._anchor.pid

    def run(self, *command: str) -> str:
        """What a command prints there; CalledProcessError when it fails."""
        return subprocess.run(
            (*self.enter, *command), check=True, capture_output=True, text=True, timeout=20
        ).stdout

    def spawn(self, *command: str, **options: object) -> subprocess.Popen[bytes]:
        """A program running there."""
        return subprocess.Popen((*self.enter, *command), **options)  # type: ignore[call-overload,no-any-return]  # passed on

    def addresses(self, interface: str = "eth0") -> dict[str, str]:
        """Address/prefix -> the line of `ip address` that tells its lifetime and flags."""
        lines = self.run("ip", "-o", "-d", "address", "show", "dev", interface).splitlines()
        return {line.split()[3]: line for line in lines}

    def holds(self, address: str = VIP) -> bool:
        """Whether an address is on eth0, whatever its prefix."""
        return any(key.partition("/")[0] == address for key in self.addresses())

    def end(self) -> None:
        """Let the namespace go."""
        self._anchor.kill()
        self._anchor.wait()


class Node:
    """A running election process, with the test in the places of supervisor and director."""

    def __init__(
        self, machine: Machine, number: int, note: int | None = None, program: str = ""
    ) -> None:
        self.machine = machine
        self.number = number
        self.note = os.memfd_create("note") if note is None else note
        self.routers: dict[str, messages.Router] = {}
        self.events: list[messages.Event] = []
        self._heard = False
        ends = {name: channel.pair() for name in ("supervisor", "director")}
        descriptors = {name: pair[1].fileno() for name, pair in ends.items()} | {"note": self.note}
        self.process = machine.spawn(
            *(sys.executable, "-P", *(("-c", program) if program else ("-m", _ELECTION))),
            *(f"--fd={name}={number}" for name, number in descriptors.items()),
            pass_fds=tuple(descriptors.values()),
            env=os.environ | {"HADIRECTOR_LOG": "INFO"},
        )
        for _, theirs in ends.values():
            theirs.close()
        self._ours = {name: pair[0] for name, pair in ends.items()}
        for sock in self._ours.values():
            sock.setblocking(False)
        self._sequence = 0

    def tell(self, message: messages.Message, by: str = "director") -> None:
        """Send a message, small enough for one datagram."""
        self._sequence += 1
        raw = channel.encode(message)
        assert len(raw) <= channel.PART
        self._ours[by].send(channel._HEADER.pack(self._sequence, 0, 1) + raw)

    def configure(
        self,
        *instances: Instance,
        lease: bool = False,
        peers: bool = False,
        secrets: Secrets = Secrets(),  # noqa: B008 - a frozen value
    ) -> None:
        """Settings, and peers alive or not."""
        vip_lease = VipLease() if lease else VipLease(mode=_OFF)
        self.tell(messages.Peers((messages.Peer("other", peers),)))
        self.tell(messages.Ready(True, "test"))
        self.tell(
            messages.ElectionSettings(
                f"node{self.number}",
                instances,
                (),
                vip_lease,
                f"/tmp/vips-{os.getpid()}",
                secrets,
            )
        )

    def read(self) -> None:
        """Take in what it told us."""
        for sock in self._ours.values():
            with contextlib.suppress(BlockingIOError):
                while raw := sock.recv(channel.PART + 16):
                    self._heard = True
                    message = channel.decode(raw[16:]).message
                    if isinstance(message, messages.Routers):
                        self.routers = {r.instance: r for r in message.routers}
                    elif isinstance(message, messages.Events):
                        self.events += message.events

    @property
    def heard(self) -> bool:
        """Whether it runs: it has said something."""
        self.read()
        return self._heard

    def state(self, instance: str = "front") -> RouterStateName | None:
        """The state it told last."""
        self.read()
        router = self.routers.get(instance)
        return router.state if router else None

    def master(self, instance: str = "front") -> str | None:
        """The master it told last."""
        self.read()
        router = self.routers.get(instance)
        return router.master if router else None

    def order(self, kind: OrderKind, subject: str = "") -> None:
        """Give an order as whoever may (core/lawful.py)."""
        own = kind in (OrderKind.STOP, OrderKind.RELOAD)
        order = messages.Order(kind, f"{time.monotonic_ns()}", subject)
        self.tell(order, by="supervisor" if own else "director")

    def leave(self) -> int:
        """Stop in order; the exit status."""
        self.order(OrderKind.STOP)
        return self.process.wait(20)

    def end(self) -> None:
        """Kill what is left of it."""
        self.process.kill()
        self.process.wait()
        for sock in self._ours.values():
            sock.close()


def instance(priority: int = 100, **changes: object) -> Instance:
    """One instance on eth0 with one address, at 0.1 s adverts."""
    fields: dict[str, object] = {
        "name": "front",
        "interface": "eth0",
        "virtual_router_id": 51,
        "priority": priority,
        "version": 3,
        "advert_int": 0.1,
        "virtual_addresses": (VirtualAddress(canonical(VIP), 24, "eth0"),),
        "preempt": Preempt.ALWAYS,
        "startup_delay": 0.0,
    }
    return Instance(**(fields | changes))  # type: ignore[arg-type]  # checked by the process's decoder


@contextlib.contextmanager
def machines() -> Iterator[tuple[Machine, Machine]]:
    """Two machines, 192.0.2.1 and .2 on eth0, wired together."""
    one, two = Machine(), Machine()
    try:
        # Unequal indexes: equal ones make the kernel treat carrier changes as not urgent.
        two.run("ip", "link", "add", "filler", "type", "veth")
        one.run(
            *("ip", "link", "add", "eth0", "type", "veth"),
            *("peer", "name", "eth0", "netns", str(two.pid)),
        )
        for number, machine in ((1, one), (2, two)):
            machine.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
            machine.run("ip", "link", "set", "eth0", "up")
        yield one, two
    finally:
        one.end()
        two.end()


def eventually(holds: Callable[[], bool], within: float) -> float:
    """Wait until something holds; the seconds it took. AssertionError when it does not in time."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < within, f"not within {within} s"
        time.sleep(0.005)
    return time.monotonic() - started


def stays(holds: Callable[[], bool], for_: float) -> bool:
    """Whether something holds all the time."""
    until = time.monotonic() + for_
    while time.monotonic() < until:
        if not holds():
            return False
        time.sleep(0.01)
    return True


_OFF = next(mode for mode in type(VipLease().mode) if mode.value == "off")
