"""Whether the kernel hands over what comes for an address that was put on just now.

IPv4: at once. An IPv6 address is listed, and asked about answered for, when the system call that
adds it returns; but its local route comes later, by a worker of the kernel's that may have to wait
for a CPU or the routing lock, NODAD or not (net/ipv6/addrconf.c: inet6_addr_add,
addrconf_dad_work, __ipv6_ifa_notify). Whoever hears the announcement before that sends packets
that are forwarded to the neighbour which had the address last, and is told by a redirect (RFC 4861
8.2, which no sysctl forbids) to send there: to a dead node, until the next announcement 5 s later.
So IPv6 addresses are announced once the kernel says that what arrives is local.
"""

from hadirector.core import address
from hadirector.core.settings.instances import VirtualAddress
from hadirector.shell import route_lookup
from hadirector.shell.links import Table
from hadirector.shell.netlink import KernelError
from hadirector.shell.rtnetlink import Route


class Delivery:
    """Asks the kernel; each question costs some microseconds."""

    def __init__(self, route: Route, table: Table) -> None:
        self._route = route
        self._table = table

    def works(self, virtual: VirtualAddress) -> bool:
        """Whether packets that arrive for it are taken in; also where that cannot be known."""
        index = self._table.index(virtual.interface)
        if index is None or address.family(virtual.address) == 4:
            return True
        try:
            found = self._route.get(route_lookup.arriving(virtual.address, index), "look up")
        except KernelError:
            return True
        return found is not None and route_lookup.is_local(found)
