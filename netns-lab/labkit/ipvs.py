"""Reads a node's IPVS table: quickly from /proc, or with the real ipvsadm."""

import ipaddress
import re
import time
from dataclasses import dataclass

from labkit.node import Node


@dataclass(frozen=True, slots=True)
class Destination:
    """One server of one service as /proc/net/ip_vs has it."""

    service: str  # address:port
    server: str
    weight: int
    active: int
    inactive: int


def read(node: Node) -> list[Destination]:
    """All TCP and UDP destinations; a few hundred microseconds."""
    found = []
    service = ""
    for line in node.net("ip_vs").read_text().splitlines()[3:]:
        words = line.split()
        if words[0] in ("TCP", "UDP"):
            service = _endpoint(words[1])
        elif words[0] == "->":
            weight, active, inactive = map(int, words[3:6])
            found.append(Destination(service, _endpoint(words[1]), weight, active, inactive))
    return found


def weights(node: Node) -> dict[str, int]:
    """Weight by server, over all services; a server that is not there is missing."""
    return {destination.server: destination.weight for destination in read(node)}


@dataclass(frozen=True, slots=True)
class Counters:
    """One row of `ipvsadm -Ln --stats --exact`."""

    service: str
    server: str
    connections: int
    packets_in: int
    packets_out: int


# The kernel takes the counters it shows from the running ones once in two seconds.
_COUNTERS_AGE = 2.2


def counters(node: Node) -> list[Counters]:
    """What the real ipvsadm says each server was given, complete up to this call."""
    time.sleep(_COUNTERS_AGE)
    found = []
    service = ""
    for line in node.run("ipvsadm", "-Ln", "--stats", "--exact").splitlines():
        if match := re.match(r"(?:TCP|UDP) +(\S+) ", line):
            service = match[1]
        elif match := re.match(r" +-> (\S+) +(\d+) +(\d+) +(\d+)", line):
            connections, packets_in, packets_out = map(int, match.groups()[1:])
            found.append(Counters(service, match[1], connections, packets_in, packets_out))
    return found


def _endpoint(hexadecimal: str) -> str:
    address, _, port = hexadecimal.rpartition(":")
    if address.startswith("["):
        return f"[{ipaddress.IPv6Address(address[1:-1])}]:{int(port, 16)}"
    octets = [str(int(address[i : i + 2], 16)) for i in range(0, 8, 2)]
    return ".".join(octets) + f":{int(port, 16)}"
