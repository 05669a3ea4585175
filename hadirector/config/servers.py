"""`real_servers:` and `fallback:`, and how packets reach them.

A server without a port gets its service's; in a service of many ports, or of a fwmark, it has
port 0: the one the client asked for.
"""

from dataclasses import dataclass, replace

from hadirector.config import addresses, scalars
from hadirector.config.reader import Section
from hadirector.config.tree import Mapping, Tree
from hadirector.core.address import Endpoint, family
from hadirector.core.ipvs import HEAVIEST, Forward, ServiceKey, TunnelType
from hadirector.core.settings.services import RealServer, Tunnel

_FORWARDS = {"nat": Forward.NAT, "dr": Forward.DR, "tun": Forward.TUN}
_CHECKSUMS = {"nocsum": 0, "csum": 1, "remcsum": 2}  # IP_VS_TUNNEL_ENCAP_FLAG_*
_TUNNELS = {kind.name.lower(): kind for kind in TunnelType}
_CONNECTIONS = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Manner:
    """The forwarding method, and how packets are wrapped for TUN."""

    forward: Forward
    tunnel: Tunnel


NAT = Manner(Forward.NAT, Tunnel())


def read_manner(section: Section, default: Manner | None = None) -> Manner:
    """`forward` and, beside tun, `tun: {type, port, checksum}`; a server's own go before its
    service's."""
    base = default or NAT
    if section.has("forward"):
        words = scalars.word(*_FORWARDS)
        told = section.read("forward", words, base.forward.name.lower())
        base = replace(base, forward=_FORWARDS[told])
    below = section.section("tun")
    if below is None:
        return base
    kind = _TUNNELS[below.read("type", scalars.word(*_TUNNELS), "ipip")]
    port = below.read("port", scalars.integer(1, 65535), 0)
    if kind is TunnelType.GUE and not below.has("port"):
        below.error(below.at, "", "gue goes over UDP: add 'port: 6080'")
    if kind is not TunnelType.GUE and below.has("port"):
        below.error(below.key_at("port"), "port", f"{kind.name.lower()} has no port: remove it")
    flags = _checksum(below, kind)
    below.close()
    # At the service it may serve the servers that say `forward: tun` for themselves.
    if default is not None and base.forward is not Forward.TUN:
        text = "is for 'forward: tun' only: remove it, or change forward"
        section.error(section.key_at("tun"), "tun", text)
    return replace(base, tunnel=Tunnel(kind, port, flags))


def _checksum(section: Section, kind: TunnelType) -> int:
    """Of the outer packet, in ipvsadm's words; none has less work, UDP over IPv6 wants one."""
    word = section.read("checksum", scalars.word(*_CHECKSUMS), "nocsum")
    lawful = {TunnelType.IPIP: (), TunnelType.GRE: ("nocsum", "csum"), TunnelType.GUE: _CHECKSUMS}
    if section.has("checksum") and word not in lawful[kind]:
        text = f"{kind.name.lower()} has no {word}: remove it"
        section.error(section.value_at("checksum"), "checksum", text)
    return _CHECKSUMS[word]


def read_servers(
    section: Section, manner: Manner, keys: tuple[ServiceKey, ...]
) -> tuple[RealServer, ...]:
    """The servers of a service, each once."""
    servers: dict[Endpoint, RealServer] = {}
    lines: dict[Endpoint, int] = {}
    for item in section.items("real_servers"):
        server = _server(section, "real_servers", item, manner, keys)
        if server is None:
            continue
        if server.endpoint in servers:
            text = f"{server.endpoint} is in line {lines[server.endpoint]} already: keep one"
            section.error(item.at, "real_servers", text)
        servers[server.endpoint] = server
        lines[server.endpoint] = item.at.line
    return tuple(servers.values())


def read_fallback(
    section: Section,
    manner: Manner,
    keys: tuple[ServiceKey, ...],
    real: tuple[RealServer, ...],
) -> RealServer | None:
    """The "sorry server", in short or long form; none of the `real` ones."""
    tree = section.find("fallback")
    if tree is None:
        return None
    spare = _server(section, "fallback", tree, manner, keys)
    if spare is not None and any(spare.endpoint == server.endpoint for server in real):
        text = f"{spare.endpoint} is a real server already: name another, or remove it there"
        section.error(tree.at, "fallback", text)
    return spare


def _server(
    section: Section, key: str, item: Tree, manner: Manner, keys: tuple[ServiceKey, ...]
) -> RealServer | None:
    """Short form `10.0.1.11:8080`, or a mapping; what is wrong is told."""
    if not isinstance(item, Mapping):
        pair = section.value(key, item, addresses.host_port, None)
        weight, upper, lower = 1, 0, 0
    else:
        long = Section(item, f"{section.path}.{key}", section.problems)
        pair = long.required("address", addresses.host_port, "10.0.1.11:8080")
        manner = read_manner(long, manner)
        weight, upper, lower = _load(long) if key == "real_servers" else (1, 0, 0)
        long.close()
    if pair is None:
        return None
    address, port = pair
    server = RealServer(
        endpoint=Endpoint(address, port or _port_of(keys)),
        weight=weight,
        forward=manner.forward,
        tunnel=manner.tunnel if manner.forward is Forward.TUN else Tunnel(),
        upper_threshold=upper,
        lower_threshold=lower,
    )
    _lint(section, key, item, server, keys)
    return server


def _load(long: Section) -> tuple[int, int, int]:
    """Weight, upper and lower threshold."""
    weight = long.read("weight", scalars.integer(0, HEAVIEST), 1)
    upper = long.read("upper_threshold", scalars.integer(0, _CONNECTIONS), 0)
    lower = long.read("lower_threshold", scalars.integer(0, _CONNECTIONS), 0)
    if lower > upper:
        text = f"{lower} is above upper_threshold, {upper}: make it at most that"
        long.error(long.value_at("lower_threshold"), "lower_threshold", text)
    return weight, upper, lower


def _port_of(keys: tuple[ServiceKey, ...]) -> int:
    """The one port of a service; 0 when it has many."""
    ports = {key.port for key in keys}
    return ports.pop() if len(ports) == 1 else 0


def _lint(
    section: Section, key: str, item: Tree, server: RealServer, keys: tuple[ServiceKey, ...]
) -> None:
    """A server that packets cannot reach is a mistake, not a choice."""
    endpoint, forward = server.endpoint, server.forward
    kind = family(endpoint.address)
    if forward is not Forward.TUN and any(one.family != kind for one in keys):
        text = (
            f"{endpoint} is IPv{kind} and the service IPv{10 - kind}, "
            "which only 'forward: tun' can bridge"
        )
        section.error(item.at, key, text)
    wrong = next((one.port for one in keys if one.port and one.port != endpoint.port), 0)
    if forward is not Forward.NAT and endpoint.port and wrong:
        text = (
            f"{forward.name.lower()} leaves the port as the client sent it, {wrong}, and never "
            f"reaches {endpoint}: write {Endpoint(endpoint.address, wrong)}, or 'forward: nat'"
        )
        section.error(item.at, key, text)
