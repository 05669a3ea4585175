"""Secrets as values: what a key file and a password file hold.

Neither shows itself: no repr, and so no log line, journal line or traceback, ever has one in it.
"""

from dataclasses import dataclass, field

IDENTITIES = range(1, 256)  # one byte of the auth_hmac trailer; keepalived has no key 0
SECRET_SIZES = range(32, 65)  # bytes; longer ones HMAC-SHA256 would hash first
PASSWORD_SIZE = 8  # bytes: RFC 2338 5.3.10


@dataclass(frozen=True, slots=True)
class Key:
    """One shared key of the cluster, told from the others by its number."""

    identity: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Password:
    """The password of VRRPv2, cut to what the packet has room for."""

    text: bytes = field(repr=False)
