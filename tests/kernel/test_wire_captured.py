"""What really goes over the wire: captured from a running election, judged by tshark."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hadirector.core.address import Address, canonical
from hadirector.core.keys import Key, Password, Secrets
from hadirector.core.messages import OrderKind, RouterStateName
from hadirector.core.settings.instances import (
    Authentication,
    AuthenticationKind,
    Checksum,
    Garp,
    Instance,
    Unicast,
    VirtualAddress,
)
from tests.interop import tshark
from tests.kernel.pair import Machine, Node, eventually, instance, machines, needs_root

pytestmark = [
    pytest.mark.kernel,
    needs_root,
    pytest.mark.skipif(tshark.TSHARK is None, reason="tshark is not installed"),
]

ONE, TWO = canonical("192.0.2.1"), canonical("192.0.2.2")
PASS = Authentication(AuthenticationKind.PASS, "/pass")
HMAC = Authentication(AuthenticationKind.HMAC, "/keys")
SECRETS = Secrets((Key(1, bytes(range(32))),), {"/pass": Password(b"secret")})
UNICAST = Unicast(ONE, (TWO,))

PLAIN = 54  # the virtual router whose checksum is without pseudo-header
SIGNED = 57  # over IPv4: tshark takes the signature for a part of what is summed


def router(number: int, six: bool = False, **changes: object) -> Instance:
    """An instance with an address of its own."""
    vip = canonical(f"2001:db8::{number}" if six else f"192.0.2.{number}")
    vips = (VirtualAddress(vip, 64 if six else 24, "eth0"),)
    named = {"name": f"i{number}", "virtual_router_id": number, "virtual_addresses": vips}
    return instance(150, **(named | {"garp": Garp(2, 0.5, 1.0)} | changes))


EVERY = (
    router(51, version=2, advert_int=1.0),
    router(52, version=2, advert_int=1.0, authentication=PASS),
    router(53),
    router(PLAIN, checksum=Checksum.PLAIN),
    router(55, six=True),
    router(56, unicast=UNICAST),
    router(SIGNED, authentication=HMAC),
    router(58, six=True, authentication=HMAC),
)


@contextlib.contextmanager
def capture(machine: Machine, file: Path) -> Iterator[None]:
    """All that arrives at a machine's eth0 meanwhile."""
    command = ("tcpdump", "-U", "-Q", "in", "-i", "eth0", "-w", str(file))
    running = machine.spawn(*command, stderr=subprocess.PIPE)
    try:
        assert running.stderr is not None
        while b"listening" not in running.stderr.readline():
            pass
        yield
        time.sleep(0.5)
    finally:
        running.terminate()
        running.communicate(timeout=10)


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node that starts as the only one, is master of everything for a while, and leaves."""
    file = tmp_path_factory.mktemp("captured") / "wire.pcap"
    with machines() as (here, there), capture(there, file):
        node = Node(here, 1)
        try:
            node.configure(*EVERY, secrets=SECRETS)
            eventually(lambda: all(is_master(node, one.name) for one in EVERY), 15.0)
            time.sleep(2.5)
            node.order(OrderKind.STOP)
            assert node.process.wait(30) == 0
        finally:
            node.end()
    return file


def is_master(node: Node, name: str) -> bool:
    return node.state(name) is RouterStateName.MASTER


def test_tshark_marks_nothing_but_the_signatures_it_does_not_know(captured: Path) -> None:
    vrids = [vrid for (vrid,) in tshark.fields(captured, "vrrp.virt_rtr_id")]
    marked = {n for n in tshark.complaints(captured) if vrids[n - 1] != str(PLAIN)}
    plainly = {n for n in tshark.complaints(captured, *tshark.PLAIN) if vrids[n - 1] == str(PLAIN)}

    assert {vrids[n - 1] for n in marked | plainly} == {str(SIGNED)}
    assert set(vrids) - {""} == {str(one.virtual_router_id) for one in EVERY}


def test_the_ip_header_is_as_keepalived_s(captured: Path) -> None:
    names = ("vrrp.virt_rtr_id", "ip.ttl", "ip.dsfield", "ip.flags.df", "ip.dst", "ipv6.hlim")
    rows = [row for row in tshark.fields(captured, *names, "ipv6.tclass", "ipv6.dst") if row[0]]
    to = {str(one.virtual_router_id): destination(one) for one in EVERY}

    for vrid, ttl, tos, df, dst, hops, traffic_class, dst6 in rows:
        if vrid in ("55", "58"):
            assert (hops, int(traffic_class, 16), dst6) == ("255", 0xC0, "ff02::12")
        else:
            assert (ttl, int(tos, 16), df, dst) == ("255", 0xC0, "0", to[vrid])


def destination(one: Instance) -> Address:
    return one.unicast.peers[0] if one.unicast else canonical("224.0.0.18")


def test_every_address_is_announced_and_the_unicast_source_before_its_first_advert(
    captured: Path,
) -> None:
    names = ("arp.isgratuitous", "arp.src.proto_ipv4", "icmpv6.nd.na.target_address")
    rows = tshark.fields(captured, *names, "vrrp.virt_rtr_id")
    announced = [row[1] or row[2] for row in rows if row[0] == "1" or row[2]]
    vips = [v.address for one in EVERY for v in one.virtual_addresses]

    assert all(announced.count(vip) >= 2 for vip in vips)
    own = next(n for n, row in enumerate(rows) if row[:2] == ("1", str(ONE)))
    first = next(n for n, row in enumerate(rows) if row[3] == "56")
    assert own < first


def test_a_leaving_master_says_so_to_all(captured: Path) -> None:
    rows = tshark.fields(captured, "vrrp.virt_rtr_id", "vrrp.prio")
    last = {vrid: priority for vrid, priority in rows if vrid}

    assert last == {str(one.virtual_router_id): "0" for one in EVERY}
