"""How real servers are checked. "Check" is what is configured, "probe" is one try, "target" is
one endpoint probed by one check."""

from dataclasses import dataclass
from enum import Enum

from hadirector.core.address import Address, Endpoint, family
from hadirector.core.settings.questions import Dialogue, Dns, JsonWanted, Smtp, Tls, Udp


class CheckType(Enum):
    """Every type of the contract."""

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


TOLD = (CheckType.EXEC, CheckType.EXTERNAL)  # by others: they say nothing of our own network


@dataclass(frozen=True, slots=True)
class StatusRange:
    """HTTP status codes from `first` to `last`, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One named check. Durations are seconds; `timeout` spans the probe: connect, send, answer.

    `fast_interval` replaces `interval` while the verdict is in doubt (rising, falling).
    `connect` and `port` override the real server's address and port; `source` is what is connected
    from, at most one address of each family. `auth_file` holds `user:password`; `send` is the body
    of an HTTP request. The http fields are read by http and https only, and what another type asks
    stands in the field of its name; `tls` is there where the connection is to be TLS. `command`
    is run for exec; with `exit_share` its exit status tells a share. What is said of an external
    one holds for `max_age` seconds. `as_client` asks for probes the way clients' packets go; the
    checks made for that, one for each service and address, have `client`, the virtual endpoint.
    """

    name: str
    type: CheckType
    interval: float
    fast_interval: float
    timeout: float
    rise: int
    fall: int
    held: bool
    connect: Address | None = None
    port: int | None = None
    source: tuple[Address, ...] = ()
    tls: Tls | None = None
    auth_file: str | None = None
    method: str = "GET"
    path: str = "/"
    host: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    status: tuple[StatusRange, ...] = (StatusRange(200, 299),)
    send: str = ""
    body: str | None = None
    json: tuple[JsonWanted, ...] = ()
    udp: Udp | None = None
    dns: Dns | None = None
    smtp: Smtp | None = None
    dialogue: Dialogue | None = None
    command: tuple[str, ...] = ()
    exit_share: bool = False
    max_age: float = 0.0
    as_client: bool = False
    client: Endpoint | None = None

    def files(self) -> tuple[str, ...]:
        """The files that a probe needs the contents of."""
        named = (
            self.auth_file,
            self.tls.ca_file if self.tls else None,
            self.dialogue.secret_file if self.dialogue else None,
        )
        return tuple(path for path in named if path)

    def source_for(self, address: Address) -> Address | None:
        """Where to connect to this address from; None: wherever the kernel chooses."""
        return next((one for one in self.source if family(one) == family(address)), None)


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
        """Where it is probed: a check may go to an address or a port of its own."""
        port = self.check.port or self.endpoint.port
        return Endpoint(self.check.connect or self.endpoint.address, port)


def target_id(check: str, endpoint: Endpoint) -> str:
    """`page@10.0.1.11:8080`: the name of a target in messages, journal and metrics."""
    return f"{check}@{endpoint}"
