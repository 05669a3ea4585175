"""The directors, which of them this one is, and values that differ from node to node."""

from dataclasses import dataclass, field
from typing import TypeVar

from hadirector.config import addresses, scalars
from hadirector.config.problem import Place, Problems, Wrong, listed, suggestion
from hadirector.config.reader import Parse, Section
from hadirector.config.tree import Mapping
from hadirector.core.address import Address
from hadirector.core.priority import LAST_RESORT
from hadirector.core.settings.cluster import Node

T = TypeVar("T")
PRIORITY = 100  # RFC 9568 5.2.4
NO_PRIORITY = (
    f"{LAST_RESORT} is what a node says that wants to be replaced: take {LAST_RESORT + 1} or more"
)


@dataclass(frozen=True, slots=True)
class Nodes:
    """All directors, and the one whose configuration is read; `places` are where their priorities
    stand."""

    all: tuple[Node, ...]
    me: str
    places: dict[str, Place] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(node.name for node in self.all)

    def owner(self, address: Address) -> str | None:
        """The node whose own address it is."""
        return next((node.name for node in self.all if node.address == address), None)

    @property
    def mine(self) -> Node:
        """This one."""
        return next((node for node in self.all if node.name == self.me), _alone(self.me))


def names(root: Mapping) -> tuple[str, ...]:
    """The nodes that a file has, lawful or not; none: it is for a single director."""
    nodes = root.entries.get("nodes")
    return tuple(nodes.entries) if isinstance(nodes, Mapping) else ()


def pick(known: tuple[str, ...], wanted: str | None, host: str) -> str:
    """This node's name: as asked for, else by host name, full or first label. Raises Wrong."""
    if not known:
        return wanted or host.partition(".")[0] or "localhost"
    if wanted is not None:
        if wanted in known:
            return wanted
        near = suggestion(wanted, known)
        raise Wrong(f"no node is named '{wanted}'{near}: name one with --node: {listed(known)}")
    like_host = matches(known, host)
    if like_host is not None:
        return like_host
    raise Wrong(f"this host, '{host}', is none of the nodes: name one with --node: {listed(known)}")


def matches(known: tuple[str, ...], host: str) -> str | None:
    """The node that a host name means: the full name goes before the first label."""
    return next((name for name in (host, host.partition(".")[0]) if name in known), None)


def read(root: Section, me: str, problems: Problems) -> Nodes:
    """The `nodes` of a file; without them this host is the only director."""
    found: list[Node] = []
    taken: dict[str, str] = {}
    places: dict[str, Place] = {}
    for name, section in root.named("nodes"):
        priority = section.read("priority", scalars.integer(1, 255), PRIORITY)
        if priority == LAST_RESORT:
            section.warn(section.value_at("priority"), "priority", NO_PRIORITY)
        address = section.read("address", addresses.address, None)
        section.close()
        if address is not None and taken.setdefault(address, name) != name:
            text = f"{address} is the address of {taken[address]} too: each node has its own"
            section.error(section.value_at("address"), "address", text)
        found.append(Node(name, priority, address))
        places[name] = section.value_at("priority")
    if len(found) > 1:
        for node in found:
            if node.address is None:
                text = f"nodes.{node.name}: without 'address' no peer reaches this node"
                problems.warn(root.value_at("nodes"), text)
    return Nodes(tuple(found) or (_alone(me),), me, places)


def per_node(section: Section, key: str, parse: Parse[T], nodes: Nodes) -> T | None:
    """A value for all nodes, or `{lb1: value, lb2: value}`: this node's, None when it has none."""
    tree = section.find(key)
    if not isinstance(tree, Mapping):
        return None if tree is None else section.read(key, parse, None)
    return by_node(section, key, parse, nodes).get(nodes.me)


def required_per_node(
    section: Section, key: str, parse: Parse[T], nodes: Nodes, example: str
) -> T | None:
    """The same, where every node needs one."""
    tree = section.node.entries.get(key)
    if tree is None or not isinstance(tree, Mapping):
        return section.required(key, parse, example)
    for name in nodes.names:
        if name not in tree.entries:
            section.error(tree.at, key, f"has none for {name}: add '{name}: {example}'")
    return per_node(section, key, parse, nodes)


def by_node(section: Section, key: str, parse: Parse[T], nodes: Nodes) -> dict[str, T]:
    """The values of `{lb1: value, lb2: value}`; every name must be a node's."""
    below = section.section(key)
    values: dict[str, T] = {}
    if below is None:
        return values
    for name in nodes.names:
        value = below.read(name, parse, None)
        if value is not None:
            values[name] = value
    below.close()
    return values


def _alone(name: str) -> Node:
    return Node(name, PRIORITY, None)
