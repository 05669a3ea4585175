"""Check type smtp: greeting, EHLO, where asked for STARTTLS and EHLO once more, QUIT."""

from hadirector.core.settings.checks import Target
from hadirector.shell.probes import base
from hadirector.shell.probes.script import Failed, Script, Scripted, wait_code
from hadirector.shell.probes.tls import Wrap


def plain(target: Target) -> base.Conversation:
    """The conversation of one probe without TLS."""
    return Scripted(_talk(_helo(target), None))


def secured(target: Target, wrap: Wrap) -> base.Conversation:
    """The same with STARTTLS, or inside TLS from the first byte."""
    if wrap.tls.starttls:
        return Scripted(_talk(_helo(target), wrap))
    return wrap(Scripted(_talk(_helo(target), None)))


def _helo(target: Target) -> str:
    assert target.check.smtp is not None, "such a check has it from the configuration"
    return target.check.smtp.helo


def _talk(helo: str, wrap: Wrap | None) -> Script:
    yield from wait_code("greeting", "220")
    yield b"EHLO %s\r\n" % helo.encode("ascii")
    offers = yield from wait_code("reply to EHLO", "250")
    if wrap is None:
        return (yield from _quit("greeting and EHLO"))
    if not any(line[4:].strip().upper() == "STARTTLS" for line in offers):
        raise Failed("does not offer STARTTLS")
    yield b"STARTTLS\r\n"
    yield from wait_code("reply to STARTTLS", "220")
    return wrap(Scripted(_inside(helo)))


def _inside(helo: str) -> Script:
    yield b"EHLO %s\r\n" % helo.encode("ascii")
    yield from wait_code("reply to EHLO inside TLS", "250")
    return (yield from _quit("greeting, STARTTLS and EHLO"))


def _quit(done: str) -> Script:
    yield b"QUIT\r\n"
    yield from wait_code("reply to QUIT", "221")
    return base.good(f"{done} well")
