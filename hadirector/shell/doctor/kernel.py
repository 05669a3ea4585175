"""Of the kernel: settings, modules, connection tracking, and connections of our own."""

import asyncio
import contextlib
from collections.abc import Collection, Iterable
from pathlib import Path

from hadirector.core import ipvs
from hadirector.core.address import Address, Endpoint
from hadirector.core.doctor.facts import Conntrack, OwnConnection
from hadirector.shell import ipvs as kernel_ipvs
from hadirector.shell import ipvs_view, sysctl

_MOST_CONNECTIONS = 20_000  # reading more takes long on kernels before 6.14: quadratic
_CONNTRACK = Path("/proc/sys/net/netfilter")


def settings(names: Iterable[str]) -> dict[str, str]:
    """Those the kernel has, by name."""
    found = {}
    for name in names:
        with contextlib.suppress(OSError):
            found[name] = sysctl.read(name)
    return found


def conntrack() -> Conntrack | None:
    """None where nothing is tracked."""
    try:
        count = int((_CONNTRACK / "nf_conntrack_count").read_text())
        most = int((_CONNTRACK / "nf_conntrack_max").read_text())
    except FileNotFoundError:
        return None
    return Conntrack(count, most)


def table() -> tuple[ipvs.Table, ipvs.Usage]:
    """IPVS as it is; KernelError, also where it is not there or not to be read."""
    with kernel_ipvs.Ipvs() as client:
        return asyncio.run(client.read())


def own_connections(local: Collection[Address], usage: ipvs.Usage) -> tuple[OwnConnection, ...]:
    """Entries of the connection table whose client is this host; none are looked for in a table
    that takes long to read."""
    total = sum(use.active + use.inactive for use in usage.destinations.values())
    if total > _MOST_CONNECTIONS:
        return ()
    try:
        found = [
            OwnConnection(Address(one.client), Endpoint(Address(one.virtual), one.virtual_port))
            for one in ipvs_view.connections()
            if one.client in local
        ]
    except OSError:
        return ()
    return tuple(dict.fromkeys(found))
