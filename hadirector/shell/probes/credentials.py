"""What a check names a file for: `user:password` in its first line. Never shown: no repr has it."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from hadirector.core.keys import FileText
from hadirector.core.pacing import Cause, Outcome
from hadirector.shell.probes.tls_contexts import lacking


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we say we are."""

    user: str
    password: str = field(repr=False)

    def basic(self) -> str:
        """As RFC 7617 has it in a header field."""
        return "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


def read(path: str, files: Mapping[str, FileText]) -> Credentials | Outcome:
    """The pair that a file holds, or why there is none."""
    text = line(path, files)
    if isinstance(text, Outcome):
        return text
    user, colon, password = text.partition(":")
    if not colon or not user:
        return Outcome(Cause.OURS, f"{path}: its first line is not 'user:password'")
    return Credentials(user, password)


def line(path: str, files: Mapping[str, FileText]) -> str | Outcome:
    """The first line of a file; a secret that goes into a line of a protocol must be one."""
    if path not in files:
        return lacking(path)
    lines = files[path].raw.decode("utf-8", "replace").splitlines()
    if not lines or not lines[0] or not lines[0].isprintable():
        return Outcome(Cause.OURS, f"{path}: its first line is empty or not printable")
    return lines[0]
