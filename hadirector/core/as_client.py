"""Probes as clients' packets go: to the virtual address, on a server that has it too.

Whoever connects to a virtual address on a director reaches the director itself, or IPVS, which
chooses a server. So each such probe has an IPVS service of its own, by firewall mark, with one
server in it; the probe's socket carries the mark:

    checker's socket, mark M, to 192.0.2.10:80 -> IPVS service `fwmark M` -> DR or TUN -> the server
    the server, if 192.0.2.10 is on its loopback, answers from there, straight

A mark takes a privilege the checker does not have: the director makes the socket and hands it over
open. One for each target is enough, a TCP socket can be used again and again. What it can do is
what the mark says: reach one server, as anybody can. It is lent once the kernel has that service:
before, its packets would go wherever the virtual address is, on a backup to the master, which
would answer in the server's place.

A server that forwards, and lost the address, hands the packet on to whoever has it: the master,
which would send it there again, or answer a backup's probe in its place. By direct routing the
packet has no hop left for that.

A master has the virtual address itself, and Linux drops packets from an address of its own unless
accept_local is set (core/sysctls).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from hadirector.core import ipvs
from hadirector.core.address import Address, Endpoint, Family, family
from hadirector.core.checker_messages import Lend
from hadirector.core.settings.checks import target_id
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.services import RealServer

MARKS = 0x48440000  # "HD": marks of ours are these and the 65,535 after
HOPS_DIRECT = 2  # IPVS counts as one: a server that forwards what it has no address for cannot
AT_ONCE = 100  # sockets a message: a datagram carries at most 253


@dataclass(frozen=True, slots=True)
class Path:
    """How the probes of one target go."""

    target: str
    mark: int
    family: Family
    server: RealServer

    @property
    def key(self) -> ipvs.ServiceKey:
        """Names the IPVS service that they take."""
        return ipvs.ServiceKey(self.family, 0, Address(""), 0, self.mark)

    @property
    def hops(self) -> int:
        """How far their packets may go; 0: as far as any. A tunnel's packets take over the count
        of what is in them, and may have far to go."""
        return HOPS_DIRECT if self.server.forward is ipvs.Forward.DR else 0

    @property
    def entry(self) -> tuple[ipvs.ServiceKey, ipvs.Entry]:
        """The service, with the one server in it."""
        key = self.key
        most = 128 if self.family == 6 else 32
        service = ipvs.Service(key, ipvs.Scheduler.RR.value, netmask=most)
        bare = RealServer(
            endpoint=Endpoint(self.server.endpoint.address, 0),
            forward=self.server.forward,
            tunnel=self.server.tunnel,
        )
        return key, ipvs.Entry(service, {bare.endpoint: bare.destination(1)})


def paths_of(config: Config) -> tuple[Path, ...]:
    """One for each target that is probed as a client; the same mark for it as long as it can be."""
    checks = {check.name: check for check in config.checks}
    taken = {key.fwmark for service in config.services for key in service.keys}
    found: dict[str, Path] = {}
    for service in config.services:
        asked = [(n, client) for n in service.check.checks if (client := checks[n].client)]
        for server in service.real_servers if asked else ():
            for name, client in asked:
                target = target_id(name, server.endpoint)
                if target in found:
                    continue
                mark = _mark(target, taken)
                taken.add(mark)
                found[target] = Path(target, mark, family(client.address), server)
    return tuple(found.values())


def loans(paths: Iterable[Path]) -> list[Lend]:
    """What the checker is to be lent, a message each."""
    each = list(paths)
    return [
        Lend(
            tuple(path.target for path in some),
            tuple(path.mark for path in some),
            tuple(path.family for path in some),
            tuple(path.hops for path in some),
        )
        for some in (each[i : i + AT_ONCE] for i in range(0, len(each), AT_ONCE))
    ]


def _mark(target: str, taken: set[int]) -> int:
    first = int.from_bytes(hashlib.blake2b(target.encode(), digest_size=2).digest())
    for step in range(1 << 16):
        mark = MARKS + (first + step) % (1 << 16)
        if mark not in taken:
            return mark
    raise AssertionError("more than 65,536 targets probed as clients")
