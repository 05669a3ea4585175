"""Presets of protocols that speak in binary messages: ldap, mysql, pgsql.

Without credentials they go as far as a stranger may: a server that asks for a password serves. What
stops it from serving (starting up, too many connections, host blocked) is a failure in any case.
"""

import hashlib
from collections.abc import Generator

from hadirector.shell.probes import base, ber
from hadirector.shell.probes.credentials import Credentials
from hadirector.shell.probes.script import Failed, Script, Step, Wait, exactly, shown

STRANGER = "hadirector"  # who asks when nobody is named
MESSAGES = 128  # of a server before it has answered
LARGEST = 16_000  # bytes of a message


# --- LDAP (RFC 4511): BER, each message in a SEQUENCE ------------------------------------------

_BIND, _BIND_ANSWER, _UNBIND, _SEARCH, _DONE = 0x60, 0x61, 0x42, 0x63, 0x65
_INTEGER, _OCTETS, _ENUM, _BOOLEAN, _SEQUENCE, _PRESENT, _SIMPLE = 2, 4, 10, 1, 0x30, 0x87, 0x80


def ldap(pair: Credentials | None, name: str) -> Script:
    """Bind, anonymously or by a DN and its password, and read one entry, the root DSE if no other
    is named."""
    user, password = (pair.user, pair.password) if pair is not None else ("", "")
    bind = _ber(_INTEGER, b"\3") + _octets(user) + _ber(_SIMPLE, password.encode())
    yield _ldap(1, _ber(_BIND, bind))
    yield from _ldap_result(_BIND_ANSWER, "bind")
    search = (
        _octets(name)
        + _ber(_ENUM, b"\0")  # baseObject
        + _ber(_ENUM, b"\0")  # never dereference
        + _ber(_INTEGER, b"\1") * 2  # one entry, in one second
        + _ber(_BOOLEAN, b"\xff")  # types only
        + _ber(_PRESENT, b"objectClass")
        + _ber(_SEQUENCE, _octets("1.1"))  # no attributes
    )
    yield _ldap(2, _ber(_SEARCH, search))
    yield from _ldap_result(_DONE, "search")
    return base.Parting(base.good("bind and search well"), _ldap(3, _ber(_UNBIND, b"")))


def _ldap_result(wanted: int, what: str) -> Generator[bytes | Wait, bytes, None]:
    for _ in range(MESSAGES):
        raw = yield Wait(_ber_frame, f"the answer to {what}")
        try:
            message, _ = ber.value(raw, 0)
            _, at = ber.value(message, 0)  # its number
            tag = message[at]
            body, _ = ber.value(message, at)
            if tag != wanted:
                continue
            code, at = ber.value(body, 0)
            _, at = ber.value(body, at)  # the entry it concerns
            text, _ = ber.value(body, at)
        except IndexError:
            raise Failed(f"not an LDAP answer: {base.excerpt(raw)}") from None
        if code != b"\0":
            told = f": {shown(text.decode('latin-1'))}" if text else ""
            raise Failed(f"{what} refused, result {int.from_bytes(code)}{told}")
        return
    raise Failed(f"over {MESSAGES} messages, and no answer to {what}")


def _ber_frame(held: bytearray) -> int | None:
    if held[0] != _SEQUENCE:
        raise Failed(f"not an LDAP answer: {base.excerpt(held)}")
    if len(held) < 2 or len(held) < 2 + (digits := ber.length_digits(held[1])):
        return None
    size = int.from_bytes(held[2 : 2 + digits]) if digits else held[1]
    if size > LARGEST or digits > 4:
        raise Failed(f"not an LDAP answer: a message of {size} bytes")
    return 2 + digits + size


def _ber(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes((tag, size)) + value
    digits = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(digits))) + digits + value


def _octets(text: str) -> bytes:
    return _ber(_OCTETS, text.encode())


def _ldap(number: int, operation: bytes) -> bytes:
    return _ber(_SEQUENCE, _ber(_INTEGER, bytes((number,))) + operation)


# --- MySQL and MariaDB: 3 bytes length, 1 byte sequence, payload -------------------------------

# LONG_PASSWORD, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH
_CAPABILITIES = 0x1 | 0x200 | 0x8000 | 0x80000
_NATIVE = b"mysql_native_password"
_ACCESS_DENIED = frozenset({1045, 1698, 1251})


def mysql(pair: Credentials | None, user: str) -> Script:
    """The whole handshake: a server counts connections that end before as errors, and blocks who
    makes too many of them."""
    greeting = yield from _mysql_packet("greeting")
    if greeting[:1] != b"\x0a":
        raise Failed(f"greeting is not MySQL's: {base.excerpt(greeting)}")
    version, _, rest = greeting[1:].partition(b"\0")
    salt = rest[4:12] + rest[31:43]
    name = pair.user if pair is not None else user or STRANGER
    secret = _native(pair.password, salt) if pair is not None else b""
    login = (
        _CAPABILITIES.to_bytes(4, "little")
        + LARGEST.to_bytes(4, "little")
        + b"\x21"  # utf8
        + bytes(23)
        + name.encode()
        + b"\0"
        + bytes((len(secret),))
        + secret
        + _NATIVE
        + b"\0"
    )
    yield _mysql(1, login)
    try:
        answer = yield from _mysql_packet("the answer to the login")
        if answer[:1] == b"\xfe":
            method, _, salt = answer[1:].partition(b"\0")
            if pair is not None and method != _NATIVE:
                raise Failed(f"wants {shown(method.decode('latin-1'))}, which is not known here")
            yield _mysql(3, _native(pair.password, salt[:20]) if pair is not None else b"")
            answer = yield from _mysql_packet("the answer to the password")
    except _MysqlError as error:
        if pair is None and not user and error.code in _ACCESS_DENIED:
            return base.good(f"MySQL {_version(version)} asks for a password")
        raise
    if answer[:1] != b"\0":
        raise Failed(f"answer to the login is not MySQL's: {base.excerpt(answer)}")
    return base.Parting(base.good(f"MySQL {_version(version)}, login well"), _mysql(0, b"\1"))


class _MysqlError(Failed):
    """An error packet."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"error {code}: {shown(text, 100)}")
        self.code = code


def _mysql_packet(what: str) -> Step:
    head = yield Wait(exactly(4), what)
    size = int.from_bytes(head[:3], "little")
    if not 0 < size <= LARGEST:
        raise Failed(f"{what} is not MySQL's: a packet of {size} bytes")
    payload = yield Wait(exactly(size), what)
    if payload[:1] == b"\xff":
        text = payload[3:].decode("utf-8", "replace")
        raise _MysqlError(
            int.from_bytes(payload[1:3], "little"), text[6:] if text.startswith("#") else text
        )
    return payload


def _mysql(sequence: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes((sequence,)) + payload


def _native(password: str, salt: bytes) -> bytes:
    """mysql_native_password."""
    if not password:
        return b""
    one = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    two = hashlib.sha1(one, usedforsecurity=False).digest()
    mask = hashlib.sha1(salt + two, usedforsecurity=False).digest()
    return bytes(a ^ b for a, b in zip(one, mask, strict=True))


def _version(raw: bytes) -> str:
    """MariaDB says 5.5.5 first, for clients that take 10 for less than 5."""
    return ascii(raw.removeprefix(b"5.5.5-")[:40].decode("latin-1"))[1:-1]


# --- PostgreSQL, protocol 3.0: type, 4 bytes length, fields -------------------------------------

_REFUSALS = ("28", "3D")  # SQLSTATE classes: who asks, or for which database, is not known


def pgsql(user: str, name: str) -> Script:
    """The start of a session, up to where a password is asked for."""
    who = user or STRANGER
    words = ("user", who, "database", name or who, "application_name", STRANGER)
    body = b"\0\3\0\0" + b"".join(word.encode() + b"\0" for word in words) + b"\0"
    yield (len(body) + 4).to_bytes(4) + body
    for _ in range(MESSAGES):
        head = yield Wait(_pg_head, "the answer to the startup message")
        kind, size = head[:1], int.from_bytes(head[1:5]) - 4
        payload = b""
        if size:
            payload = yield Wait(exactly(size), "the answer to the startup message")
        match kind:
            case b"Z":
                return base.Parting(base.good(f"session of {who} begins well"), b"X\0\0\0\4")
            case b"R" if payload != bytes(4):
                return base.good(f"asks {who} for a password")
            case b"E":
                state, text = _pg_error(payload)
                if not user and not name and state.startswith(_REFUSALS):
                    return base.good(f"answers {state}: {shown(text)}")
                raise Failed(f"error {state}: {shown(text, 100)}")
            case _:
                pass  # parameters, keys, notices
    raise Failed(f"over {MESSAGES} messages, and no session")


def _pg_head(held: bytearray) -> int | None:
    if held[0] not in b"RESKNZv":
        raise Failed(f"answer is not PostgreSQL's: {base.excerpt(held)}")
    if len(held) < 5:
        return None
    if not 4 <= int.from_bytes(held[1:5]) <= LARGEST:
        raise Failed(f"answer is not PostgreSQL's: {base.excerpt(held)}")
    return 5


def _pg_error(payload: bytes) -> tuple[str, str]:
    fields = {raw[:1]: raw[1:].decode("utf-8", "replace") for raw in payload.split(b"\0") if raw}
    return ascii(fields.get(b"C", "?????")[:5])[1:-1], fields.get(b"M", "")
