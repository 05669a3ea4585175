"""Addresses, endpoints, prefixes, and the addresses of a virtual service.

192.0.2.10:80  [2001:db8::10]:80            one endpoint
192.0.2.10-19:80  [2001:db8::10-1f]:80      a range of the last number
192.0.2.10:8000-8003                        a range of ports
"""

import ipaddress
import re

from hadirector.config.problem import Wrong, shown
from hadirector.config.scalars import text
from hadirector.config.tree import Tree
from hadirector.core.address import Address, Endpoint, canonical, family

EXPANDED = 4096  # endpoints one address may stand for

_PORT = r"(?:0|[1-9][0-9]{0,4})"
_ENDPOINT = re.compile(rf"(?:\[(?P<six>[^\]]*)\]|(?P<four>[^:\[\]]*)):(?P<port>{_PORT})")
_SPAN = re.compile(rf"(?:\[([^\]]*)\]|([^:\[\]]*)):({_PORT})(?:-({_PORT}))?")


def address(tree: Tree) -> Address:
    """One address, without prefix or port."""
    return _address(text(tree))


def group(tree: Tree) -> Address:
    """A multicast group."""
    value = address(tree)
    if not ipaddress.ip_address(value).is_multicast:
        raise Wrong(f"{value} is not a multicast group: take one such as 224.0.0.81")
    return value


def endpoint(tree: Tree) -> Endpoint:
    """An address and a port to listen on or to reach."""
    host, port = host_port(tree)
    if not port:
        raise Wrong(f"{shown(text(tree))} has no port: write {_bracketed(host)}:80")
    return Endpoint(host, port)


def host_port(tree: Tree) -> tuple[Address, int]:
    """A server: an address, and a port, 0 where none is written."""
    value = text(tree)
    found = _ENDPOINT.fullmatch(value)
    if found is None:
        if value.startswith("[") or re.fullmatch(r"[^:]*:[^:]*", value):
            raise Wrong(f"{shown(value)} is no address and port: {_EXAMPLES}")
        host, port = _address(value, "is no address and port: " + _EXAMPLES), 0
    else:
        host, port = _in_brackets(found["six"], found["four"], value), _port(found["port"])
    if ipaddress.ip_address(host).is_multicast or ipaddress.ip_address(host).is_unspecified:
        raise Wrong(f"{host} is no address of one host")
    return host, port


def with_prefix(tree: Tree) -> tuple[Address, int | None]:
    """A virtual address and its prefix length, None where none is written."""
    value = text(tree)
    host, slash, length = value.partition("/")
    found = _address(host, "is no address: write it as 192.0.2.10/24 or 2001:db8::10/64")
    if ipaddress.ip_address(found).is_multicast or ipaddress.ip_address(found).is_unspecified:
        raise Wrong(f"{found} cannot be taken over: it is no address of one host")
    if not slash:
        return found, None
    most = 128 if family(found) == 6 else 32
    if not re.fullmatch(r"[1-9][0-9]{0,2}", length) or int(length) > most:
        raise Wrong(f"{shown(value)}: the prefix length is a number from 1 to {most}")
    return found, int(length)


def network(tree: Tree) -> str:
    """A route's or rule's destination: `default`, an address or a prefix, as ip-route(8)."""
    value = text(tree)
    if value == "default":
        return value
    try:
        found = ipaddress.ip_network(value)
    except ValueError as error:
        if "host bits" in str(error):
            right = ipaddress.ip_network(value, strict=False)
            raise Wrong(f"{shown(value)} has bits behind its prefix: write {right}") from None
        raise Wrong(f"{shown(value)} is no prefix: write 203.0.113.0/24 or default") from None
    return str(found)


def span(tree: Tree) -> tuple[Endpoint, ...]:
    """Every endpoint that a virtual service's address stands for."""
    value = text(tree)
    found = _SPAN.fullmatch(value)
    if found is None:
        raise Wrong(
            f"{shown(value)} is no address and port: {_EXAMPLES}, 192.0.2.10-19:80 "
            "or 192.0.2.10:8000-8003"
        )
    six, four, low, high = found.groups()
    first, last = _port(low), _port(high or low)
    if first > last or (high and not first):
        raise Wrong(f"{shown(value)}: the ports {low}-{high} are no range: the lower one first")
    hosts = _hosts(six, four, value)
    if len(hosts) * (last - first + 1) > EXPANDED:
        raise Wrong(f"{shown(value)} stands for more than {EXPANDED} endpoints: use a fwmark")
    return tuple(Endpoint(host, port) for host in hosts for port in range(first, last + 1))


_EXAMPLES = 'write 192.0.2.10:80, "[2001:db8::10]:80"'


def _hosts(six: str | None, four: str | None, whole: str) -> tuple[Address, ...]:
    """The addresses of a range of the last number; one when there is no range."""
    body = six if six is not None else four or ""
    start, dash, end = body.partition("-")
    if not dash:
        return (_in_brackets(six, four, whole),)
    first = _in_brackets(start if six is not None else None, start, whole)
    base = 16 if six is not None else 10
    if not re.fullmatch(r"[0-9]{1,3}" if base == 10 else r"[0-9A-Fa-f]{1,4}", end):
        raise Wrong(f"{shown(whole)}: a range has a last number: 192.0.2.10-19:80")
    low, size = int(ipaddress.ip_address(first)), 0x10000 if base == 16 else 0x100
    last = low - low % size + int(end, base)
    if int(end, base) >= size or last < low:
        raise Wrong(f"{shown(whole)}: the addresses are no range: the lower one first")
    if last - low >= EXPANDED:
        raise Wrong(f"{shown(whole)} stands for more than {EXPANDED} endpoints: use a fwmark")
    kind = ipaddress.IPv6Address if base == 16 else ipaddress.IPv4Address
    return tuple(Address(str(kind(one))) for one in range(low, last + 1))


def _in_brackets(six: str | None, four: str | None, whole: str) -> Address:
    found = _address(six if six is not None else four or "")
    if (family(found) == 6) is not (six is not None):
        raise Wrong(f"{shown(whole)}: brackets go around IPv6 addresses, and only these")
    return found


def _address(value: str, otherwise: str = "is no IPv4 or IPv6 address") -> Address:
    try:
        return canonical(value)
    except ValueError:
        raise Wrong(f"{shown(value)} {otherwise}") from None


def _port(digits: str) -> int:
    if int(digits) > 65535:
        raise Wrong(f"port {digits} is out of range: 1 to 65535")
    return int(digits)


def _bracketed(host: Address) -> str:
    return f"[{host}]" if family(host) == 6 else host
