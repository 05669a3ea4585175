"""Addresses, ports and masks as ipvsadm, keepalived and ldirectord write them."""

import ipaddress
import socket

from hadirector.core.address import Address, Endpoint, canonical, family


def address(text: str) -> Address | None:
    """One address, with or without brackets; host names are not looked up."""
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    try:
        return canonical(text)
    except ValueError:
        return None


def port(text: str, protocol: str) -> int | None:
    """A number, or a name of /etc/services."""
    if text.isascii() and text.isdigit():
        return int(text) if len(text) < 6 and int(text) < 65536 else None
    try:
        return socket.getservbyname(text, protocol)
    except (OSError, ValueError):  # ValueError: a NUL byte in it
        return None


def with_port(text: str, protocol: str, default: int = 0) -> Endpoint | None:
    """`ADDRESS[:PORT]`; IPv6 in brackets where a port follows."""
    whole = address(text)
    if whole is not None:
        return Endpoint(whole, default)
    host, colon, name = text.rpartition(":")
    found, number = address(host), port(name, protocol)
    if not colon or found is None or number is None:
        return None
    if (family(found) == 6) is not host.startswith("["):
        return None
    return Endpoint(found, number)


def prefix(mask: str, kind: int) -> int | None:
    """The length of a netmask, written as one (255.255.255.0) or as its length (24)."""
    most = 128 if kind == 6 else 32
    if mask.isascii() and mask.isdigit():
        return int(mask) if len(mask) < 4 and 1 <= int(mask) <= most else None
    try:
        length = ipaddress.IPv4Network(f"0.0.0.0/{mask}").prefixlen
    except ValueError:
        return None
    return length if kind == 4 and length and "." in mask else None


def name_of(protocol: str, place: str) -> str:
    """A service's name by what it is: tcp-192.0.2.10-80."""
    return f"{protocol}-{place}".replace("[", "").replace("]", "").replace(":", "-")
