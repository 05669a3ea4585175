"""How a real server is made ready for direct routing or tunnels: steps, and what undoes them.

It holds the virtual addresses on lo, so that it takes packets for them, and is silent about them in
ARP, so that the network goes on finding the director. Packets of a tunnel come out of a device that
their sender has no route back through: a strict reverse path filter drops them, and a loose one as
well while the device has no address, so that it gets one of the virtual ones.

Pure: what is wanted and what is found go in, steps come out; on a host that is as it should be
there are none. Each step knows the step that undoes it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from hadirector.core.address import Address, family
from hadirector.core.ipvs import TunnelType

Kind = Literal["dr", "tun"]
TunnelName = Literal["ipip", "gue", "gre"]
TUNNEL_NAMES: Mapping[TunnelType, TunnelName] = {
    TunnelType.IPIP: "ipip",
    TunnelType.GUE: "gue",
    TunnelType.GRE: "gre",
}
Do = Literal["sysctl", "module", "link", "up", "port", "address"]
Undo = Literal["no-link", "down", "no-port", "no-address"]

_SIX = "ipv6"
STRICT, LOOSE = "1", "2"  # net.ipv4.conf.*.rp_filter, RFC 3704
_ARP = (
    (
        "net.ipv4.conf.all.arp_ignore",
        "1",
        "an address on lo is not answered for on the network: the director is found, not this host",
    ),
    (
        "net.ipv4.conf.all.arp_announce",
        "2",
        "asking for a neighbour's MAC never tells it that a virtual address is here",
    ),
)
_TUNNELLED = "what comes out of a tunnel has its route back elsewhere: loose instead of strict"
_DIRECT = "a client's packets may come in elsewhere than answers go out: loose instead of strict"

# The devices that the kernel keeps for packets from anywhere, and the link kind that loads them.
LINK_KINDS = {
    "tunl0": "ipip",
    "ip6tnl0": "ip6tnl",
    "sit0": "sit",
    "gre0": "gre",
    "ip6gre0": "ip6gre",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One change. `name` is a setting, device, address or port; `value` what a setting gets, the
    device of an address, or the family around what comes to a port (empty: IPv4)."""

    what: Do | Undo
    name: str
    value: str = ""
    why: str = ""

    @property
    def command(self) -> tuple[str, ...]:
        """What a person would type for it."""
        bits = "128" if ":" in self.name else "32"
        match self.what:
            case "sysctl":
                return ("sysctl", "-w", f"{self.name}={self.value}")
            case "module":
                return ("modprobe", self.name)
            case "link":
                return ("ip", "link", "add", self.name, "type", LINK_KINDS[self.name])
            case "no-link":
                return ("ip", "link", "delete", self.name)
            case "up" | "down":
                return ("ip", "link", "set", self.name, self.what)
            case "port":
                return ("ip", *self._family, "fou", "add", "port", self.name, "gue")
            case "no-port":
                return ("ip", *self._family, "fou", "del", "port", self.name)
            case "address":
                return ("ip", "address", "add", f"{self.name}/{bits}", "dev", self.value)
            case "no-address":
                return ("ip", "address", "delete", f"{self.name}/{bits}", "dev", self.value)

    @property
    def _family(self) -> tuple[str, ...]:
        return ("-6",) if self.value == _SIX else ()

    def __str__(self) -> str:
        return " ".join(self.command)


@dataclass(frozen=True, slots=True)
class Tunnel:
    """How the packets of some virtual address come: family of the packets within (`inner`) and
    around them (`outer`), type, and the port of GUE."""

    inner: int
    outer: int
    type: TunnelName = "ipip"
    port: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """The virtual addresses that this host serves, and how their packets come; no tunnels: directly
    routed."""

    addresses: tuple[Address, ...]
    tunnels: tuple[Tunnel, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The host as it is. `links`: whether each device that is there is up. `held`: addresses and
    devices that know no ARP, as lo; `elsewhere`: others of this host, with their interface.
    `ports`: family and number of those where GUE is unwrapped, None where the kernel has no such
    thing. `settings`: those of sysctl."""

    links: Mapping[str, bool]
    held: frozenset[tuple[Address, str]]
    elsewhere: Mapping[Address, str]
    ports: frozenset[tuple[int, int]] | None
    settings: Mapping[str, str]


def unfit(wanted: Wanted, found: Found) -> list[str]:
    """Why this host cannot be made ready, one sentence each."""
    reasons = [
        f"{address} is on {found.elsewhere[address]}, where it is answered for: "
        f"ip address delete it there first"
        for address in wanted.addresses
        if address in found.elsewhere
    ]
    for tunnel in wanted.tunnels:
        if device_of(tunnel) is None:
            reasons.append(
                f"IPv{tunnel.inner} in IPv{tunnel.outer} by {tunnel.type} needs a device with the "
                "director's address: ip link add ... remote DIRECTOR"
            )
    return list(dict.fromkeys(reasons))


def device_of(tunnel: Tunnel) -> str | None:
    """The device that packets come out of; None where none takes them from anywhere."""
    match tunnel.type, tunnel.inner, tunnel.outer:
        case (("ipip" | "gue"), 4, 4):
            return "tunl0"
        case (("ipip" | "gue"), 6, 4):
            return "sit0"
        case (("ipip" | "gue"), 6, 6):
            return "ip6tnl0"
        case "gre", _, 4:
            return "gre0"
        case "gre", _, 6:
            return "ip6gre0"
    return None


def unwrapping(tunnel: Tunnel) -> tuple[str, ...]:
    """The commands that have a server unwrap its packets, for somebody who looks for what is
    missing; all of it is `setup_command`."""
    device = device_of(tunnel)
    up = () if device is None else (str(Step("up", device)),)
    return up if tunnel.type != "gue" else (*up, str(_port(tunnel)))


def setup_command(virtual: Address, tunnel: Tunnel | None) -> str:
    """What makes a server ready for the packets of one virtual address; None: direct routing."""
    if tunnel is None:
        return f"hadirector agent --setup dr {virtual}"
    kind = "" if tunnel.type == "ipip" else f" --type {tunnel.type}"
    port = f" --port {tunnel.port}" if tunnel.type == "gue" else ""
    outer = "" if tunnel.outer == tunnel.inner else f" --outer ipv{tunnel.outer}"
    return f"hadirector agent --setup tun{kind}{port}{outer} {virtual}"


def plan(wanted: Wanted, found: Found) -> list[Step]:
    """What is missing, in order: silence first, addresses last."""
    devices = list(dict.fromkeys(d for t in wanted.tunnels if (d := device_of(t)) is not None))
    gue = {(t.outer, t.port): t for t in wanted.tunnels if t.type == "gue"}
    four = any(family(address) == 4 for address in wanted.addresses)
    steps: list[Step] = []
    if four:
        steps += [Step("sysctl", *one) for one in _ARP if not _enough(found, one[0], one[1])]
    steps += [Step("link", device) for device in devices if device not in found.links]
    if four:
        steps += _filters(found, devices)
    steps += [Step("up", device) for device in devices if not found.links.get(device, False)]
    if gue and found.ports is None:
        steps.append(Step("module", "fou"))
    steps += [_port(tunnel) for place, tunnel in gue.items() if place not in (found.ports or ())]
    return steps + _addresses(wanted, found)


def _port(tunnel: Tunnel) -> Step:
    return Step("port", str(tunnel.port), _SIX if tunnel.outer == 6 else "")


def _addresses(wanted: Wanted, found: Found) -> list[Step]:
    """On lo; of a tunnel for IPv4 one address at least on its device."""
    four = [address for address in wanted.addresses if family(address) == 4]
    inner = (device_of(tunnel) for tunnel in wanted.tunnels if tunnel.inner == 4)
    devices = list(dict.fromkeys(device for device in inner if device is not None))
    held: set[str] = {address for address, _ in found.held}
    addressed = {device for address, device in found.held if family(address) == 4}
    steps = [
        Step("address", address, device)
        for device in devices
        for address in four[:1]
        if device not in addressed
    ]
    held |= {step.name for step in steps}
    return steps + [Step("address", one, "lo") for one in wanted.addresses if one not in held]


def _filters(found: Found, devices: Iterable[str]) -> list[Step]:
    """The kernel takes the stricter of all and the device, counting 2 above 1: loose wins."""
    why = _TUNNELLED if devices else _DIRECT
    names = [f"net.ipv4.conf.{name}.rp_filter" for name in ("all", *devices)]
    everywhere = found.settings.get(names[0]) == LOOSE
    strict = [name for name in names if found.settings.get(name) == STRICT]
    anywhere = any(
        value == STRICT for name, value in found.settings.items() if name.endswith(".rp_filter")
    )
    if not anywhere or everywhere:
        return []
    return [Step("sysctl", name, LOOSE, why) for name in dict.fromkeys((names[0], *strict))]


def _enough(found: Found, name: str, least: str) -> bool:
    value = found.settings.get(name, "0")
    return value.isdigit() and int(value) >= int(least)


def undo(step: Step, found: Found) -> Step | None:
    """What takes a step back to what was found before it; None where that is nothing."""
    match step.what:
        case "sysctl":
            before = found.settings.get(step.name)
            return None if before is None else Step("sysctl", step.name, before)
        case "up":
            return Step("down", step.name)
        case "port":
            return Step("no-port", step.name, step.value)
        case "address":
            return Step("no-address", step.name, step.value)
        case "link":
            return Step("no-link", step.name)
    return None


def is_needed(step: Step, found: Found) -> bool:
    """Whether an undoing still has something to do."""
    match step.what:
        case "no-address":
            return (step.name, step.value) in found.held
        case "no-port":
            return (6 if step.value == _SIX else 4, int(step.name)) in (found.ports or ())
        case "down":
            return found.links.get(step.name, False)
        case "no-link":
            return step.name in found.links
        case "sysctl":
            return found.settings.get(step.name) not in (None, step.value)
    return True


def settings(devices: Iterable[str]) -> tuple[str, ...]:
    """The names of all settings that a plan may look at, of a host with these devices."""
    filters = [f"net.ipv4.conf.{name.replace('.', '/')}.rp_filter" for name in ("all", *devices)]
    return (*(name for name, _, _ in _ARP), *filters)
