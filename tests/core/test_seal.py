"""core/seal: what is sealed opens with its key only, and nothing else opens at all."""

import itertools
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core.keys import Key
from hadirector.core.seal import Flaw, Header, Mark, SealError, seal, unseal

ONE = Key(1, bytes(range(32)))
TWO = Key(2, bytes(range(64)))
HEADER = Header("shop", "lb1", "lb2", Mark(7, 8), Mark(9, 10))

names = st.text(min_size=1, max_size=60)
numbers = st.integers(0, 2**64 - 1)
marks = st.builds(Mark, numbers, numbers)
headers = st.builds(Header, names, names, names, marks, marks)


def flaw_of(raw: bytes, *keys: Key) -> tuple[Flaw, int]:
    with pytest.raises(SealError) as caught:
        unseal(raw, keys)
    return caught.value.flaw, caught.value.identity


@given(headers, st.binary(max_size=300), st.sampled_from([ONE, TWO]))
def test_what_is_sealed_opens_as_it_was(header: Header, body: bytes, key: Key) -> None:
    assert unseal(seal(header, body, key), (ONE, TWO)) == (header, body, key.identity)


def test_the_bytes_are_as_drawn() -> None:
    raw = seal(HEADER, b"body", ONE)

    head = b"HDP2\x01\x04\x03\x03" + b"".join(n.to_bytes(8, "big") for n in (7, 8, 9, 10))
    assert raw[:-32] == head + b"shoplb1lb2body"
    keyed = blake2b(digest_size=32, key=ONE.secret, person=b"hadirector peers")
    keyed.update(raw[:-32])
    assert raw[-32:] == keyed.digest()


@given(st.data())
def test_a_datagram_changed_in_one_bit_does_not_open(data: st.DataObject) -> None:
    raw = bytearray(seal(HEADER, b"some body", ONE))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8

    with pytest.raises(SealError):
        unseal(bytes(raw), (ONE, TWO))


@given(st.integers(0, 200))
def test_a_datagram_cut_short_does_not_open(length: int) -> None:
    raw = seal(HEADER, b"some body", ONE)

    with pytest.raises(SealError):
        unseal(raw[: min(length, len(raw) - 1)], (ONE,))


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda b: b"HDP2" + b)))
def test_arbitrary_bytes_do_not_open(raw: bytes) -> None:
    with pytest.raises(SealError):
        unseal(raw, (ONE, TWO))


@pytest.mark.parametrize(
    ("sizes", "rest"), [((255, 0, 0), b"abc"), ((1, 1, 2), b"abc"), ((1, 0, 0), b"\xff")]
)
def test_names_that_cannot_be_read_are_malformed_even_under_our_key(
    sizes: tuple[int, int, int], rest: bytes
) -> None:
    sealed = b"HDP2\x01" + bytes(sizes) + bytes(32) + rest
    mac = blake2b(sealed, digest_size=32, key=ONE.secret, person=b"hadirector peers").digest()

    assert flaw_of(sealed + mac, ONE) == (Flaw.MALFORMED, 0)


def test_what_is_wrong_is_named_with_the_key_it_names() -> None:
    other = Key(1, bytes(32))

    assert flaw_of(seal(HEADER, b"", TWO), ONE) == (Flaw.UNKNOWN_KEY, 2)
    assert flaw_of(seal(HEADER, b"", other), ONE) == (Flaw.WRONG_KEY, 1)
    assert flaw_of(b"HDP1presence", ONE) == (Flaw.UNSIGNED, 0)
    assert flaw_of(b"GET / HTTP/1.0", ONE) == (Flaw.MALFORMED, 0)


def test_keys_are_rotated_without_a_gap() -> None:
    """A new key is appended everywhere, then moved to the top, then the old one is removed."""
    steps = ((ONE,), (ONE, TWO), (TWO, ONE), (TWO,))

    for before, after in itertools.pairwise(steps):
        for mine, theirs in ((before, after), (after, before)):
            assert unseal(seal(HEADER, b"x", mine[0]), theirs)[1] == b"x"


def test_a_secret_does_not_show_in_what_is_raised_or_printed() -> None:
    with pytest.raises(SealError) as caught:
        unseal(seal(HEADER, b"", ONE), (Key(1, bytes(32)),))

    assert ONE.secret.hex() not in f"{caught.value!r} {ONE!r}"
