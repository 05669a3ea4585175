"""What the kernel has of IPVS, read for people: the table with its names, and the connections."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from hadirector.core import ipvs_connections, ipvs_view
from hadirector.core.ipvs_connections import Connection
from hadirector.core.ipvs_view import IpvsView, Names
from hadirector.shell.ipvs import Ipvs

CONNECTIONS = Path("/proc/net/ip_vs_conn")


async def read(ipvs: Ipvs, names: Names) -> IpvsView:
    """The whole table; KernelError as `Ipvs` raises it."""
    table, usage = await ipvs.read()
    info = await ipvs.get_info()
    facts = ipvs_view.Facts(
        info.version, info.table_size, await ipvs.get_timeouts(), await ipvs.threads()
    )
    return ipvs_view.build(table, usage, facts, names)


def encode(view: IpvsView) -> bytes:
    """As JSON."""
    return msgspec.json.encode(view)


def decode(raw: bytes) -> IpvsView:
    """Of JSON; ValueError when it is not a view."""
    return msgspec.json.decode(raw, type=IpvsView)


def encode_names(names: Names) -> bytes:
    """As JSON."""
    return msgspec.json.encode(names)


def decode_names(raw: bytes) -> Names:
    """Of JSON; ValueError when it is none."""
    return msgspec.json.decode(raw, type=Names)


def connections(path: Path = CONNECTIONS) -> Iterator[Connection]:
    """Every connection as the kernel lists it; OSError where there is no IPVS. Blocks, and long:
    a table of 100,000 takes an old kernel many seconds."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            found = ipvs_connections.parse(line)
            if found is not None:
                yield found
