"""The engines of the check types that ask a server over the network, by type."""

from collections.abc import Mapping

from hadirector.core.keys import FileText
from hadirector.core.settings.checks import CheckType
from hadirector.shell.probes import agent, base, http, tcp, tls
from hadirector.shell.probes.own_link import OwnLink
from hadirector.shell.probes.ping import PingEngine
from hadirector.shell.probes.search import Search
from hadirector.shell.probes.stream import StreamEngine
from hadirector.shell.probes.tls_contexts import Contexts, Prepared


def engines(files: Mapping[str, FileText]) -> dict[CheckType, base.Engine]:
    """`files` are the contents of those that checks name, as its owner keeps them: looked at anew
    for each probe."""
    trouble = OwnLink().trouble
    search, contexts = Search(), Contexts(files)

    def secured(make: tls.Make) -> base.Engine:
        return Prepared(StreamEngine(tls.starter(make, contexts), trouble), contexts)

    return {
        CheckType.TCP: StreamEngine(tcp.begin, trouble),
        CheckType.HTTP: StreamEngine(http.starter(search, files), trouble),
        CheckType.HTTPS: secured(http.secured(search, files)),
        CheckType.TLS: secured(tls.handshake),
        CheckType.PING: PingEngine(trouble),
        CheckType.AGENT: StreamEngine(agent.starter(), trouble),
    }
