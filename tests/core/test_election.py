"""core/election: stories of two nodes, told as traces of all that was done, adverts of routine
left out."""

from hadirector.core import messages
from hadirector.core.election import Election
from hadirector.core.election_types import (
    Note,
    PacketReceived,
    SendAdvert,
    Tick,
)
from tests.core.electorate import (
    FRONT,
    T0,
    Electorate,
    links,
    order,
    pair,
    settings,
    with_priority,
    words,
)

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
        (6.629, "lb1", "drop 192.0.2.10"),
        (6.629, "lb1", "front stopped"),
        (6.629, "lb1", "stopped"),
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
