"""The cluster: nodes, the network between them, one client's neighbour cache, and the trace."""

import random
from collections import deque
from collections.abc import Callable
from functools import partial
from hashlib import sha256

from hadirector.core import advert, messages
from hadirector.core import election_types as et
from hadirector.core.address import Address
from hadirector.core.settings.instances import VirtualAddress
from tests.sim.agenda import Agenda
from tests.sim.election_process import ElectionProcess
from tests.sim.host import Host, own_addresses
from tests.sim.invariants import Invariants
from tests.sim.network import FLIGHT, Network
from tests.sim.node import Node
from tests.sim.peer_channel import Word
from tests.sim.scenario import Scenario

ASKED = (0.0, 0.001)  # seconds from an announcement to a question
TRACE = 400  # last events kept for a report


class World:
    """Everything one seed runs. `traced`: what happens is noted; a seed that failed untraced is
    run again."""

    def __init__(self, scenario: Scenario, traced: bool = True) -> None:
        self.scenario = scenario
        self.traced = traced
        self.agenda = Agenda()
        self.rng = random.Random(f"world {scenario.seed}")
        self.network = Network(self.agenda, self.rng)
        self.gateway_answers = True
        self.cache: dict[Address, str] = {}  # what a client believes: address -> node
        self.asked = False  # clients look for addresses just when they move
        self.trace: deque[str] = deque(maxlen=TRACE)
        self.on_trace: Callable[[str], None] = lambda _: None
        self._hash = sha256()
        self.nodes = [self._node(i, name) for i, name in enumerate(scenario.names)]
        self.invariants = Invariants(scenario, self.agenda, self.nodes, self.cache)

    def note(self, who: str, what: str) -> None:
        """One line of the trace."""
        if not self.traced:
            return
        line = f"{self.agenda.now:12.6f} {who:4} {what}"
        self._hash.update(line.encode())
        self.trace.append(line)
        self.on_trace(line)

    def digest(self) -> str:
        """The hash of the whole trace so far."""
        return self._hash.hexdigest()

    def run(self, duration: float) -> None:
        """Let virtual time pass, checking after each step."""
        until = self.agenda.now + duration
        while self.agenda.step(until):
            self.invariants.after_step()

    def at_rest(self) -> bool:
        """Whether nothing is under way any more that may still move something: it need not be
        waited for that longer."""
        if self.agenda.now <= self.network.last_late + self.scenario.patience:
            return False  # a priority 0 that comes late is obeyed as a new one is
        return all(node.at_rest() for node in self.nodes) and self.invariants.in_order()

    # --- between the nodes -------------------------------------------------------------------

    def _node(self, index: int, name: str) -> Node:
        config = self.scenario.config(name)
        rng = random.Random(f"{name} {self.scenario.seed}")
        node: Node

        def relink() -> None:
            if node.election is not None and node.election.loop.alive:
                node.election.relink()

        host = Host(index, config, self.agenda, self.network, rng, lambda: None)
        node = Node(host, self._observed, self._emit, self._word, self._journal)
        host.links_changed = relink
        host.boot()
        return node

    def _emit(self, node: Node, action: et.Action) -> None:
        match action:
            case et.SendAdvert():
                self._advert(node, action)
            case et.Announce():
                self._announce(node, action)
            case et.AskGateway(interface=interface):
                heard = et.NetworkHeard(interface)
                if self.gateway_answers and node.hears(interface):
                    self.network.carry(
                        interface, "gateway", node.name, lambda: _deliver(node, interface, heard)
                    )
            case et.AskHolder():
                self._ask_holder(node, action)

    def _advert(self, node: Node, sent: et.SendAdvert) -> None:
        self.invariants.sent(node, sent)
        interface, destination = sent.interface, sent.destination
        hears = node.hears(interface)
        if self.traced:
            said = f"> {sent.instance}/ipv{sent.family} prio {sent.advert.priority}"
            self.note(node.name, said if hears else f"{said} not sent: no link")
        if not hears:
            assert node.election is not None
            node.election.put(et.SendFailed(sent.instance, sent.family, "network is down"))
            return
        packet = et.PacketReceived(interface, sent.source, destination, advert.TTL, sent.message)
        for other in self.nodes:
            if other is node:
                if self.network.echoes(interface):
                    self.agenda.after(FLIGHT[1], lambda: _deliver(node, interface, packet))
            elif advert.is_multicast(destination) or _has(other, interface, destination):
                self.network.carry_advert(
                    interface,
                    node.name,
                    other.name,
                    lambda other=other: _deliver(other, interface, packet),  # type: ignore[misc]  # a bound default
                )

    def intrude(self, packet: et.PacketReceived) -> None:
        """Somebody else on a segment sends a packet of protocol 112 to all."""
        for node in self.nodes:
            self.network.carry_advert(
                packet.interface,
                "stranger",
                node.name,
                lambda node=node: _deliver(node, packet.interface, packet),  # type: ignore[misc]  # a bound default
            )

    def _ask_holder(self, node: Node, asked: et.AskHolder) -> None:
        """By broadcast; whoever has the address on answers the one who asked."""
        interface, heard = asked.interface, et.HolderHeard(asked.interface, asked.address)

        def answer(other: Node) -> None:
            if other.holds(asked.address) and other.hears(interface):
                self.network.carry(
                    interface, other.name, node.name, lambda: _deliver(node, interface, heard)
                )

        for other in self.nodes:
            if other is not node and node.hears(interface):
                self.network.carry(interface, node.name, other.name, lambda o=other: answer(o))  # type: ignore[misc]  # a bound default

    def _announce(self, node: Node, action: et.Announce) -> None:
        self.invariants.announced(node, action)
        for one in action.addresses:
            held = (one.address, one.interface) in node.host.kernel.addresses
            if held and node.hears(one.interface):
                self.cache[one.address] = node.name
                if self.asked:
                    self.agenda.after(self.rng.uniform(*ASKED), partial(self._look_for, one))

    def _look_for(self, what: VirtualAddress) -> None:
        """A client asks who has an address; of several answers it believes the last."""
        for node in self.nodes:
            if node.holds(what.address) and node.hears(what.interface):
                answer = partial(self.cache.__setitem__, what.address, node.name)
                self.agenda.after(self.rng.uniform(*FLIGHT), answer)

    def _word(self, node: Node, to: str, word: Word) -> None:
        if not node.answers:
            return
        other = next(one for one in self.nodes if one.name == to)
        self.network.carry("peer", node.name, to, lambda: _introduce(other, word))

    def _journal(self, node: Node, event: messages.Event) -> None:
        self.note(node.name, f". {event.subject} {event.kind}: {event.reason}")
        self.invariants.told(node, event)

    def _observed(
        self, process: ElectionProcess, what: et.Input, actions: tuple[et.Action, ...]
    ) -> None:
        node = next(n for n in self.nodes if n.election is process)
        for action in actions if self.traced else ():
            if isinstance(action, messages.Event):
                where = f"{action.subject}/{action.inputs.get('family', '')}"
                self.note(node.name, f"= {where} {action.kind}: {action.reason}")
        self.invariants.observed(node, process, actions)
        if isinstance(what, et.PacketReceived):
            self.invariants.heard(node, process, what)
        if process.stopped:
            self.note(node.name, "left in order")
            node.kill_all()


def _deliver(node: Node, interface: str, what: et.Input) -> None:
    if node.hears(interface) and node.election is not None:
        node.election.put(what)


def _introduce(node: Node, word: Word) -> None:
    if node.answers and node.director is not None:
        node.director.put(word)


def _has(node: Node, interface: str, destination: Address) -> bool:
    return destination in own_addresses(node.host.index, interface)
