"""Both directors check every server: where they do not see the same, it is known and told.

A presence carries what its node cannot reach. A server that one node cannot reach and another can
is no dead server: a cable, a filter or a route is wrong, or one node's own. For a moment they
always differ, as nobody's probes come at the same instant; what differs for PATIENCE seconds is
told, once when it begins and once when it ends, and stands in status meanwhile.

Only peers that run the same configuration and have a verdict of every server are compared.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hadirector.core.peers import Known, View
from hadirector.core.server_health import is_out
from hadirector.core.service_news import Change
from hadirector.core.weight import ServiceWeights

MOST = 200  # servers named in a presence
PATIENCE = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class _Difference:
    """Who sees a server, and who cannot reach it."""

    sees: tuple[str, ...]
    misses: tuple[str, ...]
    since: float

    def words(self, node: str) -> str:
        """For the operator of this node."""
        sees, misses = " and ".join(self.sees), " and ".join(self.misses)
        if self.misses == (node,):
            return f"only this node cannot reach it: {sees} can"
        if self.sees == (node,):
            return f"only this node can reach it: {misses} cannot"
        return f"{misses} cannot reach it: {sees} can"


class Out:
    """The servers that are out by their checks, kept by service so that nobody counts."""

    def __init__(self) -> None:
        self._servers: dict[str, tuple[str, ...]] = {}

    def put(self, service: str, weights: ServiceWeights) -> None:
        """So it is decided now."""
        down = tuple(
            f"{service}/{server.server.endpoint}"
            for server in weights.servers
            if is_out(server.health.health)
        )
        self._servers.pop(service, None)
        if down:
            self._servers[service] = down

    def names(self) -> list[str]:
        """All of them."""
        return [name for names in self._servers.values() for name in names]

    def view(self, settled: bool) -> View:
        """What a presence says."""
        names = self.names()
        return View(settled, tuple(names[:MOST]), max(0, len(names) - MOST))


class Views:
    """What this node and its peers see. `about` says of a server how they differ, by its name."""

    def __init__(self) -> None:
        self.about: dict[str, str] = {}
        self.elsewhere: dict[str, bool] = {}
        """Of the servers that are out here: whether a peer can reach them."""
        self._differ: dict[str, _Difference] = {}
        self._told: set[str] = set()

    def compare(
        self, node: str, own: View, names: Iterable[str], peers: Mapping[str, Known], now: float
    ) -> list[Change]:
        """The own view, with the names of all that is out here, and what peers said last."""
        views = {name: view for name, known in peers.items() if (view := _comparable(known))}
        mine = set(names) if own.settled else set()
        theirs = {name: set(view.down) for name, view in views.items()}
        whole = [name for name, view in views.items() if not view.more]
        self.elsewhere = {
            name: any(name not in theirs[peer] for peer in whole) for name in mine if whole
        }
        before, self._differ = self._differ, {}
        if own.settled and not own.more and len(whole) == len(views) and views:
            for name in mine.union(*theirs.values()):
                misses = ([node] if name in mine else []) + [p for p in views if name in theirs[p]]
                sees = [n for n in (node, *views) if n not in misses]
                if not sees:
                    continue
                found = _Difference(tuple(sees), tuple(misses), now)
                was = before.get(name)
                same = was is not None and (was.sees, was.misses) == (found.sees, found.misses)
                self._differ[name] = was if was is not None and same else found
        return self._tell(node, now)

    def _tell(self, node: str, now: float) -> list[Change]:
        last = {
            name: difference.words(node)
            for name, difference in self._differ.items()
            if now >= difference.since + PATIENCE
        }
        begun = [name for name in last if name not in self._told]
        ended = sorted(self._told - last.keys())
        self._told, self.about = set(last), last
        return [
            *(Change("views_differ", name, last[name]) for name in begun),
            *(Change("views_agree", name, "all directors see the same again") for name in ended),
        ]


def _comparable(known: Known) -> View | None:
    said = known.presence
    if said is None or not known.alive or known.differs or not said.view.settled:
        return None
    return said.view
