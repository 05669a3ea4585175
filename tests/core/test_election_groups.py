"""core/election: routers that move together (sync groups, the two families of an instance)."""

from dataclasses import replace

from hadirector.core import advert, coupling, messages
from hadirector.core.address import Address
from hadirector.core.advert import Advert
from hadirector.core.election import Election
from hadirector.core.election_types import LastAdverts, PacketReceived, SendAdvert, Tick
from hadirector.core.messages import RouterStateName
from hadirector.core.settings.instances import Instance, SyncGroup, VirtualAddress
from tests.core.electorate import (
    FRONT,
    INSIDE,
    INSIDE_VIP,
    T0,
    Electorate,
    links,
    order,
    settings,
    with_priority,
    words,
)

GROUP = (SyncGroup("director", ("front", "inside")),)
VIP6 = VirtualAddress(Address("2001:db8::10"), 64, "eth0")
DUAL = replace(FRONT, virtual_addresses=(*FRONT.virtual_addresses, VIP6))


def pair(*instances: Instance, groups: tuple[SyncGroup, ...] = GROUP) -> Electorate:
    """lb1 (150) and lb2 (100), 6 s after both started."""
    electorate = Electorate()
    electorate.join("lb1", settings(*instances, groups=groups))
    electorate.join("lb2", settings(*with_priority(100, *instances), groups=groups))
    electorate.run(6.0)
    assert states(electorate.nodes["lb1"]) == {RouterStateName.MASTER}
    return electorate


def states(election: Election) -> set[RouterStateName]:
    return {router.state for router in election.routers()}


def test_groups_that_share_an_instance_are_one_and_families_belong_to_their_instance() -> None:
    third = replace(INSIDE, name="third")
    alone = replace(DUAL, name="alone", couple=False)
    ties = (SyncGroup("a", ("front", "inside")), SyncGroup("b", ("inside", "third")))

    found = coupling.groups((DUAL, INSIDE, third, alone), ties)

    whole = [("front", 4), ("front", 6), ("inside", 4), ("third", 4)]
    assert found == {
        **dict.fromkeys(whole, whole),
        ("alone", 4): [("alone", 4)],
        ("alone", 6): [("alone", 6)],
    }


def advert_of(electorate: Electorate, node: str, name: str, number: int) -> PacketReceived:
    """An advert as the node's router `name` sends it, from node `number`'s place on the link."""
    router = next(r for r in electorate.nodes[node].routers() if r.instance == name)
    one = FRONT if name == "front" else INSIDE
    source = links(number).links[0 if name == "front" else 1].addresses[0]
    said = Advert(3, one.virtual_router_id, router.effective_priority, 1.0, ())
    group = advert.GROUPS[4]
    message = advert.encode(said, source, group, one.checksum)
    return PacketReceived(one.interface, source, group, 255, message)


def equals() -> Electorate:
    """lb1, master of both, and a rival of the same priority, lower in front and higher inside."""
    electorate = Electorate()
    electorate.join("lb5", settings(FRONT, INSIDE, groups=GROUP))
    electorate.run(6.0)
    return electorate


def test_of_equal_priorities_the_group_s_first_router_decides_for_all_of_it() -> None:
    electorate = equals()

    for _ in range(20):  # the rival's two adverts each second, the second router's first
        electorate.run(0.5)
        electorate.tell("lb5", advert_of(electorate, "lb5", "inside", 9))
        electorate.run(0.5)
        electorate.tell("lb5", advert_of(electorate, "lb5", "front", 1))

    assert states(electorate.nodes["lb5"]) == {RouterStateName.MASTER}


def test_where_the_first_router_hears_no_equal_the_one_that_does_decides() -> None:
    electorate = equals()

    electorate.tell("lb5", advert_of(electorate, "lb5", "inside", 9))
    assert states(electorate.nodes["lb5"]) == {RouterStateName.MASTER}
    for _ in range(2):
        electorate.run(1.0)
        electorate.tell("lb5", advert_of(electorate, "lb5", "inside", 9))

    assert states(electorate.nodes["lb5"]) == {RouterStateName.BACKUP}


def test_the_first_router_loses_an_equal_contest_for_all_of_the_group_at_once() -> None:
    electorate = equals()

    electorate.tell("lb5", advert_of(electorate, "lb5", "front", 9))

    assert states(electorate.nodes["lb5"]) == {RouterStateName.BACKUP}


def test_a_group_becomes_master_when_the_last_of_it_finds_its_master_down() -> None:
    electorate = pair(FRONT, INSIDE)
    del electorate.nodes["lb1"]

    story = electorate.run(4.0)

    assert [s[2] for s in story] == [
        "place 192.0.2.10",
        "announce 192.0.2.10 x5",
        "front master",
        "place 10.0.1.254",
        "announce 10.0.1.254 x5",
        "inside master",
    ]
    assert {s[0] for s in story} == {9.023}


def test_a_link_that_is_quiet_alone_moves_nothing() -> None:
    electorate = pair(FRONT, INSIDE)
    lb1, lb2 = electorate.nodes["lb1"], electorate.nodes["lb2"]
    for _ in range(20):  # front's adverts are carried, inside's are lost
        deadline = lb1.deadline()
        assert deadline is not None
        electorate.now = deadline
        actions = lb1.handle(Tick(), deadline)
        for action in actions:
            if isinstance(action, SendAdvert) and action.instance == "front":
                electorate.carry("lb1", action)
        lb2.handle(Tick(), deadline)

    assert states(lb2) == {RouterStateName.BACKUP}
    assert "waiting for its sync group" in lb2.routers()[1].reason


def test_a_fault_of_one_is_a_fault_of_all_and_the_peer_takes_all() -> None:
    electorate = pair(FRONT, INSIDE)

    actions = electorate.tell("lb1", links(1, eth1=False))
    electorate.run(4.0)

    assert words(actions) == [
        "front advert 0",
        "drop 192.0.2.10",
        "front fault",
        "drop 10.0.1.254",
        "inside fault",
    ]
    assert [r.reason for r in electorate.nodes["lb1"].routers()] == [
        "inside: eth1 is down",
        "eth1 is down",
    ]
    assert states(electorate.nodes["lb2"]) == {RouterStateName.MASTER}


def test_if_one_yields_the_others_give_up_with_it() -> None:
    electorate = pair(FRONT, INSIDE)
    better = lone_advert(replace(FRONT, priority=200))

    electorate.now = T0 + 6.2
    electorate.carry("lb3", better)

    recent = [s[1:] for s in electorate.story if s[0] == 6.2 and s[1] == "lb1"]
    assert recent == [
        ("lb1", "drop 192.0.2.10"),
        ("lb1", "front advert 150"),
        ("lb1", "front backup"),
        ("lb1", "inside advert 0"),
        ("lb1", "drop 10.0.1.254"),
        ("lb1", "inside backup"),
    ]


def test_what_degrades_one_degrades_all_and_a_thing_tracked_twice_counts_once() -> None:
    electorate = pair(FRONT, INSIDE)
    tracks = tuple(
        messages.Track(name, "script disk", False, -20, "disk: exit 1")
        for name in ("front", "inside")
    )

    electorate.tell("lb1", messages.Tracks(tracks))

    assert [r.effective_priority for r in electorate.nodes["lb1"].routers()] == [130, 130]
    electorate.tell("lb1", messages.Tracks(tracks[:1]))
    assert [r.effective_priority for r in electorate.nodes["lb1"].routers()] == [130, 130]


def test_a_handover_of_one_hands_over_all() -> None:
    electorate = pair(FRONT, INSIDE)

    electorate.tell("lb1", messages.Stance(held=("inside",)))
    electorate.tell("lb1", messages.Order(messages.OrderKind.YIELD, "1", "inside"))
    electorate.run(10.0)

    assert states(electorate.nodes["lb1"]) == {RouterStateName.BACKUP}
    assert states(electorate.nodes["lb2"]) == {RouterStateName.MASTER}


def test_a_handover_nobody_follows_is_taken_back_by_all() -> None:
    electorate = pair(FRONT, INSIDE)
    del electorate.nodes["lb2"]

    electorate.tell("lb1", messages.Order(messages.OrderKind.YIELD, "1", "director"))
    electorate.run(10.0)

    assert states(electorate.nodes["lb1"]) == {RouterStateName.MASTER}


def test_a_group_that_cannot_take_over_as_a_whole_does_not_at_all() -> None:
    electorate = pair(FRONT, INSIDE)
    late = Election()
    late.handle(settings(FRONT, replace(INSIDE, startup_delay=50.0), groups=GROUP), T0)
    late.handle(links(1), T0)

    actions = late.handle(messages.Order(messages.OrderKind.TAKE_OVER, "1", "front"), T0 + 1)

    assert actions[0] == messages.Obeyed("1", "inside is in init: waits its startup_delay, 50 s")
    assert states(electorate.nodes["lb1"]) == {RouterStateName.MASTER}
    assert late.desired().addresses == ()


def test_a_hold_of_one_holds_all_that_move_with_it() -> None:
    electorate = pair(FRONT, INSIDE)
    electorate.tell("lb1", messages.Stance(held=("inside",)))
    electorate.tell("lb1", messages.Order(messages.OrderKind.YIELD, "1", "front"))

    electorate.run(60.0)

    assert states(electorate.nodes["lb2"]) == {RouterStateName.MASTER}


def test_a_stop_waits_for_the_successor_of_each() -> None:
    electorate = pair(FRONT, INSIDE)

    electorate.tell("lb1", messages.Order(messages.OrderKind.STOP, "1"))
    story = electorate.run(2.0)

    assert [s[2] for s in story if s[1] == "lb1"] == [
        "drop 192.0.2.10",
        "front stopped",
        "drop 10.0.1.254",
        "inside stopped",
        "stopped",
    ]
    assert electorate.holders() == electorate.holders(INSIDE_VIP) == ["lb2"]


def test_a_group_adopts_mastership_as_a_whole_or_not_at_all() -> None:
    cases: list[tuple[LastAdverts, RouterStateName]] = [
        ({("front", 4): T0 - 1, ("inside", 4): T0 - 1}, RouterStateName.MASTER),
        ({("front", 4): T0 - 1}, RouterStateName.BACKUP),
        ({("front", 4): T0 - 1, ("inside", 4): T0 - 9}, RouterStateName.BACKUP),
        ({("front", 4): T0 - 1, ("inside", 4): None}, RouterStateName.BACKUP),
    ]
    for noted, expected in cases:
        election = Election(noted)
        election.handle(settings(FRONT, INSIDE, groups=GROUP), T0)
        election.handle(links(1), T0)
        assert states(election) == {expected}


def test_of_families_that_are_not_coupled_one_alone_can_be_ordered_to_move() -> None:
    electorate = pair(replace(DUAL, couple=False), groups=())

    electorate.tell("lb1", order(messages.OrderKind.YIELD, "front/ipv6"))
    electorate.tell("lb2", order(messages.OrderKind.TAKE_OVER, "front/ipv6"))

    states = {
        name: [(r.family, r.state.value) for r in node.routers()]
        for name, node in electorate.nodes.items()
    }
    assert states == {
        "lb1": [(4, "master"), (6, "master")],  # until it hears its successor
        "lb2": [(4, "backup"), (6, "master")],
    }


def test_both_families_of_an_instance_are_routers_and_move_together() -> None:
    electorate = pair(DUAL, groups=())

    lb1 = electorate.nodes["lb1"]
    assert [(r.family, r.master) for r in lb1.routers()] == [(4, "198.51.100.1"), (6, "fe80::1")]
    assert [a.address for a in lb1.desired().addresses] == ["192.0.2.10", "2001:db8::10"]

    del electorate.nodes["lb1"]
    story = electorate.run(4.0)
    assert [s[2] for s in story if "place" in s[2]] == ["place 192.0.2.10", "place 2001:db8::10"]


def test_a_router_added_to_a_group_that_is_master_joins_it() -> None:
    electorate = pair(FRONT, groups=())

    actions = electorate.tell("lb1", settings(FRONT, INSIDE, groups=GROUP))

    assert words(actions) == [
        "inside backup",
        "inside advert 150",
        "place 10.0.1.254",
        "announce 10.0.1.254 x5",
        "inside master",
    ]
    assert states(electorate.nodes["lb1"]) == {RouterStateName.MASTER}


def test_a_candidate_whose_group_is_dissolved_by_a_reload_is_master() -> None:
    for groups in ((), (SyncGroup("director", ("front",)),)):
        election = Election()
        election.handle(settings(FRONT, replace(INSIDE, startup_delay=50.0), groups=GROUP), T0)
        election.handle(links(1), T0)
        election.handle(Tick(), T0 + 4)
        assert election.desired().addresses == ()

        actions = election.handle(settings(FRONT, groups=groups), T0 + 5)

        assert words(actions) == [
            "inside stopped",
            "front advert 150",
            "place 192.0.2.10",
            "announce 192.0.2.10 x5",
            "front master",
        ]


def test_a_joiner_whose_group_is_master_no_more_waits_like_the_others() -> None:
    electorate = pair(FRONT, groups=())
    electorate.tell("lb1", settings(FRONT, replace(INSIDE, startup_delay=1.0), groups=GROUP))
    del electorate.nodes["lb2"]
    electorate.carry("lb3", lone_advert(replace(FRONT, priority=200)))

    electorate.run(4.0)  # front's new master is down by now, inside has listened for 3 s only
    assert states(electorate.nodes["lb1"]) == {RouterStateName.BACKUP}
    electorate.run(1.0)

    assert states(electorate.nodes["lb1"]) == {RouterStateName.MASTER}


def lone_advert(instance: Instance) -> SendAdvert:
    """The first advert of a lone node lb3."""
    election = Election()
    election.handle(settings(instance), T0)
    election.handle(links(3), T0)
    deadline = election.deadline()
    assert deadline is not None
    (advert, *_) = election.handle(Tick(), deadline)
    assert isinstance(advert, SendAdvert)
    return advert
