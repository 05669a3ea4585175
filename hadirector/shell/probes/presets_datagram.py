"""Presets that ask in datagrams: sip (by TCP too) and radius."""

import hashlib
import hmac
import os
import re

from hadirector.core.address import Endpoint
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.questions import Transport
from hadirector.shell.probes import base
from hadirector.shell.probes.credentials import Credentials
from hadirector.shell.probes.script import Failed, Script, Wait, shown

# --- SIP (RFC 3261): OPTIONS, answered by any 2xx ----------------------------------------------

_SIP = re.compile(rb"SIP/2\.0 ([1-6][0-9]{2})(?: |\r|$)([^\r\n]{0,60})")


def sip_request(server: Endpoint, name: str, token: str, transport: Transport) -> bytes:
    """`rport` (RFC 3581) has the answer come back to where the request came from."""
    host = str(server)
    to = f"sip:{name}@{host}" if name else f"sip:{host}"
    way = transport.value.upper()
    lines = (
        f"OPTIONS {to} SIP/2.0",
        f"Via: SIP/2.0/{way} hadirector.invalid:5060;branch=z9hG4bK{token};rport",
        "Max-Forwards: 70",
        f"From: <sip:hadirector@hadirector.invalid>;tag={token}",
        f"To: <{to}>",
        f"Call-ID: {token}@hadirector.invalid",
        "CSeq: 1 OPTIONS",
        "Contact: <sip:hadirector@hadirector.invalid>",
        "Accept: application/sdp",
        "Content-Length: 0",
    )
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


class Sip:
    """OPTIONS in a datagram; an answer to somebody else's request is passed over."""

    __slots__ = ("_name", "_server", "_token")

    def __init__(self, server: Endpoint, name: str) -> None:
        self._server = server
        self._name = name
        self._token = os.urandom(8).hex()

    def question(self) -> bytes:
        return sip_request(self._server, self._name, self._token, Transport.UDP)

    def received(self, data: bytes) -> Outcome | None:
        if data.startswith(b"SIP/2.0 ") and self._token.encode() not in data:
            return None
        return _sip_verdict(data)

    def silent(self, within: str) -> Outcome:
        return Outcome(Cause.SILENT, f"no answer to OPTIONS within {within}")


def sip(server: Endpoint, name: str) -> Script:
    """The same by TCP."""
    yield sip_request(server, name, os.urandom(8).hex(), Transport.TCP)
    while True:
        head = yield Wait(_sip_head, "the answer to OPTIONS")
        outcome = _sip_verdict(head)
        if outcome is not None:
            return outcome


def _sip_head(held: bytearray) -> int | None:
    if not held.startswith(b"SIP/2.0 "[: len(held)]):
        raise Failed(f"not a SIP answer: {base.excerpt(held)}")
    end = held.find(b"\r\n\r\n")
    return None if end < 0 else end + 4


def _sip_verdict(raw: bytes) -> Outcome | None:
    """None for what only says that an answer will come."""
    status = _SIP.match(raw)
    if status is None:
        return base.answered(f"not a SIP answer: {base.excerpt(raw)}")
    text = f"SIP {status[1].decode()}"
    if status[1][:1] == b"1":
        return None
    if status[1][:1] == b"2":
        return base.good(text)
    reason = status[2].decode("latin-1").strip()
    return base.answered(f"{text} {shown(reason)}, expected 2xx")


# --- RADIUS (RFC 2865): Status-Server (RFC 5997), or a user's Access-Request -------------------

_ACCESS_REQUEST, _ACCEPT, _REJECT, _CHALLENGE, _STATUS_SERVER = 1, 2, 3, 11, 12
_USER_NAME, _USER_PASSWORD, _NAS_IDENTIFIER, _MESSAGE_AUTHENTICATOR = 1, 2, 32, 80
_HEAD = 20
_ANSWERS = {_ACCEPT: "Access-Accept", _REJECT: "Access-Reject", _CHALLENGE: "Access-Challenge"}


class Radius:
    """A request sealed with the shared secret; a forged answer is passed over."""

    __slots__ = ("_authenticator", "_identity", "_pair", "_secret")

    def __init__(self, secret: bytes, pair: Credentials | None) -> None:
        self._secret = secret
        self._pair = pair
        self._identity = os.urandom(1)[0]
        self._authenticator = os.urandom(16)

    def question(self) -> bytes:
        attributes = _attribute(_NAS_IDENTIFIER, b"hadirector")
        code = _STATUS_SERVER
        if self._pair is not None:
            code = _ACCESS_REQUEST
            attributes += _attribute(_USER_NAME, self._pair.user.encode()[:253])
            attributes += _attribute(_USER_PASSWORD, self._hidden(self._pair.password.encode()))
        blank = _attribute(_MESSAGE_AUTHENTICATOR, bytes(16))
        packet = self._packet(code, self._authenticator, blank + attributes)
        seal = hmac.digest(self._secret, packet, "md5")
        sealed = _attribute(_MESSAGE_AUTHENTICATOR, seal)
        return self._packet(code, self._authenticator, sealed + attributes)

    def received(self, data: bytes) -> Outcome | None:
        size = int.from_bytes(data[2:4])
        if len(data) < _HEAD or not _HEAD <= size <= len(data) or data[1] != self._identity:
            return None
        data = data[:size]
        sealed = data[:4] + self._authenticator + data[_HEAD:] + self._secret
        right = hashlib.md5(sealed, usedforsecurity=False).digest()
        if not hmac.compare_digest(right, data[4:_HEAD]):
            return base.answered("answer is not sealed with our secret: compare 'secret_file'")
        name = _ANSWERS.get(data[0], f"code {data[0]}")
        if data[0] == _ACCEPT:
            return base.good(name)
        return base.answered(f"{name}, expected Access-Accept")

    def silent(self, within: str) -> Outcome:
        hint = "; a wrong secret or an unknown client is met with silence too"
        return Outcome(Cause.SILENT, f"no answer within {within}{hint}")

    def _packet(self, code: int, authenticator: bytes, attributes: bytes) -> bytes:
        size = _HEAD + len(attributes)
        return bytes((code, self._identity)) + size.to_bytes(2) + authenticator + attributes

    def _hidden(self, password: bytes) -> bytes:
        """RFC 2865 5.2."""
        password = password[:128]
        padded = password + bytes(-len(password) % 16) if password else bytes(16)
        hidden, before = b"", self._authenticator
        for at in range(0, len(padded), 16):
            mask = hashlib.md5(self._secret + before, usedforsecurity=False).digest()
            before = bytes(a ^ b for a, b in zip(padded[at : at + 16], mask, strict=True))
            hidden += before
        return hidden


def _attribute(kind: int, value: bytes) -> bytes:
    return bytes((kind, 2 + len(value))) + value
