"""A director on a desk as its operator and its peer see it."""

from dataclasses import dataclass, field, replace

from hadirector.core import director_events as ev
from hadirector.core import messages, peers
from hadirector.core.address import Address, Family
from hadirector.core.director import Director
from hadirector.core.messages import OrderKind, Process, RouterStateName
from hadirector.core.peer_messages import Answer, Keyed
from hadirector.core.requests import Outcome, Request
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.instances import SyncGroup
from hadirector.core.stance import Since, Stance
from tests.core import farm
from tests.core.desk import read
from tests.core.electorate import FRONT, INSIDE

MASTER, BACKUP, FAULT = RouterStateName.MASTER, RouterStateName.BACKUP, RouterStateName.FAULT
KEYED = replace(
    farm.CONFIG, key_file="/etc/hadirector/cluster.key", instances=(FRONT, INSIDE), services=()
)
KEYLESS = replace(KEYED, key_file=None)
GROUP = replace(KEYED, sync_groups=(SyncGroup("director", ("front", "inside")),))
READY = peers.Presence(
    "shop",
    "lb2",
    1,
    1,
    "d1",
    "1",
    True,
    "all well",
    routers={"front/ipv4": "backup", "inside/ipv4": "backup"},
)

UNREADY = replace(READY, ready=False, reason="IPVS was not read yet")


def router(
    name: str,
    state: RouterStateName,
    since: float = 0.0,
    leaving: bool = False,
    family: Family = 4,
) -> messages.Router:
    return messages.Router(
        instance=name,
        family=family,
        state=state,
        priority=150,
        effective_priority=150,
        master=Address("192.0.2.2"),
        since=since,
        reason="told by the test",
        inputs={},
        addresses=(),
        counters={},
        leased=False,
        leaving=leaving,
    )


@dataclass
class Desk:
    """A director, what it ordered since last asked, and the answers to the operator."""

    config: Config = KEYED
    stance: Stance = field(default_factory=Stance)
    now: float = 0.0
    disk: bool = True  # answers at once
    orders: list[messages.Order] = field(default_factory=list)
    said: list[tuple[str, Keyed]] = field(default_factory=list)
    saved: list[Stance] = field(default_factory=list)
    replies: list[Outcome] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    level: messages.Stance = field(default_factory=messages.Stance)

    def __post_init__(self) -> None:
        self.core = Director("1", frozenset(), 0.0, (), self.stance)
        self.feed(ev.Configured(self.config))
        self.feed(read({}))

    def feed(self, event: ev.Event) -> None:
        for action in self.core.handle(event, self.now):
            match action:
                case ev.Send(Process.ELECTION, messages.Order() as order, _):
                    self.orders.append(order)
                case ev.Send(Process.ELECTION, messages.Stance() as level, _):
                    self.level = level
                case ev.TellPeer(node, message):
                    self.said.append((node, message))
                case ev.SaveStance(stance):
                    self.saved.append(stance)
                    if self.disk:
                        self.feed(ev.StanceSaved())
                case ev.Reply(_, outcome):
                    self.replies.append(outcome)
                case ev.Write(line):
                    self.events.append((line.kind, line.subject, line.reason))
                case _:
                    pass

    def routers(self, *routers: messages.Router) -> None:
        """The own election tells."""
        self.feed(ev.From(Process.ELECTION, messages.Routers(routers), float("inf")))

    def hears(self, presence: peers.Presence) -> None:
        self.feed(ev.Heard(presence))

    def ask(self, request: Request, token: str = "t") -> None:
        self.feed(ev.Asked(token, request))

    def answer(self, refusal: str = "", *, taken: bool = False, token: str = "t") -> None:
        """lb2 answers."""
        self.feed(ev.PeerSaid("lb2", Answer(token, taken, refusal)))

    def obey(self, refused: str = "") -> None:
        """The own election answers all that it was ordered."""
        for order in self.orders:
            answer = messages.Obeyed(order.token, refused)
            self.feed(ev.From(Process.ELECTION, answer, float("inf")))

    def wake(self, now: float) -> None:
        self.now = now
        self.feed(ev.Woken())

    def take_orders(self) -> list[tuple[OrderKind, str]]:
        taken = [(order.kind, order.subject) for order in self.orders]
        self.orders.clear()
        return taken

    def take_said(self) -> list[tuple[str, Keyed]]:
        said = list(self.said)
        self.said.clear()
        return said


def master(config: Config = KEYED, presence: peers.Presence | None = READY) -> Desk:
    """A director whose node is master of front and inside, with a peer that is ready."""
    desk = Desk(config)
    desk.routers(router("front", MASTER), router("inside", MASTER))
    if presence is not None:
        desk.hears(presence)
    return desk


def held(config: Config = KEYED) -> Desk:
    """A director of a node that handed front over in a former life."""
    desk = Desk(config, Stance(None, {"front": Since(-50.0, "handed over to lb2")}))
    desk.routers(router("front", BACKUP), router("inside", BACKUP))
    return desk
