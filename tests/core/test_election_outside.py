"""core/election: faults, the director, packets that do not count, and the start of a process."""

from dataclasses import replace

import pytest

from hadirector.core import messages
from hadirector.core.address import Address
from hadirector.core.election import Election
from hadirector.core.election_types import (
    AnnounceFailed,
    DirectorHeard,
    Obstacle,
    Obstacles,
    PacketReceived,
    Place,
    Reconcile,
    Report,
    SendAdvert,
    SendFailed,
    Tick,
)
from hadirector.core.settings.instances import Preempt, Tracked, Unicast, VirtualAddress
from tests.core.electorate import (
    FRONT,
    INSIDE,
    T0,
    VIP,
    Electorate,
    links,
    pair,
    settings,
    with_priority,
    words,
)

# --- faults and tracking ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "reason"),
    [
        (links(1, eth0=False), "eth0 is down"),
        (replace(links(1), links=links(1).links[1:]), "eth0 is missing"),
        (links(1, eth1=False), "eth1 is down"),
        (
            messages.Tracks((messages.Track("front", "script disk", True, 0, "disk: exit 1"),)),
            "disk: exit 1",
        ),
        (
            Obstacles((Obstacle(VIP.address, "eth0", "configured by the system"),)),
            "cannot hold 192.0.2.10 on eth0: configured by the system",
        ),
    ],
)
def test_what_makes_a_fault_takes_the_addresses_off_and_says_why(
    level: object, reason: str
) -> None:
    electorate = pair(replace(FRONT, track_interfaces=(Tracked("eth1", None),)))

    electorate.tell("lb1", level)  # type: ignore[arg-type]  # pytest's parameters are objects
    electorate.run(4.0)

    (router,) = electorate.nodes["lb1"].routers()
    assert (router.state, router.reason) == (messages.RouterStateName.FAULT, reason)
    assert electorate.holders() == ["lb2"]


def test_an_interface_without_an_address_of_its_own_is_a_fault() -> None:
    election = Election()
    election.handle(settings(FRONT), T0)
    only_virtual = replace(links(1).links[0], addresses=(VIP.address,))

    election.handle(replace(links(1), links=(only_virtual,)), T0)

    assert election.routers()[0].reason == "eth0 has no IPv4 address of its own"


def test_a_tracked_delta_lowers_the_priority_and_loses_the_election() -> None:
    electorate = pair()
    track = messages.Track("front", "service web", False, -60, "web is below quorum")

    actions = electorate.tell("lb1", messages.Tracks((track,)))
    electorate.run(5.0)

    assert words(actions) == ["front advert 90"]
    assert electorate.holders() == ["lb2"]


def test_what_a_new_director_has_not_looked_at_yet_counts_as_it_did() -> None:
    electorate = pair()
    disk = messages.Track("front", "script disk", False, -20, "disk: exit 1")
    file = messages.Track("front", "file /run/weight", False, -5, "says -5")
    electorate.tell("lb1", messages.Tracks((disk, file)))

    knows_nothing = messages.Tracks((), (disk.what, file.what))
    knows_one = messages.Tracks((replace(disk, delta=-30),), (file.what,))
    told = [
        words(electorate.tell("lb1", level))
        for level in (knows_nothing, knows_one, messages.Tracks((), (file.what,)), knows_nothing)
    ]

    assert told == [[], ["front advert 115"], ["front advert 145"], []]
    assert words(electorate.tell("lb1", messages.Tracks(()))) == ["front advert 150"]


@pytest.mark.parametrize(
    ("tracked", "holders"),
    [((), ["lb2"]), ((Tracked("eth1", None),), ["lb2"]), ((Tracked("eth1", -20),), ["lb1"])],
)
def test_an_address_on_a_dead_interface_is_a_fault_unless_it_has_a_weight(
    tracked: tuple[Tracked, ...], holders: list[str]
) -> None:
    gateway = VirtualAddress(Address("10.0.9.1"), 24, "eth1")
    both = (*FRONT.virtual_addresses, gateway)
    electorate = pair(replace(FRONT, virtual_addresses=both, track_interfaces=tracked))

    electorate.tell("lb1", links(1, eth1=False))
    electorate.run(10.0)

    assert electorate.holders(gateway) == holders


def test_a_tracked_interface_with_a_weight_lowers_the_priority_only() -> None:
    electorate = pair(replace(FRONT, track_interfaces=(Tracked("eth1", -20),)))

    assert words(electorate.tell("lb1", links(1, eth1=False))) == ["front advert 130"]
    assert electorate.holders() == ["lb1"]


# --- the director ----------------------------------------------------------------------------


def test_a_silent_director_means_priority_one_and_any_live_node_takes_over() -> None:
    electorate = pair()
    electorate.silent = {"lb1"}
    electorate.run(20.0)

    assert (15.414, "lb1", "director_silent") in electorate.story
    assert electorate.holders() == ["lb2"]


def test_a_silent_director_costs_nothing_where_nobody_else_is() -> None:
    electorate = Electorate()
    electorate.silent = {"lb1"}
    electorate.join("lb1", settings(FRONT))
    electorate.run(60.0)

    assert electorate.holders() == ["lb1"]
    assert electorate.nodes["lb1"].routers()[0].effective_priority == 1
    assert words(electorate.tell("lb1", DirectorHeard())) == ["director_heard", "front advert 150"]


def test_a_node_that_slept_does_not_call_its_director_silent_at_once() -> None:
    election = Election()
    election.handle(settings(FRONT), T0)
    election.handle(links(1), T0)

    assert words(election.handle(Tick(), T0 + 30)) == []
    assert "director_silent" in words(election.handle(Tick(), T0 + 32))


def test_readiness_decides_about_preemption_and_silence_is_not_readiness() -> None:
    electorate = Electorate()
    synced = replace(FRONT, preempt=Preempt.WHEN_SYNCED, peer_priorities=(100,))
    electorate.join("lb2", settings(*with_priority(100, FRONT)))
    electorate.run(5.0)
    electorate.join("lb1", settings(synced))
    electorate.tell("lb1", messages.Peers((messages.Peer("lb2", True),)))
    electorate.run(8.0)
    assert electorate.holders() == ["lb2"]

    electorate.tell("lb1", messages.Ready(True, "checks settled"))
    electorate.run(5.0)

    assert electorate.holders() == ["lb1"]


# --- packets that do not count ---------------------------------------------------------------


def test_packets_that_are_no_adverts_for_us_are_counted_and_change_nothing() -> None:
    electorate = pair()
    (better,) = _adverts(replace(FRONT, priority=200), 3)
    plain = PacketReceived("eth0", better.source, better.destination, 255, better.message)
    own = replace(plain, source=Address("198.51.100.1"))
    wrong = [
        (own, "own_advert", []),
        (replace(plain, ttl=254), "ip_ttl_err", ["front advert_refused"]),
        (
            replace(plain, message=better.message[:-1]),
            "packet_len_err",
            ["front advert_refused"],
        ),
        (
            replace(plain, source=Address("198.51.100.77")),
            "checksum_err",
            ["front advert_refused"],
        ),
        (
            replace(plain, destination=Address("198.51.100.1")),
            "destination_err",
            ["front advert_refused"],
        ),
    ]

    for packet, counter, told in wrong:
        assert words(electorate.tell("lb1", packet)) == told
        assert words(electorate.tell("lb1", packet)) == []
        assert electorate.nodes["lb1"].routers()[0].counters[counter] == 2

    assert electorate.holders() == ["lb1"]
    assert words(electorate.tell("lb1", plain)) == [
        "drop 192.0.2.10",
        "front advert 150",
        "front backup",
    ]


def test_a_packet_for_another_virtual_router_is_nobodys() -> None:
    electorate = pair()
    (other,) = _adverts(replace(FRONT, virtual_router_id=77, priority=200), 3)
    packet = PacketReceived("eth0", other.source, other.destination, 255, other.message)

    assert electorate.tell("lb1", packet) == ()
    assert electorate.tell("lb1", replace(packet, interface="eth1")) == ()


def test_unicast_adverts_go_to_each_peer_and_are_taken_from_peers_only() -> None:
    mine, peers = Address("198.51.100.1"), (Address("198.51.100.2"), Address("198.51.100.4"))
    sent = _adverts(replace(FRONT, unicast=Unicast(mine, peers)), 1)
    assert [s.destination for s in sent] == list(peers)

    theirs = Unicast(Address("198.51.100.2"), (mine,))
    election = Election()
    election.handle(settings(*with_priority(100, replace(FRONT, unicast=theirs))), T0)
    election.handle(links(2), T0)
    packet = PacketReceived("eth0", mine, peers[0], 64, sent[0].message)
    assert words(election.handle(packet, T0 + 1)) == ["front following"]

    stranger = replace(FRONT, priority=200, unicast=Unicast(Address("198.51.100.3"), peers))
    (strange, _) = _adverts(stranger, 3)
    packet = PacketReceived("eth0", strange.source, peers[0], 64, strange.message)
    assert words(election.handle(packet, T0 + 2)) == ["front advert_refused"]
    assert words(election.handle(packet, T0 + 3)) == []
    assert election.routers()[0].counters["source_err"] == 2


def test_what_could_not_be_sent_is_counted() -> None:
    electorate = pair()

    assert electorate.tell("lb1", SendFailed("front", 4, "ENETDOWN")) == ()
    assert electorate.nodes["lb1"].routers()[0].counters["advert_send_err"] == 1


def test_an_announcement_that_could_not_be_sent_is_counted_where_it_belongs() -> None:
    electorate = pair()
    mine = FRONT.virtual_addresses[0]

    assert electorate.tell("lb1", AnnounceFailed(mine)) == ()
    electorate.tell("lb1", AnnounceFailed(replace(mine, address=Address("192.0.2.99"))))

    assert electorate.nodes["lb1"].routers()[0].counters["announce_err"] == 1


# --- the start of a process ------------------------------------------------------------------


def test_the_network_is_asked_for_each_second_until_it_answers() -> None:
    election = Election()
    election.handle(settings(replace(FRONT, startup_delay=None)), T0)

    asks = ["ask eth0", "ask 192.0.2.10"]  # the gateway, and who may be master already
    assert words(election.handle(links(1), T0)) == asks
    assert election.deadline() == T0 + 1
    assert words(election.handle(Tick(), T0 + 1)) == asks
    assert words(election.handle(_foreign_advert(), T0 + 1.5)) == ["front backup"]
    assert words(election.handle(Tick(), T0 + 2)) == asks[1:]


def test_a_new_process_adopts_mastership_from_a_young_note_and_only_from_that() -> None:
    for age, expected in ((1.0, ["front advert 150", "place 192.0.2.10"]), (5.0, [])):
        election = Election({("front", 4): T0 - age})
        told = election.handle(settings(FRONT), T0)
        actions = election.handle(links(1), T0)

        assert Reconcile() not in told  # left-overs stay until it is known what is adopted
        assert Reconcile() in actions
        assert words(actions)[:2] == (expected or ["front backup"])


def test_a_report_is_due_when_status_changes_and_not_with_each_advert() -> None:
    electorate = pair()
    election = electorate.nodes["lb1"]
    deadline = election.deadline()
    assert deadline is not None

    routine = election.handle(Tick(), deadline)

    assert [type(a).__name__ for a in routine] == ["SendAdvert", "Note"]
    assert Report() in election.handle(links(1, eth0=False), deadline)


def test_version_2_is_spoken_and_insists_on_its_interval() -> None:
    electorate = pair(replace(FRONT, version=2))
    (slower,) = _adverts(replace(FRONT, version=2, priority=200, advert_int=2.0), 3)

    packet = PacketReceived("eth0", slower.source, slower.destination, 255, slower.message)
    assert words(electorate.tell("lb1", packet)) == ["front advert_refused"]
    assert words(electorate.tell("lb1", packet)) == []
    (router,) = electorate.nodes["lb1"].routers()
    assert router.counters["advert_interval_err"] == 2
    assert [complaint.reason for complaint in router.refused] == [
        "adverts of 198.51.100.3 are refused: it advertises each 2 s, and here advert_int is 1 s: "
        "in version 2 they must be the same"
    ]


def test_the_other_instances_hold_what_they_hold() -> None:
    electorate = pair(FRONT, INSIDE)

    electorate.tell("lb1", links(1, eth0=False))

    held = [a.address for a in electorate.nodes["lb1"].desired().addresses]
    assert held == ["10.0.1.254"]


def _adverts(instance: object, number: int) -> list[SendAdvert]:
    """The first adverts of a lone master that is node `number`."""
    assert isinstance(instance, type(FRONT))
    election = Election()
    election.handle(settings(instance), T0)
    election.handle(links(number), T0)
    deadline = election.deadline()
    assert deadline is not None
    actions = election.handle(Tick(), deadline)
    assert any(isinstance(a, Place) for a in actions)
    return [a for a in actions if isinstance(a, SendAdvert)]


def _foreign_advert() -> PacketReceived:
    (sent,) = _adverts(replace(FRONT, virtual_router_id=77), 3)
    return PacketReceived("eth0", sent.source, sent.destination, 255, sent.message)
