"""One wire with a hadirector and a keepalived on it, and everything that looks on.

lb1 has the better priority, whoever it is; lb2 is its backup. A client asks one of the virtual
addresses for an echo all the time, tcpdump sits on the switch.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from labkit import topology
from labkit.director import PRODUCTS, Director, Hadirector, Keepalived
from labkit.interop import configs
from labkit.interop.capture import Capture
from labkit.interop.cells import PRODUCT, Row, Wire
from labkit.interop.client import Client
from labkit.interop.complaints import Account
from labkit.interop.configs import Terms
from labkit.interop.metronome import Metronome
from labkit.interop.scene import Evidence
from labkit.story import Story
from labkit.topology import Plan
from labkit.watch import AddressWatch

BETTER, WORSE = 150, 100
STARTING = 20.0  # seconds a daemon may take until it takes part; Python in a busy lab is slow
_LINK = "front"
_OTHER = {"we": "they", "they": "we"}


@dataclass(slots=True)
class Side:
    """One of the two: its daemon, and what it is told."""

    director: Director
    terms: Terms
    account: Account

    @property
    def name(self) -> str:
        return self.director.name

    @property
    def product(self) -> str:
        return self.director.product


class Arena:
    """A context manager: the network, and a client that asks. `settle` starts the daemons."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.wire: Wire = row.wire
        self.virtual = configs.VIRTUAL[self.wire.family]
        self.directory = Path(tempfile.mkdtemp(prefix="hadirector-interop-"))
        self.story = Story()
        self.network = topology.Network(_plans())
        self.better = self._side("lb1", PRODUCT[row.master], Terms(BETTER, WORSE))
        self.worse = self._side("lb2", PRODUCT[_OTHER[row.master]], Terms(WORSE, BETTER))
        self.sides = (self.better, self.worse)
        self.macs = {self._mac(side.name): side.name for side in self.sides}
        self.metronome = Metronome()
        self._watch = AddressWatch(
            [side.director for side in self.sides], self.story, self.followed
        )
        pace = min(0.05, self.wire.advert_int / 5)
        self._client = Client(self.network.nodes["client"], self.followed, pace)

    def _side(self, name: str, product: str, terms: Terms) -> Side:
        director = PRODUCTS[product](name, self.network, self.directory, self.story)
        return Side(director, terms, Account(director))

    def _mac(self, name: str) -> str:
        words = self.network.nodes[name].run("ip", "-o", "link", "show", _LINK).split()
        return words[words.index("link/ether") + 1]

    @property
    def followed(self) -> str:
        """The virtual address the client asks: an ordinary one."""
        return self.virtual[-1]

    def __enter__(self) -> "Arena":
        self._client.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.__exit__()
        self.metronome.stop()
        self._watch.stop()
        self.network.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    # What can be done.

    def tell(self, side: Side, **changes: object) -> None:
        """Writes its configuration with other terms."""
        side.terms = replace(side.terms, **changes)  # type: ignore[arg-type]
        if isinstance(side.director, Hadirector):
            text = configs.hadirector(self.wire, side.name, side.terms, self.directory)
        else:
            text = configs.keepalived(self.wire, side.name, side.terms)
        side.director.configure_as(text)

    def reload(self, side: Side, **changes: object) -> None:
        """Writes it and has it taken, as an operator does."""
        self.tell(side, **changes)
        if isinstance(side.director, Hadirector):
            done = side.director.cli("reload")
            if done.returncode:
                raise RuntimeError(f"hadirector reload: {done.stdout}{done.stderr}")
        else:
            side.director.reload()

    def start(self, side: Side) -> None:
        """Starts its daemon."""
        side.account.silent = False
        side.director.start()

    def stop(self, side: Side) -> None:
        """Tells it to leave in order; it has other things to do from now on than to be asked."""
        side.account.silent = True
        side.director.terminate()

    def kill(self, side: Side) -> None:
        """kill -9 of all its processes. What its kernel keeps is no live node's any more."""
        side.director.kill_all()
        self.story.owner(side.name, held=False)

    def settle(self) -> None:
        """lb1 master, lb2 backup, both with the terms they began with; whatever it takes."""
        for side, priority, others in ((self.better, BETTER, WORSE), (self.worse, WORSE, BETTER)):
            terms = Terms(priority, others)
            if side.director.alive() and side.terms == terms:
                continue
            side.terms = terms
            if side.director.alive():
                self.reload(side)
            else:
                self.tell(side)
                self.start(side)
        self.wait(lambda: self.is_master(self.better, self.worse), "lb1 master", STARTING)
        for side in self.sides:
            self.wait(partial(self.knows_its_terms, side), f"reloaded {side.name}", STARTING)
        obeys = partial(self.follows, self.worse, self.better)
        self.wait(obeys, "backup following it", STARTING)

    # What can be asked.

    def holds_all(self, side: Side) -> bool:
        """Its kernel has every virtual address."""
        return all(side.director.holds(address) for address in self.virtual)

    def holds_none(self, side: Side) -> bool:
        """Its kernel has none of them."""
        return not any(side.director.holds(address) for address in self.virtual)

    def is_master(self, new: Side, old: Side) -> bool:
        """`new` has the addresses; `old`, if its daemon lives, has none."""
        return self.holds_all(new) and (not old.director.alive() or self.holds_none(old))

    def follows(self, side: Side, master: Side) -> bool:
        """In its own words: backup, and this is the master it hears."""
        if isinstance(side.director, Hadirector):
            router = self.router(side.director)
            sources = {address.lower() for address in self.sources(master)}
            return router["state"] == "backup" and router["master"] in sources
        assert isinstance(side.director, Keepalived)
        told = side.director.vrrp()[0]["data"]
        return bool(told["state"] == 1 and told["master_priority"] == master.terms.priority)

    def knows_its_terms(self, side: Side) -> bool:
        """What it was told last is in effect."""
        if isinstance(side.director, Hadirector):
            return self.router(side.director)["priority"] == side.terms.priority
        assert isinstance(side.director, Keepalived)
        told = side.director.vrrp()[0]["data"]
        terms = Terms(told["base_priority"], side.terms.others, not told["nopreempt"])
        return terms == side.terms

    def router(self, director: Hadirector) -> dict[str, object]:
        """hadirector's own status of the virtual router."""
        routers = director.status()["instances"]["front"]["routers"]
        found: dict[str, object] = routers[f"ipv{self.wire.family}"]
        return found

    def sources(self, side: Side) -> set[str]:
        """The addresses its adverts may come from."""
        if self.wire.family == 4 or self.wire.cast == "unicast":
            return {configs.own(side.name, self.wire.family)}
        return self._link_local(side)

    def _link_local(self, side: Side) -> set[str]:
        mac = next(mac for mac, name in self.macs.items() if name == side.name)
        octets = [int(octet, 16) for octet in mac.split(":")]
        octets[0] ^= 2  # RFC 4291 2.5.1
        words = [*octets[:3], 0xFF, 0xFE, *octets[3:]]
        groups = [f"{words[i] << 8 | words[i + 1]:x}" for i in range(0, 8, 2)]
        return {f"fe80::{':'.join(groups)}"}

    def wait(self, met: Callable[[], bool], what: str, within: float) -> float:
        """Until `met`; the seconds it took. RuntimeError with the logs' ends if it never is."""
        start = time.monotonic()
        while not asked(met):
            if time.monotonic() - start > within:
                logs = "\n".join(f"--- {s.name} ({s.product})\n{last_words(s)}" for s in self.sides)
                raise RuntimeError(f"no {what} within {within:g} s\n{logs}")
            time.sleep(0.01)
        return time.monotonic() - start

    def scene(
        self, strike: Callable[[], object], met: Callable[[], bool], within: float, rest: float
    ) -> Evidence:
        """Strikes, waits until `met` for at most `within` seconds, looks on for `rest` more."""
        complaints = self._complaints()  # before anybody dies with what it knows
        with Capture(self.network.switch, _LINK, self.directory) as capture:
            began = time.monotonic()
            time.sleep(1.5 * self.wire.advert_int)
            struck = time.monotonic()
            strike()
            done = None
            while time.monotonic() < struck + within:
                if asked(met):
                    done = time.monotonic()
                    break
                time.sleep(0.01)
            time.sleep(rest)
            holders = {
                address: tuple(s.name for s in self.sides if s.director.holds(address))
                for address in self.virtual
            }
            ended = time.monotonic()
        return Evidence(
            began=began,
            struck=struck,
            done=done,
            ended=ended,
            seen=capture.seen,
            owned=tuple(sorted(self.story.owned)),
            holders=holders,
            complaints=tuple(complaints + self._complaints()),
            macs=self.macs,
            sources={side.name: frozenset(self.sources(side)) for side in self.sides},
            products={side.name: side.product for side in self.sides},
        )

    def _complaints(self) -> list[str]:
        return [text for s in self.sides for text in s.account.news(self.wire.family)]


def asked(met: Callable[[], bool]) -> bool:
    """Not met as long as a daemon that starts cannot be asked."""
    try:
        return met()
    except (OSError, LookupError, ValueError, RuntimeError):
        return False


def last_words(side: Side) -> str:
    """The end of its log."""
    if not side.director.log.exists():
        return "(no log)"
    return "\n".join(side.director.log.read_text(errors="replace").splitlines()[-12:])


def _plans() -> dict[str, Plan]:
    """A client and two directors on one network, with both families."""
    plans = {}
    for name in configs.HOSTS:
        sysctls = topology.COMMON if name == "client" else topology.DIRECTOR
        six = f"address add {configs.own(name, 6)}/64 dev {_LINK}"
        plans[name] = Plan(sysctls, ((_LINK, f"{configs.own(name, 4)}/24"),), (six,))
    return plans
