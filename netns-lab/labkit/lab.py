"""The running lab: what a drill is given."""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from labkit import ipvs, kernel, topology
from labkit.director import PRODUCTS, Director
from labkit.load import Held, Load, Target
from labkit.node import Node
from labkit.server import RealServer
from labkit.setup import Setup
from labkit.sniffer import Sniffer, listener
from labkit.story import Story, overlap
from labkit.watch import AddressWatch

# A blow right after an advert costs a whole interval more than one right before the next. Runs go
# through the phases in this order, so medians are the middle and products can be compared.
PHASES = (0.5, 0.1, 0.9, 0.3, 0.7)


class Lab:
    """Network, real servers and (not yet started) directors. A context manager."""

    def __init__(self, product: str, number: int = 0) -> None:
        """`number` of the run, from 0: decides at which phase of an advert interval to strike."""
        self.product = product
        self._phase = PHASES[number % len(PHASES)]
        self.directory = Path(tempfile.mkdtemp(prefix="hadirector-run-"))
        self.story = Story()
        self.network = topology.Network()
        self.client = self.network.nodes["client"]
        probers = frozenset(
            address(host)
            for host in topology.DIRECTORS.values()
            for address in (topology.front, topology.back)
        )
        self.servers = {
            name: RealServer(self.network.nodes[name], self.directory, probers)
            for name in topology.SERVERS
        }
        self.lb1: Director
        self.lb2: Director
        self.lb1, self.lb2 = (
            PRODUCTS[product](name, self.network, self.directory, self.story)
            for name in topology.DIRECTORS
        )
        self.directors = (self.lb1, self.lb2)
        self._watch: AddressWatch | None = None

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch:
            self._watch.stop()
        self.network.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    # To begin.

    def start_servers(self) -> None:
        """All four listen."""
        for server in self.servers.values():
            server.start()

    def start(self, setup: Setup) -> None:
        """Servers and directors, until lb1 serves (and, with `setup.pair`, lb2 stands by)."""
        self.start_servers()
        if setup.pair:
            self._watch = AddressWatch(self.directors, self.story)
            self.start_pair(setup)
        else:
            self.give_address_to(self.lb1.node)
            self.lb1.configure(setup)
            self.lb1.start()
            self.lb1.wait_serving()
        self.settle_arp()

    def start_pair(self, setup: Setup) -> None:
        """lb1 first, so that each run begins with the same master."""
        for director in self.directors:
            director.configure(setup)
            director.start()
        for director in self.directors:
            director.wait_serving()
        self.lb1.wait_master()

    @staticmethod
    def give_address_to(node: Node) -> None:
        """By hand, where no election does it."""
        lines = f"address add {topology.VIP}/24 dev front\n"
        lines += f"address add {topology.GATEWAY}/24 dev back\n"
        node.run("ip", "-batch", "-", given=lines)

    def settle_arp(self) -> None:
        """A few requests that do not count: everybody knows everybody afterwards."""
        with self.load(every=0.02, count=8) as warm_up:
            warm_up.wait()
        self.story.loads.remove(warm_up)

    def swap(self, name: str, product: str) -> Director:
        """This node runs another product from now on; the one before is not to run any more."""
        stranger = PRODUCTS[product](name, self.network, self.directory, self.story)
        self.lb1 = stranger if name == "lb1" else self.lb1
        self.lb2 = stranger if name == "lb2" else self.lb2
        self.directors = (self.lb1, self.lb2)
        return stranger

    # To use.

    def load(
        self,
        every: float = 0.008,
        port: int = 80,
        count: int = 0,
        timeout: float = 1.0,
        address: str = topology.VIP,
    ) -> Load:
        """Client requests to a virtual address, begun by `with`."""
        target = Target(address, port, every, timeout, count)
        load = Load(self.client, target, self.directory)
        self.story.loads.append(load)
        return load

    def hold(self, port: int = 80, period: float = 0.5, **kinds: int) -> Held:
        """Held client connections: `fresh=50, idle=75, active=75`."""
        return self.hold_at(topology.VIP, port, period, kinds)

    def hold_at(self, address: str, port: int, period: float, kinds: dict[str, int]) -> Held:
        """The same to another virtual address."""
        return Held(self.client, Target(address, port), kinds, period)

    def sniff(self) -> Sniffer:
        """Hears the adverts, begun by `with`."""
        return Sniffer(self.client, self.directory)

    def note(self, text: str) -> float:
        """Tells the story what is being done, and when."""
        return self.story.note(text)

    def await_phase(self, advert_int: float) -> None:
        """Until this run's share of an interval has passed since an advert of the master."""
        with kernel.network_of(self.client.anchor):
            adverts = listener(timeout=5 * advert_int + 1)
        with adverts:
            adverts.recv(1500)
            time.sleep(self._phase * advert_int)

    def wait(self, met: Callable[[], bool], what: str, within: float = 20.0) -> float:
        """Until `met`, looked at each 5 ms; returns the seconds it took."""
        start = time.monotonic()
        while not met():
            if time.monotonic() - start > within:
                raise RuntimeError(f"no {what} within {within:g} s")
            time.sleep(0.005)
        return time.monotonic() - start

    def forget_arp(self, *names: str) -> None:
        """Clients and servers ask anew who has which address."""
        for name in names or ("client", *topology.SERVERS):
            self.network.nodes[name].run("ip", "neigh", "flush", "all", check=False)

    def name_of(self, server: str) -> str:
        """rs2 for 10.0.1.12:8080 and 192.0.2.12:8000."""
        host = int(server.rpartition(":")[0].rpartition(".")[2])
        return next(name for name, number in topology.SERVERS.items() if number == host)

    def connections(self, director: Director, port: int) -> Counter[str]:
        """Connections by server name on one service port, as the real ipvsadm counts them."""
        rows = ipvs.counters(director.node)
        service = f"{topology.VIP}:{port}"
        return Counter(
            {self.name_of(r.server): r.connections for r in rows if r.service == service}
        )

    def overlap(self, since: float) -> float:
        """Seconds after `since` in which two live nodes held the virtual address."""
        return overlap(self.story.owned, since, time.monotonic())

    def reachable(self, director: Director) -> bool:
        """Its cables are in."""
        return director.name not in self.network.unplugged

    def takeovers(self, since: float) -> int:
        """How often after `since` a node took the virtual address."""
        return sum(1 for at, _, held in self.story.owned if held and at > since)
