"""core/advert against scapy as an independent oracle, byte for byte, and against noise."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import advert
from hadirector.core.address import Address
from hadirector.core.advert import Advert, Expected, Flaw, PacketError
from hadirector.core.settings.instances import Checksum

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.layers.inet import IP  # noqa: E402 - scapy warns at import unless told not to
from scapy.layers.inet6 import IPv6  # noqa: E402
from scapy.layers.vrrp import VRRP, VRRPv3  # noqa: E402

SOURCE, GROUP = Address("198.51.100.1"), advert.GROUPS[4]
SOURCE6, GROUP6 = Address("fe80::1"), advert.GROUPS[6]
VIPS = (Address("192.0.2.10"), Address("192.0.2.11"))
VIPS6 = (Address("fe80::10"), Address("2001:db8::10"))

V2 = Advert(2, 51, 150, 1.0, VIPS)
V3 = Advert(3, 51, 150, 0.01, VIPS)
V6 = Advert(3, 51, 150, 40.95, VIPS6)


def scapy_v2(said: Advert) -> bytes:
    packet = VRRP(
        vrid=said.vrid,
        priority=said.priority,
        adv=round(said.interval),
        addrlist=list(said.addresses),
        authtype=1 if said.password else 0,
        auth1=int.from_bytes(said.password.ljust(8, b"\0")[:4], "big"),
        auth2=int.from_bytes(said.password.ljust(8, b"\0")[4:], "big"),
    )
    return bytes(packet)


def scapy_v3(said: Advert, source: Address, destination: Address) -> bytes:
    below = IPv6 if ":" in source else IP
    message = VRRPv3(
        vrid=said.vrid,
        priority=said.priority,
        adv=round(said.interval * 100),
        addrlist=list(said.addresses),
    )
    return bytes((below(src=source, dst=destination) / message)[VRRPv3])


def flaw_of(
    message: bytes,
    expected: Expected,
    *,
    source: Address = SOURCE,
    destination: Address = GROUP,
    ttl: int = 255,
) -> Flaw:
    with pytest.raises(PacketError) as caught:
        advert.decode(message, source, destination, ttl, expected)
    return caught.value.flaw


def encoded(said: Advert = V3, checksum: Checksum = Checksum.AUTO) -> bytes:
    return advert.encode(said, SOURCE, GROUP, checksum)


def summed(message: bytes) -> bytes:
    """The message with a right checksum, pseudo-header left out."""
    blank = message[:6] + b"\0\0" + message[8:]
    return blank[:6] + advert.internet_checksum(blank).to_bytes(2, "big") + blank[8:]


MULTICAST2, MULTICAST3 = Expected(2, unicast=False), Expected(3, unicast=False)


@pytest.mark.parametrize("password", [b"", b"secret", b"eightchr"])
def test_version_2_is_what_scapy_builds_and_decodes_to_what_was_encoded(password: bytes) -> None:
    said = Advert(2, 51, 150, 1.0, VIPS, password)

    message = encoded(said)

    assert message == scapy_v2(said)
    expected = Expected(2, unicast=False, password=password)
    assert advert.decode(message, SOURCE, GROUP, 255, expected).advert == said


def test_version_3_over_ipv4_is_what_scapy_builds_with_its_pseudo_header() -> None:
    assert encoded(V3) == scapy_v3(V3, SOURCE, GROUP)
    assert encoded(V3, Checksum.PSEUDO_HEADER) == encoded(V3)
    assert advert.decode(encoded(V3), SOURCE, GROUP, 255, MULTICAST3).advert == V3


def test_version_3_over_ipv6_is_what_scapy_builds_whatever_the_checksum_setting() -> None:
    for checksum in Checksum:
        message = advert.encode(V6, SOURCE6, GROUP6, checksum)

        assert message == scapy_v3(V6, SOURCE6, GROUP6)
        expected = Expected(3, unicast=False, checksum=checksum)
        assert advert.decode(message, SOURCE6, GROUP6, 255, expected).advert == V6


def test_unicast_puts_its_own_destination_into_the_pseudo_header() -> None:
    peer = Address("198.51.100.2")

    message = advert.encode(V3, SOURCE, peer, Checksum.AUTO)

    assert message == scapy_v3(V3, SOURCE, peer) != encoded(V3)
    assert advert.decode(message, SOURCE, peer, 64, Expected(3, unicast=True)).advert == V3


@pytest.mark.parametrize(
    ("sent", "accepted", "passes"),
    [
        (Checksum.PSEUDO_HEADER, Checksum.AUTO, True),
        (Checksum.PLAIN, Checksum.AUTO, True),
        (Checksum.PSEUDO_HEADER, Checksum.PSEUDO_HEADER, True),
        (Checksum.PLAIN, Checksum.PSEUDO_HEADER, False),
        (Checksum.PLAIN, Checksum.PLAIN, True),
        (Checksum.PSEUDO_HEADER, Checksum.PLAIN, False),
    ],
)
def test_both_checksums_are_accepted_unless_one_is_asked_for(
    sent: Checksum, accepted: Checksum, passes: bool
) -> None:
    message, expected = encoded(V3, sent), Expected(3, unicast=False, checksum=accepted)

    if passes:
        assert advert.decode(message, SOURCE, GROUP, 255, expected).advert == V3
    else:
        assert flaw_of(message, expected) is Flaw.CHECKSUM


def test_a_plain_checksum_is_that_of_the_message_alone() -> None:
    assert encoded(V3, Checksum.PLAIN) == summed(encoded(V3))


@pytest.mark.parametrize("bit", range(len(encoded(V3)) * 8))
def test_any_single_flipped_bit_is_noticed(bit: int) -> None:
    message = bytearray(encoded(V3))
    message[bit // 8] ^= 1 << bit % 8

    expected = Expected(3, unicast=False, checksum=Checksum.PSEUDO_HEADER)
    assert flaw_of(bytes(message), expected) in {
        Flaw.CHECKSUM,
        Flaw.VERSION,
        Flaw.TYPE,
        Flaw.LENGTH,
    }


@pytest.mark.parametrize(
    ("message", "expected", "flaw"),
    [
        (b"", MULTICAST3, Flaw.LENGTH),
        (encoded(V3)[:7], MULTICAST3, Flaw.LENGTH),
        (encoded(V3)[:-1], MULTICAST3, Flaw.LENGTH),
        (encoded(V3) + b"\0", MULTICAST3, Flaw.LENGTH),
        (encoded(V2)[:-8], MULTICAST2, Flaw.LENGTH),
        (encoded(V3) + bytes(28), MULTICAST3, Flaw.LENGTH),  # an auth_hmac trailer
        (encoded(V2), MULTICAST3, Flaw.VERSION),
        (encoded(V3), MULTICAST2, Flaw.VERSION),
        (summed(b"\x32" + encoded(V3)[1:]), MULTICAST3, Flaw.TYPE),
        (summed(b"\x31\x00" + encoded(V3)[2:]), MULTICAST3, Flaw.VRID),
        (summed(encoded(V3)[:4] + b"\0\0" + encoded(V3)[6:]), MULTICAST3, Flaw.INTERVAL),
        (summed(encoded(V2)[:5] + b"\0" + encoded(V2)[6:]), MULTICAST2, Flaw.INTERVAL),
        (encoded(Advert(2, 51, 1, 1.0, VIPS, b"x")), MULTICAST2, Flaw.AUTH_TYPE),
        (encoded(V2), Expected(2, unicast=False, password=b"x"), Flaw.AUTH_TYPE),
        (
            encoded(Advert(2, 51, 1, 1.0, VIPS, b"x")),
            Expected(2, unicast=False, password=b"y"),
            Flaw.AUTHENTICATION,
        ),
    ],
)
def test_each_flaw_has_its_reason(message: bytes, expected: Expected, flaw: Flaw) -> None:
    assert flaw_of(message, expected) is flaw


def test_a_multicast_advert_that_crossed_a_router_is_refused_and_a_unicast_one_is_not() -> None:
    peer = Address("198.51.100.2")
    unicast = advert.encode(V3, SOURCE, peer, Checksum.AUTO)

    assert flaw_of(encoded(V3), MULTICAST3, ttl=254) is Flaw.TTL
    assert advert.decode(unicast, SOURCE, peer, 254, Expected(3, unicast=True)).advert == V3


def test_unicast_and_multicast_are_not_mixed() -> None:
    peer = Address("198.51.100.2")
    unicast = advert.encode(V3, SOURCE, peer, Checksum.AUTO)

    assert flaw_of(unicast, MULTICAST3, destination=peer) is Flaw.DESTINATION
    assert flaw_of(encoded(V3), Expected(3, unicast=True)) is Flaw.DESTINATION


def test_reserved_bits_are_ignored_on_receipt() -> None:
    message = bytearray(encoded(V3))
    message[4] |= 0xF0

    assert advert.decode(summed(bytes(message)), SOURCE, GROUP, 255, MULTICAST3).advert == V3


@given(
    st.builds(
        Advert,
        version=st.just(3),
        vrid=st.integers(1, 255),
        priority=st.integers(0, 255),
        interval=st.integers(1, 4095).map(lambda hundredths: hundredths / 100),
        addresses=st.lists(st.ip_addresses(v=4).map(lambda a: Address(str(a))), max_size=20).map(
            tuple
        ),
    )
)
def test_any_advert_survives_the_wire(said: Advert) -> None:
    message = encoded(said)

    assert message == scapy_v3(said, SOURCE, GROUP)
    assert advert.decode(message, SOURCE, GROUP, 255, MULTICAST3).advert == said


@given(
    message=st.binary(max_size=60) | st.binary(max_size=60).map(lambda m: summed(b"\x31" + m + m)),
    expected=st.builds(
        Expected, st.sampled_from([2, 3]), st.booleans(), st.sampled_from(list(Checksum))
    ),
    ends=st.sampled_from([(SOURCE, GROUP), (SOURCE6, GROUP6), (SOURCE, SOURCE)]),
    ttl=st.integers(0, 255),
)
def test_noise_raises_packet_error_and_nothing_else(
    message: bytes, expected: Expected, ends: tuple[Address, Address], ttl: int
) -> None:
    try:
        heard = advert.decode(message, *ends, ttl, expected).advert
    except PacketError:
        return
    assert heard.version == expected.version
    assert 1 <= heard.vrid <= 255
    assert heard.interval > 0


@given(st.binary(max_size=61))
def test_the_checksum_of_data_with_its_checksum_is_zero(data: bytes) -> None:
    even = data if len(data) % 2 == 0 else data + b"\0"
    total = advert.internet_checksum(even)

    assert advert.internet_checksum(even + total.to_bytes(2, "big")) == 0


def test_the_virtual_router_is_readable_before_anything_is_checked() -> None:
    assert advert.vrid_of(b"\xff\x07") == 7
    assert advert.vrid_of(b"\xff") is None
