"""The network of the lab.

      client .100 (and gateway)   192.0.2.0/24, bridge `front`
         |                            virtual address .10
    =====+=====+==========+=======+===================  front
               |          |       |  (direct routing: replies go straight to the client)
              lb1 .1     lb2 .2  rs1 .11 ... rs4 .14
               |          |       |
    ===========+==========+=======+===================  back
                                  10.0.1.0/24, bridge `back`; floating gateway .254

Real servers have two faces: 10.0.1.11-14 answer by way of the floating gateway, as NAT needs it;
192.0.2.11-14 and the virtual address (on lo, silent in ARP) answer clients directly.

Everybody speaks IPv6 as well: 2001:db8::/64 in front, 2001:db8:1::/64 behind, hosts numbered alike.
"""

from dataclasses import dataclass

from labkit import kernel
from labkit.node import Node

VIP = "192.0.2.10"
GATEWAY = "10.0.1.254"
SECOND_VIP = "192.0.2.20"  # of the other instance, where both directors work
VIP6 = "2001:db8::10"
GATEWAY6 = "2001:db8:1::254"
CLIENT = "192.0.2.100"
DIRECTORS = {"lb1": 1, "lb2": 2}
SERVERS = {"rs1": 11, "rs2": 12, "rs3": 13, "rs4": 14}
LINKS = ("front", "back")

COMMON = {
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv6.conf.default.accept_dad": "0",
}
DIRECTOR = COMMON | {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
}
# The virtual address on lo must not be heard or used in ARP: the rule of direct routing.
_SERVER = COMMON | {"net.ipv4.conf.all.arp_ignore": "1", "net.ipv4.conf.all.arp_announce": "2"}


def front(host: int) -> str:
    """The address of `host` on the front network."""
    return f"192.0.2.{host}"


def back(host: int) -> str:
    """The address of `host` on the back network."""
    return f"10.0.1.{host}"


def front6(host: int) -> str:
    """The same of IPv6."""
    return f"2001:db8::{host}"


def back6(host: int) -> str:
    """The same of IPv6."""
    return f"2001:db8:1::{host}"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a node is set up: sysctls, links (interface, address), and further lines of `ip` and of
    `ip -6`."""

    sysctls: dict[str, str]
    links: tuple[tuple[str, str], ...]
    lines: tuple[str, ...] = ()
    six: tuple[str, ...] = ()


def _plans() -> dict[str, Plan]:
    client = (("front", f"{CLIENT}/24"),)
    plans = {"client": Plan(COMMON, client, six=(f"address add {front6(100)}/64 dev front",))}
    for name, host in (DIRECTORS | SERVERS).items():
        links = (("front", f"{front(host)}/24"), ("back", f"{back(host)}/24"))
        six = (
            f"address add {front6(host)}/64 dev front",
            f"address add {back6(host)}/64 dev back",
        )
        if name in DIRECTORS:
            plans[name] = Plan(DIRECTOR, links, (f"route add default via {CLIENT} dev front",), six)
            continue
        by_gateway = (
            f"address add {VIP}/32 dev lo",
            f"address add {SECOND_VIP}/32 dev lo",
            "rule add from 10.0.1.0/24 to 10.0.1.0/24 lookup main priority 99",
            "rule add from 10.0.1.0/24 lookup 100 priority 100",
            f"route add default via {GATEWAY} dev back table 100",
            f"route add default via {GATEWAY} dev back",
        )
        six_by_gateway = (
            *six,
            f"address add {VIP6}/128 dev lo",
            "rule add from 2001:db8:1::/64 to 2001:db8:1::/64 lookup main priority 99",
            "rule add from 2001:db8:1::/64 lookup 100 priority 100",
            f"route add default via {GATEWAY6} dev back table 100",
        )
        plans[name] = Plan(_SERVER, links, by_gateway, six_by_gateway)
    return plans


class Network:
    """The switch and the nodes plugged into it."""

    def __init__(self, plans: dict[str, Plan] | None = None) -> None:
        """`plans`: other nodes than those of the picture above."""
        self._plans = _plans() if plans is None else plans
        self.nodes: dict[str, Node] = {}
        self.unplugged: set[str] = set()
        self.switch = Node("switch", {"net.ipv6.conf.all.disable_ipv6": "1"})
        try:
            self._build()
        except BaseException:
            self.end()
            raise

    def _build(self) -> None:
        self._links = kernel.Links(self.switch.anchor)
        self._ports: dict[tuple[str, str], int] = {}
        # The kernel delays carrier news of veth pairs with equal indexes: each index is its own.
        self._next_index = 10
        bridge = "type bridge forward_delay 0 mcast_snooping 0"
        bridges = dict.fromkeys(link for plan in self._plans.values() for link, _ in plan.links)
        lines = [f"link add {link} {bridge}" for link in bridges]
        self._batch(self.switch, [*lines, *(f"link set {link} up" for link in bridges)])
        for name in self._plans:
            self.add(name)

    def add(self, name: str) -> Node:
        """Makes the node (anew) and plugs it in."""
        plan = self._plans[name]
        node = Node(name, plan.sysctls)
        self.nodes[name] = node
        self.unplugged.discard(name)
        # The ports of its predecessor go when the kernel has time: not to be waited for.
        old = [f"link del {name}-{link}" for link, _ in plan.links if (name, link) in self._ports]
        lines = [*old]
        for link, _ in plan.links:
            inner, outer = self._next_index, self._next_index + 500
            self._next_index += 1
            self._ports[name, link] = outer
            port = f"{name}-{link}"
            lines += [
                f"link add {link} index {inner} netns {node.anchor} type veth"
                f" peer name {port} index {outer}",
                f"link set {port} master {link} up",
            ]
        self._batch(self.switch, lines)
        lines = ["link set lo up"]
        for link, address in plan.links:
            lines += [f"address add {address} dev {link}", f"link set {link} up"]
        self._batch(node, [*lines, *plan.lines])
        if plan.six:
            self._batch(node, list(plan.six), "-6")
        return node

    def plug(self, name: str, links: tuple[str, ...], *, up: bool) -> None:
        """Puts the cables of a node in or pulls them, all at the same instant."""
        self._links.set([self._ports[name, link] for link in links], up=up)
        if up:
            self.unplugged.discard(name)
        else:
            self.unplugged.add(name)

    def slow_down(self, name: str, link: str, milliseconds: float) -> None:
        """What goes to this node over this link arrives later (0: no more)."""
        port = f"{name}-{link}"
        if milliseconds:
            delay = f"{milliseconds:g}ms"
            self.switch.run("tc", "qdisc", "replace", "dev", port, "root", "netem", "delay", delay)
        else:
            self.switch.run("tc", "qdisc", "del", "dev", port, "root", check=False)

    def partition(self, names: tuple[str, ...], *, on: bool) -> None:
        """The named nodes stop (or go on) hearing each other; everybody else hears all of them."""
        state = "on" if on else "off"
        lines = [f"link set dev {n}-{link} isolated {state}" for n in names for link in LINKS]
        self.switch.run("bridge", "-batch", "-", given="\n".join(lines) + "\n")

    def end(self) -> None:
        """Takes everything down."""
        for node in [*self.nodes.values(), self.switch]:
            node.end()

    @staticmethod
    def _batch(node: Node, lines: list[str], *family: str) -> None:
        node.run("ip", *family, "-batch", "-", given="\n".join(lines) + "\n")


def describe() -> str:
    """The picture above, for `lab shell`."""
    picture = (__doc__ or "").split("\n\n")
    return "\n".join(picture[1:2])
