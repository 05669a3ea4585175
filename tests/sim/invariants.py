"""What must hold, whatever happens. Each has a name; a Violation says which one broke.

no-exception        no core raises
placed-by-master    a node that turns has the addresses of its masters on, and no other
one-master          connected and quiet: one master per router, and one node holding its addresses
stable              then mastership does not move either
rightful-master     then nobody waits who should preempt
group-agrees        then the routers of a sync group are in one state
client-knows        then a client's neighbour cache points to the master
advert-rate         adverts of a router are bounded, whatever comes in
announce-rate       so are announcements
duels-told          a master that hears another one for longer than an advert has told of it, once
splits-told         two masters that do not hear each other are told of by those who can know
reasons             each transition has an event with a reason
lease-ends          a dead or hung node with a peer loses its addresses within lease + 1 s
permanent-alone     without a live peer, addresses are permanent
promise             what an episode's single fault may cost: see single.py
"""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hadirector.core import advert, messages
from hadirector.core import election_types as et
from hadirector.core.address import Address
from hadirector.core.messages import RouterStateName
from hadirector.core.settings.cluster import LeaseMode
from hadirector.core.settings.instances import Preempt
from tests.sim.agenda import Agenda
from tests.sim.election_process import ElectionProcess
from tests.sim.host import INTERFACES, own_addresses
from tests.sim.node import Node
from tests.sim.scenario import Scenario

Key = tuple[str, int]  # instance, family

MASTER, BACKUP = RouterStateName.MASTER, RouterStateName.BACKUP
INTERVALS = 10  # over which the advert rate is looked at
PER_INTERVAL = 2  # adverts: a rival is answered each half of it
TRANSITIONS = 10  # adverts more: priority 0, becoming master, reloads
ANNOUNCEMENTS = 18  # bursts within a second: a duel's ten, and those of a few transitions
HEAVY = (et.Report, et.Place, et.Drop, et.SetLease, et.Reconcile, messages.Event)


class Violation(Exception):
    """An invariant broke."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant


@dataclass(frozen=True, slots=True)
class Promise:
    """What must hold: at every step until `until`, or (`eventually`) at one step by then."""

    invariant: str
    what: str
    holds: Callable[[], bool]
    until: float
    eventually: bool


class Invariants:
    """Watches one world. `settled`: nothing has happened for so long that all must be in order."""

    def __init__(
        self,
        scenario: Scenario,
        agenda: Agenda,
        nodes: Sequence[Node],
        cache: Mapping[Address, str],
    ) -> None:
        self.settled = False
        self.promises: list[Promise] = []
        self.adverts: dict[str, int] = defaultdict(int)  # sent so far, by node
        self.moves: Counter[tuple[str, Key]] = Counter()  # changes of a router's state so far
        self._scenario = scenario
        self._agenda = agenda
        self._nodes = nodes
        self._cache = cache
        self._voices = {  # where the nodes' adverts come from
            address
            for index in range(len(nodes))
            for interface in INTERFACES
            for address in own_addresses(index, interface)
        }
        self._routers: dict[str, dict[Key, messages.Router]] = defaultdict(dict)
        self._lives: dict[str, ElectionProcess] = {}
        self._sent: dict[tuple[object, ...], deque[float]] = defaultdict(deque)
        self._announced: dict[tuple[object, ...], deque[float]] = defaultdict(deque)

    # --- readings ----------------------------------------------------------------------------

    def every(self) -> list[Key]:
        """Every virtual router of the cluster."""
        instances = self._nodes[0].host.config.instances
        return [(i.name, family) for i in instances for family in i.families()]

    def router(self, node: Node, key: Key) -> messages.Router | None:
        """As a node whose election turns has it."""
        live = node.elects
        return self._routers[node.name].get(key) if live is self._lives.get(node.name) else None

    def masters(self, key: Key) -> list[Node]:
        """The nodes whose election says it is master."""
        routers = [(node, self.router(node, key)) for node in self._nodes]
        return [node for node, router in routers if router and router.state is MASTER]

    def advertised(self, node: Node, key: Key) -> int:
        """With which priority a node speaks."""
        router = self.router(node, key)
        return router.voice.priority if router and router.voice else 0

    def addresses(self, key: Key) -> list[Address]:
        """Those that go with a router."""
        name, family = key
        for instance in self._nodes[0].host.config.instances:
            if instance.name == name:
                every = instance.virtual_addresses + instance.excluded_addresses
                return [v.address for v in every if (":" in v.address) == (family == 6)]
        return []

    def holders(self, address: Address) -> list[Node]:
        """Who answers for an address."""
        return [node for node in self._nodes if node.holds(address)]

    # --- at each step ------------------------------------------------------------------------

    def after_step(self) -> None:
        """Promises kept so far?"""
        if not self.promises:
            return
        now = self._agenda.now
        for promise in list(self.promises):
            holds = promise.holds()
            if now > promise.until or (promise.eventually and holds):
                self.promises.remove(promise)
            if not holds and (now > promise.until) == promise.eventually:
                raise Violation(promise.invariant, promise.what)

    def observed(self, node: Node, process: ElectionProcess, actions: Sequence[et.Action]) -> None:
        """An input was handled."""
        if not any(isinstance(action, HEAVY) for action in actions):
            return
        routers = {(r.instance, int(r.family)): r for r in process.core.routers()}
        same_life = self._lives.get(node.name) is process
        before = self._routers[node.name] if same_life else {}
        self._routers[node.name], self._lives[node.name] = routers, process
        told = [action for action in actions if isinstance(action, messages.Event)]
        for event in told:
            self.told(node, event)
            self._pair(process, event)
        for key, router in routers.items():
            was = before.get(key)
            if was is not None and was.state is not router.state:
                self._moved(node, key, was.state, router, told)
        self._check_placed(node, process, routers)

    def heard(self, node: Node, process: ElectionProcess, packet: et.PacketReceived) -> None:
        """A packet was handled: a master that hears another one has told of it."""
        interface, source = packet.interface, packet.source
        family = 6 if ":" in source else 4
        if self._lives.get(node.name) is not process:
            return  # one that has not told of anything yet
        if source not in self._voices or source in node.host.own_addresses(interface):
            return
        vrid, resigns = packet.message[1], packet.message[2] == advert.RESIGN
        for instance in node.host.config.instances:
            if (instance.interface, instance.virtual_router_id) != (interface, vrid):
                continue
            router = self._routers[node.name].get((instance.name, family))
            if router is None or router.state is not MASTER or resigns:
                continue
            if router.reason.endswith("waiting for a successor"):
                continue  # who speaks now is that one
            settled = node.host.clock() - router.since > 1.5 * instance.advert_int
            if settled and source not in router.rivals:
                raise Violation("duels-told", f"{node.name} {instance.name} hears {source}")

    def _pair(self, process: ElectionProcess, event: messages.Event) -> None:
        """A duel is told when it begins and when it ends, in turn."""
        if event.kind not in ("duel", "duel_over"):
            return
        name = (event.subject, event.inputs["family"], event.inputs["from"])
        if (name in process.duels) is (event.kind == "duel"):
            raise Violation("duels-told", f"{process.host.name} {name}: {event.kind} again")
        process.duels ^= {name}

    def told(self, node: Node, event: messages.Event) -> None:
        """A line of the journal."""
        if not event.reason.strip() or not event.kind:
            raise Violation("reasons", f"{node.name}: an event without a reason: {event}")

    def sent(self, node: Node, advert: et.SendAdvert) -> None:
        """An advert went out."""
        self.adverts[node.name] += 1
        window = INTERVALS * self._scenario.advert_int
        name = (node.name, advert.instance, advert.family, advert.destination)
        count = self._count(self._sent[name], window)
        if count > INTERVALS * PER_INTERVAL + TRANSITIONS:
            raise Violation("advert-rate", f"{name}: {count} adverts in {window:g} s")

    def announced(self, node: Node, action: et.Announce) -> None:
        """A burst went out."""
        name = (node.name, action.instance, action.family)
        count = self._count(self._announced[name], 1.0)
        if count > ANNOUNCEMENTS:
            raise Violation("announce-rate", f"{name}: {count} bursts in a second")

    def _count(self, times: deque[float], window: float) -> int:
        times.append(self._agenda.now)
        while times[0] <= self._agenda.now - window:
            times.popleft()
        return len(times)

    def _moved(
        self,
        node: Node,
        key: Key,
        was: RouterStateName,
        router: messages.Router,
        told: Sequence[messages.Event],
    ) -> None:
        self.moves[node.name, key] += 1
        what = f"{node.name} {key[0]}/ipv{key[1]}: {was.value} -> {router.state.value}"
        if not any(event.subject == key[0] for event in told):
            raise Violation("reasons", f"{what} without an event")
        if not router.reason.strip():
            raise Violation("reasons", f"{what} without a reason")
        if self.settled:
            raise Violation("stable", f"{what} in the calm: {router.reason}")

    def _check_placed(
        self, node: Node, process: ElectionProcess, routers: Mapping[Key, messages.Router]
    ) -> None:
        wanted = process.wanted()
        masters = {a for r in routers.values() if r.state is MASTER for a in r.addresses}
        names = {f"{p.address}/{p.prefix}" for p in wanted.values()}
        if names != masters:
            what = f"{node.name} wants {sorted(names)}, its masters have {sorted(masters)}"
            raise Violation("placed-by-master", what)
        extra = set(node.host.kernel.addresses) - set(wanted)
        if extra and process.reconciled:
            raise Violation("placed-by-master", f"{node.name} has {sorted(extra)} on as no master")

    # --- in the calm -------------------------------------------------------------------------

    def in_order(self) -> bool:
        """Whether `settle` would find nothing now."""
        try:
            self.check()
        except Violation:
            return False
        return True

    def settle(self) -> None:
        """All must be in order now, and stay so until `settled` is unset."""
        self.check()
        self.settled = True

    def check(self) -> None:
        """Raise what is not in order now."""
        for key in self.every():
            self._check_one_master(key)
        for node in self._nodes:
            self._check_group(node)
            self._check_leases(node)
            self._check_told(node)
        self._check_rightful()

    def _check_one_master(self, key: Key) -> None:
        what = f"{key[0]}/ipv{key[1]}"
        masters = self.masters(key)
        if len(masters) != 1:
            raise Violation("one-master", f"{what}: masters {[n.name for n in masters]}")
        (master,) = masters
        for address in self.addresses(key):
            holders = [node.name for node in self.holders(address)]
            if holders != [master.name]:
                raise Violation("one-master", f"{address} on {holders}, master {master.name}")
            if self._cache.get(address) != master.name:
                believed = self._cache.get(address)
                detail = f"{address}: a client has {believed}, the master is {master.name}"
                raise Violation("client-knows", detail)

    def _check_rightful(self) -> None:
        """Nobody waits who has the better priority: of all routers that move together."""
        if self._scenario.preempt is Preempt.NEVER:
            return
        keys = self.every()
        for group in [keys] if self._scenario.coupled else [[key] for key in keys]:
            (master,) = self.masters(group[0])
            for node in self._nodes:
                if all(self._rank(node, key) > self._rank(master, key) for key in group):
                    raise Violation("rightful-master", f"{group}: {master.name}, not {node.name}")

    def _rank(self, node: Node, key: Key) -> int:
        router = self.router(node, key)
        return router.effective_priority if router else 0

    def _check_group(self, node: Node) -> None:
        if not self._scenario.coupled:
            return
        routers = [router for key in self.every() if (router := self.router(node, key))]
        states = {router.state for router in routers}
        if len(states) > 1:
            detail = ", ".join(f"{r.instance}/ipv{r.family} {r.state.value}" for r in routers)
            raise Violation("group-agrees", f"{node.name}: {detail}")

    def _check_told(self, node: Node) -> None:
        """One master: nobody says any more that there are two."""
        election, director = node.elects, node.director
        if election is not None and election.duels:
            raise Violation("duels-told", f"{node.name}: not over: {sorted(election.duels)}")
        if director is not None and director.core.company.splits.troubles:
            raise Violation("splits-told", f"{node.name}: {director.core.company.splits.troubles}")

    def _check_leases(self, node: Node) -> None:
        """Every node is up here, so every address has its lease, unless leases are off."""
        leased = self._scenario.lease.mode is not LeaseMode.OFF
        for place, held in node.host.kernel.addresses.items():
            if (held.lifetime is not None) != leased:
                detail = f"{node.name} {place[0]}: lifetime {held.lifetime}, lease {leased}"
                raise Violation("lease-ends", detail)

    def lease_bound(self) -> float:
        """Seconds after which a dead node's leased addresses are gone."""
        lease = self._scenario.lease
        if lease.mode is LeaseMode.SECONDS:
            return math.ceil(lease.seconds) + 1.0
        return max(2, math.ceil(self._scenario.patience)) + 1.0
