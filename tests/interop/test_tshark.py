"""What tshark, which knows VRRP by itself, says to every kind of packet we send."""

from pathlib import Path

import pytest

from hadirector.core import advert
from tests.interop import frames, tshark

pytestmark = pytest.mark.skipif(tshark.TSHARK is None, reason="tshark is not installed")

from scapy.packet import Packet  # noqa: E402 - after frames, which keeps scapy quiet
from scapy.utils import wrpcap  # noqa: E402

NA = (
    *("icmpv6.type", "icmpv6.nd.na.flag.r", "icmpv6.nd.na.flag.s", "icmpv6.nd.na.flag.o"),
    *("ipv6.hlim", "icmpv6.nd.na.target_address"),
)


def captured(folder: Path, packets: list[Packet]) -> Path:
    file = folder / "frames.pcap"
    wrpcap(str(file), packets)
    return file


def adverts(plain: bool) -> list[Packet]:
    """The frames whose checksum is of this kind, at three priorities each."""
    return [
        frames.frame(instance, family, priority=priority)
        for name, (instance, family) in frames.ADVERTS.items()
        for priority in (0, 150, 255)
        if (name.startswith("v3") and name.endswith("plain")) is plain
    ]


@pytest.mark.parametrize("plain", [False, True])
def test_no_advert_is_marked(tmp_path: Path, plain: bool) -> None:
    file = captured(tmp_path, adverts(plain))

    assert tshark.complaints(file, *(tshark.PLAIN if plain else ())) == {}
    assert {line.rsplit(":", 1)[1] for line in tshark.protocols(file)} == {"vrrp"}


def test_the_judge_does_complain_of_a_wrong_checksum(tmp_path: Path) -> None:
    file = captured(tmp_path, adverts(plain=True))

    assert set(tshark.complaints(file)) == set(range(1, len(adverts(plain=True)) + 1))


def test_what_an_advert_says_is_what_tshark_reads(tmp_path: Path) -> None:
    names = ("version", "virt_rtr_id", "prio", "addr_count", "auth_type", "auth_string")
    file = captured(tmp_path, [frames.frame(*one) for one in frames.ADVERTS.values()])

    assert tshark.fields(file, *(f"vrrp.{name}" for name in names)) == [
        ("2", "51", "150", "2", "0", ""),
        ("2", "51", "150", "2", "1", "secret"),
        *([("3", "51", "150", "2", "", "")] * (len(frames.ADVERTS) - 2)),
    ]


def test_a_signature_is_the_only_thing_tshark_does_not_know(tmp_path: Path) -> None:
    """It takes the 28 bytes for a part of the message. Over IPv6 they are summed as well, so there
    is nothing to mark; over IPv4 they are not, and without them there is nothing to mark either."""
    signed = list(frames.SIGNED.items())
    plain = [name.startswith("v3") and "plain" in name for name, _ in signed]
    cut = [
        frames.frame(instance, family, advert.SIGNATURE_SIZE if family == 4 else 0)
        for _, (instance, family) in signed
    ]
    for wanted, options in ((False, ()), (True, tshark.PLAIN)):
        chosen = [one for one, is_plain in zip(cut, plain, strict=True) if is_plain is wanted]
        assert tshark.complaints(captured(tmp_path, chosen), *options) == {}

    whole = captured(tmp_path, [frames.frame(*one) for _, one in signed])
    for number, marks in tshark.complaints(whole).items():
        assert signed[number - 1][1][1] == 4
        assert all(mark.startswith("Bad checksum") for mark in marks)
    assert "malformed" not in str(tshark.complaints(whole))


def test_announcements_are_what_they_should_be(tmp_path: Path) -> None:
    file = captured(tmp_path, list(frames.announcements().values()))

    assert tshark.complaints(file) == {}
    assert tshark.fields(file, "arp.isgratuitous", "arp.opcode", "arp.src.proto_ipv4", *NA) == [
        ("1", "1", "192.0.2.10", *([""] * len(NA))),
        ("", "", "", "136", "1", "0", "1", "255", "2001:db8::10"),
        ("", "", "", "136", "0", "0", "1", "255", "2001:db8::10"),
    ]
