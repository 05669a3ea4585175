"""core/operations: handover, release and standby as one director lives through them."""

from dataclasses import dataclass, field, replace

import pytest

from hadirector.core import director_events as ev
from hadirector.core import messages, peers
from hadirector.core.address import Address, Family
from hadirector.core.director import Director
from hadirector.core.messages import OrderKind, Process, RouterStateName
from hadirector.core.peer_messages import Answer, Order, Prepare, TakeOver
from hadirector.core.requests import HandOver, Outcome, Release, Request, StandBy, Verdict
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.instances import SyncGroup
from hadirector.core.stance import Since, Stance
from tests.core import farm
from tests.core.desk import DONE, from_checker, read
from tests.core.electorate import FRONT, INSIDE
from tests.core.farm import ONE, TWO

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
    said: list[tuple[str, Order]] = field(default_factory=list)
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

    def take_said(self) -> list[tuple[str, Order]]:
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


# --- a handover with a key -------------------------------------------------------------------


def test_the_successor_is_asked_then_the_own_election_yields_then_the_successor_takes_over() -> (
    None
):
    desk = master()

    desk.ask(HandOver("front", reason="new NIC"))
    assert desk.take_said() == [("lb2", Prepare("t", ("front",)))]
    assert desk.orders == []
    assert desk.level == messages.Stance()

    desk.answer()
    assert desk.orders == [messages.Order(OrderKind.YIELD, "t/front", "front")]
    assert desk.level == messages.Stance(held=("front",))
    assert desk.take_said() == []

    desk.now = 0.002
    desk.obey()
    assert desk.take_said() == [("lb2", TakeOver("t", ("front",)))]

    desk.answer(taken=True)
    desk.now = 0.03
    desk.routers(router("front", BACKUP, since=0.011), router("inside", MASTER))
    assert desk.replies == [Outcome(Verdict.DONE, ("front: lb2 took over in 9 ms",))]
    assert desk.saved[-1].holds == {"front": Since(0.0, "handed over to lb2: new NIC")}
    assert desk.events[-1] == ("handover", "front", "lb2 took over in 9 ms")


def test_questions_are_repeated_until_they_are_answered() -> None:
    desk = master()
    desk.ask(HandOver("front"))
    for tenth in (1, 2, 3):
        desk.wake(tenth * 0.101)
    assert [said for _, said in desk.take_said()] == [Prepare("t", ("front",))] * 4

    desk.answer()
    desk.obey()
    for tenth in (5, 6):
        desk.wake(tenth * 0.101)
    assert [said for _, said in desk.take_said()] == [TakeOver("t", ("front",))] * 3

    desk.answer(taken=True)
    desk.wake(0.9)
    assert desk.take_said() == []


def test_what_moves_together_is_handed_over_and_held_together() -> None:
    desk = master(GROUP)

    desk.ask(HandOver("inside"))
    desk.answer()
    desk.obey()

    assert desk.take_orders() == [(OrderKind.YIELD, "front"), (OrderKind.YIELD, "inside")]
    assert desk.level == messages.Stance(held=("front", "inside"))
    desk.routers(router("front", BACKUP), router("inside", MASTER, leaving=True))
    assert desk.replies == []
    desk.routers(router("front", BACKUP), router("inside", BACKUP))
    assert desk.replies[0].verdict is Verdict.DONE


def test_without_a_name_all_that_this_node_is_master_of_is_handed_over() -> None:
    desk = Desk()
    desk.routers(router("front", BACKUP), router("inside", MASTER))
    desk.hears(READY)

    desk.ask(HandOver())
    desk.answer()

    assert desk.take_orders() == [(OrderKind.YIELD, "inside")]


def test_of_families_that_are_not_coupled_the_one_this_node_has_is_handed_over() -> None:
    desk = Desk()
    desk.routers(router("front", BACKUP), router("front", MASTER, family=6))
    desk.hears(READY)

    desk.ask(StandBy(on=True))
    desk.answer()
    desk.obey()
    desk.routers(router("front", BACKUP), router("front", BACKUP, since=0.02, family=6))

    assert desk.take_orders() == [(OrderKind.YIELD, "front")]
    assert desk.replies == [Outcome(Verdict.DONE, ("front: lb2 took over in 20 ms",))]


def test_a_successor_that_refuses_costs_nothing() -> None:
    desk = master()
    desk.ask(HandOver("front"))

    desk.answer("not ready: 3 servers wait for a verdict")

    text = "lb2: not ready: 3 servers wait for a verdict (--force hands over all the same)"
    assert desk.replies == [Outcome(Verdict.REFUSED, (text,))]
    assert desk.orders == []
    assert desk.saved == []


def test_a_successor_that_does_not_answer_is_none() -> None:
    desk = master()
    desk.ask(HandOver("front"))
    desk.hears(replace(READY, sequence=2))

    desk.wake(1.0)

    text = "lb2 does not answer on the peer channel (--force hands over all the same)"
    assert desk.replies == [Outcome(Verdict.REFUSED, (text,))]
    assert desk.orders == []


def test_a_successor_that_cannot_makes_this_node_go_on_at_once() -> None:
    desk = master()
    desk.ask(HandOver("front"))
    desk.answer()
    desk.obey()
    desk.take_orders()

    desk.answer("front is in fault: eth0 is down", taken=True)

    assert desk.take_orders() == [(OrderKind.TAKE_OVER, "front")]
    assert desk.level == messages.Stance()
    text = "lb2 could not take over: front is in fault: eth0 is down; this node goes on"
    assert desk.replies == [Outcome(Verdict.FAILED, (text,))]


def test_if_nobody_takes_over_the_hold_ends_and_that_is_told() -> None:
    desk = master()
    desk.ask(HandOver("front"))
    desk.answer()
    desk.obey()
    desk.routers(router("front", MASTER, leaving=True), router("inside", MASTER))

    desk.now = 1.0
    desk.routers(router("front", MASTER), router("inside", MASTER))

    text = "front: nobody took over; this node is master again"
    assert desk.replies == [Outcome(Verdict.FAILED, (text,))]
    assert desk.level == messages.Stance()
    assert desk.events[-1][0] == "handover_failed"


def test_a_report_from_before_the_order_is_not_taken_for_a_failure() -> None:
    desk = master()
    desk.ask(HandOver("front"))
    desk.answer()
    desk.obey()

    desk.routers(router("front", MASTER), router("inside", MASTER))

    assert desk.replies == []


def test_an_election_that_tells_nothing_is_not_waited_for_for_ever() -> None:
    desk = master()
    desk.ask(HandOver("front"))
    desk.answer()
    desk.wake(1.9)
    assert desk.replies == []

    desk.wake(2.0)

    assert desk.replies == [Outcome(Verdict.FAILED, ("the election does not answer",))]
    assert desk.level == messages.Stance()


def test_one_handover_at_a_time() -> None:
    desk = master()
    desk.ask(HandOver("front"))

    for request in (HandOver("inside"), Release(), StandBy(on=True)):
        desk.ask(request, "another")

    text = "a handover of front is under way"
    assert desk.replies == [Outcome(Verdict.REFUSED, (text,))] * 3


def test_answers_of_others_or_to_others_change_nothing() -> None:
    desk = master()
    desk.ask(HandOver("front"))

    desk.feed(ev.PeerSaid("lb3", Answer("t", taken=False)))
    desk.answer(token="older")
    desk.answer(taken=True)

    assert desk.orders == []


# --- without a key, and with strangers -------------------------------------------------------


def test_without_a_key_priority_0_alone_moves_it() -> None:
    desk = master(KEYLESS)

    desk.ask(HandOver("front"))
    desk.obey()
    assert desk.take_said() == []
    desk.routers(router("front", BACKUP, since=0.612), router("inside", MASTER))

    assert desk.replies == [Outcome(Verdict.DONE, ("front: lb2 took over in 612 ms",))]


def test_beside_a_foreign_router_it_is_tried_and_told() -> None:
    desk = master(KEYED, None)

    desk.ask(HandOver("front"))
    desk.obey()
    desk.routers(router("front", BACKUP, since=1.5), router("inside", MASTER))

    warning = (
        "lb2 was never heard on the peer channel: handing over by priority 0, to whoever hears it"
    )
    lines = ("front: 192.0.2.2 took over in 1.5 s",)
    assert desk.replies == [Outcome(Verdict.DONE, lines, (warning,))]


# --- refused at once -------------------------------------------------------------------------

UNREADY = replace(READY, ready=False, reason="IPVS was not read yet")


@pytest.mark.parametrize(
    ("presence", "why"),
    [
        (UNREADY, "lb2 is not ready: IPVS was not read yet"),
        (replace(READY, standby=True), "lb2 is in standby"),
        (replace(READY, routers={"front/ipv4": "fault"}), "front/ipv4 is in fault on lb2"),
        (replace(READY, routers={}), "lb2 does not run front"),
    ],
)
def test_a_peer_that_is_not_fit_is_not_handed_over_to(presence: peers.Presence, why: str) -> None:
    desk = master(presence=presence)

    desk.ask(HandOver("front"))

    text = f"{why} (--force hands over all the same)"
    assert desk.replies == [Outcome(Verdict.REFUSED, (text,))]
    assert desk.events[-1] == ("handover_refused", "front", why)
    assert desk.said == []


def test_a_service_that_is_up_here_and_below_quorum_there_is_against_it() -> None:
    desk = Desk(replace(KEYED, services=(farm.WEB,)))
    desk.feed(from_checker(farm.verdicts((ONE, messages.Health.UP), (TWO, messages.Health.UP))))
    desk.feed(DONE)
    desk.routers(router("front", MASTER), router("inside", MASTER))
    desk.hears(replace(READY, services={"web": False}))

    desk.ask(HandOver("front"))

    assert desk.replies[0].lines[0].startswith("web is below quorum on lb2, and up here")


def test_a_peer_that_fell_silent_is_not_handed_over_to() -> None:
    desk = master()
    desk.wake(2.5)

    desk.ask(HandOver("front"))

    text = "lb2 is silent on the peer channel (--force hands over all the same)"
    assert desk.replies == [Outcome(Verdict.REFUSED, (text,))]


def test_a_peer_whose_signature_is_not_believed_is_named_with_that() -> None:
    desk = master(KEYED, None)
    desk.feed(ev.PeerRefused("lb2", "lb2 signs with a key we do not have (id 2)"))

    desk.ask(HandOver("front"))

    assert desk.replies[0].lines[0].startswith("lb2 signs with a key we do not have (id 2)")
    assert ("peer_refused", "lb2", "lb2 signs with a key we do not have (id 2)") in desk.events


def test_force_hands_over_all_the_same_without_asking() -> None:
    desk = master(presence=UNREADY)

    desk.ask(HandOver("front", force=True))
    desk.obey()

    assert desk.take_said() == [("lb2", TakeOver("t", ("front",)))]
    desk.routers(router("front", BACKUP, since=0.01), router("inside", MASTER))
    warnings = ("forced although lb2 is not ready: IPVS was not read yet",)
    assert desk.replies[0].warnings == warnings


def test_another_configuration_is_a_warning() -> None:
    desk = master(presence=replace(READY, digest="d2"))
    desk.ask(HandOver("front"))
    desk.answer()
    desk.obey()
    desk.routers(router("front", BACKUP), router("inside", MASTER))

    assert desk.replies[0].warnings == ("lb2 runs another configuration than this node",)


@pytest.mark.parametrize(
    ("subject", "verdict", "text"),
    [
        ("frnt", Verdict.FAILED, "no instance or sync group is named 'frnt'; known: front, inside"),
        (
            "inside",
            Verdict.REFUSED,
            "inside: this node is backup; its master is 192.0.2.2: ask there",
        ),
        ("", Verdict.REFUSED, "master of nothing here"),
    ],
)
def test_what_is_not_here_cannot_be_handed_over(subject: str, verdict: Verdict, text: str) -> None:
    desk = Desk()
    desk.routers(router("front", BACKUP), router("inside", BACKUP))
    desk.hears(READY)

    desk.ask(HandOver(subject))

    assert desk.replies == [Outcome(verdict, (text,))]


def test_of_several_peers_the_best_that_is_fit_is_asked() -> None:
    config = replace(KEYED, nodes=(*KEYED.nodes, replace(KEYED.nodes[1], name="lb3", priority=120)))
    desk = master(config)
    desk.hears(replace(READY, node="lb3", ready=False))

    desk.ask(HandOver("front"))
    assert desk.take_said() == [("lb2", Prepare("t", ("front",)))]

    desk.wake(1.0)
    desk.hears(replace(READY, sequence=3))
    desk.hears(replace(READY, node="lb3", sequence=3))
    desk.ask(HandOver("front"), "u")
    assert ("lb3", Prepare("u", ("front",))) in desk.take_said()


# --- the hold --------------------------------------------------------------------------------


def held(config: Config = KEYED) -> Desk:
    """A director of a node that handed front over in a former life."""
    desk = Desk(config, Stance(None, {"front": Since(-50.0, "handed over to lb2")}))
    desk.routers(router("front", BACKUP), router("inside", BACKUP))
    return desk


def test_an_election_is_told_of_a_hold_with_its_settings() -> None:
    core = Director("1", frozenset(), 0.0, (), Stance(None, {"front": Since(0.0, "x")}))

    actions = core.handle(ev.Configured(KEYED), 0.0)

    told = [a.message for a in actions if isinstance(a, ev.Send) and a.to is Process.ELECTION]
    assert isinstance(told[0], messages.ElectionSettings)
    assert told[0].stance == messages.Stance(held=("front",))
    assert messages.Stance(held=("front",)) in told[1:]


def test_a_release_ends_the_hold_on_disk_as_well() -> None:
    desk = held()

    desk.ask(Release("front"))

    assert desk.level == messages.Stance()
    assert desk.saved == [Stance()]
    line = "front: released; preempts as configured (always)"
    assert desk.replies == [Outcome(Verdict.DONE, (line,))]


def test_a_release_of_nothing_is_fine_and_says_so() -> None:
    desk = master()

    desk.ask(Release())

    assert desk.replies == [Outcome(Verdict.DONE, ("nothing was held back",))]
    assert desk.saved == []


def test_a_hold_ends_when_this_node_is_master_all_the_same() -> None:
    desk = held()

    desk.routers(router("front", MASTER), router("inside", BACKUP))

    assert desk.level == messages.Stance()
    assert desk.events[-1] == (
        "hold_ended",
        "front",
        "this node is master again: told by the test",
    )


def test_a_hold_does_not_end_while_one_family_is_still_handed_over() -> None:
    desk = held()

    desk.routers(router("front", BACKUP), router("front", MASTER, family=6))

    assert desk.level == messages.Stance(held=("front",))


def test_a_hold_ends_with_its_instance() -> None:
    desk = held()

    desk.feed(ev.Configured(replace(KEYED, instances=(INSIDE,))))

    assert desk.level == messages.Stance()


def test_a_reply_waits_for_the_disk_and_says_when_it_does_not_write() -> None:
    desk = held()
    desk.disk = False
    desk.ask(Release("front"))
    assert desk.replies == []

    desk.feed(ev.StanceSaved("/var/lib: No space left on device"))

    assert desk.replies[0].warnings == (
        "a restart would forget this: /var/lib: No space left on device",
    )


def test_a_reply_does_not_wait_for_ever_for_the_disk() -> None:
    desk = held()
    desk.disk = False
    desk.ask(Release("front"))

    desk.wake(2.0)

    warning = "a restart would forget this: not written to the disk yet"
    assert desk.replies[0].warnings == (warning,)


# --- standby ---------------------------------------------------------------------------------


def test_standby_hands_over_everything_and_stays_out() -> None:
    desk = master()

    desk.ask(StandBy(on=True, reason="kernel"))
    desk.answer()
    assert desk.level == messages.Stance(standby=True)
    assert desk.orders[0].kind is OrderKind.YIELD
    desk.obey()
    desk.routers(router("front", BACKUP, since=0.01), router("inside", BACKUP, since=0.01))

    assert desk.replies[0].verdict is Verdict.DONE
    assert desk.saved[-1] == Stance(Since(0.0, "kernel"))
    assert not desk.core.operations.stance.holds


def test_standby_that_cannot_hand_over_is_refused_and_begins_nothing() -> None:
    desk = master(presence=UNREADY)

    desk.ask(StandBy(on=True))

    assert desk.replies[0].verdict is Verdict.REFUSED
    assert desk.saved == []


def test_forced_standby_stays_even_if_nobody_takes_over() -> None:
    desk = master(presence=UNREADY)
    desk.ask(StandBy(on=True, force=True))
    desk.obey()
    leaving = (router("front", MASTER, leaving=True), router("inside", MASTER, leaving=True))
    desk.routers(*leaving)

    desk.routers(router("front", MASTER), router("inside", MASTER))

    assert desk.replies[0].verdict is Verdict.FAILED
    assert desk.level == messages.Stance(standby=True)
    assert desk.events[-1][0] == "standby_serves"


def test_standby_of_a_backup_begins_at_once_and_twice_is_once() -> None:
    desk = Desk()
    desk.routers(router("front", BACKUP), router("inside", BACKUP))

    desk.ask(StandBy(on=True))
    desk.ask(StandBy(on=True))

    lines = [reply.lines for reply in desk.replies]
    assert lines == [("in standby; this node was master of nothing",), ("in standby already",)]
    assert desk.level == messages.Stance(standby=True)


def test_a_node_in_standby_that_serves_says_so_once() -> None:
    desk = Desk(KEYED, Stance(Since(0.0, "kernel")))
    desk.routers(router("front", BACKUP), router("inside", BACKUP))

    for _ in range(3):
        desk.routers(router("front", MASTER), router("inside", BACKUP))

    told = [event for event in desk.events if event[0] == "standby_serves"]
    reason = "serves although in standby, nobody else could: told by the test"
    assert told == [("standby_serves", "front", reason)]


def test_standby_off_ends_it_and_says_what_follows() -> None:
    desk = Desk(KEYED, Stance(Since(0.0, "kernel")))
    desk.routers(router("front", BACKUP), router("inside", MASTER))

    desk.ask(StandBy(on=False))
    desk.ask(StandBy(on=False))

    assert desk.level == messages.Stance()
    assert [reply.lines for reply in desk.replies] == [
        (
            "standby ended",
            "front: preempts as configured (always)",
            "inside: this node is master",
        ),
        ("was not in standby",),
    ]


# --- asked by a peer -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stance", "state", "refusal"),
    [
        (Stance(), BACKUP, ""),
        (Stance(None, {"front": Since(0.0, "x")}), BACKUP, ""),
        (Stance(Since(0.0, "x")), BACKUP, "in standby"),
        (Stance(), FAULT, "front/ipv4 is in fault: told by the test"),
    ],
    ids=["fit", "held", "standby", "fault"],
)
def test_a_peer_is_told_whether_this_node_would(
    stance: Stance, state: RouterStateName, refusal: str
) -> None:
    desk = Desk(KEYED, stance)
    desk.routers(router("front", state), router("inside", BACKUP))

    desk.feed(ev.PeerSaid("lb2", Prepare("p", ("front",))))

    assert desk.take_said() == [("lb2", Answer("p", taken=False, refusal=refusal))]
    assert desk.orders == []


def test_a_node_that_is_not_ready_or_hands_over_itself_would_not() -> None:
    desk = Desk(replace(KEYED, services=(farm.WEB,)))
    desk.routers(router("front", BACKUP), router("inside", BACKUP))
    desk.feed(ev.PeerSaid("lb2", Prepare("p", ("front",))))
    busy = master()
    busy.ask(HandOver("front"))
    busy.take_said()
    busy.feed(ev.PeerSaid("lb2", Prepare("p", ("front",))))

    refusals = [
        said.refusal for d in (desk, busy) for _, said in d.said if isinstance(said, Answer)
    ]
    assert refusals[0].startswith("not ready: ")
    assert refusals[1] == "it is handing over itself"


def test_a_takeover_is_ordered_once_and_answered_when_the_election_has() -> None:
    desk = Desk()
    desk.routers(router("front", BACKUP), router("inside", BACKUP))
    asks = ev.PeerSaid("lb2", TakeOver("p", ("front", "inside")))

    desk.feed(asks)
    desk.feed(asks)
    assert [(o.kind, o.subject) for o in desk.orders] == [
        (OrderKind.TAKE_OVER, "front"),
        (OrderKind.TAKE_OVER, "inside"),
    ]
    assert desk.take_said() == []

    desk.obey()
    desk.feed(asks)

    assert desk.take_said() == [("lb2", Answer("p", taken=True))] * 2


def test_a_takeover_that_the_election_refuses_is_refused_with_its_reason() -> None:
    desk = Desk()
    desk.feed(ev.PeerSaid("lb2", TakeOver("p", ("front",))))

    desk.obey("front is in init: starting")

    answer = Answer("p", taken=True, refusal="front is in init: starting")
    assert desk.take_said() == [("lb2", answer)]
