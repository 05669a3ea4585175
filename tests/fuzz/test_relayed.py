"""A short run of the fuzzer's datagrams at the relay; `python -m tests.fuzz relay` goes on."""

from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import relay_wire
from hadirector.core.relay_wire import Again, Beat
from tests.core.relays import datagram
from tests.fuzz import relayed

FIRST = b"\1" + (1).to_bytes(8, "big")
SAID = b"\2" + bytes(8)
GENUINE = relayed.sealed(1, datagram(7))


def test_the_fuzzer_can_reach_the_kernel() -> None:
    assert relayed.run(FIRST + datagram(7)) == [datagram(7)]


@given(st.binary(max_size=1500))
def test_any_bytes_are_judged(body: bytes) -> None:
    relayed.run(b"\0" + bytes(8) + body)


@given(sequence=st.binary(min_size=8, max_size=8), body=st.binary(max_size=200))
def test_any_bytes_under_the_seal_of_records_are_judged(sequence: bytes, body: bytes) -> None:
    relayed.run(b"\1" + sequence + body)


@given(st.integers(0, 2**64 - 1))
def test_a_leap_of_any_size_is_bounded_work(sequence: int) -> None:
    relayed.run(b"\1" + sequence.to_bytes(8, "big") + datagram(7))


@given(st.binary(max_size=1500))
def test_any_bytes_that_a_peer_says_are_judged(body: bytes) -> None:
    relayed.run(SAID + body)


_NUMBER = st.integers(0, 2**64 - 1)
_RANGES = st.lists(st.tuples(_NUMBER, st.integers(0, 0xFFFF)), max_size=relay_wire.RANGES)


@given(
    st.one_of(
        st.builds(Beat, *[st.one_of(st.sampled_from([0, 1, 1_000_001, 1_000_002]), _NUMBER)] * 5),
        st.builds(Again, st.sampled_from([0, 1_000_002]), _RANGES.map(tuple)),
    )
)
def test_whatever_numbers_a_peer_says_are_judged(said: Beat | Again) -> None:
    assert relay_wire.decode(relay_wire.encode(said)) == said
    relayed.run(SAID + relay_wire.encode(said))


@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(GENUINE) - 1), st.integers(1, 255)), min_size=1, max_size=3
    ),
    cut=st.integers(0, len(GENUINE)),
)
def test_nothing_of_a_changed_or_cut_datagram_reaches_the_kernel(
    changes: list[tuple[int, int]], cut: int
) -> None:
    changed = bytearray(GENUINE)
    for at, value in changes:
        changed[at] ^= value

    if bytes(changed) != GENUINE:
        assert relayed.run(b"\0" + bytes(8) + bytes(changed)) == []
    if cut < len(GENUINE):
        assert relayed.run(b"\0" + bytes(8) + GENUINE[:cut]) == []
