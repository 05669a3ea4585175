"""core/election: stories of two nodes, told as traces of all that was done, adverts of routine
left out."""

from dataclasses import replace

import pytest

from hadirector.core import messages
from hadirector.core.address import Address
from hadirector.core.election import Election
from hadirector.core.election_types import (
    DirectorHeard,
    Note,
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
from hadirector.core.settings.instances import Preempt, Tracked, Unicast
from tests.core.electorate import (
    FRONT,
    INSIDE,
    T0,
    VIP,
    Electorate,
    links,
    settings,
    with_priority,
    words,
)


def pair(*instances: object) -> Electorate:
    """lb1 (150) and lb2 (100), 6 s after both started: lb1 is master of all."""
    electorate = Electorate()
    chosen = [i for i in instances if isinstance(i, type(FRONT))] or [FRONT]
    electorate.join("lb1", settings(*chosen))
    electorate.join("lb2", settings(*with_priority(100, *chosen)))
    electorate.run(6.0)
    assert electorate.holders() == ["lb1"]
    return electorate


def order(kind: messages.OrderKind, subject: str = "", token: str = "t") -> messages.Order:
    return messages.Order(kind, token, subject)


# --- a start, a failover, a failback ---------------------------------------------------------


def test_of_two_nodes_started_together_the_higher_priority_becomes_master() -> None:
    electorate = Electorate()
    electorate.join("lb1", settings(FRONT))
    electorate.join("lb2", settings(*with_priority(100, FRONT)))

    assert electorate.run(9.0) == [
        (3.414, "lb1", "place 192.0.2.10"),
        (3.414, "lb1", "announce 192.0.2.10 x5"),
        (3.414, "lb1", "front master"),
        (3.414, "lb2", "front following"),
        (8.414, "lb1", "announce 192.0.2.10 x5"),
    ]
    assert electorate.holders() == ["lb1"]


def test_becoming_master_is_advert_note_addresses_announcement_event() -> None:
    election = Election()
    election.handle(settings(FRONT), T0)
    election.handle(links(1), T0)
    deadline = election.deadline()
    assert deadline is not None

    actions = election.handle(Tick(), deadline)

    assert [type(a).__name__ for a in actions] == [
        "SendAdvert",
        "Note",
        "Place",
        "Announce",
        "Event",
        "Reconcile",
        "Report",
    ]
    assert actions[1] == Note("front", 4, deadline)


def test_when_the_master_vanishes_the_backup_takes_over_within_its_master_down() -> None:
    electorate = pair()
    del electorate.nodes["lb1"]

    # lb1 was heard last 5.414 s after the start; 3 s and a skew of 156/256 s later it is missed.
    assert electorate.run(4.0) == [
        (9.023, "lb2", "place 192.0.2.10"),
        (9.023, "lb2", "announce 192.0.2.10 x5"),
        (9.023, "lb2", "front master"),
    ]


def test_a_returning_higher_node_preempts_and_the_other_drops_at_once() -> None:
    electorate = pair()
    del electorate.nodes["lb1"]
    electorate.run(4.0)

    electorate.join("lb1", settings(FRONT))

    assert [s[1:] for s in electorate.run(4.0)] == [
        ("lb1", "place 192.0.2.10"),
        ("lb1", "announce 192.0.2.10 x5"),
        ("lb1", "front master"),
        ("lb2", "drop 192.0.2.10"),
        ("lb2", "front backup"),
        ("lb1", "announce 192.0.2.10 x5"),
        ("lb1", "announce 192.0.2.10 x5"),
    ]
    assert electorate.holders() == ["lb1"]


def test_after_a_partition_heals_the_better_master_stays_and_announces_again() -> None:
    electorate = pair()
    electorate.cut = {"lb2"}
    electorate.run(10.2)  # so that lb1 is the first to speak afterwards
    assert electorate.holders() == ["lb1", "lb2"]

    electorate.cut = set()
    story = electorate.run(1.0)

    assert electorate.holders() == ["lb1"]
    assert [s[1:] for s in story][:4] == [
        ("lb2", "drop 192.0.2.10"),
        ("lb2", "front backup"),
        ("lb1", "announce 192.0.2.10 x5"),  # at lb2's last word
        ("lb1", "front duel"),
    ]


def test_a_lower_masters_advert_is_answered_at_once_and_the_burst_repeated() -> None:
    electorate = pair()
    lower = Election()
    told = with_priority(100, FRONT)
    lower.handle(settings(*told), T0)
    lower.handle(links(3), T0)
    (advert, *_) = lower.handle(Tick(), T0 + 3.7)
    assert isinstance(advert, SendAdvert)

    heard = PacketReceived("eth0", advert.source, advert.destination, 255, advert.message)
    actions = electorate.tell("lb1", heard)
    after = electorate.run(6.0)

    assert words(actions) == ["front advert 150", "announce 192.0.2.10 x5", "front duel"]
    assert [s[::2] for s in after if "announce" in s[2]] == [
        (6.1, "announce 192.0.2.10 x5"),
        (7.0, "announce 192.0.2.10 x5"),
        (11.0, "announce 192.0.2.10 x5"),
    ]


# --- stopping and handing over ---------------------------------------------------------------


def test_a_stopping_master_holds_its_addresses_until_the_successor_speaks() -> None:
    electorate = pair()
    electorate.tell("lb1", order(messages.OrderKind.STOP))
    assert electorate.holders() == ["lb1"]

    story = electorate.run(1.0)

    assert story == [
        (6.609, "lb2", "place 192.0.2.10"),
        (6.609, "lb2", "announce 192.0.2.10 x5"),
        (6.609, "lb2", "front master"),
        (6.609, "lb1", "drop 192.0.2.10"),
        (6.609, "lb1", "front stopped"),
        (6.609, "lb1", "stopped"),
    ]


def test_a_stopping_master_alone_drops_after_four_intervals_at_most() -> None:
    electorate = Electorate()
    electorate.join("lb1", settings(FRONT))
    electorate.run(6.0)

    electorate.tell("lb1", order(messages.OrderKind.STOP))

    assert electorate.run(10.0) == [
        (9.996, "lb1", "drop 192.0.2.10"),
        (9.996, "lb1", "front stopped"),
        (9.996, "lb1", "stopped"),
    ]
    assert electorate.nodes["lb1"].desired().addresses == ()


def test_a_stopping_backup_is_gone_at_once_and_begins_nothing_any_more() -> None:
    electorate = pair()

    actions = electorate.tell("lb2", order(messages.OrderKind.STOP))

    assert words(actions) == ["front stopped", "stopped"]
    assert words(electorate.tell("lb2", settings(FRONT))) == []


def test_a_handover_moves_mastership_and_it_stays_moved_until_released() -> None:
    electorate = pair()
    electorate.tell("lb1", order(messages.OrderKind.YIELD, "front", "1"))
    electorate.tell("lb1", order(messages.OrderKind.YIELD, "front", "1"))  # once is once
    electorate.run(60.0)
    assert electorate.holders() == ["lb2"]

    electorate.tell("lb1", order(messages.OrderKind.RELEASE, "front", "2"))
    electorate.run(5.0)

    assert electorate.holders() == ["lb1"]


def test_an_order_for_nobody_is_refused() -> None:
    electorate = pair()

    assert words(electorate.tell("lb1", order(messages.OrderKind.YIELD, "nosuch"))) == [
        "nosuch order_refused"
    ]


def test_a_takeover_ordered_of_a_node_in_fault_is_refused() -> None:
    electorate = pair()
    electorate.tell("lb2", links(2, eth0=False))

    actions = electorate.tell("lb2", order(messages.OrderKind.TAKE_OVER, "front"))

    assert words(actions) == ["front order_refused"]
    assert electorate.holders() == ["lb1"]


def test_a_resigned_mastership_is_not_adopted_by_the_next_process() -> None:
    electorate = pair()

    actions = electorate.tell("lb1", order(messages.OrderKind.YIELD, "front"))

    assert [a.sent_at for a in actions if isinstance(a, Note)] == [None]


def test_an_ordered_takeover_happens_at_once() -> None:
    electorate = pair()
    electorate.tell("lb1", order(messages.OrderKind.YIELD, "front"))

    electorate.tell("lb2", order(messages.OrderKind.TAKE_OVER, "front"))

    assert electorate.holders() == ["lb2"]


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
    electorate.tell("lb1", messages.Peers((messages.Peer("lb2", True, 3.6),)))
    electorate.run(8.0)
    assert electorate.holders() == ["lb2"]

    electorate.tell("lb1", messages.Ready(True, "checks settled"))
    electorate.run(5.0)

    assert electorate.holders() == ["lb1"]


# --- packets that do not count ---------------------------------------------------------------


def test_packets_that_are_no_adverts_for_us_are_counted_and_change_nothing() -> None:
    electorate = pair()
    (better,) = _adverts(replace(FRONT, priority=200), 3)
    fault = replace(better, message=b"\x31")
    plain = PacketReceived("eth0", better.source, better.destination, 255, better.message)
    own = replace(plain, source=Address("198.51.100.1"))
    wrong = [
        (own, "own_advert"),
        (replace(plain, ttl=254), "ip_ttl_err"),
        (replace(plain, message=better.message[:-1]), "packet_len_err"),
        (replace(plain, source=Address("198.51.100.77")), "checksum_err"),
        (replace(plain, destination=Address("198.51.100.1")), "destination_err"),
    ]

    for packet, counter in wrong:
        assert words(electorate.tell("lb1", packet)) == []
        assert electorate.nodes["lb1"].routers()[0].counters[counter] == 1

    assert fault.message == b"\x31"
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
    assert election.handle(packet, T0 + 2) == ()
    assert election.routers()[0].counters["source_err"] == 1


def test_what_could_not_be_sent_is_counted() -> None:
    electorate = pair()

    assert electorate.tell("lb1", SendFailed("front", 4, "ENETDOWN")) == ()
    assert electorate.nodes["lb1"].routers()[0].counters["advert_send_err"] == 1


# --- the start of a process ------------------------------------------------------------------


def test_the_network_is_asked_for_each_second_until_it_answers() -> None:
    election = Election()
    election.handle(settings(replace(FRONT, startup_delay=None)), T0)

    assert words(election.handle(links(1), T0)) == ["ask eth0"]
    assert election.deadline() == T0 + 1
    assert words(election.handle(Tick(), T0 + 1)) == ["ask eth0"]
    assert words(election.handle(_foreign_advert(), T0 + 1.5)) == ["front backup"]
    assert words(election.handle(Tick(), T0 + 2)) == []


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
    assert electorate.tell("lb1", packet) == ()
    assert electorate.nodes["lb1"].routers()[0].counters["advert_interval_err"] == 1


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
