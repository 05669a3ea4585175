"""scapy builds the same packets from the same words, byte for byte."""

import pytest

from hadirector.core import advert
from hadirector.core.address import Address
from tests.interop import frames

from scapy.layers.inet import IP  # isort: skip - after frames, which keeps scapy quiet
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vrrp import VRRP, VRRPv3

MAC = "02:00:00:00:00:01"


def built(name: str) -> bytes:
    """scapy's payload for one of our adverts."""
    instance, family = frames.ADVERTS[name]
    addresses = list(frames.VIPS[family])
    if instance.version == 2:
        password = int.from_bytes(b"secret\0\0", "big") if "password" in name else 0
        first, second = password >> 32, password & 0xFFFFFFFF
        kind = 1 if password else 0
        message = VRRP(vrid=51, priority=150, adv=1, addrlist=addresses, authtype=kind)
        message.auth1, message.auth2 = first, second
        return bytes(message)
    to, _ = frames.payload(instance, family)
    own = frames.source(instance, family)
    below = (IP if family == 4 else IPv6)(src=own, dst=to)
    said = VRRPv3(vrid=51, priority=150, adv=100, addrlist=addresses)
    return bytes((below / said)[VRRPv3])


@pytest.mark.parametrize("name", [name for name in frames.ADVERTS if "plain" not in name])
def test_an_advert_is_scapy_s(name: str) -> None:
    assert frames.payload(*frames.ADVERTS[name])[1] == built(name)


@pytest.mark.parametrize("name", ["v3", "v3 unicast"])
def test_a_plain_checksum_is_the_only_difference_to_scapy_s(name: str) -> None:
    plain = frames.payload(*frames.ADVERTS[f"{name} plain"])[1]
    unsummed = built(name)[:6] + b"\0\0" + built(name)[8:]

    assert plain[:6] + b"\0\0" + plain[8:] == unsummed
    assert advert.internet_checksum(plain) == 0


@pytest.mark.parametrize("name", frames.SIGNED)
def test_a_signed_advert_is_scapy_s_with_28_bytes_behind_it(name: str) -> None:
    instance, family = frames.SIGNED[name]
    message = frames.payload(instance, family)[1]
    unsigned = frames.payload(*frames.ADVERTS[name.removesuffix(" signed")])[1]

    cut = message[: -advert.SIGNATURE_SIZE]
    assert cut[:6] + cut[8:] == unsigned[:6] + unsigned[8:]
    assert (cut[6:8] == unsigned[6:8]) is (family == 4)


def test_announcements_are_scapy_s() -> None:
    ours = {name: bytes(packet) for name, packet in frames.announcements().items()}
    four, six = Address("192.0.2.10"), Address("2001:db8::10")

    assert ours["arp"] == bytes(
        Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff")
        / ARP(op=1, hwsrc=MAC, psrc=four, hwdst="ff:ff:ff:ff:ff:ff", pdst=four)
    )
    for name, router in (("na router", 1), ("na host", 0)):
        assert ours[name] == bytes(
            Ether(src=MAC, dst="33:33:00:00:00:01")
            / IPv6(src=six, dst="ff02::1", hlim=255)
            / ICMPv6ND_NA(tgt=six, R=router, S=0, O=1)
            / ICMPv6NDOptDstLLAddr(lladdr=MAC)
        )
