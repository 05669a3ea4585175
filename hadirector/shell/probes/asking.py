"""The engines of the check types that ask a server over the network, by type."""

from collections.abc import Callable, Mapping
from functools import partial

from hadirector.core.keys import FileText
from hadirector.core.settings.checks import Check, CheckType, Target
from hadirector.core.settings.questions import Transport
from hadirector.shell.marked import Marked
from hadirector.shell.probes import agent, base, dial, dns, http, smtp, tcp, tls, udp
from hadirector.shell.probes.as_client import AsClient
from hadirector.shell.probes.datagram import DatagramEngine
from hadirector.shell.probes.dialogue import Dialogues
from hadirector.shell.probes.own_link import OwnLink
from hadirector.shell.probes.ping import PingEngine
from hadirector.shell.probes.search import Search
from hadirector.shell.probes.stream import Begin, StreamEngine
from hadirector.shell.probes.tls_contexts import Contexts, Prepared


def engines(
    files: Mapping[str, FileText], marked: Marked | None = None
) -> dict[CheckType, base.Engine]:
    """`files` are the contents of those that checks name, as its owner keeps them: looked at anew
    for each probe. `marked` are the sockets for probes as a client."""
    lent = Marked() if marked is None else marked
    trouble = OwnLink().trouble
    search, contexts = Search(), Contexts(files)
    dialogues = Dialogues(search, files)

    def secured(make: tls.Make, connect: dial.Dial = dial.to_server) -> base.Engine:
        return Prepared(StreamEngine(tls.starter(make, contexts), trouble, connect), contexts)

    def both(make: Callable[[dial.Dial], base.Engine]) -> base.Engine:
        """At the server's own address, and as a client."""
        return Either(_as_client, AsClient(make, lent, trouble), make(dial.to_server))

    def plain(begin: Begin) -> base.Engine:
        return both(lambda connect: StreamEngine(begin, trouble, connect))

    return {
        CheckType.TCP: plain(tcp.begin),
        CheckType.HTTP: plain(http.starter(search, files)),
        CheckType.HTTPS: both(partial(secured, http.secured(search, files))),
        CheckType.TLS: both(partial(secured, tls.handshake)),
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
        CheckType.PING: PingEngine(trouble),
        CheckType.AGENT: StreamEngine(lambda _: agent.Talk(), trouble),
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


def _as_client(check: Check) -> bool:
    return check.client is not None


def _uses_tls(check: Check) -> bool:
    return check.tls is not None
