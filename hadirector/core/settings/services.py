"""Virtual services and their real servers."""

from dataclasses import dataclass
from enum import Enum

from hadirector.core.address import Endpoint
from hadirector.core.ipvs import Destination, Forward, Service, ServiceKey, TunnelType
from hadirector.core.settings.checks import CheckRule


class OnFailure(Enum):
    """What a failed check does to a server.

    auto: UDP or persistent service: removed, expired; else any answer (refused, reset, wrong
    reply): weight 0; silence: removed, expired. quiesce: weight 0. remove: removed, expired.
    """

    AUTO = "auto"
    QUIESCE = "quiesce"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Tunnel:
    """How TUN packets are wrapped; port is for GUE, flags are IP_VS_TUNNEL_ENCAP_FLAG_*."""

    type: TunnelType = TunnelType.IPIP
    port: int = 0
    flags: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """How weights follow the load that agents report. Shares are of a server's weight, 0.0 to 1.0;
    `checks` are of type agent. `change` is a share per second, `smooth` is in seconds."""

    checks: tuple[str, ...]
    change: float = 0.05  # at most
    deadband: float = 0.1  # smaller differences change nothing
    least: float = 0.1  # load alone leaves a server at least that
    smooth: float = 10.0  # of reports: how long a change takes to be believed, about


@dataclass(frozen=True, slots=True, kw_only=True)
class RealServer:
    """One server of a service. Thresholds are connections; 0 means none."""

    endpoint: Endpoint
    weight: int = 1
    forward: Forward
    tunnel: Tunnel = Tunnel()
    upper_threshold: int = 0
    lower_threshold: int = 0

    def destination(self, weight: int) -> Destination:
        """This server as IPVS sees it, with the weight decided for it."""
        return Destination(
            endpoint=self.endpoint,
            forward=self.forward,
            weight=weight,
            upper_threshold=self.upper_threshold,
            lower_threshold=self.lower_threshold,
            tunnel=self.tunnel.type,
            tunnel_port=self.tunnel.port,
            tunnel_flags=self.tunnel.flags,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualService:
    """One named service: one or more IPVS services (a list or range of addresses and ports)
    over one set of real servers."""

    name: str
    address: str  # as the file writes it, for people
    protocol: str  # tcp, udp, sctp or fwmark
    services: tuple[Service, ...]
    forward: Forward
    check: CheckRule
    quorum: int
    floor: float  # share of the servers, 0.0 to 1.0
    on_failure: OnFailure
    slow_start: float  # seconds; 0 is off
    fallback: RealServer | None
    real_servers: tuple[RealServer, ...]
    feedback: Feedback | None = None

    @property
    def asked(self) -> tuple[str, ...]:
        """Every check that its servers are probed by, each once."""
        more = self.feedback.checks if self.feedback else ()
        return tuple(dict.fromkeys((*self.check.checks, *more)))

    @property
    def keys(self) -> tuple[ServiceKey, ...]:
        """The keys of its IPVS services."""
        return tuple(service.key for service in self.services)
