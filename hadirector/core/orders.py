"""Operators' orders about real servers: drain, enable, disable, weight; on every node of a cluster.

    operator --> OrderServer --> Overrides --> rulings for the services, at once
                                     |
                                     +--> the state directory; the reply waits for it
                                     +--> each peer, by the keyed peer channel

Nodes compare the digests of what they know, which each presence carries; whose differs is told
all, a few orders a second, and takes what is newer. So a node that was away learns what it missed
when it is heard again, and so does the other side. Without a key nothing is told and nothing is
believed: an order is then good on this node only, and the operator is told so.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf

from hadirector.core import director_events as ev
from hadirector.core.address import Endpoint
from hadirector.core.admin import Admin
from hadirector.core.overrides import MOST, Override, Overrides, Subject, lawful, subject
from hadirector.core.peer_messages import Told
from hadirector.core.requests import OrderKind, OrderServer, Outcome, Verdict
from hadirector.core.services import Change, Services
from hadirector.core.settings.cluster import Config
from hadirector.core.situation import Situation
from hadirector.core.takeover import Step

AT_ONCE = 50  # orders in one datagram
TELL_EVERY = 0.9  # seconds between two of them to a peer that knows otherwise
SHOWN = 3  # orders told by name
REPLY_WITHIN = 2.0  # seconds that a reply waits for the disk, and for peers to know

_ADMINS = {
    OrderKind.DRAIN: Admin.DRAINED,
    OrderKind.DISABLE: Admin.DISABLED,
    OrderKind.ENABLE: Admin.ENABLED,
}


PAUSED = "IPVS is paused: nothing changes in it before the pause ends (`hadirector pause --end`)"


@dataclass(slots=True)
class _Waiting:
    """A reply that waits until then; `servers` are those the order is about."""

    token: str
    about: Subject
    servers: tuple[tuple[str, Endpoint], ...]
    warnings: tuple[str, ...]
    until: float


class Orders:
    """One node's. Each method gives what is to be done and told, in order; the director has its
    services ruled anew after each. `situation` is what it knows of the node."""

    def __init__(
        self,
        known: Iterable[Override],
        services: Services,
        situation: Callable[[], Situation | None],
        now: float,
    ) -> None:
        self.overrides = Overrides(known)
        self._services = services
        self._situation = situation
        self._looked_at = now
        self._saving = 0
        self._unsaved = ""
        self._waiting: list[_Waiting] = []
        self._told_at: dict[str, float] = {}
        self._told_to: dict[str, int] = {}  # how far through all orders a peer was told
        self._digest = self.overrides.digest()
        self._expiry = self.overrides.next_expiry(now)
        self.effect = self.overrides.effect(now)  # for peers to compare, also without a key

    def digest(self, config: Config) -> str:
        """What presences carry; empty where nothing would be told."""
        return self._digest if config.key_file is not None else ""

    def deadline(self) -> float:
        """When `due` has something to do."""
        expiry = inf if self._expiry is None else self._expiry
        return min([expiry, *(waiting.until for waiting in self._waiting)])

    def troubles(self, now: float) -> list[str]:
        """Peers that would treat servers otherwise than this node, were they master."""
        here = self._situation()
        if here is None:
            return []
        orders = [f"{order.subject} {order.what}" for order in self.overrides.in_force(now)]
        more = f" and {len(orders) - SHOWN} more" if len(orders) > SHOWN else ""
        ours = ", ".join(orders[:SHOWN]) + more
        told = []
        for name, known in here.peers.items():
            said = known.presence
            if here.config.key_file is not None:
                knows = known.alive or (said is not None and said.overrides == self._digest)
                if ours and not knows:
                    told.append(f"{name} may not know yet: {ours}; it is told once it is heard")
            elif said is not None and said.ordered != self.effect:
                told.append(
                    f"orders about servers are not the same here ({ours or 'none'}) and on {name}: "
                    "without key_file they do not go to peers; give them there, too"
                )
        return told

    # --- in ----------------------------------------------------------------------------------

    def handle(self, event: ev.Asked | ev.PeerSaid | ev.OverridesSaved, now: float) -> list[Step]:
        """What an operator, a peer or the disk says of orders about servers."""
        match event:
            case ev.Asked(token, OrderServer() as order):
                return self._ask(token, order, now)
            case ev.PeerSaid(node, Told() as told):
                return self._hear(node, told, now)
            case ev.OverridesSaved(trouble):
                return self._saved(trouble, now)
            case _:
                return []

    def _ask(self, token: str, request: OrderServer, now: float) -> list[Step]:
        """An operator's; a Reply with this token follows."""
        here = self._situation()
        if here is None:
            return []
        try:
            about = subject(request.server)
        except ValueError as error:
            return [ev.Reply(token, Outcome(Verdict.FAILED, (str(error),)))]
        servers = _matching(about, here.config)
        if not servers and not self._ends(about, request):
            return [ev.Reply(token, Outcome(Verdict.FAILED, (_unknown(about, here.config),)))]
        order = Override(
            subject=about,
            admin=_ADMINS.get(request.kind),
            weight=request.weight,
            reason=request.reason,
            by=request.by,
            stamp=self.overrides.stamp(here.config.node, request.unix),
            at=now,
            expires_at=None if request.expires is None else now + request.expires,
        )
        self.overrides.forget(now)
        if not self.overrides.take(order):
            text = f"{MOST} orders are known already: too many"
            return [ev.Reply(token, Outcome(Verdict.REFUSED, (text,)))]
        told = Change("override", str(about), f"{order.what} {order.why}")
        steps = self._changed(now)
        until = now + REPLY_WITHIN
        self._waiting.append(_Waiting(token, about, servers, _warnings(here), until))
        return [told, *steps, *self._tell([order], here, now)]

    def _ends(self, about: Subject, request: OrderServer) -> bool:
        """Whether it takes back an order about a server that left the configuration meanwhile: it
        would wait there for the server's return."""
        back = request.kind is OrderKind.ENABLE or (
            request.kind is OrderKind.WEIGHT and request.weight is None
        )
        return back and any(order.subject == about for order in self.overrides)

    def _hear(self, node: str, message: Told, now: float) -> list[Step]:
        """A peer with our key tells orders; `at` is negative there: so long ago."""
        orders = [order.shifted(now) for order in message.orders if lawful(order)]
        newer = [order for order in orders if self.overrides.take(order)]
        if not newer:
            return []
        told: list[Step] = [
            Change("override", str(order.subject), f"{order.what} {order.why}; told by {node}")
            for order in newer
        ]
        return told + self._changed(now)

    def heard(self, node: str, digest: str, now: float) -> list[Step]:
        """A presence came: the digest of what that peer knows."""
        here = self._situation()
        if here is None or here.config.key_file is None:
            return []
        if digest in ("", self._digest):
            self._told_to.pop(node, None)
            return self._reply(now)
        if now < self._told_at.get(node, -inf) + TELL_EVERY:
            return []
        every = sorted(self.overrides, key=lambda order: order.stamp, reverse=True)
        begin = self._told_to.get(node, 0) if every else 0
        begin = 0 if begin >= len(every) else begin
        self._told_to[node] = begin + AT_ONCE
        return self._tell(every[begin : begin + AT_ONCE], here, now, node)

    def _saved(self, trouble: str, now: float) -> list[Step]:
        """They were written; `trouble` says why not."""
        self._saving -= 1
        self._unsaved = trouble
        return self._reply(now)

    def due(self, now: float) -> list[Step]:
        """Time passed."""
        told: list[Step] = [
            Change("override_ended", str(order.subject), f"expired: {order.what} {order.why}")
            for order in self.overrides.expired(self._looked_at, now)
        ]
        self._looked_at = now
        self._expiry = self.overrides.next_expiry(now)
        self.effect = self.overrides.effect(now)
        return told + self._reply(now)

    # --- out ---------------------------------------------------------------------------------

    def _changed(self, now: float) -> list[Step]:
        self._digest = self.overrides.digest()
        self._expiry = self.overrides.next_expiry(now)
        self.effect = self.overrides.effect(now)
        self._saving += 1
        return [ev.SaveOverrides(tuple(self.overrides))]

    def _tell(
        self, orders: Iterable[Override], here: Situation, now: float, only: str = ""
    ) -> list[Step]:
        """To each peer, or to one; without a key to nobody."""
        if here.config.key_file is None:
            return []
        told = Told(tuple(order.shifted(-now) for order in orders))
        names = [only] if only else [node.name for node in here.config.peers]
        self._told_at |= dict.fromkeys(names, now)
        return [ev.TellPeer(name, told) for name in names]

    def _reply(self, now: float) -> list[Step]:
        """Answer what was saved and is known to every peer that lives, or has waited enough."""
        here = self._situation()
        if here is None or not self._waiting:
            return []
        behind = self._behind(here)
        settled = self._saving == 0 and not behind
        ready = [waiting for waiting in self._waiting if settled or now >= waiting.until]
        self._waiting = [waiting for waiting in self._waiting if waiting not in ready]
        trouble = self._unsaved or ("not written to the disk yet" if self._saving else "")
        lost = (f"a restart would forget this: {trouble}",) if trouble else ()
        late = tuple(f"{name} did not say yet that it knows of it" for name in behind)
        return [
            ev.Reply(
                waiting.token,
                Outcome(
                    Verdict.DONE,
                    tuple(_became(name, server, self._services) for name, server in waiting.servers)
                    or (f"{waiting.about}: taken back; it is not configured now",),
                    (*waiting.warnings, *_alone(waiting.servers, self._services), *lost, *late),
                ),
            )
            for waiting in ready
        ]

    def _behind(self, here: Situation) -> list[str]:
        """The living peers that do not know all of it."""
        if here.config.key_file is None:
            return []
        return [
            name
            for name, known in here.peers.items()
            if known.alive and known.presence and known.presence.overrides != self._digest
        ]


def _matching(about: Subject, config: Config) -> tuple[tuple[str, Endpoint], ...]:
    return tuple(
        (service.name, server.endpoint)
        for service in config.services
        for server in service.real_servers
        if about.concerns(service.name, server.endpoint)
    )


def _unknown(about: Subject, config: Config) -> str:
    services = [s for s in config.services if about.service in ("", s.name)]
    if about.service and not services:
        known = ", ".join(service.name for service in config.services) or "none"
        return f"no service is named {about.service!r}; known: {known}"
    if any(s.fallback and s.fallback.endpoint.address == about.address for s in services):
        return f"{about} is a fallback: it has weight only while no server has one"
    names = dict.fromkeys(str(r.endpoint) for s in services for r in s.real_servers)
    some = ", ".join([*names][:8]) + (" ..." if len(names) > 8 else "")
    return f"no real server is {about}; known: {some or 'none'}"


def _warnings(here: Situation) -> tuple[str, ...]:
    """Who does not learn of an order, and when it does nothing yet."""
    paused = (PAUSED,) if here.paused else ()
    others = [node.name for node in here.config.peers]
    if others and here.config.key_file is None:
        names = ", ".join(others)
        text = f"{names} was not told: without key_file no orders go to peers; give it there, too"
        return (*paused, text)
    away = [name for name in others if not (name in here.peers and here.peers[name].alive)]
    unheard = (f"{name} is not heard: it learns of this when it is back" for name in away)
    return (*paused, *unheard)


def _became(name: str, server: Endpoint, services: Services) -> str:
    """What an order made of one server."""
    for found in services.weights[name].servers if name in services.weights else ():
        if found.server.endpoint == server:
            weight = "not in IPVS" if found.effective is None else f"weight {found.effective}"
            return f"{name}/{server}: {weight}: {found.reason}"
    return f"{name}/{server}: no longer configured"


def _alone(servers: Iterable[tuple[str, Endpoint]], services: Services) -> list[str]:
    """Services in which nobody takes new connections now."""
    told = []
    for name in dict.fromkeys(name for name, _ in servers):
        weights = services.weights.get(name)
        if weights is None or weights.serving:
            continue
        who = "its fallback takes" if weights.fallback else "nobody takes"
        told.append(f"{name}: no server has weight; {who} new connections")
    return told
