"""Files with secrets in them. Reading one waits for the disk: never on a loop, but in a thread
(`read_all` does that).

The key file has one `ID HEX` per line, empty lines and lines that begin with `#` aside: ID is 1 to
255 in decimal, HEX 32 to 64 bytes. The first key signs, all of them verify, so that a new one is
appended on every node first, then moved to the top, then the old one is removed.

What is wrong with a file is said with its line, and never with what stands there.
"""

import asyncio
import os
import stat
from collections.abc import Iterator

from hadirector.core.errors import HadirectorError
from hadirector.core.keys import (
    IDENTITIES,
    PASSWORD_SIZE,
    SECRET_SIZES,
    FileText,
    Key,
    Password,
    Secrets,
)
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.instances import AuthenticationKind

PATIENCE = 5.0  # seconds for all files: they are small, but a file system may hang
_LARGEST = 64 * 1024  # bytes; 255 keys of 64 bytes are half of it
_LARGEST_BUNDLE = 1 << 20  # bytes; all authorities of a distribution are 220 KB


class SecretError(HadirectorError):
    """A file that is not there, not readable, or does not hold what it should."""


async def read_all(config: Config) -> tuple[Secrets, tuple[str, ...]]:
    """All that a configuration names, read off the loop; and who may read which and should not, in
    sentences. What cannot be read is among the troubles, by its path."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.to_thread(_read_all, config)
    except TimeoutError:
        text = f"not read within {PATIENCE:g} s: its file system does not answer"
        return Secrets(troubles={path: f"{path}: {text}" for path in files(config)}), ()


def files(config: Config) -> tuple[str, ...]:
    """Every file with a secret that a configuration names."""
    named = [i.authentication.file for i in config.instances]
    checks = [one.auth_file for one in config.checks]
    dialogues = [one.dialogue.secret_file for one in config.checks if one.dialogue]
    return tuple(dict.fromkeys(p for p in (config.key_file, *named, *checks, *dialogues) if p))


def read_keys(path: str) -> tuple[Key, ...]:
    """The keys of a key file in its order, at least one; SecretError."""
    keys: dict[int, Key] = {}
    for place, line in _lines(path):
        words = line.split()
        if len(words) != 2:
            raise SecretError(f"{place}: is not 'ID HEX': write a number and a key of hex digits")
        identity = _identity(words[0], place)
        if identity in keys:
            raise SecretError(f"{place}: key {identity} is there twice: give each its own number")
        keys[identity] = Key(identity, _secret(words[1], place))
    if not keys:
        raise SecretError(f"{path}: holds no key: write one 'ID HEX' per line")
    return tuple(keys.values())


def read_password(path: str) -> Password:
    """The password of a password file, its only line; SecretError."""
    lines = _read(path).splitlines()
    if len(lines) != 1 or not lines[0]:
        raise SecretError(f"{path}: must hold one line, the password")
    text = lines[0][:PASSWORD_SIZE]
    if any(not 0x20 < byte < 0x7F for byte in text):
        raise SecretError(f"{path}:1: only printable ASCII without spaces makes a password")
    return Password(text)


def exposure(path: str) -> str:
    """Who may read a secret and should not, in a sentence; empty when nobody, or no file is there.
    Its group may: the service user reads what root owns."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return ""
    if not mode & stat.S_IRWXO:
        return ""
    return f"{path}: everybody on this machine can reach it (mode {mode:04o}): chmod 0640 {path}"


def _read_all(config: Config) -> tuple[Secrets, tuple[str, ...]]:
    keys: tuple[Key, ...] = ()
    passwords: dict[str, Password] = {}
    troubles: dict[str, str] = {}
    by_check = {path for check in config.checks for path in check.files()}
    texts: dict[str, FileText] = {}
    by_password = {
        i.authentication.file
        for i in config.instances
        if i.authentication.kind is AuthenticationKind.PASS
    }
    for path in dict.fromkeys((*files(config), *by_check)):
        try:
            if path == config.key_file:
                keys = read_keys(path)
            if path in by_password:
                passwords[path] = read_password(path)
            if path in by_check:
                texts[path] = FileText(_read(path, _LARGEST_BUNDLE))
        except SecretError as error:
            troubles[path] = str(error)
    exposed = tuple(text for path in files(config) if (text := exposure(path)))
    return Secrets(keys, passwords, troubles, texts), exposed


def _identity(word: str, place: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 3 and int(word) in IDENTITIES):
        raise SecretError(
            f"{place}: the first word is the key's number: {IDENTITIES[0]} to {IDENTITIES[-1]}"
        )
    return int(word)


def _secret(word: str, place: str) -> bytes:
    try:
        secret = bytes.fromhex(word)
    except ValueError:
        # Without its cause: that one quotes the word.
        raise SecretError(
            f"{place}: the key is not hex: an even number of digits 0-9 a-f"
        ) from None
    if len(secret) not in SECRET_SIZES:
        raise SecretError(
            f"{place}: the key has {len(secret)} bytes: "
            f"{SECRET_SIZES[0]} to {SECRET_SIZES[-1]} are needed (two digits each)"
        )
    return secret


def _lines(path: str) -> Iterator[tuple[str, str]]:
    """What is written, with its place."""
    try:
        text = _read(path).decode("ascii")
    except UnicodeDecodeError:
        raise SecretError(f"{path}: is not text: write one 'ID HEX' per line") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"{path}:{number}", line


def _read(path: str, largest: int = _LARGEST) -> bytes:
    try:
        # Non-blocking: opening a FIFO that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SecretError(f"{path}: is no regular file")
            raw = os.read(descriptor, largest + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror}") from error
    if len(raw) > largest:
        raise SecretError(f"{path}: is larger than {largest} bytes")
    return raw
