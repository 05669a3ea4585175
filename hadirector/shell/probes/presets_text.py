"""Presets of protocols that speak in lines: ftp, imap, pop, nntp, redis. With credentials they log
in, else they stop at the greeting; all of them take their leave."""

from collections.abc import Generator

from hadirector.core.pacing import Outcome
from hadirector.shell.probes import base
from hadirector.shell.probes.credentials import Credentials
from hadirector.shell.probes.script import Failed, Script, Wait, shown, wait_code, wait_line

LINES = 64  # of a server's talk before the answer to a command

Talk = Generator[bytes | Wait, bytes, str]


def ftp(pair: Credentials | None) -> Script:
    """RFC 959."""
    yield from wait_code("greeting", "220")
    if pair is not None:
        yield b"USER %s\r\n" % pair.user.encode()
        lines = yield from wait_code("reply to USER", "331", "230")
        if lines[0].startswith("331"):
            yield b"PASS %s\r\n" % pair.password.encode()
            yield from wait_code("reply to PASS", "230", "202")
    yield b"QUIT\r\n"
    yield from wait_code("reply to QUIT", "221")
    return _well(pair)


def nntp(pair: Credentials | None) -> Script:
    """RFC 3977, RFC 4643."""
    yield from wait_code("greeting", "200", "201")
    if pair is not None:
        yield b"AUTHINFO USER %s\r\n" % pair.user.encode()
        lines = yield from wait_code("reply to AUTHINFO USER", "381", "281")
        if lines[0].startswith("381"):
            yield b"AUTHINFO PASS %s\r\n" % pair.password.encode()
            yield from wait_code("reply to AUTHINFO PASS", "281")
    yield b"QUIT\r\n"
    yield from wait_code("reply to QUIT", "205")
    return _well(pair)


def pop(pair: Credentials | None) -> Script:
    """RFC 1939."""
    yield from _pop_ok("greeting")
    if pair is not None:
        yield b"USER %s\r\n" % pair.user.encode()
        yield from _pop_ok("reply to USER")
        yield b"PASS %s\r\n" % pair.password.encode()
        yield from _pop_ok("reply to PASS")
    yield b"QUIT\r\n"
    yield from _pop_ok("reply to QUIT")
    return _well(pair)


def imap(pair: Credentials | None) -> Script:
    """RFC 9051."""
    line = yield from wait_line("greeting")
    if not line.upper().startswith(("* OK", "* PREAUTH")):
        raise Failed(f"greeting is {shown(line)}, expected * OK")
    if pair is not None:
        yield b"a1 LOGIN %s %s\r\n" % (_quoted(pair.user), _quoted(pair.password))
        yield from _imap_ok("a1", "LOGIN")
    yield b"a2 LOGOUT\r\n"
    yield from _imap_ok("a2", "LOGOUT")
    return _well(pair)


def redis(pair: Credentials | None) -> Script:
    """PING, after AUTH where a password is given; user `default` is how the time before users
    calls them all."""
    if pair is not None:
        words = [b"AUTH", pair.user.encode(), pair.password.encode()]
        yield _resp(*words if pair.user != "default" else (words[0], words[2]))
        line = yield from wait_line("reply to AUTH")
        if line != "+OK":
            raise Failed(f"reply to AUTH is {shown(line)}, expected +OK")
    yield _resp(b"PING")
    line = yield from wait_line("reply to PING")
    if line.startswith("-NOAUTH"):
        raise Failed("wants a password before PING: add 'auth_file'")
    if line != "+PONG":
        raise Failed(f"reply to PING is {shown(line)}, expected +PONG")
    return base.Parting(base.good("PONG"), _resp(b"QUIT"))


def _well(pair: Credentials | None) -> Outcome:
    return base.good("greeting well" if pair is None else "greeting and login well")


def _pop_ok(what: str) -> Talk:
    line = yield from wait_line(what)
    if not line.startswith("+OK"):
        raise Failed(f"{what} is {shown(line)}, expected +OK")
    return line


def _imap_ok(tag: str, command: str) -> Talk:
    for _ in range(LINES):
        line = yield from wait_line(f"reply to {command}")
        if line.startswith(f"{tag} "):
            if not line[len(tag) + 1 :].upper().startswith("OK"):
                raise Failed(f"reply to {command} is {shown(line)}, expected OK")
            return line
    raise Failed(f"over {LINES} lines, and no reply to {command}")


def _quoted(text: str) -> bytes:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'.encode()


def _resp(*words: bytes) -> bytes:
    """A command as Redis reads it: safe whatever is in the words."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
