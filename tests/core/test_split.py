"""core/split: two masters seen over the peer channel, and what is told of them."""

from dataclasses import replace

from hadirector.core import director_events as ev
from hadirector.core import messages, peers, status
from hadirector.core.address import Address
from hadirector.core.director import Director
from hadirector.core.messages import Complaint, Process, Router, RouterStateName, Voice
from hadirector.core.services import Change
from hadirector.core.settings.cluster import Node
from hadirector.core.settings.instances import Instance, Unicast
from hadirector.core.split import Splits
from tests.core import farm
from tests.core.routers import FRONT, PATIENCE

MINE, THEIRS = Address("192.0.2.1"), Address("192.0.2.2")
LB2 = Node("lb2", 100, THEIRS)


def router(state: RouterStateName = RouterStateName.MASTER, **changes: object) -> Router:
    """This node's router."""
    made = Router(
        instance="front",
        family=4,
        state=state,
        priority=150,
        effective_priority=150,
        master=MINE,
        since=0.0,
        reason="no advert heard",
        inputs={},
        addresses=("192.0.2.10/24",),
        counters={},
        leased=True,
        voice=Voice(MINE, 150, state is RouterStateName.MASTER),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the tests name real fields


def peer(master: bool = True, alive: bool = True, priority: int = 100) -> dict[str, peers.Known]:
    """What the other node says."""
    voices = {"front/ipv4": Voice(THEIRS, priority, master)}
    presence = peers.Presence(
        cluster="shop",
        node="lb2",
        incarnation=1,
        sequence=1,
        digest="d1",
        version="1",
        ready=True,
        reason="",
        voices=voices,
    )
    return {"lb2": peers.Known(LB2, presence, 0.0, alive)}


def told(
    splits: Splits,
    now: float,
    mine: Router | None = None,
    theirs: dict[str, peers.Known] | None = None,
    instance: Instance = FRONT,
) -> list[Change]:
    """What is told at `now`; by default both are master."""
    known = peer() if theirs is None else theirs
    return splits.look([mine or router()], known, [instance], now)


def begun(splits: Splits, **others: object) -> Change:
    """Let it last long enough; the change told."""
    assert told(splits, 100.0, **others) == []  # type: ignore[arg-type]  # passed on
    assert splits.deadline() == 100.0 + PATIENCE
    (change,) = told(splits, 100.0 + PATIENCE, **others)  # type: ignore[arg-type]  # passed on
    return change


def test_two_masters_that_do_not_hear_each_other_are_told_of_with_the_likely_cause() -> None:
    splits = Splits()

    change = begun(splits)

    assert change == Change(
        "split_brain",
        "front",
        "lb2 says it is master of front too, but its adverts do not arrive: is protocol 112 to "
        "224.0.0.18 filtered on the way between the nodes' eth0? This node announces the addresses",
        {"family": "ipv4", "node": "lb2", "priority": "150"},
    )
    assert splits.troubles == [f"front/ipv4: {change.reason}"]
    assert splits.deadline() is None
    assert told(splits, 200.0) == []


def test_the_other_one_announces_where_it_is_the_better() -> None:
    assert begun(Splits(), theirs=peer(priority=200)).reason.endswith(
        "? It announces the addresses"
    )


def test_by_unicast_the_filter_is_looked_for_on_its_way() -> None:
    unicast = replace(FRONT, unicast=Unicast(MINE, (THEIRS,)))

    assert "is protocol 112 to 192.0.2.1 filtered?" in begun(Splits(), instance=unicast).reason


def test_one_that_is_heard_and_stays_master_does_not_hear_this_node() -> None:
    assert begun(Splits(), mine=router(rivals=(THEIRS,))).reason.startswith(
        "lb2 says it is master of front too and is heard here, so it does not hear this node: "
    )


def test_one_whose_adverts_are_refused_is_told_of_with_the_reason() -> None:
    why = "adverts of 192.0.2.2 are refused: it speaks version 2"
    refused = (Complaint(THEIRS, "version_err", why, 3, 99.0),)

    assert begun(Splits(), mine=router(refused=refused)).reason == (
        f"lb2 says it is master of front too: {why}"
    )


def test_a_takeover_is_no_split_and_a_dead_peer_claims_nothing() -> None:
    splits = Splits()
    assert told(splits, 100.0) == []
    assert told(splits, 101.0, theirs=peer(master=False)) == []
    assert told(splits, 102.0, theirs=peer(alive=False)) == []
    assert told(splits, 103.0, mine=router(RouterStateName.BACKUP)) == []
    assert splits.deadline() is None


def test_it_is_over_once_and_says_who_gave_way() -> None:
    ways: tuple[tuple[dict[str, object], str], ...] = (
        ({"theirs": peer(master=False)}, "lb2 gave way, after 20 s"),
        ({"mine": router(RouterStateName.BACKUP)}, "this node gave way to lb2, after 20 s"),
        (
            {"theirs": peer(alive=False)},
            "lb2 is silent: whether it is master still is not known, after 20 s",
        ),
    )
    for others, reason in ways:
        splits = Splits()
        begun(splits)

        (over,) = told(splits, 120.0, **others)  # type: ignore[arg-type]  # passed on

        inputs = {"family": "ipv4", "node": "lb2", "lasted": "20"}
        assert over == Change("split_brain_over", "front", reason, inputs)
        assert splits.troubles == []


def running() -> Director:
    """A director of one instance, whose election says that it is master."""
    director = Director("1", frozenset(), 0.0)
    director.handle(ev.Configured(replace(farm.CONFIG, instances=(FRONT,))), 0.0)
    director.handle(elected(), 0.0)
    return director


def elected() -> ev.From:
    """The election says that it is master."""
    return ev.From(Process.ELECTION, messages.Routers((router(),)), 9e9)


def presence(master: bool, sequence: int) -> ev.Heard:
    voices = {"front/ipv4": Voice(THEIRS, 100, master)}
    said = peers.Presence("shop", "lb2", 1, sequence, "d1", "1", True, "", voices=voices)
    return ev.Heard(said)


def written(actions: tuple[ev.Action, ...]) -> list[str]:
    return [a.event.kind for a in actions if isinstance(a, ev.Write)]


def test_a_director_tells_of_it_shows_it_as_trouble_and_tells_when_it_is_over() -> None:
    director = running()
    for second in range(4):
        kinds = written(director.handle(presence(True, second), float(second)))
        kinds += written(director.handle(elected(), float(second)))
        assert "split_brain" not in kinds

    assert "split_brain" in written(director.handle(presence(True, 5), PATIENCE + 0.1))
    shown = status.build(director, status.Shell(), 0.0, {})
    assert isinstance(shown, dict)
    assert "lb2 says it is master of front too" in str(shown["trouble"])
    assert "split_brain_over" in written(director.handle(presence(False, 6), 9.0))


def test_the_election_is_told_at_once_who_claims_mastership_and_who_does_no_more() -> None:
    director = running()
    director.handle(presence(False, 1), 1.0)

    levels = [
        action.message
        for sequence, master in ((2, True), (3, True), (4, False))
        for action in director.handle(presence(master, sequence), 1.1)
        if isinstance(action, ev.Send) and isinstance(action.message, messages.Peers)
    ]

    assert [level.peers[0].voices["front/ipv4"].master for level in levels] == [True, False]


def test_presences_carry_how_this_node_s_routers_speak() -> None:
    actions = running().handle(ev.Woken(), 1.0)

    (sent,) = [a.presence for a in actions if isinstance(a, ev.SendPresence)]
    assert sent.voices == {"front/ipv4": Voice(MINE, 150, True)}


def test_where_the_configurations_differ_that_is_the_likely_cause() -> None:
    other = {name: replace(known, differs=True) for name, known in peer().items()}

    assert begun(Splits(), theirs=other).reason == (
        "lb2 says it is master of front too, but its adverts do not arrive: it runs another "
        "configuration: have both the same virtual_router_id (51 here), version and unicast? This "
        "node announces the addresses"
    )
