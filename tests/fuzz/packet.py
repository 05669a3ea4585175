"""One fuzzed packet: any bytes become a datagram on the wire of some virtual router.

The first bytes choose the router's settings and what is done to help the packet past the sums: no
fuzzer guesses a checksum or a signature. The rest is the IP datagram, or what IP carries.
"""

from contextlib import suppress
from dataclasses import replace

from hadirector.core import advert, signature
from hadirector.core.address import Address, Family
from hadirector.core.advert import Advert, Expected, PacketError
from hadirector.core.election_types import PacketReceived
from hadirector.core.keys import Key, Password, Secrets
from hadirector.core.settings.instances import (
    Authentication,
    AuthenticationKind,
    Checksum,
    Instance,
    Signing,
    Unicast,
    VirtualAddress,
)
from hadirector.core.wire import COUNTERS, SPEAKERS, Context, Wire
from hadirector.shell.vrrp_socket import parse_ipv4

UNIX = 1_787_000_000.0
KEY = Key(1, bytes(range(32)))
SECRETS = Secrets((KEY,), {"/pass": Password(b"secret")})
OURS: dict[Family, Address] = {4: Address("198.51.100.2"), 6: Address("fe80::2")}
THEIRS: dict[Family, Address] = {4: Address("198.51.100.1"), 6: Address("fe80::1")}
VIP = VirtualAddress(Address("192.0.2.10"), 24, "eth0")
LISTED = (VIP.address, Address("fe80::10"))  # of which a stranger's adverts have none
CHOICES = 4  # bytes

_AUTHENTICATIONS = (
    Authentication(),
    Authentication(AuthenticationKind.PASS, "/pass"),
    *(Authentication(AuthenticationKind.HMAC, "/keys", mode) for mode in Signing),
)
_INSTANCE = Instance(
    name="front",
    interface="eth0",
    virtual_router_id=51,
    priority=100,
    version=3,
    advert_int=1.0,
    virtual_addresses=(VIP,),
)


def run(data: bytes) -> Advert | None:
    """Judge the packet that these bytes stand for; what it said, if it was taken. AssertionError,
    or any other exception, is a finding."""
    choices, body = data[:CHOICES].ljust(CHOICES, b"\0"), data[CHOICES:]
    family: Family = 6 if choices[0] & 1 else 4
    instance = _instance(choices, family)
    packet = _packet(choices, body, instance, family)
    if packet is None:
        return None
    _decode_alone(packet, instance)

    wire = Wire(family)
    context = Context(instance, LISTED, SECRETS, UNIX)
    judged = wire.judge(packet, context, 1000.0)

    assert set(wire.counters) == set(COUNTERS), "a counter nobody knows"
    assert len(wire.speakers()) <= SPEAKERS, "unbounded memory"
    assert (judged.advert is None) == bool(wire.refused(0.0)), "refused without a reason"
    if judged.advert is not None:
        _check(judged.advert, packet, instance)
    return judged.advert


def _decode_alone(packet: PacketReceived, instance: Instance) -> None:
    """Nothing but PacketError."""
    expected = Expected(instance.version, instance.unicast is not None, signable=True)
    with suppress(PacketError):
        advert.decode(packet.message, packet.source, packet.destination, packet.ttl, expected)


def _check(said: Advert, packet: PacketReceived, instance: Instance) -> None:
    """What was taken is lawful, and is what the bytes say."""
    message = packet.message
    assert said.version == instance.version == message[0] >> 4, "version"
    assert said.vrid == message[1] >= 1, "virtual router"
    assert said.priority == message[2], "priority"
    assert len(said.addresses) == message[3], "addresses"
    assert said.interval > 0, "interval"
    again = advert.encode(said, packet.source, packet.destination, Checksum.PLAIN)
    reserved = 0xF0 if said.version == 3 else 0
    assert again[4] & ~reserved == message[4] & ~reserved, "authentication type, interval"
    # RFC 3768 5.3.10: the 8 bytes behind the addresses are ignored where there is no password.
    end = 8 + len(said.addresses) * (16 if ":" in packet.source else 4)
    assert (again[5], again[8:end]) == (message[5], message[8:end]), "interval, addresses"


def _instance(choices: bytes, family: Family) -> Instance:
    version = 2 if choices[0] & 2 and family == 4 else 3
    checksum = list(Checksum)[choices[1] % len(Checksum)]
    authentication = _AUTHENTICATIONS[choices[2] % len(_AUTHENTICATIONS)]
    unicast = Unicast(OURS[family], (THEIRS[family],)) if choices[0] & 4 else None
    return replace(
        _INSTANCE,
        version=version,
        checksum=checksum,
        authentication=authentication,
        unicast=unicast,
    )


def _packet(
    choices: bytes, body: bytes, instance: Instance, family: Family
) -> PacketReceived | None:
    if choices[0] & 8 and family == 4:
        return parse_ipv4("eth0", body)
    to = OURS[family] if choices[0] & 16 else advert.GROUPS[family]
    message = body
    if choices[0] & 32:
        message = _signed(message, THEIRS[family])
    if choices[0] & 64:
        message = _summed(message, THEIRS[family], to, instance, plain=bool(choices[3] & 1))
    ttl = 64 if choices[0] & 128 else 255
    return PacketReceived("eth0", THEIRS[family], to, ttl, message)


def _signed(message: bytes, source: Address) -> bytes:
    if len(message) < 8:
        return message
    return message + signature.sign(message, source, KEY, signature.sequence_of(UNIX))


def _summed(
    payload: bytes, source: Address, to: Address, instance: Instance, *, plain: bool
) -> bytes:
    """With the checksum that makes it right, as far as its own count of addresses goes."""
    if len(payload) < 8:
        return payload
    six = ":" in source
    end = 8 + payload[3] * (16 if six else 4) + (8 if instance.version == 2 else 0)
    covered = payload if six else payload[:end]
    blank = covered[:6] + b"\0\0" + covered[8:]
    prefix = b""
    if instance.version == 3 and (six or not plain):
        prefix = advert._pseudo_header(source, to, len(covered))
    total = advert.internet_checksum(prefix + blank).to_bytes(2, "big")
    return payload[:6] + total + payload[8:]
