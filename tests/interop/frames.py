"""Every kind of frame the election sends, named, as it is on the wire.

Payloads are the product's; the IP headers, which the kernel makes of the socket's settings, are
scapy's here. What the kernel really sends is captured by tests/kernel/test_wire_captured.py.
"""

import logging
from dataclasses import replace

from hadirector.core import advert
from hadirector.core.address import Address, Family
from hadirector.core.keys import Key, Password, Secrets
from hadirector.core.settings.instances import (
    Authentication,
    AuthenticationKind,
    Checksum,
    Instance,
    Unicast,
)
from hadirector.core.wire import Context, Wire
from hadirector.shell import announce
from tests.core.routers import FRONT

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.layers.inet import IP  # noqa: E402 - scapy warns at import unless told not to
from scapy.layers.inet6 import IPv6  # noqa: E402
from scapy.layers.l2 import Ether  # noqa: E402
from scapy.packet import Packet, Raw  # noqa: E402

HARDWARE = bytes.fromhex("020000000001")
OWN: dict[Family, Address] = {4: Address("198.51.100.1"), 6: Address("fe80::1")}
VIPS: dict[Family, tuple[Address, ...]] = {
    4: (Address("192.0.2.10"), Address("192.0.2.11")),
    6: (Address("fe80::10"), Address("2001:db8::10")),
}
PASS = Authentication(AuthenticationKind.PASS, "/pass")
HMAC = Authentication(AuthenticationKind.HMAC, "/keys")
SECRETS = Secrets((Key(1, bytes(range(32))),), {"/pass": Password(b"secret")})
UNIX = 1_787_000_000.0

V2, PLAIN = replace(FRONT, version=2), replace(FRONT, checksum=Checksum.PLAIN)
UNICAST = replace(FRONT, unicast=Unicast(OWN[4], (Address("198.51.100.2"),)))
UNICAST6 = replace(FRONT, unicast=Unicast(Address("2001:db8::1"), (Address("2001:db8::2"),)))

ADVERTS: dict[str, tuple[Instance, Family]] = {
    "v2": (V2, 4),
    "v2 password": (replace(V2, authentication=PASS), 4),
    "v3": (FRONT, 4),
    "v3 plain": (PLAIN, 4),
    "v3 ipv6": (FRONT, 6),
    "v3 unicast": (UNICAST, 4),
    "v3 unicast plain": (replace(UNICAST, checksum=Checksum.PLAIN), 4),
    "v3 ipv6 unicast": (UNICAST6, 6),
}
SIGNED: dict[str, tuple[Instance, Family]] = {
    f"{name} signed": (replace(instance, authentication=HMAC), family)
    for name, (instance, family) in ADVERTS.items()
    if instance.authentication == Authentication()
}


def payload(instance: Instance, family: Family, priority: int = 150) -> tuple[Address, bytes]:
    """Where an advert goes, and what IP carries."""
    context = Context(instance, VIPS[family], SECRETS, UNIX)
    ((to, message),) = Wire(family).write(priority, source(instance, family), context)
    return to, message


def source(instance: Instance, family: Family) -> Address:
    """Where its adverts come from."""
    return instance.unicast.source if instance.unicast else OWN[family]


def frame(instance: Instance, family: Family, cut: int = 0, priority: int = 150) -> Packet:
    """An advert in its frame; `cut` bytes of its end left out."""
    to, message = payload(instance, family, priority)
    own = source(instance, family)
    header: Packet
    if family == 4:
        header = IP(src=own, dst=to, ttl=255, tos=0xC0, proto=advert.PROTOCOL, id=7)
    else:
        header = IPv6(src=own, dst=to, hlim=255, tc=0xC0, nh=advert.PROTOCOL)
    return Ether(src=HARDWARE, dst="01:00:5e:00:00:12") / header / Raw(message[: -cut or None])


def announcements() -> dict[str, Packet]:
    """Gratuitous ARP, and unsolicited neighbour advertisements of a router and of a host."""
    four, six = Address("192.0.2.10"), Address("2001:db8::10")
    return {
        "arp": Ether(announce.gratuitous_arp(HARDWARE, four)),
        "na router": Ether(announce.unsolicited_advertisement(HARDWARE, six, True)),
        "na host": Ether(announce.unsolicited_advertisement(HARDWARE, six, False)),
    }
