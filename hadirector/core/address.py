"""Addresses as canonical text, and endpoints.

An `Address` is the shortest lower-case text of an IPv4 or IPv6 address, made by `canonical`.
Text, because addresses are mostly identities here: compared, printed, sent between processes;
`packed` gives the network-order bytes where order or the wire matters.
"""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Literal, NewType

Address = NewType("Address", str)
Family = Literal[4, 6]


def canonical(text: str) -> Address:
    """The address a text names; ValueError when it names none (zone suffixes are refused)."""
    if "%" in text:
        raise ValueError(f"{text!r}: an address with a zone is not allowed here")
    return Address(str(ip_address(text)))


def family(address: Address) -> Family:
    """4 or 6."""
    return 6 if ":" in address else 4


@lru_cache(maxsize=65536)
def packed(address: Address) -> bytes:
    """4 or 16 bytes, network order; compares as RFC 9568 wants addresses compared."""
    return ip_address(address).packed


@lru_cache(maxsize=4096)  # the same few come with every advert
def from_packed(raw: bytes) -> Address:
    """The address of 4 or 16 network-order bytes."""
    return Address(str(ip_address(raw)))


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """An address and a port; `str()` gives `192.0.2.1:80` or `[2001:db8::1]:80`."""

    address: Address
    port: int

    def __str__(self) -> str:
        if family(self.address) == 6:
            return f"[{self.address}]:{self.port}"
        return f"{self.address}:{self.port}"
