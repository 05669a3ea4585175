"""The peer channel as the simulator runs it: no bytes and no keys, but numbers and echoes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from hadirector.core import director_events as ev
from hadirector.core.conversation import Conversation
from hadirector.core.peer_messages import Echo, PeerMessage
from hadirector.core.peers import Presence
from hadirector.core.seal import Flaw, Mark
from tests.sim.host import Host


@dataclass(frozen=True, slots=True)
class Word:
    """A datagram. With a key, what is not new is not believed."""

    sender: str
    mark: Mark
    echo: Mark
    message: PeerMessage


class PeerChannel:
    """One director's end; `emit` sends a word to a peer."""

    def __init__(self, host: Host, emit: Callable[[str, Word], None]) -> None:
        self._host = host
        self._emit = emit
        self._incarnation = host.starts
        self._sequence = 0
        self._keyed = host.config.key_file is not None
        self._talks = {p.name: Conversation(host.starts) for p in host.config.peers}

    def send(self, action: ev.SendPresence | ev.TellPeer) -> None:
        """As the shell does."""
        if isinstance(action, ev.TellPeer):
            if self._keyed:
                self._say(action.node, action.message)
            return
        self._sequence += 1
        said = replace(action.presence, incarnation=self._incarnation, sequence=self._sequence)
        for name in self._talks:
            self._say(name, said)

    def hear(self, word: Word) -> ev.Event | None:
        """What the core is told of a word."""
        talk, now = self._talks[word.sender], self._host.clock()
        flaw = talk.judge(word.mark, word.echo, now) if self._keyed else None
        if flaw is Flaw.STALE and talk.owes_answer(now):
            self._say(word.sender, Echo(), word.mark)
        if flaw is not None or isinstance(word.message, Echo):
            return None
        if isinstance(word.message, Presence):
            return ev.Heard(word.message)
        return ev.PeerSaid(word.sender, word.message)

    def _say(self, to: str, message: PeerMessage, echo: Mark | None = None) -> None:
        talk = self._talks[to]
        mark = talk.next(self._host.clock())
        self._emit(to, Word(self._host.name, mark, echo or talk.heard, message))
