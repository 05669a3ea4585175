"""Whether a node has the connections of those it may have to replace."""

from dataclasses import replace

from hadirector.core import sync_readiness
from hadirector.core.address import Address
from hadirector.core.keys import Key
from hadirector.core.resync_seal import Seal, choose
from hadirector.core.sync_readiness import FIRST_WORD, VERDICT_HOLDS, Doubt, Master
from hadirector.core.syncer_messages import Standby, SyncPeer, SyncRole, SyncRoles

VIP = (Address("192.0.2.10"),)
COMPLETE = Standby("lb2", True, "all 3 connections are there", total=3, compared_at=5.0)


def roles(role: SyncRole, *peers: SyncPeer) -> SyncRoles:
    return SyncRoles(role, (), peers)


BEHIND = roles(SyncRole.BACKUP, SyncPeer("lb1", True, VIP))


def ready(known: SyncRoles | None, now: float = 100.0, **masters: Master) -> bool:
    return sync_readiness.judge(known, True, masters, 0.0, now)[0]


def test_a_master_needs_nobodys_connections() -> None:
    assert ready(roles(SyncRole.MASTER))
    assert not ready(None)


def test_a_standby_is_ready_once_its_master_says_so() -> None:
    assert not ready(BEHIND)
    assert not ready(BEHIND, lb1=Master(Standby("lb2", False, "3 of 3 are missing"), 99.0))
    assert ready(BEHIND, lb1=Master(COMPLETE, 99.0))
    assert not ready(BEHIND, 100.0 + VERDICT_HOLDS, lb1=Master(COMPLETE, 99.0))


def test_without_a_thread_that_listens_nothing_comes() -> None:
    judged = sync_readiness.judge(BEHIND, False, {"lb1": Master(COMPLETE, 99.0)}, 0.0, 100.0)

    assert judged == (False, "the backup thread does not listen")


def test_where_nobody_is_master_there_is_nobody_to_have_connections_from() -> None:
    assert ready(roles(SyncRole.BACKUP, SyncPeer("lb1", True, ())))
    assert ready(roles(SyncRole.BACKUP))


def test_a_peer_that_was_not_heard_yet_may_be_master() -> None:
    silent = roles(SyncRole.BACKUP, SyncPeer("lb1", False, ()))

    assert not ready(silent, FIRST_WORD - 0.1)
    assert ready(silent, FIRST_WORD)


def test_a_master_whose_director_is_not_heard_any_more_may_have_connections() -> None:
    hidden, never = (SyncPeer("lb1", False, (), known) for known in (True, False))
    at = (Address("192.0.2.1"),)

    def judged(peer: SyncPeer, obeys: tuple[Address, ...]) -> tuple[bool, str]:
        known = SyncRoles(SyncRole.BACKUP, (), (peer,), "", obeys)
        return sync_readiness.judge(known, True, {}, 0.0, 100.0)

    assert judged(hidden, at) == (
        False,
        "a master is heard at 192.0.2.1, and lb1's director is not: nobody says which connections "
        "are there",
    )
    assert judged(hidden, ())[0]  # its host died
    assert judged(never, at)[0]  # keepalived's


def test_where_two_are_masters_the_other_ones_connections_count() -> None:
    mixed = roles(SyncRole.MIXED, SyncPeer("lb1", True, VIP))

    assert sync_readiness.masters(mixed) == ["lb1"]
    assert not ready(mixed)
    assert ready(mixed, lb1=Master(COMPLETE, 99.0))


def test_a_verdict_is_told_by_our_own_clock() -> None:
    said = Standby("lb2", True, "", compared_at=5000.0, equal_at=4990.0, resync_at=4000.0)

    here = sync_readiness.by_our_clock("lb1", said, 100.0)

    assert (here.node, here.compared_at, here.equal_at) == ("lb1", 100.0, 90.0)
    assert here.resync_at == -900.0

    unable = sync_readiness.by_our_clock("lb1", replace(said, ready=False), 130.0, here)
    assert unable == replace(here, ready=False)  # it was not compared since


def test_a_kernel_that_has_a_good_deal_less_than_the_wire_brought_is_doubted() -> None:
    assert lacks(heard=8, counted=0)
    assert lacks(heard=1000, counted=700)
    assert not lacks(heard=1000, counted=900)  # some are over there already
    assert not lacks(heard=4, counted=0)
    assert not lacks(heard=0, counted=50)


def lacks(heard: int, counted: int) -> bool:
    return Doubt().look(0, heard, counted, 100.0) != ""


def test_another_clusters_records_on_our_network_have_us_compared_no_more_than_is_due() -> None:
    doubt = Doubt()
    refused = [doubt.look(2 * number, 0, 0, 100.0 + 5.0 * number) for number in range(26)]

    assert [number for number, why in enumerate(refused) if why] == [1, 13, 25]


# The seal of the link by which masters judge


def seals(secret: bytes = bytes(32), nonce: bytes = bytes(16)) -> tuple[Seal, Seal]:
    names = ("lb2", "lb1")
    one = Seal(Key(1, bytes(32)), "shop", names, (bytes(16), bytes(16)), 0)
    return one, Seal(Key(1, secret), "shop", names, (bytes(16), nonce), 1)


def test_a_frame_is_genuine_once_in_its_place_and_direction() -> None:
    standby, master = seals()
    first, second = standby.seal(b"one"), standby.seal(b"two")

    assert master.is_genuine(b"one", first)
    assert not master.is_genuine(b"one", first)  # again
    assert not master.is_genuine(b"two", second)  # its number is past by now
    assert not standby.is_genuine(b"one", first)  # our own, turned back


def test_another_key_or_another_conversation_makes_another_seal() -> None:
    for standby, master in (seals(secret=b"x" * 32), seals(nonce=b"y" * 16)):
        assert not master.is_genuine(b"one", standby.seal(b"one"))


def test_the_first_key_of_ours_that_they_have_too_is_taken() -> None:
    keys = [Key(number, bytes(32)) for number in (3, 1, 2)]

    chosen = choose(keys, (2, 1))
    assert chosen is not None
    assert chosen.identity == 1
    assert choose(keys, (9,)) is None
