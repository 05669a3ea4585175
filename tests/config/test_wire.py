"""What of an instance is seen on the wire: what its keys mean, and the mistakes in them."""

from pathlib import Path

import pytest

from hadirector.core.address import Address
from hadirector.core.settings.instances import (
    Authentication,
    AuthenticationKind,
    Instance,
    Signing,
    Unicast,
)
from tests.config.files import config_of, told

HEAD = """\
key_file: /etc/hadirector/cluster.key
nodes: {lb1: {address: 198.51.100.1, priority: 150}, lb2: {address: 198.51.100.2}, lb3: {}}
"""
ONE, TWO, THREE = Address("198.51.100.1"), Address("198.51.100.2"), Address("198.51.100.3")
FOREIGN = Address("198.51.100.9")
KEYS = "/etc/hadirector/cluster.key"


def text(rest: str, addresses: str = "[192.0.2.10/24]", head: str = HEAD) -> str:
    return (
        f"{head}vrrp: {{instances: {{front: {{interface: eth0, virtual_router_id: 51,\n"
        f"virtual_addresses: {addresses},\n{rest}}}}}}}\n"
    )


def front(folder: Path, written: str) -> Instance:
    (instance,) = config_of(folder, written, "lb2").instances
    return instance


def mistakes(folder: Path, written: str) -> list[str]:
    """What is told, but for the peer channel's and the node's own."""
    kept = [line for line in told(folder, written, "lb2") if "vrrp.instances" in line]
    return [line.replace("vrrp.instances.front.", "") for line in kept]


def test_unicast_has_my_address_as_source_and_the_others_as_peers(tmp_path: Path) -> None:
    every = "{lb1: 198.51.100.1, lb2: 198.51.100.2, lb3: 198.51.100.3}"

    assert front(tmp_path, text(f"unicast: {every}")).unicast == Unicast(TWO, (ONE, THREE))


@pytest.mark.parametrize("nothing", ["{}", "[]"])
def test_empty_unicast_is_multicast(tmp_path: Path, nothing: str) -> None:
    assert front(tmp_path, text(f"unicast: {nothing}")).unicast is None


def test_a_list_names_nodes_and_other_routers(tmp_path: Path) -> None:
    head = "nodes: {lb1: {address: 198.51.100.1}, lb2: {address: 198.51.100.2}}\n"

    by_name = front(tmp_path, text("unicast: [lb1, lb2, 198.51.100.9]", head=head))
    by_address = front(tmp_path, text("unicast: [198.51.100.2, 198.51.100.1]", head=head))

    assert by_name.unicast == Unicast(TWO, (ONE, FOREIGN))
    assert by_address.unicast == Unicast(TWO, (ONE,))


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("unicast: {lb1: 198.51.100.1, lb2: 198.51.100.2}", "5:10 error: unicast: has no address "
         "for lb3: add 'lb3: ADDRESS'"),
        ("unicast: [lb1, lb2, lb3]", "5:21 error: unicast: lb3 has no address: add one in "
         "nodes.lb3, or write it here"),
        ("unicast: [lb1, 198.51.100.3]", "5:10 error: unicast: has no address of lb2: add lb2, or "
         "write {lb2: ADDRESS, ...}"),
        ("unicast: {lb1: 198.51.100.1, lb2: 198.51.100.1, lb3: 198.51.100.3}", "5:10 error: "
         "unicast: has an address twice: each router has its own"),
        ("unicast: {lb1: 198.51.100.1, lb2: 224.0.0.18, lb3: 198.51.100.3}", "5:35 error: "
         "unicast.lb2: 224.0.0.18 is no address that a peer can be reached at"),
        ('unicast: {lb1: 198.51.100.1, lb2: 198.51.100.2, lb3: "2001:db8::3"}', "5:10 error: "
         "unicast: mixes IPv4 and IPv6: take one family for all nodes"),
        ("unicast: {lb1: 198.51.100.1, lb2: 192.0.2.10, lb3: 198.51.100.3}", "5:10 error: unicast: "
         "192.0.2.10 is a virtual address: unicast goes between the routers' own"),
        ('unicast: {lb1: "2001:db8::1", lb2: "2001:db8::2", lb3: "2001:db8::3"}', "5:10 error: "
         "unicast: is IPv6, and all virtual addresses are IPv4: take IPv4 addresses here"),
        ("authentication: {pass: /etc/vrrp.pass}", "5:17 error: authentication: a password is for "
         "version 2 only: write hmac, or version: 2"),
        ("authentication: sha", "5:17 error: authentication: 'sha' is none of none, hmac, {pass: "
         "FILE}, {hmac: MODE}: enforce, permissive, receive-only"),
        ("authentication: {hmac: often}", "5:24 error: authentication.hmac: 'often' is none of "
         "enforce, permissive, receive-only"),
        ("authentication: {hmac: enforce, pass: /x}", "5:33 error: unknown key 'pass' in "
         "authentication: known here are hmac"),
        ("version: 2, advert_int: 1.5", "5:25 error: advert_int: 1.5s: version 2 counts whole "
         "seconds: write 1s, or version: 3"),
    ],
)  # fmt: skip
def test_a_mistake_on_the_wire_is_told_where_it_stands(
    tmp_path: Path, written: str, complaint: str
) -> None:
    assert complaint in mistakes(tmp_path, text(written))


def test_unicast_without_a_peer_is_refused(tmp_path: Path) -> None:
    head = "nodes: {lb2: {address: 198.51.100.2}}\n"

    assert mistakes(tmp_path, text("unicast: {lb2: 198.51.100.2}", head=head)) == [
        "4:10 error: unicast: names no other router: add the peers' addresses, or leave it out for "
        "multicast"
    ]


def test_both_families_beside_unicast_are_warned_of(tmp_path: Path) -> None:
    both = '[192.0.2.10/24, "2001:db8::10/64"]'
    written = text("unicast: {lb1: 198.51.100.1, lb2: 198.51.100.2, lb3: 198.51.100.3}", both)

    assert mistakes(tmp_path, written) == [
        "5:10 warning: unicast: is for the IPv4 addresses; the IPv6 ones are advertised by "
        "multicast: give them an instance of their own, and a sync group with this one"
    ]


def test_version_2_has_a_password_file(tmp_path: Path) -> None:
    instance = front(tmp_path, text("version: 2, authentication: {pass: /etc/vrrp.pass}"))

    assert instance.version == 2
    assert instance.authentication == Authentication(AuthenticationKind.PASS, "/etc/vrrp.pass")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("written", "signing"),
    [
        ("hmac", Signing.ENFORCE),
        ("{hmac: enforce}", Signing.ENFORCE),
        ("{hmac: permissive}", Signing.PERMISSIVE),
        ("{hmac: receive-only}", Signing.RECEIVE_ONLY),
    ],
)
def test_either_version_is_signed_with_the_cluster_s_keys(
    tmp_path: Path, version: int, written: str, signing: Signing
) -> None:
    instance = front(tmp_path, text(f"version: {version}, authentication: {written}"))

    assert instance.authentication == Authentication(AuthenticationKind.HMAC, KEYS, signing)


def test_signing_needs_a_key_file(tmp_path: Path) -> None:
    head = "nodes: {lb1: {address: 198.51.100.1}, lb2: {address: 198.51.100.2}}\n"

    assert mistakes(tmp_path, text("authentication: hmac", head=head)) == [
        "4:17 error: authentication: hmac needs keys: add 'key_file: /etc/hadirector/cluster.key'"
    ]


def test_ipv6_beside_version_2_is_spoken_for_by_version_3_and_that_is_told(tmp_path: Path) -> None:
    both = '[192.0.2.10/24, "2001:db8::10/64"]'
    by_password = "version: 2, authentication: {pass: /etc/vrrp.pass}"

    assert mistakes(tmp_path, text(by_password, both)) == [
        "4:20 warning: virtual_addresses: version 2 has no IPv6: those addresses are advertised by "
        "version 3, which has no password either"
    ]
    assert mistakes(tmp_path, text("version: 2, advert_int: 60s", both))[1] == (
        "4:20 error: virtual_addresses: version 3, for the IPv6 ones, does not count as far as 1m: "
        "40s or less"
    )
