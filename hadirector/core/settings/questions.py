"""What the types of checks ask beside the common fields: one class for each."""

from dataclasses import dataclass
from enum import Enum

RECORDS = {
    **{"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12},
    **{"MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33},
}
"""The DNS records that can be asked for, with their numbers (IANA, DNS parameters)."""

RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
"""DNS answers by their number (RFC 1035 4.1.1)."""


class Transport(Enum):
    """What carries a question."""

    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True)
class Tls:
    """How a server proves who it is. `ca_file`: None means the host's own authorities. `name` is
    asked for (SNI) and must be in the certificate; None: the server's address. `alpn` is offered,
    and with `must_choose` the server has to choose one of these. `warn_days`: a certificate that
    ends within so many days is told of."""

    verify: bool = True
    ca_file: str | None = None
    name: str | None = None
    alpn: tuple[str, ...] = ()
    must_choose: bool = False
    warn_days: int = 14
    starttls: bool = False


@dataclass(frozen=True, slots=True)
class JsonWanted:
    """A place in a JSON text, and what must stand there: `wanted` is JSON itself."""

    path: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Udp:
    """A datagram, and the regular expression its reply must match over bytes as Latin-1; None: any
    reply will do, and silence too, as long as no ICMP error says that nobody is there."""

    send: bytes
    expect: str | None = None


@dataclass(frozen=True, slots=True)
class Dns:
    """A question, and what must be among its answers; none named: one answer at least, unless
    another rcode than NOERROR is wanted."""

    name: str = "."
    record: str = "SOA"
    expect: tuple[str, ...] = ()
    rcode: str = "NOERROR"
    transport: Transport = Transport.UDP


@dataclass(frozen=True, slots=True)
class Smtp:
    """A greeting by this name."""

    helo: str = "localhost"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a dialogue: bytes to send, or (None) a regular expression to wait for, over what
    came since the step before, bytes as Latin-1."""

    send: bytes | None = None
    expect: str = ""


class Preset(Enum):
    """Protocols whose dialogue is known."""

    FTP = "ftp"
    IMAP = "imap"
    POP = "pop"
    NNTP = "nntp"
    LDAP = "ldap"
    MYSQL = "mysql"
    PGSQL = "pgsql"
    REDIS = "redis"
    SIP = "sip"
    RADIUS = "radius"


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A preset, or steps. `name` is what a preset asks for: a database (pgsql), a distinguished
    name to read (ldap), a user to ask about (sip). `secret_file` is RADIUS's shared secret."""

    preset: Preset | None = None
    steps: tuple[Step, ...] = ()
    transport: Transport = Transport.TCP
    user: str = ""
    name: str = ""
    secret_file: str | None = None
