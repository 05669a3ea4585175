"""Check type expect: a preset, or the operator's own steps."""

from collections.abc import Mapping

from hadirector.core.keys import FileText
from hadirector.core.pacing import Outcome
from hadirector.core.settings.checks import Target
from hadirector.core.settings.questions import Dialogue, Preset, Step
from hadirector.shell.probes import (
    base,
    credentials,
    presets_binary,
    presets_datagram,
    presets_text,
)
from hadirector.shell.probes.credentials import Credentials
from hadirector.shell.probes.reply import Reply
from hadirector.shell.probes.script import Failed, Frame, Script, Scripted, Wait
from hadirector.shell.probes.search import Search
from hadirector.shell.probes.tls import Wrap

_LINES = {
    Preset.FTP: presets_text.ftp,
    Preset.IMAP: presets_text.imap,
    Preset.POP: presets_text.pop,
    Preset.NNTP: presets_text.nntp,
    Preset.REDIS: presets_text.redis,
}


class Dialogues:
    """Makes the conversations of probes; they share the search and what files hold."""

    def __init__(self, search: Search, files: Mapping[str, FileText]) -> None:
        self._search = search
        self._files = files

    def plain(self, target: Target) -> base.Conversation | Outcome:
        """A dialogue over TCP."""
        asked, pair = _asked(target), self._pair(target)
        if isinstance(pair, Outcome):
            return pair
        return Scripted(self._script(asked, pair, target))

    def secured(self, target: Target, wrap: Wrap) -> base.Conversation | Outcome:
        """The same inside TLS."""
        talk = self.plain(target)
        return talk if isinstance(talk, Outcome) else wrap(talk)

    def datagram(self, target: Target) -> base.Exchange | Outcome:
        """A preset over UDP."""
        asked, pair = _asked(target), self._pair(target)
        if isinstance(pair, Outcome):
            return pair
        if asked.preset is Preset.SIP:
            return presets_datagram.Sip(target.at, asked.name)
        assert asked.secret_file is not None, "no other preset goes by UDP"
        secret = credentials.line(asked.secret_file, self._files)
        if isinstance(secret, Outcome):
            return secret
        return presets_datagram.Radius(secret.encode(), pair)

    def _pair(self, target: Target) -> Credentials | Outcome | None:
        file = target.check.auth_file
        return credentials.read(file, self._files) if file is not None else None

    def _script(self, asked: Dialogue, pair: Credentials | None, target: Target) -> Script:
        match asked.preset:
            case None:
                return _steps(asked.steps, Reply(self._search))
            case Preset.LDAP:
                return presets_binary.ldap(pair, asked.name)
            case Preset.MYSQL:
                return presets_binary.mysql(pair, asked.user)
            case Preset.PGSQL:
                return presets_binary.pgsql(asked.user, asked.name)
            case Preset.SIP:
                return presets_datagram.sip(target.at, asked.name)
            case _:
                return _LINES[asked.preset](pair)


def _asked(target: Target) -> Dialogue:
    assert target.check.dialogue is not None, "such a check has it from the configuration"
    return target.check.dialogue


def _steps(steps: tuple[Step, ...], reply: Reply) -> Script:
    for step in steps:
        if step.send is not None:
            yield step.send
        else:
            yield Wait(_until(step.expect, reply), f"/{step.expect}/")
    count = f"{len(steps)} steps" if len(steps) > 1 else "1 step"
    return base.good(f"dialogue of {count} well")


def _until(pattern: str, reply: Reply) -> Frame:
    """What came up to the end of the match."""

    def frame(held: bytearray) -> int | None:
        end = reply.end(pattern, held)
        if isinstance(end, Outcome):
            raise Failed(end.detail)
        return end

    return frame
