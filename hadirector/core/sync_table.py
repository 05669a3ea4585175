"""Rows of /proc/net/ip_vs_conn -> records of connection sync.

    Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
    TCP C0000264 9C40 C000020A 0050 0A00010B 1F90 ESTABLISHED     899

A row lacks what a record needs besides: how packets are forwarded, the firewall mark, whether it
is a template and how long that lives. The service table (`Services`) gives the first two and the
last; the backup takes the forwarding of the server anyway if it has it. Sequence deltas are to be
read nowhere.

Only states that the kernel's own sync thread would send become records: a connection that is being
opened is no loss to its client, it tries again.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from hadirector.core import ipvs
from hadirector.core.address import packed
from hadirector.core.ipvs_sync import (
    INACTIVE,
    IPV4,
    IPV6,
    SCTP_STATES,
    TCP_STATES,
    TEMPLATE,
)

_NUMBERS = {b"TCP": 6, b"UDP": 17, b"SCTP": 132, b"IP": 0, b"ESP": 50, b"AH": 51}
_TCP = {
    state.encode(): number
    for number, state in enumerate(TCP_STATES)
    if state in ("ESTABLISHED", "FIN_WAIT", "CLOSE", "CLOSE_WAIT", "TIME_WAIT")
}
_SCTP = {
    state.encode(): number
    for number, state in enumerate(SCTP_STATES)
    if state in ("ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECEIVED", "CLOSED", "REJECTED")
}
_TEMPLATES = {b"NONE": 0, b"ASSURED": 1}
_ACTIVE = b"ESTABLISHED"
_FTP_DATA = b"0014"  # of active FTP: a client port that is not known yet looks like a template
_PE_DATA, _PE_NAME = 2, 3
_KNOWN_AT_MOST = 100_000  # servers whose answer is kept

_Use = tuple[int, int, int]  # forwarding, firewall mark, persistence in seconds


class Services:
    """What the service table says of connections, looked up by the words of a row."""

    def __init__(self, table: ipvs.Table) -> None:
        self._by_server: dict[tuple[int, bytes, int, bytes, int], _Use] = {}
        self._by_service: dict[tuple[int, bytes, int], int] = {}
        self._by_mark: dict[int, int] = {}
        self._marked: dict[bytes, _Use] = {}  # servers of services of a mark, by address
        self._known: dict[tuple[bytes, ...], _Use] = {}
        for key, entry in table.items():
            self._add(key, entry)

    def _add(self, key: ipvs.ServiceKey, entry: ipvs.Entry) -> None:
        timeout = entry.service.timeout
        if key.fwmark:
            self._by_mark[key.fwmark] = timeout
            for endpoint, destination in entry.destinations.items():
                use = (int(destination.forward), key.fwmark, timeout)
                self._marked.setdefault(packed(endpoint.address), use)
            return
        virtual = (key.protocol, packed(key.address), key.port)
        self._by_service[virtual] = timeout
        for endpoint, destination in entry.destinations.items():
            server = (packed(endpoint.address), endpoint.port)
            self._by_server[(*virtual, *server)] = (int(destination.forward), 0, timeout)

    def of(self, protocol: int, words: list[bytes]) -> _Use:
        """Of the row with these words."""
        key = (words[0], words[3], words[4], words[5], words[6])
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _KNOWN_AT_MOST:
                self._known.clear()
            known = self._known[key] = self._look(protocol, words)
        return known

    def _look(self, protocol: int, words: list[bytes]) -> _Use:
        virtual, server = _address(words[3]), _address(words[5])
        port, server_port = int(words[4], 16), int(words[6], 16)
        if protocol == 0:  # the template of a mark: its virtual address is the mark
            mark = int.from_bytes(virtual[-4:], "big")
            forward = self._marked.get(server, (0, 0, 0))[0]
            return forward, mark, self._by_mark.get(mark, 0)
        for at, behind in ((port, server_port), (0, server_port), (0, 0)):
            found = self._by_server.get((protocol, virtual, at, server, behind))
            if found is not None:
                return found
        timeout = self._by_service.get((protocol, virtual, port))
        if timeout is not None:
            return 0, 0, timeout
        return self._marked.get(server, (0, 0, 0))


def records(rows: Iterable[bytes], services: Services) -> Iterator[bytes]:
    """Records of those rows that are to be kept in sync."""
    for row in rows:
        words = row.split(maxsplit=10)
        if len(words) < 9:
            continue
        made = _record(words, services)
        if made is not None:
            yield made


def _record(words: list[bytes], services: Services) -> bytes | None:
    protocol = _NUMBERS.get(words[0])
    if protocol is None:
        return None
    state, flags = _state(protocol, words)
    if state is None:
        return None
    forward, mark, persistence = services.of(protocol, words)
    timeout = int(words[8])
    if flags & TEMPLATE and persistence:
        timeout = persistence
    options = _options(words) if len(words) > 10 else b""
    six = len(words[1]) > 8
    layout = IPV6 if six else IPV4
    made = layout.pack(
        int(six),
        protocol,
        layout.size + len(options),
        flags | forward,
        state,
        int(words[2], 16),
        int(words[4], 16),
        int(words[6], 16),
        mark,
        timeout,
        _address(words[1]),
        _address(words[3]),
        _address(words[5]),
    )
    return made + options


def _state(protocol: int, words: list[bytes]) -> tuple[int | None, int]:
    """State and flags; None: not to be kept in sync."""
    word = words[7]
    if word in _TEMPLATES and (protocol in (0, 17) or words[2] == b"0000" or word == b"ASSURED"):
        if words[2] == b"0000" and words[4] == _FTP_DATA:
            return None, 0
        return _TEMPLATES[word], TEMPLATE | INACTIVE
    active = 0 if word == _ACTIVE else INACTIVE
    if protocol == 6:
        return _TCP.get(word), active
    if protocol == 132:
        return _SCTP.get(word), active
    return 0, INACTIVE


def _address(word: bytes) -> bytes:
    if len(word) == 8:
        return bytes.fromhex(word.decode())
    return ip_address(word.decode()).packed


def _options(words: list[bytes]) -> bytes:
    """The persistence engine's name and data."""
    name, data = words[9], words[10].rstrip(b"\n")
    if len(data) > 255 or len(name) > 16:
        return b""
    return bytes((_PE_DATA, len(data))) + data + bytes((_PE_NAME, len(name))) + name
