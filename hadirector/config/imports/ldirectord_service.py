"""A virtual service of ldirectord.cf while it is read."""

from dataclasses import dataclass, field

from hadirector.config.imports.director import Values
from hadirector.config.imports.draft import Line
from hadirector.core.address import Endpoint

_PORTS = {
    **{21: "ftp", 25: "smtp", 53: "dns", 80: "http", 110: "pop", 119: "nntp", 143: "imap"},
    **{389: "ldap", 443: "https", 587: "smtp", 636: "ldaps", 993: "imaps", 995: "pops"},
    **{1521: "oracle", 3306: "mysql", 5432: "pgsql", 5060: "sip", 1812: "radius"},
}


@dataclass(slots=True)
class Service:
    """Settings by name with their lines, servers, and what each server is asked."""

    line: Line
    place: Endpoint | int
    six: bool
    settings: dict[str, tuple[Line, str]]
    servers: list[Values] = field(default_factory=list)
    requests: list[tuple[Line, str, str]] = field(default_factory=list)

    def value(self, key: str, default: str = "") -> str:
        """What a setting says; its line counts as carried over."""
        if key not in self.settings:
            return default
        line, value = self.settings[key]
        line.take()
        return value.strip().strip('"')

    def is_yes(self, key: str, default: str) -> bool:
        """The same of a switch."""
        return self.value(key, default).lower() in ("yes", "on", "true")

    @property
    def kind(self) -> str:
        """Its protocol: as written, else as its port is used."""
        port = self.place.port if isinstance(self.place, Endpoint) else 0
        return self.value("service").lower() or _PORTS.get(port, "none")
