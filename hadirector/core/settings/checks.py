"""How real servers are checked. "Check" is what is configured, "probe" is one try, "target" is
one endpoint probed by one check."""

from dataclasses import dataclass
from enum import Enum

from hadirector.core.address import Endpoint


class CheckType(Enum):
    """Every type of the contract; ACTIVE_TYPES are those this release probes."""

    TCP = "tcp"
    HTTP = "http"
    HTTPS = "https"
    TLS = "tls"
    UDP = "udp"
    DNS = "dns"
    SMTP = "smtp"
    EXPECT = "expect"
    EXEC = "exec"
    PING = "ping"
    AGENT = "agent"
    EXTERNAL = "external"


ACTIVE_TYPES = frozenset({CheckType.TCP, CheckType.HTTP})


@dataclass(frozen=True, slots=True)
class StatusRange:
    """HTTP status codes from `first` to `last`, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One named check. Durations are seconds; `timeout` spans the probe: connect, send, answer.

    `fast_interval` replaces `interval` while the verdict is in doubt (rising, falling).
    `port` overrides the real server's. The http fields are read by http and https only. `command`
    is run for exec; with `exit_share` its exit status tells a share. What is said of an external
    one holds for `max_age` seconds.
    """

    name: str
    type: CheckType
    interval: float
    fast_interval: float
    timeout: float
    rise: int
    fall: int
    held: bool
    port: int | None = None
    method: str = "GET"
    path: str = "/"
    host: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    status: tuple[StatusRange, ...] = (StatusRange(200, 299),)
    body: str | None = None
    command: tuple[str, ...] = ()
    exit_share: bool = False
    max_age: float = 0.0


class Combine(Enum):
    """How several checks of one service make one verdict."""

    ALL = "all"
    ANY = "any"
    AT_LEAST = "at_least"


@dataclass(frozen=True, slots=True)
class CheckRule:
    """The checks of a service; `count` is used by AT_LEAST. No checks: servers count as up."""

    combine: Combine
    checks: tuple[str, ...]
    count: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint to probe by one check, however many services want to know."""

    id: str
    check: Check
    endpoint: Endpoint

    @property
    def at(self) -> Endpoint:
        """Where it is probed: a check may go to a port of its own."""
        return Endpoint(self.endpoint.address, self.check.port or self.endpoint.port)


def target_id(check: str, endpoint: Endpoint) -> str:
    """`page@10.0.1.11:8080`: the name of a target in messages, journal and metrics."""
    return f"{check}@{endpoint}"
