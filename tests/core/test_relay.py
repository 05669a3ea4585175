"""core/relay: what reaches the kernel of a standby, what does not, and what is lost."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hadirector.core import relay_inbox, relay_wire
from hadirector.core.address import Address
from hadirector.core.keys import Key
from hadirector.core.relay import ALIVE, Told
from tests.core.relays import KEY, SYNC_ID, Wire, datagram, losing

OTHER = Key(1, bytes(range(1, 33)))
NEW = Key(2, bytes(range(2, 34)))
LB1 = Address("10.9.0.1")


def pair(**changes: object) -> Wire:
    """lb1 and lb2, which believe each other."""
    wire = Wire(**changes)  # type: ignore[arg-type]  # passed on
    wire.meet()
    return wire


def forged(number: int, sequence: int, key: Key = KEY, sync_id: int = SYNC_ID) -> bytes:
    """Records as lb1 would seal them in its epoch."""
    tag = relay_wire.tag("shop", "lb1")
    payload = datagram(number, sync_id)
    return relay_wire.seal_records(payload, tag, 1_000_001, sequence, sync_id, key)


def test_records_reach_the_kernel_of_every_peer_in_their_order() -> None:
    wire = pair(names=("lb1", "lb2", "lb3"))

    wire.say("lb1", 1, 2, 3)
    wire.say("lb2", 7)
    wire.run(0.1)

    assert wire.taken("lb2") == [1, 2, 3]
    assert sorted(wire.taken("lb3")) == [1, 2, 3, 7]
    assert wire.taken("lb1") == [7]


def test_by_multicast_as_well() -> None:
    wire = pair(names=("lb1", "lb2", "lb3"), multicast=True)

    wire.say("lb1", 1, 2, 3)
    wire.run(0.1)

    assert wire.taken("lb2") == wire.taken("lb3") == [1, 2, 3]
    assert wire.refused() == {}


def test_without_a_key_nothing_is_sent_and_nothing_is_taken_in() -> None:
    wire = pair()
    genuine = forged(5, 1)

    wire.follow("lb1", ())
    wire.say("lb1", 1)
    wire.follow("lb2", ())
    wire.hear("lb2", genuine, LB1)
    wire.hear("lb2", datagram(6), LB1)
    wire.run(1.0)

    assert wire.taken() == []


def test_what_the_kernel_does_not_send_is_not_sealed() -> None:
    wire = pair()

    for odd in (b"", b"\0" * 8, datagram(1, SYNC_ID + 1), datagram(1)[:-1], b"\0" * 1500):
        assert wire.ends["lb1"].relay.outgoing(odd, wire.now) is None


@pytest.mark.parametrize(
    ("raw", "flaw"),
    [
        (datagram(9), "unsigned"),
        (forged(9, 1, OTHER), "wrong_key"),
        (forged(9, 1, NEW), "unknown_key"),
        (forged(9, 1, sync_id=SYNC_ID + 1), "wrong_sync_id"),
        (forged(9, 1)[:-1], "truncated"),
        (forged(9, 1)[:40], "truncated"),
        (forged(9, 1)[:20], "truncated"),
        (forged(9, 1) + b"\0", "malformed"),
        (b"HDS2" + forged(9, 1)[4:], "version"),
        (b"", "malformed"),
        (b"hello", "malformed"),
        (forged(9, 1)[:60] + b"\xff" + forged(9, 1)[61:], "wrong_key"),
    ],
)
def test_what_is_not_genuine_is_refused_and_counted_by_its_flaw(raw: bytes, flaw: str) -> None:
    wire = pair()

    wire.hear("lb2", raw, LB1)
    wire.run(1.0)

    assert wire.taken() == []
    assert wire.refused() == {flaw: 1}
    assert [told.peer for told in wire.ends["lb2"].told if told.kind == "relay_refused"] == ["lb1"]


def test_a_sealed_datagram_whose_records_are_of_another_id_or_size_is_refused() -> None:
    tag = relay_wire.tag("shop", "lb1")
    wire = pair()

    for payload in (datagram(9, SYNC_ID + 1), datagram(9) + b"\0", datagram(9)[:-1], b"\0" * 8):
        raw = relay_wire.seal_records(payload, tag, 1_000_001, 1, SYNC_ID, KEY)
        wire.hear("lb2", raw, LB1)

    assert wire.taken() == []
    assert wire.refused() == {"wrong_sync_id": 1, "malformed": 2, "truncated": 1}


def test_nobody_but_a_peer_at_its_address_is_heard() -> None:
    wire = pair()
    stranger = relay_wire.seal_records(
        datagram(9), relay_wire.tag("shop", "lb9"), 1_000_001, 1, SYNC_ID, KEY
    )

    wire.hear("lb2", forged(9, 1), Address("10.9.0.9"))
    wire.hear("lb2", stranger, LB1)

    assert wire.taken() == []
    assert wire.ends["lb2"].relay.strangers == {"stranger": 2}


def test_a_datagram_that_comes_twice_is_handed_on_once() -> None:
    wire = pair()
    wire.say("lb1", 1, 2, 3)
    wire.run(0.1)
    recorded = [raw for sender, raw in wire.heard if relay_wire.is_records(raw)]

    for raw in recorded * 2:
        wire.hear("lb2", raw, LB1)

    assert wire.taken() == [1, 2, 3]
    assert wire.refused() == {"replayed": 6}


def test_a_recording_from_before_the_receiver_began_is_refused() -> None:
    wire = pair()
    wire.say("lb1", 1, 2, 3)
    wire.run(0.1)
    recorded = [raw for sender, raw in wire.heard if sender == "lb1"]
    wire.start("lb2")

    for raw in recorded:
        wire.hear("lb2", raw, LB1)
    wire.run(3.0)
    for raw in recorded:
        wire.hear("lb2", raw, LB1)
    wire.say("lb1", 4)
    wire.run(3.0)

    assert wire.taken() == [1, 2, 3, 4]
    refused = wire.accounts("lb2")["lb1"].refused
    assert refused["replayed"] + refused["stale"] >= 6


def test_a_recording_of_a_former_life_of_the_sender_is_refused() -> None:
    wire = pair()
    wire.say("lb1", 1, 2, 3)
    wire.run(0.1)
    recorded = [raw for sender, raw in wire.heard if sender == "lb1"]
    wire.start("lb1")
    wire.run(1.5)

    for raw in recorded:
        wire.hear("lb2", raw, LB1)
    wire.run(3.0)

    assert wire.taken() == [1, 2, 3]


def test_a_relay_that_began_anew_goes_on_once_its_beat_proved_it() -> None:
    wire = pair()
    wire.say("lb1", 1)
    wire.run(0.1)

    wire.start("lb1")
    wire.run(1.0)
    wire.say("lb1", 2, 3)
    wire.run(0.1)
    wire.start("lb2")
    wire.run(1.0)
    wire.say("lb1", 4)
    wire.run(0.1)

    assert wire.taken() == [1, 2, 3, 4]


def test_records_that_overtake_the_beat_that_proves_them_wait_for_it() -> None:
    wire = pair()
    wire.start("lb2")
    wire.run(0.002)  # lb1 hears lb2's first beat, whose answer is under way

    wire.say("lb1", 1)
    wire.run(0.5)

    assert wire.taken() == [1]


def test_what_the_network_reorders_reaches_the_kernel_in_order() -> None:
    chance = random.Random(7)
    wire = pair()
    wire.jitter = lambda: chance.random() * 0.008

    wire.say("lb1", *range(300))
    wire.run(1.0)

    assert wire.taken() == list(range(300))
    assert wire.accounts("lb1")["lb2"].sent_again == 0


@pytest.mark.parametrize("multicast", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_of_a_network_that_loses_30_percent_nothing_is_lost(seed: int, multicast: bool) -> None:
    wire = pair(multicast=multicast)
    wire.drops = losing(0.3, seed)

    for start in range(0, 4000, 40):
        wire.say("lb1", *range(start, start + 40))
        wire.run(0.01)
    wire.run(2.0)

    assert wire.taken() == list(range(4000))
    account = wire.accounts("lb2")["lb1"]
    assert account.lost == 0
    assert account.again > 1000
    assert wire.refused() == {}


def test_the_last_datagram_of_a_burst_is_asked_for_when_it_was_lost() -> None:
    wire = pair()

    wire.say("lb1", 1)
    wire.drops = lambda raw: relay_wire.is_records(raw)
    wire.say("lb1", 2)
    wire.drops = lambda raw: False
    wire.run(0.2)

    assert wire.taken() == [1, 2]
    assert wire.accounts("lb2")["lb1"].again == 1


def test_what_cannot_be_had_again_is_given_up_and_counted() -> None:
    wire = pair()
    wire.drops = lambda raw: relay_wire.is_records(raw) and raw[24:32] == (2).to_bytes(8, "big")

    wire.say("lb1", 1, 2, 3)
    wire.run(0.2)
    held = list(wire.taken())
    behind = wire.accounts("lb2")["lb1"].behind
    wire.run(relay_inbox.GIVE_UP)

    assert held == [1]
    assert 0.1 < behind < 0.3
    assert wire.taken() == [1, 3]
    assert wire.accounts("lb2")["lb1"].lost == 1
    assert wire.accounts("lb2")["lb1"].behind == 0.0


def test_a_datagram_held_up_until_it_was_given_up_is_refused() -> None:
    wire = pair()
    wire.drops = lambda raw: relay_wire.is_records(raw) and raw[24:32] == (2).to_bytes(8, "big")
    wire.say("lb1", 1, 2, 3)
    held_up = next(raw for _, raw in wire.heard if raw[24:32] == (2).to_bytes(8, "big"))
    wire.run(2 * relay_inbox.GIVE_UP)

    wire.hear("lb2", held_up, LB1)
    wire.hear("lb2", held_up, LB1)

    assert wire.taken() == [1, 3]
    assert wire.refused() == {"replayed": 1}  # the first was asked for


def test_records_of_a_peer_that_fell_silent_are_not_taken_until_it_beats_again() -> None:
    wire = pair()
    wire.say("lb1", 1)
    wire.run(0.1)
    late = forged(9, 2)
    wire.drops = lambda raw: True
    wire.run(ALIVE + 1.0)

    wire.hear("lb2", late, LB1)
    silent = list(wire.taken())
    wire.drops = lambda raw: False
    wire.run(1.0)

    assert silent == [1]
    assert not [told for told in wire.ends["lb2"].told if told.kind == "relay_refused"]
    kinds = [told.kind for told in wire.ends["lb2"].told]
    assert kinds == ["relay_heard", "relay_silent", "relay_heard"]


def test_what_a_dead_master_had_sent_behind_a_gap_is_handed_on() -> None:
    wire = pair()
    wire.drops = lambda raw: relay_wire.is_records(raw) and raw[24:32] == (2).to_bytes(8, "big")
    wire.say("lb1", 1, 2, 3, 4)
    wire.run(0.05)
    wire.drops = lambda raw: True

    wire.run(ALIVE + 1.0)

    assert wire.taken() == [1, 3, 4]


def test_a_key_is_rotated_without_a_gap() -> None:
    wire = pair()
    said = iter(range(100))
    steps: list[tuple[str, tuple[Key, ...]]] = [
        ("lb1", (KEY, NEW)),
        ("lb2", (KEY, NEW)),
        ("lb1", (NEW, KEY)),
        ("lb2", (NEW, KEY)),
        ("lb1", (NEW,)),
        ("lb2", (NEW,)),
    ]

    for name, keys in steps:
        wire.say("lb1", next(said))
        wire.run(0.3)
        wire.follow(name, keys)
        wire.say("lb1", next(said))
        wire.run(0.3)

    assert wire.taken() == list(range(12))
    assert wire.refused() == {}
    assert wire.accounts("lb2")["lb1"].key == 2


def test_a_key_that_only_one_node_has_is_told_once() -> None:
    wire = pair()
    wire.follow("lb1", (NEW,))

    wire.say("lb1", 1, 2, 3)
    wire.run(5.0)

    assert wire.taken() == []
    told = [each for each in wire.ends["lb2"].told if each.kind == "relay_refused"]
    assert told == [
        Told("relay_refused", "lb1", "lb1 signs with a key we do not have (id 2)"),
    ]


def test_nodes_with_unlike_sync_ids_take_none_of_each_others_records() -> None:
    wire = pair(sync_ids={"lb2": SYNC_ID + 1})

    wire.say("lb1", 1, 2)
    wire.run(1.0)

    assert wire.taken() == []
    assert set(wire.refused()) == {"wrong_sync_id"}


def test_a_standby_is_not_sent_more_again_than_allowed() -> None:
    wire = pair()
    wire.drops = lambda raw: relay_wire.is_records(raw)
    wire.say("lb1", *range(relay_inbox.WINDOW))
    wire.run(0.3)

    assert wire.accounts("lb1")["lb2"].sent_again <= 2048 + 0.3 * 5000 + 1


@settings(max_examples=40, deadline=None)
@example(seed=275, share=0.421875, jitter=0.0, restarts=["lb1", "lb1"])  # a life nobody heard of
@given(
    seed=st.integers(0, 2**32),
    share=st.floats(0.0, 0.5),
    jitter=st.floats(0.0, 0.05),
    restarts=st.lists(st.sampled_from(["lb1", "lb2"]), max_size=3),
)
def test_nothing_is_handed_on_twice_or_out_of_order(
    seed: int, share: float, jitter: float, restarts: list[str]
) -> None:
    chance = random.Random(seed)
    wire = pair()
    wire.drops = losing(share, seed)
    wire.jitter = lambda: chance.random() * jitter
    said = 0

    for restart in [*restarts, None]:
        for _ in range(20):
            wire.say("lb1", *range(said, said + 10))
            said += 10
            wire.run(0.02)
        if restart is not None:
            wire.start(restart)
    for sender, raw in chance.sample(wire.heard, min(len(wire.heard), 200)):
        if sender == "lb1":
            wire.hear("lb2", raw, LB1)
    wire.run(3.0)

    taken = wire.taken()
    assert taken == sorted(set(taken))
