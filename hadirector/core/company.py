"""The other nodes of a cluster, as this one's director sees them: who lives, and whether any of
them says that it is master of what this node is master of."""

from hadirector.core import director_events as ev
from hadirector.core import messages, peers
from hadirector.core.messages import Process
from hadirector.core.service_news import Change
from hadirector.core.settings.cluster import Config
from hadirector.core.split import Splits

LEVEL_HOLDS = 5.0  # seconds that what is told of them is good for: three tellings may be lost


class Company:
    """`peers` None: not configured yet. What changed is given as what to tell, and whether the
    election is to know at once."""

    def __init__(self, now: float) -> None:
        self.peers: peers.Peers | None = None
        self.splits = Splits()
        self._known_at = now  # before that a peer that did not speak yet may live
        self._looks = False  # whether who is master of what may have changed

    def configure(self, config: Config, now: float) -> list[Change]:
        """Take a configuration."""
        if self.peers is None:
            self.peers = peers.Peers(config)
        else:
            self.peers.follow(config)
        self._known_at = now + peers.SILENCE
        return [Change(*one) for one in self.peers.compare(config.digest)]

    def moved(self) -> None:
        """The own routers' states are told anew."""
        self._looks = True

    def hear(
        self, event: ev.Heard | ev.PeerRefused, config: Config, now: float
    ) -> tuple[list[Change], bool]:
        """A peer's word, or one that is not believed. Who became master or gave it up must be
        known at once; the rest comes again by itself."""
        assert self.peers is not None
        before = self.peers.level()
        if isinstance(event, ev.Heard):
            news = self.peers.hear(event.presence, config.digest, now)
        else:
            news = self.peers.complain(event.node, event.reason)
        self._looks = True
        return [Change(*one) for one in news], self.peers.level() != before

    def age(self, now: float) -> list[Change]:
        """Who fell silent: the election is to know at once."""
        news = self.peers.age(now) if self.peers else []
        self._looks |= bool(news)
        return [Change(*one) for one in news]

    def look(
        self, config: Config, routers: tuple[messages.Router, ...], now: float
    ) -> list[Change]:
        """Whether another node says that it is master of what this one is master of."""
        due = self.splits.deadline()
        if self.peers is None or (not self._looks and (due is None or now < due)):
            return []
        self._looks = False
        return self.splits.look(routers, self.peers.known, config.instances, now)

    def level(self, now: float) -> list[ev.Action]:
        """Who lives; nothing while that is not known. The election keeps what it was told last: a
        director that starts must not make leased addresses permanent and leased again."""
        assert self.peers is not None
        unheard = any(known.heard_at is None for known in self.peers.known.values())
        if unheard and now < self._known_at:
            return []
        return [ev.Send(Process.ELECTION, self.peers.level(), LEVEL_HOLDS)]

    def deadline(self) -> float | None:
        """When `age` or `look` has something to do."""
        due = (self.splits.deadline(), self.peers.deadline() if self.peers else None)
        return min((at for at in due if at is not None), default=None)
