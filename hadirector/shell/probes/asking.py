"""The engines of the check types that ask a server over the network, by type."""

from collections.abc import Callable, Mapping

from hadirector.core.keys import FileText
from hadirector.core.settings.checks import Check, CheckType, Target
from hadirector.core.settings.questions import Transport
from hadirector.shell.probes import base, dns, http, smtp, tcp, tls, udp
from hadirector.shell.probes.datagram import DatagramEngine
from hadirector.shell.probes.dialogue import Dialogues
from hadirector.shell.probes.own_link import OwnLink
from hadirector.shell.probes.search import Search
from hadirector.shell.probes.stream import StreamEngine
from hadirector.shell.probes.tls_contexts import Contexts, Prepared


def engines(files: Mapping[str, FileText]) -> dict[CheckType, base.Engine]:
    """`files` are the contents of those that checks name, as its owner keeps them: looked at anew
    for each probe."""
    trouble = OwnLink().trouble
    search, contexts = Search(), Contexts(files)
    dialogues = Dialogues(search, files)

    def secured(make: tls.Make) -> base.Engine:
        return Prepared(StreamEngine(tls.starter(make, contexts), trouble), contexts)

    return {
        CheckType.TCP: StreamEngine(tcp.begin, trouble),
        CheckType.HTTP: StreamEngine(http.starter(search, files), trouble),
        CheckType.HTTPS: secured(http.secured(search, files)),
        CheckType.TLS: secured(tls.handshake),
        CheckType.UDP: DatagramEngine(udp.starter(search), trouble),
        CheckType.DNS: Either(
            lambda check: check.dns is not None and check.dns.transport is Transport.TCP,
            StreamEngine(dns.by_tcp, trouble),
            DatagramEngine(dns.by_udp, trouble),
        ),
        CheckType.SMTP: Either(_uses_tls, secured(smtp.secured), StreamEngine(smtp.plain, trouble)),
        CheckType.EXPECT: Either(
            lambda check: check.dialogue is not None and check.dialogue.transport is Transport.UDP,
            DatagramEngine(dialogues.datagram, trouble),
            Either(_uses_tls, secured(dialogues.secured), StreamEngine(dialogues.plain, trouble)),
        ),
    }


class Either:
    """One engine for checks that meet a condition, another for the rest."""

    def __init__(
        self, condition: Callable[[Check], bool], then: base.Engine, otherwise: base.Engine
    ) -> None:
        self._condition = condition
        self._then = then
        self._otherwise = otherwise

    def start(self, target: Target, done: base.Done) -> base.Running:
        """Begin; an error is an outcome, never an exception."""
        engine = self._then if self._condition(target.check) else self._otherwise
        return engine.start(target, done)


def _uses_tls(check: Check) -> bool:
    return check.tls is not None
