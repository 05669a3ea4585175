"""Drain, disable, enable and weight on two directors: what the kernel, the disk, the peer and the
operator are told."""

from collections import deque
from dataclasses import replace
from itertools import count

from hadirector.core import director_events as ev
from hadirector.core import ipvs, messages, plan
from hadirector.core import troubles as status_troubles
from hadirector.core.admin import Admin
from hadirector.core.director import Director
from hadirector.core.messages import Health, Process
from hadirector.core.overrides import Override, Stamp, Subject
from hadirector.core.peer_messages import Told
from hadirector.core.peers import INTERVAL, Presence
from hadirector.core.requests import OrderKind, OrderServer, Outcome, Verdict
from tests.core import farm
from tests.core.farm import KEY, ONE, TWO

SERVER = f"web/{ONE}"
SEQUENCE = count(1)


class Node:
    """A director whose disk works; what it sends to its peer waits in `out`."""

    def __init__(self, name: str, *, keyed: bool = True, known: tuple[Override, ...] = ()) -> None:
        key_file = "/etc/hadirector/cluster.key" if keyed else None
        self.name = name
        self.core = Director("1", frozenset(), 0.0, overrides=known)
        self.now = 0.0
        self.out: deque[ev.Event] = deque()
        self.replies: list[Outcome] = []
        self.told: list[tuple[str, str, str]] = []
        self.saved: tuple[Override, ...] = known
        self.steps: list[plan.Operation] = []
        self.feed(ev.Configured(replace(farm.CONFIG, node=name, key_file=key_file)))
        self.feed(ev.KernelRead({KEY: farm.entry(3, 1)}, ipvs.Usage(), 0.001))
        up = farm.verdicts((ONE, Health.UP), (TWO, Health.UP))
        self.feed(ev.From(Process.CHECKER, up, float("inf")))
        self.feed(ev.From(Process.CHECKER, messages.Heartbeat(0, 0), float("inf")))

    def feed(self, event: ev.Event) -> None:
        for action in self.core.handle(event, self.now):
            match action:
                case ev.Apply(operations):
                    self.steps += operations
                    self.feed(ev.Applied(frozenset({KEY})))
                case ev.SaveOverrides(orders):
                    self.saved = orders
                    self.feed(ev.OverridesSaved())
                case ev.Reply(_, outcome):
                    self.replies.append(outcome)
                case ev.Write(line):
                    self.told.append((line.kind, line.subject, line.reason))
                case ev.SendPresence(presence):
                    self.out.append(ev.Heard(replace(presence, incarnation=1)))
                case ev.TellPeer(_, message):
                    self.out.append(ev.PeerSaid(self.name, message))

    def order(
        self,
        kind: OrderKind,
        server: str = SERVER,
        weight: int | None = None,
        reason: str = "",
        expires: float | None = None,
    ) -> None:
        unix = 1000.0 + self.now
        self.feed(ev.Asked("t", OrderServer(kind, server, "root", unix, weight, reason, expires)))

    @property
    def weights(self) -> list[int | None]:
        return [server.effective for server in self.core.services.weights["web"].servers]


def meet(one: Node, other: Node, seconds: float = 3.0) -> None:
    """They hear each other for a while."""
    for _ in range(int(seconds / INTERVAL)):
        for node in (one, other):
            node.now += INTERVAL
            node.feed(ev.Woken())
        while one.out or other.out:
            for sender, receiver in ((one, other), (other, one)):
                while sender.out:
                    event = sender.out.popleft()
                    if isinstance(event, ev.Heard):
                        said: Presence = replace(event.presence, sequence=next(SEQUENCE))
                        event = ev.Heard(said)
                    receiver.feed(event)


def pair() -> tuple[Node, Node]:
    one, other = Node("lb1"), Node("lb2")
    meet(one, other)
    return one, other


def test_drain_sets_weight_0_on_both_nodes_and_says_so_when_both_know() -> None:
    one, other = pair()

    one.order(OrderKind.DRAIN, reason="kernel update")
    waits = list(one.replies)
    meet(one, other, 1.0)

    assert waits == []
    assert (
        one.steps
        == other.steps
        == [
            plan.EditDestination(
                KEY, farm.entry(0, 1).destinations[ONE], farm.entry(3, 1).destinations[ONE]
            )
        ]
    )
    line = f"{SERVER}: weight 0: drained by root on lb1 (kernel update); told"
    assert one.replies == [Outcome(Verdict.DONE, (line,))]
    assert ("override", SERVER, "drained by root on lb1 (kernel update); told by lb1") in other.told
    assert [order.admin for order in other.saved] == [Admin.DRAINED]


def test_disable_removes_the_server_and_enable_brings_it_back() -> None:
    one, other = pair()

    one.order(OrderKind.DISABLE, str(ONE.address))
    meet(one, other, 1.0)
    gone = (one.weights, other.weights)
    other.order(OrderKind.ENABLE)
    meet(one, other, 1.0)

    assert gone == ([None, 1], [None, 1])
    assert (one.weights, other.weights) == ([3, 1], [3, 1])


def test_a_weight_replaces_the_configured_one_until_it_is_given_back() -> None:
    one, _ = pair()

    one.order(OrderKind.WEIGHT, weight=9)
    changed = one.weights
    one.order(OrderKind.WEIGHT, weight=None)

    assert (changed, one.weights) == ([9, 1], [3, 1])


def test_an_order_that_expires_ends_by_itself_everywhere_and_is_told() -> None:
    one, other = pair()

    one.order(OrderKind.DRAIN, expires=5.0)
    meet(one, other, 4.0)
    before = (one.weights, other.weights)
    meet(one, other, 2.0)

    assert before == ([0, 1], [0, 1])
    assert (one.weights, other.weights) == ([3, 1], [3, 1])
    ended = ("override_ended", SERVER, "expired: drained by root on lb1, for 5s")
    assert ended in one.told
    assert ended in other.told


def test_orders_hold_for_a_director_that_starts_anew() -> None:
    one, _ = pair()
    one.order(OrderKind.DRAIN)

    again = Node("lb1", known=one.saved)

    assert again.weights == [0, 1]


def test_a_node_that_was_away_learns_what_it_missed_and_tells_what_others_did() -> None:
    one, other = Node("lb1"), Node("lb2")
    one.order(OrderKind.DRAIN, f"web/{ONE}")
    other.now = 1.0
    other.order(OrderKind.DISABLE, f"web/{TWO}")

    meet(one, other)

    assert (one.weights, other.weights) == ([0, None], [0, None])
    assert one.core.orders.overrides.digest() == other.core.orders.overrides.digest()


def test_of_two_orders_given_apart_the_later_one_wins_on_both() -> None:
    one, other = Node("lb1"), Node("lb2")
    one.order(OrderKind.DRAIN)
    other.now = 7.0
    other.order(OrderKind.ENABLE)
    other.now = 0.0

    meet(one, other)

    assert (one.weights, other.weights) == ([3, 1], [3, 1])


def test_who_knows_the_same_tells_nothing() -> None:
    one, other = pair()
    one.order(OrderKind.DRAIN)
    meet(one, other)

    one.now += INTERVAL
    one.feed(ev.Woken())

    assert [type(event) for event in one.out] == [ev.Heard]


def test_without_a_key_an_order_stays_here_and_the_operator_is_told_so() -> None:
    one, other = Node("lb1", keyed=False), Node("lb2", keyed=False)
    meet(one, other)

    one.order(OrderKind.DRAIN)
    meet(one, other)

    assert (one.weights, other.weights) == ([0, 1], [3, 1])
    assert one.replies[0].warnings == (
        "lb2 was not told: without key_file no orders go to peers; give it there, too",
    )


def troubles(node: Node) -> list[str]:
    """Those about orders."""
    told = status_troubles.build(node.core, {})
    return [text for text in told if "know yet" in text or "key_file" in text]


def test_without_a_key_orders_that_are_not_the_same_are_a_trouble_until_they_are() -> None:
    one, other = Node("lb1", keyed=False), Node("lb2", keyed=False)
    one.order(OrderKind.DRAIN, reason="kernel update")
    meet(one, other)

    apart = troubles(one), troubles(other)
    other.order(OrderKind.DRAIN)
    meet(one, other)
    same = troubles(one), troubles(other)
    one.order(OrderKind.ENABLE)
    other.order(OrderKind.ENABLE)
    meet(one, other)

    rest = "without key_file they do not go to peers; give them there, too"
    assert apart == (
        [
            f"orders about servers are not the same here ({SERVER} drained) and on lb2: {rest}",
        ],
        [f"orders about servers are not the same here (none) and on lb1: {rest}"],
    )
    assert same == (troubles(one), troubles(other)) == ([], [])


def test_with_a_key_a_peer_that_is_away_is_a_trouble_until_it_knows() -> None:
    one, other = pair()
    for _ in range(8):
        one.now += INTERVAL
        one.feed(ev.Woken())
    quiet = troubles(one)
    one.order(OrderKind.DRAIN)
    away = troubles(one)
    other.now = one.now
    meet(one, other)

    assert quiet == []
    assert away == [f"lb2 may not know yet: {SERVER} drained; it is told once it is heard"]
    assert troubles(one) == []


def test_a_peer_that_is_away_is_named() -> None:
    one = Node("lb1")

    one.order(OrderKind.DRAIN)

    assert one.replies[0].warnings == ("lb2 is not heard: it learns of this when it is back",)


def test_whoever_takes_the_last_server_out_is_told() -> None:
    one = Node("lb1")
    one.order(OrderKind.DRAIN, f"web/{TWO}")

    one.order(OrderKind.DRAIN)

    assert one.replies[1].warnings[-1] == "web: no server has weight; nobody takes new connections"


def test_a_peer_cannot_order_what_no_operator_could() -> None:
    one = Node("lb1")
    fine = Override(
        Subject("web", ONE.address), None, 5, "", "root", Stamp(10**12, "lb2"), -1.0, None
    )
    unfit = (
        replace(fine, weight=65536),
        replace(fine, weight=-1),
        replace(fine, reason="x" * 201),
        replace(fine, by="a\x1b[2J"),
        replace(fine, stamp=Stamp(2**60, "lb2")),
        replace(fine, subject=replace(fine.subject, port=65536)),
    )

    one.feed(ev.PeerSaid("lb2", Told(unfit)))
    refused = (one.weights, one.saved)
    one.feed(ev.PeerSaid("lb2", Told((fine,))))

    assert refused == ([3, 1], ())
    assert one.weights == [5, 1]


def test_an_unknown_server_is_refused_with_those_that_are_known() -> None:
    one = Node("lb1")

    for server in ("web/10.9.9.9", "shop/10.0.1.11", "nonsense"):
        one.order(OrderKind.DRAIN, server)

    assert one.replies == [
        Outcome(
            Verdict.FAILED, ("no real server is web/10.9.9.9; known: 10.0.1.11:80, 10.0.1.12:80",)
        ),
        Outcome(Verdict.FAILED, ("no service is named 'shop'; known: web",)),
        Outcome(
            Verdict.FAILED,
            ("'nonsense' names no server: write an address, with or without a port",),
        ),
    ]
    assert one.saved == ()


def test_orders_in_force_are_in_status_and_the_servers_admin_state() -> None:
    one = Node("lb1")
    one.order(OrderKind.DRAIN, reason="why", expires=60.0)

    server = one.core.services.weights["web"].servers[0]

    assert server.admin is Admin.DRAINED
    assert server.reason == "drained by root on lb1 (why), for 1m; told"


def test_an_order_during_a_pause_says_that_it_does_nothing_yet() -> None:
    node = Node("lb1")
    node.feed(ev.Paused(600.0))
    node.steps.clear()

    node.order(OrderKind.DRAIN)
    node.now = 3.0
    node.feed(ev.Woken())

    assert node.steps == []
    assert (
        "IPVS is paused: nothing changes in it before the pause ends (`hadirector pause --end`)"
        in node.replies[-1].warnings
    )


def test_an_order_about_a_server_that_left_can_be_taken_back() -> None:
    node = Node("lb1")
    node.order(OrderKind.DRAIN)
    web = replace(farm.WEB, real_servers=farm.WEB.real_servers[1:])
    config = node.core.config
    assert config is not None
    node.feed(ev.Configured(replace(config, services=(web,))))

    node.order(OrderKind.DRAIN)
    node.order(OrderKind.ENABLE)
    node.now = 3.0
    node.feed(ev.Woken())
    node.feed(ev.Configured(config))

    assert [outcome.verdict for outcome in node.replies[-2:]] == [Verdict.FAILED, Verdict.DONE]
    assert node.replies[-1].lines == (f"{SERVER}: taken back; it is not configured now",)
    assert node.core.services.weights["web"].servers[0].admin is Admin.ENABLED
