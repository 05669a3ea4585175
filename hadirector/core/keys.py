"""Secrets as values: what a key file and a password file hold.

Neither shows itself: no repr, and so no log line, journal line or traceback, ever has one in it.
"""

from dataclasses import dataclass, field, replace

from hadirector.core.settings.instances import Authentication, AuthenticationKind

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


@dataclass(frozen=True, slots=True)
class FileText:
    """What stands in a file that a check names: a password, or certificates to trust."""

    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Secrets:
    """All that this node authenticates adverts with, and `files`, which is for the checks alone.
    `passwords`, `files` and `troubles` are by file; a trouble is why the file could not be read, in
    a sentence."""

    keys: tuple[Key, ...] = ()
    passwords: dict[str, Password] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    files: dict[str, FileText] = field(default_factory=dict)

    def of_adverts(self) -> "Secrets":
        """These without what is none of the election's business."""
        return replace(self, files={})

    def keeping(self, before: "Secrets") -> "Secrets":
        """These; but what was known before is kept where its file cannot be read now. A running
        master must not fall for a file that a restarted director may not read."""
        kept = {path: word for path, word in before.passwords.items() if path in self.troubles}
        keys = self.keys or (before.keys if self.troubles else ())
        return Secrets(keys, kept | self.passwords, self.troubles)

    def lack(self, authentication: Authentication) -> str:
        """Why adverts cannot be authenticated so; empty when they can."""
        file = authentication.file or ""
        match authentication.kind:
            case AuthenticationKind.NONE:
                return ""
            case AuthenticationKind.PASS if file in self.passwords:
                return ""
            case AuthenticationKind.HMAC if self.keys:
                return ""
        what = "password" if authentication.kind is AuthenticationKind.PASS else "key"
        why = self.troubles.get(file, f"{file}: not read yet")
        return f"no {what} for its adverts: {why}; mend that, then 'hadirector reload'"
