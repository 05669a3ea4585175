"""Where keepalived's virtual and real servers are: addresses, ranges, networks and marks."""

import ipaddress

from hadirector.config.imports import endpoints
from hadirector.config.imports.draft import integer
from hadirector.core.address import Endpoint, family


def split(places: list[object]) -> list[tuple[str, object, int]]:
    """Addresses of each family are one service of ours, each mark is another."""
    spans = [str(place) for place in places if not isinstance(place, int)]
    made: list[tuple[str, object, int]] = []
    for kind, own in (
        (4, [each for each in spans if not each.startswith("[")]),
        (6, [each for each in spans if each.startswith("[")]),
    ):
        if own:
            suffix = "-ipv6" if kind == 6 and len(own) < len(spans) else ""
            made.append((suffix, own[0] if len(own) == 1 else list(dict.fromkeys(own)), kind))
    for mark in dict.fromkeys(place for place in places if isinstance(place, int)):
        alone = len(places) == 1
        made.append(("" if alone else f"-fwmark-{mark}", {"fwmark": mark}, 0))
    return made


def span(words: list[str]) -> str | None:
    """`ADDRESS[-LAST] [PORT[-LAST]]` or `NET/LENGTH [PORT]` as one of our spans."""
    text = words[0]
    port = words[1] if len(words) > 1 else "0"
    low, _, high = port.partition("-")
    if integer(low, 0, 65535) is None or (high and integer(high, 1, 65535) is None):
        return None
    if "/" in text:
        return _net(text, port)
    first, dash, last = text.partition("-")
    found = endpoints.address(first)
    if found is None or (dash and not last.isalnum()):
        return None
    hosts = f"{found}-{last}" if dash else str(found)
    return f"[{hosts}]:{port}" if family(found) == 6 else f"{hosts}:{port}"


def _net(text: str, port: str) -> str | None:
    try:
        net = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return None
    if net.prefixlen < 24:
        return None
    last = str(net.broadcast_address).rpartition(".")[2]
    return f"{net.network_address}-{last}:{port}"


def endpoint(words: tuple[str, ...], default: int) -> Endpoint | None:
    """`ADDRESS [PORT]`."""
    found = endpoints.address(words[0]) if words else None
    if found is None:
        return None
    port = integer(words[1], 0, 65535) if len(words) > 1 else default
    return None if port is None else Endpoint(found, port)
