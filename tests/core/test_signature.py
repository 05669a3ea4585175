"""core/signature against keepalived's own wire images, and the order of its sequences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import advert, signature
from hadirector.core.address import Address
from hadirector.core.advert import Advert, Expected, Flaw, PacketError, Summed
from hadirector.core.keys import Key
from hadirector.core.settings.instances import Checksum

# The images in keepalived's test/auth_hmac_test.c (2.4.3), made by its author: key 00..1f as
# number 1, sequence 0x6800000080000000, IPv4 summed without and IPv6 with pseudo-header.
KEY = Key(1, bytes(range(32)))
SEQUENCE = 0x6800000080000000
SIGNED_AT = 0x68000000 + 0.5
IMAGE_4 = bytes.fromhex(
    "3133c80100644402c0000264"
    "0101000068000000800000001b84bc4e8e43892dc6d98448f8ee2265"
)  # fmt: skip
IMAGE_6 = bytes.fromhex(
    "3133c8010064a2e9fe800000000000000000000000000100"
    "010100006800000080000000c8c56146ebfd66ee10ec4d8186461b78"
)
SOURCE_4, SOURCE_6 = Address("198.51.100.10"), Address("fe80::10")
TO_6 = Address("fe80::20")
SAID_4 = Advert(3, 51, 200, 1.0, (Address("192.0.2.100"),))
SAID_6 = Advert(3, 51, 200, 1.0, (Address("fe80::100"),))


def split(image: bytes) -> tuple[bytes, bytes]:
    return image[: -advert.SIGNATURE_SIZE], image[-advert.SIGNATURE_SIZE :]


def flaw_of(
    image: bytes,
    *,
    source: Address = SOURCE_4,
    keys: tuple[Key, ...] = (KEY,),
    unix: float = SIGNED_AT,
) -> Flaw:
    with pytest.raises(PacketError) as caught:
        signature.verify(*split(image), source, keys, unix, 5)
    return caught.value.flaw


@pytest.mark.parametrize(
    ("said", "source", "to", "checksum", "image"),
    [
        (SAID_4, SOURCE_4, Address("224.0.0.18"), Checksum.PLAIN, IMAGE_4),
        (SAID_6, SOURCE_6, TO_6, Checksum.AUTO, IMAGE_6),
    ],
)
def test_what_we_sign_is_keepalived_s_image_byte_for_byte(
    said: Advert, source: Address, to: Address, checksum: Checksum, image: bytes
) -> None:
    unsigned = advert.encode(said, source, to, checksum)

    trailer = signature.sign(unsigned, source, KEY, SEQUENCE)

    assert advert.encode(said, source, to, checksum, trailer) == image


@pytest.mark.parametrize(
    ("image", "source", "to", "said", "summed"),
    [
        (IMAGE_4, SOURCE_4, Address("198.51.100.20"), SAID_4, Summed.PLAIN),
        (IMAGE_6, SOURCE_6, TO_6, SAID_6, Summed.PSEUDO_HEADER),
    ],
)
def test_keepalived_s_image_is_verified_and_read(
    image: bytes, source: Address, to: Address, said: Advert, summed: Summed
) -> None:
    expected = Expected(3, unicast=True, signable=True)

    decoded = advert.decode(image, source, to, 64, expected)
    verified = signature.verify(
        decoded.message, decoded.signature, source, (Key(2, bytes(32)), KEY), SIGNED_AT + 3, 5
    )

    assert (decoded.advert, decoded.summed) == (said, summed)
    assert verified == signature.Verified(1, SEQUENCE, 3)


@pytest.mark.parametrize(
    ("at", "flaw"),
    [
        (2, Flaw.WRONG_KEY),  # priority
        (5, Flaw.WRONG_KEY),  # interval
        (11, Flaw.WRONG_KEY),  # address
        (12, Flaw.SIGNATURE),  # type of signature
        (13, Flaw.UNKNOWN_KEY),  # key number
        (15, Flaw.SIGNATURE),  # reserved
        (19, Flaw.WRONG_KEY),  # seconds, still within the window
        (23, Flaw.WRONG_KEY),  # counter
        (39, Flaw.WRONG_KEY),  # the digest itself
    ],
)
def test_no_byte_but_the_checksum_s_can_be_changed(at: int, flaw: Flaw) -> None:
    changed = bytearray(IMAGE_4)
    changed[at] ^= 1

    assert flaw_of(bytes(changed)) is flaw


def test_the_checksum_is_not_signed_and_the_sender_is() -> None:
    resummed = bytearray(IMAGE_4)
    resummed[7] ^= 1

    assert signature.verify(*split(bytes(resummed)), SOURCE_4, (KEY,), SIGNED_AT, 5).identity == 1
    assert flaw_of(IMAGE_4, source=Address("198.51.100.11")) is Flaw.WRONG_KEY


def test_another_virtual_router_or_version_is_another_signature() -> None:
    for at, value in ((1, 52), (0, 0x21)):
        moved = bytearray(IMAGE_4)
        moved[at] = value
        assert flaw_of(bytes(moved)) is Flaw.WRONG_KEY


def test_the_same_number_with_another_secret_is_a_wrong_key_and_another_number_is_unknown() -> None:
    assert flaw_of(IMAGE_4, keys=(Key(1, b"x" * 32),)) is Flaw.WRONG_KEY
    assert flaw_of(IMAGE_4, keys=(Key(2, KEY.secret),)) is Flaw.UNKNOWN_KEY
    assert flaw_of(IMAGE_4, keys=()) is Flaw.UNKNOWN_KEY


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (5, None),
        (6, "signed 6 s ago by this node's clock, more than the 5 s allowed"),
        (-5, None),
        (-6, "signed 6 s in the future by this node's clock, more than the 5 s allowed"),
        (3600, "signed 3600 s ago"),
    ],
)
def test_a_clock_may_differ_by_the_window(offset: float, words: str | None) -> None:
    message, trailer = split(IMAGE_4)
    unix = SIGNED_AT + offset

    if words is None:
        verified = signature.verify(message, trailer, SOURCE_4, (KEY,), unix, 5)
        assert verified.behind == offset
    else:
        with pytest.raises(PacketError) as caught:
            signature.verify(message, trailer, SOURCE_4, (KEY,), unix, 5)
        assert caught.value.flaw is Flaw.STALE
        assert caught.value.detail.startswith(words)


@pytest.mark.parametrize(
    ("interval", "window"), [(0.01, 5), (1.0, 5), (1.99, 5), (2.0, 6), (40.0, 120), (255.0, 300)]
)
def test_the_window_is_keepalived_s_default(interval: float, window: int) -> None:
    assert signature.window(interval) == window


def test_sequences_grow_though_the_clock_stands_still_or_goes_back_a_little() -> None:
    counter = signature.Counter()
    now = 1_787_000_000.25

    given_out = [counter.next(at, 5) for at in (now, now, now - 3, now + 1)]

    start = signature.sequence_of(now)
    assert given_out == [start, start + 1, start + 2, signature.sequence_of(now + 1)]
    assert start == (1_787_000_000 << 32) + (0x4000 << 16)


def test_a_clock_set_back_further_than_the_window_starts_anew() -> None:
    counter = signature.Counter()
    counter.next(1_787_003_600.0, 5)

    assert counter.next(1_787_000_000.0, 5) == signature.sequence_of(1_787_000_000.0)


def test_a_replay_is_what_is_not_above_the_last() -> None:
    unix = 1_787_000_000.0
    mark = signature.sequence_of(unix)

    assert signature.is_replay(mark, mark, unix, 5)
    assert signature.is_replay(mark - 1, mark, unix, 5)
    assert not signature.is_replay(mark + 1, mark, unix, 5)
    assert not signature.is_replay(mark, None, unix, 5)


def test_a_mark_outside_the_window_is_forgotten() -> None:
    unix = 1_787_000_000.0
    stranded = signature.sequence_of(unix + 3600)

    assert not signature.is_replay(signature.sequence_of(unix), stranded, unix, 5)


@given(st.floats(0, 2**33), st.integers(1, 2**20))
def test_sequences_are_ordered_across_their_wrap(unix: float, later: int) -> None:
    """RFC 1982: 2106 is a second like any other."""
    first, second = signature.sequence_of(unix), signature.sequence_of(unix + later)

    assert signature.is_replay(first, second, unix + later, 1 << 30)
    assert not signature.is_replay(second, first, unix + later, 1 << 30)


@given(st.binary(min_size=28, max_size=28), st.binary(min_size=8, max_size=40))
def test_no_trailer_can_do_more_than_be_refused(trailer: bytes, message: bytes) -> None:
    with pytest.raises(PacketError):
        signature.verify(message, trailer, SOURCE_4, (KEY,), SIGNED_AT, 5)
