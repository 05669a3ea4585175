"""DNS messages, as much as a probe needs: one question out; the answers in, as text.

    header   ID 16, QR 1 Opcode 4 AA TC RD 1 each, RA Z 1+3, RCODE 4, four counts 16 each
    question QNAME, QTYPE 16, QCLASS 16
    record   NAME, TYPE 16, CLASS 16, TTL 32, RDLENGTH 16, RDATA        RFC 1035 4.1, 3.2, 3.3

Only answers of the type asked for are read, in their usual text: `10 mail.example` for MX, the
primary name server for SOA, everything else as a zone file has it. Names are lower-case, without
the last dot.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from hadirector.core.settings.questions import RCODES, RECORDS

RECORDS_READ = 256  # answers and what comes before the wanted ones
POINTERS = 32  # followed in one name: more is a loop

_HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_RECURSION_DESIRED = 0x0100
_RESPONSE, _TRUNCATED, _RCODE = 0x8000, 0x0200, 0x000F
_IN = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says; `records` are those of the type asked for."""

    rcode: str
    truncated: bool
    records: tuple[str, ...]


def question(identity: int, name: str, record: str) -> bytes:
    """A query for one record; recursion is asked for, as a resolver's client does."""
    header = _HEADER.pack(identity, _RECURSION_DESIRED, 1, 0, 0, 0)
    return header + _asked(name, record)


def answer(raw: bytes, identity: int, name: str, record: str) -> Answer | None:
    """What a message says to that question; None: it answers another one. ValueError: it is no
    lawful message."""
    try:
        number, flags, questions, answers, _, _ = _HEADER.unpack_from(raw)
        if number != identity or not flags & _RESPONSE:
            return None
        at = _HEADER.size
        for _ in range(min(questions, RECORDS_READ)):
            asked, at = _name(raw, at)
            kind, _ = _QUESTION.unpack_from(raw, at)
            at += _QUESTION.size
            if asked != name.removesuffix(".").lower() or kind != RECORDS[record]:
                return None
        found = []
        for _ in range(min(answers, RECORDS_READ)):
            text, at = _record(raw, at, RECORDS[record])
            if text is not None:
                found.append(text)
    except (struct.error, IndexError):
        raise ValueError("a DNS message cut short") from None
    number = flags & _RCODE
    rcode = RCODES[number] if number < len(RCODES) else f"RCODE {number}"
    return Answer(rcode, bool(flags & _TRUNCATED), tuple(found))


def _asked(name: str, record: str) -> bytes:
    labels = [label.encode("ascii") for label in name.split(".") if label]
    raw = b"".join(bytes([len(label)]) + label for label in labels)
    return raw + b"\0" + _QUESTION.pack(RECORDS[record], _IN)


def _record(raw: bytes, at: int, wanted: int) -> tuple[str | None, int]:
    """The text of a record of the wanted type, and where the next one begins."""
    _, at = _name(raw, at)
    kind, class_, _, size = _RECORD.unpack_from(raw, at)
    at += _RECORD.size
    if at + size > len(raw):
        raise ValueError("a record longer than its message")
    text = _text(raw, at, size, kind) if kind == wanted and class_ == _IN else None
    return text, at + size


def _text(raw: bytes, at: int, size: int, kind: int) -> str:
    data = raw[at : at + size]
    match kind:
        case 1 if size == 4:  # A
            return str(IPv4Address(data))
        case 28 if size == 16:  # AAAA
            return str(IPv6Address(data))
        case 2 | 5 | 6 | 12:  # NS, CNAME, SOA, PTR
            return _name(raw, at)[0] or "."
        case 15:  # MX
            preference = int.from_bytes(data[:2])
            return f"{preference} {_name(raw, at + 2)[0] or '.'}"
        case 33:  # SRV
            priority, weight, port = struct.unpack_from("!HHH", data)
            return f"{priority} {weight} {port} {_name(raw, at + 6)[0] or '.'}"
        case 16:  # TXT
            return _strings(data)
    raise ValueError("an address of a wrong length")


def _strings(data: bytes) -> str:
    parts, at = [], 0
    while at < len(data):
        parts.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    return "".join(parts)


def _name(raw: bytes, at: int) -> tuple[str, int]:
    """A name, compressed or not, and where it ends."""
    labels: list[str] = []
    after = -1
    jumps = 0
    while size := raw[at]:
        if size & 0xC0 == 0xC0:
            jumps += 1
            if jumps > POINTERS:
                raise ValueError("a name that points at itself")
            after = at + 2 if after < 0 else after
            at = (size & 0x3F) << 8 | raw[at + 1]
        elif size & 0xC0:
            raise ValueError("a label of unknown kind")
        else:
            if len(labels) >= 128:
                raise ValueError("a name of too many labels")
            labels.append(raw[at + 1 : at + 1 + size].decode("latin-1").lower())
            at += 1 + size
    return ".".join(labels), at + 1 if after < 0 else after
