"""Lines of /proc/net/ip_vs_conn, and how `ipvsadm -L -n -c` shows them.

IPv4 addresses are hexadecimal there and IPv6 ones in full, ports hexadecimal, and the time left
is in seconds; a persistence engine adds its name and its data.
"""

from dataclasses import dataclass

from hadirector.core.address import Address, canonical, family, from_packed
from hadirector.core.ipvs import Protocol, ServiceKey
from hadirector.core.ipvs_text import endpoint

_FIELDS = 9
_CANNOT_BE = ("Pro", "FromIP")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One connection, or the template of a persistent client (client_port 0)."""

    protocol: str
    client: str
    client_port: int
    virtual: str
    virtual_port: int
    server: str
    server_port: int
    state: str
    expires: int  # seconds
    engine: str = ""
    data: str = ""

    @property
    def key(self) -> ServiceKey | None:
        """The addressed service it may be of, None for a protocol IPVS has no services of; the one
        of a mark cannot be told from it."""
        try:
            protocol = Protocol[self.protocol]
        except KeyError:
            return None
        address = Address(self.virtual)
        return ServiceKey(family(address), protocol, address, self.virtual_port)


def parse(line: str) -> Connection | None:
    """A line's connection; None for the titles, or a line that is none."""
    words = line.split(maxsplit=_FIELDS + 1)
    if len(words) < _FIELDS or tuple(words[:2]) == _CANNOT_BE:
        return None
    try:
        return Connection(
            protocol=words[0],
            client=_address(words[1]),
            client_port=int(words[2], 16),
            virtual=_address(words[3]),
            virtual_port=int(words[4], 16),
            server=_address(words[5]),
            server_port=int(words[6], 16),
            state=words[7],
            expires=int(words[8]),
            engine=words[9] if len(words) > _FIELDS else "",
            data=words[10].strip() if len(words) > _FIELDS + 1 else "",
        )
    except ValueError:
        return None


def _address(text: str) -> Address:
    if ":" in text:
        return canonical(text)
    raw = bytes.fromhex(text)
    if len(raw) != 4:
        raise ValueError(text)
    return from_packed(raw)


def titles(engines: bool) -> tuple[str, str]:
    """The two lines above the connections; `engines` with the columns of persistence engines."""
    first = f"pro expire {'state':<11} {'source':<18} {'virtual':<18}"
    if engines:
        return (
            "IPVS connection entries",
            f"{first} {'destination':<18} {'pe name':<16} pe_data",
        )
    return "IPVS connection entries", f"{first} destination"


def text(one: Connection, engines: bool) -> str:
    """A connection as ipvsadm writes it."""
    expires = f"{one.expires // 60:02}:{one.expires % 60:02}"
    client = endpoint(one.client, one.client_port)
    virtual = endpoint(one.virtual, one.virtual_port)
    server = endpoint(one.server, one.server_port)
    first = f"{one.protocol:<3} {expires:<6} {one.state:<11} {client:<18} {virtual:<18}"
    if engines and one.engine:
        return f"{first} {server:<16} {one.engine:<18} {one.data}"
    return f"{first} {server}"
