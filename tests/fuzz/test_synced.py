"""A short run of the fuzzer's sync datagrams in each run of the suite."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import ipvs_sync
from tests.core.test_ipvs_sync import ONE, SIX
from tests.fuzz import synced

V4, V6 = ipvs_sync.encode(ONE), ipvs_sync.encode(SIX)


@pytest.mark.parametrize("records", [(V4,), (V6,), (V4, V6), (V4,) * 40])
def test_the_fuzzer_can_reach_every_kind_of_record(records: tuple[bytes, ...]) -> None:
    assert synced.run(bytes((0x80, len(records))) + b"".join(records)) == list(records)


@pytest.mark.parametrize("example", synced.EXAMPLES)
def test_what_the_fuzzer_begins_with_is_taken(example: bytes) -> None:
    assert len(synced.run(example)) == example[1]


@given(st.binary(max_size=200))
def test_any_bytes_are_judged(data: bytes) -> None:
    synced.run(data)


@given(
    count=st.integers(0, 3),
    records=st.lists(st.sampled_from((V4, V6)), max_size=3),
    changes=st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), max_size=3),
    tail=st.binary(max_size=40),
)
def test_records_with_changed_bytes_are_judged(
    count: int, records: list[bytes], changes: list[tuple[int, int]], tail: bytes
) -> None:
    changed = bytearray(b"".join(records) + tail)
    for at, value in changes if changed else ():
        changed[at % len(changed)] = value

    synced.run(bytes((0x80, count)) + bytes(changed))
