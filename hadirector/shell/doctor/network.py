"""Links, addresses and routes, by rtnetlink (pyroute2: this is not the daemon)."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hadirector.core.address import Address, Family, canonical, family
from hadirector.core.doctor.facts import Link, LocalAddress, Path

_LOOPBACK = 0x8  # IFF_LOOPBACK
_UP = 0x1  # IFF_UP
_REFUSING = {6, 7, 8}  # RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT


@dataclass(frozen=True, slots=True)
class Network:
    """What rtnetlink tells."""

    links: dict[str, Link] = field(default_factory=dict)
    addresses: tuple[LocalAddress, ...] = ()
    paths: dict[Address, Path | None] = field(default_factory=dict)
    beyond: dict[Family, Path | None] = field(default_factory=dict)
    neighbours: dict[Address, str] = field(default_factory=dict)  # MACs the kernel knows


def read(destinations: Iterable[Address], beyond: dict[Family, Address]) -> Network:
    """All of it; OSError when the kernel does not answer."""
    from pyroute2 import IPRoute  # lazily: 0.2 s that only this verb pays

    with IPRoute() as route:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in route.get_links()}
        links = {each.name: each for each in map(_link, route.get_links())}
        mtus = {name: links[name].mtu for name in links}
        addresses = tuple(_address(names, each) for each in route.get_addr())
        paths = {each: _path(route, each, names, mtus) for each in destinations}
        far = {number: _path(route, each, names, mtus) for number, each in beyond.items()}
        known = dict(filter(None, map(_neighbour, route.get_neighbours())))
    return Network(links, tuple(a for a in addresses if a is not None), paths, far, known)


def _link(link: Any) -> Link:
    info = link.get_attr("IFLA_LINKINFO")
    return Link(
        name=link.get_attr("IFLA_IFNAME"),
        mac=link.get_attr("IFLA_ADDRESS") or "",
        mtu=link.get_attr("IFLA_MTU") or 0,
        up=bool(link["flags"] & _UP),
        kind="loopback"
        if link["flags"] & _LOOPBACK
        else (info.get_attr("IFLA_INFO_KIND") if info else "") or "",
    )


def _address(names: dict[int, str], entry: Any) -> LocalAddress | None:
    told = entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS")
    name = names.get(entry["index"])
    if told is None or name is None:
        return None
    return LocalAddress(name, canonical(told), entry["prefixlen"])


def _neighbour(entry: Any) -> tuple[Address, str] | None:
    where, mac = entry.get_attr("NDA_DST"), entry.get_attr("NDA_LLADDR")
    return (canonical(where), mac) if where and mac else None


def _path(
    route: Any, destination: Address, names: dict[int, str], mtus: dict[str, int]
) -> Path | None:
    """The kernel's own look-up; None when it has no way there."""
    from pyroute2 import NetlinkError

    number = socket.AF_INET6 if family(destination) == 6 else socket.AF_INET
    try:
        answers = route.route("get", dst=destination, family=number)
    except NetlinkError:
        return None
    for answer in answers:
        if answer["type"] in _REFUSING:
            return None
        name = names.get(answer.get_attr("RTA_OIF") or 0, "")
        gateway, source = answer.get_attr("RTA_GATEWAY"), answer.get_attr("RTA_PREFSRC")
        metrics = answer.get_attr("RTA_METRICS")
        mtu = (metrics.get_attr("RTAX_MTU") if metrics else None) or mtus.get(name, 0)
        return Path(
            name,
            canonical(gateway) if gateway else None,
            canonical(source) if source else None,
            mtu,
        )
    return None
