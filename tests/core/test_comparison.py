"""Comparing two nodes' connections by digests and lists of hashes."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import comparison, ipvs_sync
from hadirector.core.address import Address, packed
from hadirector.core.comparison import HASH, NOTHING, Scope
from hadirector.core.ipvs_sync import IN_SEQUENCE, INACTIVE, Record
from hadirector.core.mirror import Mirror
from tests.core.test_ipvs_sync import ONE, SIX

SALT = bytes(16)


def node(*records: Record, now: float = 1000.0) -> Mirror:
    known = Mirror()
    known.hear(map(ipvs_sync.encode, records), now)
    return known


def digests(known: Mirror, scope: Scope = None, salt: bytes = SALT) -> bytes:
    return b"".join(comparison.digest(b.values(), scope, salt)[0] for b in known.buckets)


def missing(master: Mirror, standby: Mirror) -> int:
    found = 0
    for number in comparison.differing(digests(master), digests(standby)):
        raw = b"".join(
            hashed for hashed, _ in comparison.hashes(standby.buckets[number].items(), None, SALT)
        )
        has = comparison.split_hashes(raw)
        bucket = master.buckets[number].items()
        found += sum(hashed not in has for hashed, _ in comparison.hashes(bucket, None, SALT))
    return found


def test_the_same_connections_are_equal_whatever_their_order_state_and_time() -> None:
    one = node(ONE, SIX)
    closing = replace(ONE, state=7, flags=INACTIVE, timeout=60)
    other = node(SIX, closing, now=1500.0)

    assert digests(one) == digests(other)
    assert digests(one, salt=b"another one     ") != digests(one)


@given(st.sets(st.integers(1, 65535), max_size=300), st.sets(st.integers(1, 65535), max_size=300))
def test_exactly_what_the_standby_does_not_have_is_found(here: set[int], there: set[int]) -> None:
    master = node(*(replace(ONE, client_port=port) for port in here))
    standby = node(*(replace(ONE, client_port=port) for port in there))

    assert missing(master, standby) == len(here - there)


def test_another_server_is_another_connection() -> None:
    assert missing(node(ONE), node(replace(ONE, server_port=8081))) == 1


def test_what_the_standby_has_beyond_its_master_is_left_alone() -> None:
    assert comparison.differing(digests(node()), digests(node(ONE, SIX))) == []


def test_connections_whose_loss_nobody_would_notice_are_not_compared() -> None:
    over = [replace(ONE, state=state) for state in (2, 3, 5, 6, 8, 9, 10)]

    assert all(digests(node(one)) == NOTHING * 4096 for one in over)
    assert digests(node(replace(ONE, state=4))) != NOTHING * 4096


def test_a_connection_with_changed_sequence_numbers_is_kept_out() -> None:
    ftp = node(replace(ONE, flags=IN_SEQUENCE, sequences=(1, 2, 3, 4, 5, 6)))

    assert digests(ftp) == NOTHING * 4096
    assert [comparison.is_kept_out(v) for b in ftp.buckets for v in b.values()] == [True]


def test_only_the_masters_own_virtual_addresses_are_compared_where_there_are_two_masters() -> None:
    ours = frozenset((packed(ONE.virtual),))
    mark = replace(ONE, protocol=0, flags=0x1100, virtual=Address("0.0.0.7"), state=1)
    known = node(ONE, SIX, mark)

    covered = sum(comparison.digest(b.values(), ours, SALT)[1] for b in known.buckets)

    assert covered == 2  # the template of a mark belongs to nobody's address


def test_hashes_are_split_as_they_are_sent() -> None:
    assert comparison.split_hashes(bytes(range(2 * HASH))) == {
        bytes(range(HASH)),
        bytes(range(HASH, 2 * HASH)),
    }
