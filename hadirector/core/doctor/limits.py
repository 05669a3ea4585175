"""What does not live through a failover here, whatever a director does: told, and no fault.

The kernel neither shows nor sends it (net/netfilter/ipvs/ip_vs_sync.c, measured on Linux 6.1), so
there is nothing to mend, and doctor's exit status does not speak of it.
"""

from collections.abc import Iterator

from hadirector.core.doctor.case import Case
from hadirector.core.ipvs import Forward
from hadirector.core.settings.services import VirtualService

FTP = 21  # the only port that the kernel's helper looks at by itself
HELPER = "ip_vs_ftp"


def limits(case: Case) -> tuple[str, ...]:
    """In sentences; none without connection sync, where every connection is lost."""
    if case.config.connection_sync is None:
        return ()
    return tuple(line for service in case.config.services for line in _of(case, service))


def _of(case: Case, service: VirtualService) -> Iterator[str]:
    nat = any(server.forward is Forward.NAT for server in service.real_servers)
    ftp = any(key.port in (0, FTP) for key in service.keys)
    if nat and ftp and HELPER in case.facts.modules.loaded:
        yield (
            f"{service.name}: FTP control connections by NAT ({HELPER} is loaded) do not live "
            "through a failover: the kernel changes their sequence numbers, and tells its standby "
            "other ones"
        )
    if any(one.timeout for one in service.services):
        yield (
            f"{service.name}: after a failover the persistence of a client ends by its own time, "
            "however long its connections last: no record says which of them it belongs to"
        )
