"""The mirror: what is believed to be in the connection table, and for how long."""

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import ipvs_sync, mirror
from hadirector.core.address import Address
from hadirector.core.ipvs_sync import Record
from hadirector.core.mirror import Mirror
from tests.core.test_ipvs_sync import ONE, SIX

TEMPLATE = replace(ONE, flags=0x1100, client_port=0, timeout=300)


def raw(record: Record) -> bytes:
    return ipvs_sync.encode(record)


def held(known: Mirror) -> list[Record]:
    return sorted(
        (
            ipvs_sync.decode(mirror.record(value, 0.0))
            for bucket in known.buckets
            for value in bucket.values()
        ),
        key=repr,
    )


def keys(known: Mirror) -> list[bytes]:
    return [key for bucket in known.buckets for key in bucket]


def total(steps: Iterator[int]) -> int:
    return sum(steps)


def read(known: Mirror, now: float, previous: float | None, *records: Record) -> None:
    known.begin_reading(now, previous)
    known.read(map(raw, records), now + 0.1)
    total(known.end_reading())


def test_a_connection_is_known_until_its_time_is_up() -> None:
    known = Mirror()
    known.hear([raw(ONE), raw(SIX)], 1000.0)

    assert total(known.expire(1900.0)) == 0
    assert total(known.expire(1903.0)) == 2
    assert len(known) == 0


def test_one_that_is_repeated_lives_on_and_is_not_younger_for_it() -> None:
    known = Mirror()
    known.hear([raw(ONE)], 1000.0)
    known.hear([raw(ONE)], 1500.0)

    assert len(known) == 1
    assert total(known.expire(2000.0)) == 0
    (key,) = keys(known)
    value = known.get(key)
    assert value is not None
    assert mirror.is_old(value, 1001.0)
    assert not mirror.is_old(value, 1000.0)


def test_what_is_sent_on_has_the_time_that_is_left_but_a_template_all_of_it() -> None:
    known = Mirror()
    known.hear([raw(ONE), raw(TEMPLATE)], 1000.0)

    sent = {
        mirror.record(value, 1100.0)[20:24] for bucket in known.buckets for value in bucket.values()
    }

    assert sent == {(800).to_bytes(4, "big"), (300).to_bytes(4, "big")}


def test_a_connection_with_another_server_takes_the_place_of_the_one_before() -> None:
    known = Mirror()
    other = replace(ONE, server=Address("10.0.1.12"))
    known.hear([raw(ONE)], 1000.0)
    known.hear([raw(other)], 1001.0)

    assert [record.server for record in held(known)] == ["10.0.1.12"]


def test_a_standby_keeps_the_server_that_its_kernel_keeps() -> None:
    """tests/kernel/test_sync_stream has the kernel do so."""
    template = replace(ONE, client_port=0, state=1, flags=0x1100, timeout=300)
    flow = replace(ONE, protocol=17, state=0, flags=0x100, timeout=300)
    other = Address("10.0.1.12")
    moved = [replace(one, server=other) for one in (template, flow)]

    def servers(known: Mirror, *said: Record, at: float) -> dict[int, str]:
        known.hear(map(raw, said), at, own=False)
        return {record.protocol: record.server for record in held(known)}

    known = Mirror()
    assert servers(known, template, flow, at=1000.0) == {6: ONE.server, 17: ONE.server}
    assert servers(known, *moved, at=1001.0) == {6: ONE.server, 17: ONE.server}
    ways = replace(moved[0], timeout=1), replace(moved[1], flags=0)
    assert servers(known, *ways, at=1002.0) == {6: ONE.server, 17: other}
    assert servers(known, *moved, at=1004.0) == {6: other, 17: other}
    known.hear([raw(template)], 1005.0)  # its own kernel knows better
    assert ONE.server in {record.server for record in held(known)}


def test_what_only_the_stream_told_is_gone_when_a_reading_does_not_show_it() -> None:
    known = Mirror()
    known.hear([raw(ONE), raw(SIX)], 1000.0)

    read(known, 1010.0, None, ONE)

    assert len(known) == 1


def test_what_a_reading_showed_may_be_left_out_of_one_but_not_of_two() -> None:
    known = Mirror()
    read(known, 1010.0, None, ONE, SIX)
    read(known, 1020.0, 1010.0, ONE)
    assert len(known) == 2

    read(known, 1030.0, 1020.0, ONE)

    assert len(known) == 1


def test_what_is_heard_while_the_table_is_read_is_not_forgotten_for_it() -> None:
    known = Mirror()
    known.begin_reading(1000.0, None)
    known.hear([raw(ONE)], 1000.5)

    assert total(known.end_reading()) == 0


def test_the_first_reading_shows_what_is_old_and_a_later_one_what_came_since_the_last() -> None:
    known = Mirror()
    read(known, 1010.0, None, ONE)
    read(known, 1020.0, 1010.0, ONE, SIX)

    old = {
        len(key): mirror.is_old(value, 1005.0)
        for bucket in known.buckets
        for key, value in bucket.items()
    }

    assert old == {13: True, 37: False}


def test_what_a_reading_shows_before_the_stream_told_of_it_is_anew_until_the_next_one() -> None:
    known = Mirror()
    read(known, 1010.0, None, ONE)
    known.hear([raw(replace(ONE, client_port=1))], 1015.0)
    anew = replace(ONE, client_port=2)

    def ports() -> list[int]:
        values = [value for bucket in known.buckets for value in bucket.values()]
        return [int.from_bytes(v[19:21], "big") for v in values if mirror.is_anew(v)]

    read(known, 1020.0, 1010.0, ONE, replace(ONE, client_port=1), anew)
    assert ports() == [2]
    read(known, 1030.0, 1020.0, ONE, anew)
    assert ports() == []
    read(known, 1040.0, 1030.0, ONE)
    assert len(known) == 2  # left out of one reading, not of two


def test_a_reading_keeps_what_the_stream_knows_better() -> None:
    known = Mirror()
    said = replace(ONE, flags=3, fwmark=7, timeout=900)
    known.hear([raw(said)], 1000.0)

    read(known, 1010.0, None, replace(ONE, state=4, flags=ipvs_sync.INACTIVE, timeout=100))

    (record,) = held(known)
    assert (record.fwmark, record.state, record.flags) == (7, 4, 3 | ipvs_sync.INACTIVE)
    assert total(known.expire(1113.0)) == 1


def test_what_came_while_datagrams_were_dropped_is_doubted() -> None:
    known = Mirror()
    known.hear([raw(ONE)], 1000.0)
    known.hear([raw(SIX)], 1005.0)

    assert total(known.doubt(1004.0, 1006.0)) == 1
    assert [record.family for record in held(known)] == [4]


def test_both_families_and_templates_are_found_again_by_their_keys() -> None:
    known = Mirror()
    known.hear(map(raw, (ONE, SIX, TEMPLATE)), 1000.0)

    assert len(keys(known)) == 3
    assert all(known.get(key) is not None for key in keys(known))


@given(st.sets(st.tuples(st.integers(1024, 65535), st.integers(0, 255)), max_size=200))
def test_clients_that_differ_are_all_kept(clients: set[tuple[int, int]]) -> None:
    known = Mirror()
    many = [
        replace(ONE, client_port=port, client=Address(f"192.0.2.{host}")) for port, host in clients
    ]

    known.hear(map(raw, many), 1000.0)

    assert len(known) == len(clients)
    assert all(known.get(key) is not None for key in keys(known))


def test_whoever_forges_clients_cannot_choose_their_bucket() -> None:
    known = Mirror("shop")
    same_low_bits = (
        raw(replace(ONE, client=Address(f"10.{high}.{low}.7"), client_port=9))
        for high in range(64)
        for low in range(256)
    )
    known.hear(same_low_bits, 1000.0)

    assert len(known) == 64 * 256
    assert max(map(len, known.buckets)) < 200
    assert [k for k in keys(known) if known.get(k) is None] == []


def test_nodes_of_one_cluster_have_the_same_buckets_and_other_clusters_others() -> None:
    one, two, other = Mirror("shop"), Mirror(), Mirror("library")
    two.belong_to("shop")
    for known in (one, two, other):
        known.hear([raw(ONE), raw(SIX)], 1000.0)

    assert one.buckets == two.buckets
    assert one.buckets != other.buckets
    two.belong_to("shop")
    assert len(two) == 2
