"""Adverts from virtual MACs: whole frames, read by scapy, and what is heard on a device."""

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vrrp import VRRPv3

from hadirector.core import advert
from hadirector.core.address import Address
from hadirector.core.advert import Advert
from hadirector.core.election_types import PacketReceived
from hadirector.core.settings.instances import Checksum
from hadirector.shell.vmac_socket import frame, parse_ipv6
from hadirector.shell.vrrp_socket import parse_ipv4

SOURCE, GROUP = Address("192.0.2.1"), advert.GROUPS[4]
SOURCE6, GROUP6 = Address("fe80::1"), advert.GROUPS[6]
SAID = Advert(3, 51, 150, 1.0, (Address("192.0.2.10"),))
MESSAGE = advert.encode(SAID, SOURCE, GROUP, Checksum.AUTO)
SAID6 = Advert(3, 51, 150, 1.0, (Address("fe80::10"),))
MESSAGE6 = advert.encode(SAID6, SOURCE6, GROUP6, Checksum.AUTO)
MAC, MAC6 = bytes.fromhex("00005e000133"), bytes.fromhex("00005e000233")


def test_an_ipv4_advert_goes_to_the_groups_mac_as_the_kernel_would_send_it() -> None:
    packet = Ether(frame(MAC, MESSAGE, SOURCE, GROUP))

    assert (packet.dst, packet.src) == ("01:00:5e:00:00:12", "00:00:5e:00:01:33")
    header = packet[IP]
    assert (header.ttl, header.tos, header.proto, header.flags) == (255, 0xC0, 112, 0)
    assert (header.src, header.dst, header.id != 0) == ("192.0.2.1", "224.0.0.18", True)
    right = header.chksum
    del header.chksum
    assert IP(bytes(header)).chksum == right
    assert packet[VRRPv3].vrid == 51


def test_an_ipv6_advert_likewise() -> None:
    packet = Ether(frame(MAC6, MESSAGE6, SOURCE6, GROUP6))

    assert (packet.dst, packet.src) == ("33:33:00:00:00:12", "00:00:5e:00:02:33")
    header = packet[IPv6]
    assert (header.hlim, header.tc, header.nh, header.plen) == (255, 0xC0, 112, len(MESSAGE6))
    assert (header.src, header.dst) == ("fe80::1", "ff02::12")
    assert packet[VRRPv3].vrid == 51


def test_no_two_ipv4_packets_have_the_same_identification() -> None:
    numbers = {Ether(frame(MAC, MESSAGE, SOURCE, GROUP))[IP].id for _ in range(300)}

    assert len(numbers) == 300


def test_what_is_sent_is_what_is_heard() -> None:
    raw, raw6 = frame(MAC, MESSAGE, SOURCE, GROUP), frame(MAC6, MESSAGE6, SOURCE6, GROUP6)

    assert parse_ipv4("eth0", raw[14:]) == PacketReceived("eth0", SOURCE, GROUP, 255, MESSAGE)
    assert parse_ipv6("eth0", raw6[14:]) == PacketReceived("eth0", SOURCE6, GROUP6, 255, MESSAGE6)
    padded = raw6[14:] + bytes(6)
    assert parse_ipv6("eth0", padded) == PacketReceived("eth0", SOURCE6, GROUP6, 255, MESSAGE6)


def test_what_is_no_ipv6_advert_is_nothing() -> None:
    raw = frame(MAC6, MESSAGE6, SOURCE6, GROUP6)[14:]

    for broken in (b"", raw[:39], raw[:-1], b"\x45" + raw[1:], raw[:6] + b"\x11" + raw[7:]):
        assert parse_ipv6("eth0", broken) is None
