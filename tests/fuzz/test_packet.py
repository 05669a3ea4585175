"""A short run of the fuzzer's packets in each run of the suite; `python -m tests.fuzz` goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import packet

ADVERT_3 = bytes.fromhex("3133640100640000c000020a")
ADVERT_2 = bytes.fromhex("2133640100010000c000020a") + bytes(8)
WITH_PASSWORD = bytes.fromhex("2133640101010000c000020a") + b"secret\0\0"
ADVERT_6 = bytes.fromhex("3133640100640000") + bytes.fromhex("fe80" + "00" * 13 + "10")

SUMMED, SIGNED, VERSION_2, IPV6, UNICAST = 64, 32, 2, 1, 4 + 16


def choices(flags: int, authentication: int = 0) -> bytes:
    return bytes((flags, 0, authentication, 0))


@pytest.mark.parametrize(
    "data",
    [
        choices(SUMMED) + ADVERT_3,
        choices(SUMMED + UNICAST) + ADVERT_3,
        choices(SUMMED + VERSION_2) + ADVERT_2,
        choices(SUMMED + VERSION_2, 1) + WITH_PASSWORD,
        choices(SUMMED + IPV6) + ADVERT_6,
        choices(SUMMED + SIGNED, 2) + ADVERT_3,
        choices(SUMMED + SIGNED + IPV6, 2) + ADVERT_6,
    ],
)
def test_the_fuzzer_can_reach_every_kind_of_advert(data: bytes) -> None:
    assert packet.run(data) is not None


@given(st.binary(max_size=120))
def test_any_bytes_are_judged(data: bytes) -> None:
    packet.run(data)


@given(
    flags=st.integers(0, 255),
    rest=st.binary(min_size=3, max_size=3),
    message=st.sampled_from([ADVERT_3, ADVERT_2, WITH_PASSWORD, ADVERT_6]),
    changes=st.lists(st.tuples(st.integers(0, 23), st.integers(0, 255)), max_size=3),
    tail=st.binary(max_size=40),
)
def test_adverts_with_changed_bytes_are_judged(
    flags: int, rest: bytes, message: bytes, changes: list[tuple[int, int]], tail: bytes
) -> None:
    changed = bytearray(message)
    for at, value in changes:
        changed[at % len(changed)] = value

    packet.run(bytes((flags,)) + rest + bytes(changed) + tail)


@given(st.integers(0, 255), st.binary(max_size=5000))
def test_a_packet_of_any_size_is_bounded_work(count: int, body: bytes) -> None:
    data = choices(SUMMED) + ADVERT_3[:3] + bytes((count,)) + ADVERT_3[4:8] + body

    said = packet.run(data)

    assert said is None or len(said.addresses) == count
