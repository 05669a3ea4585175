"""Real servers: what is missing on a host, and what undoes it; tests/kernel does it for real."""

from dataclasses import replace

import pytest

from hadirector.core.address import Address
from hadirector.core.server_setup import (
    Found,
    Step,
    Tunnel,
    Wanted,
    is_needed,
    plan,
    setup_command,
    undo,
    unfit,
    unwrapping,
)

VIP, VIP6 = Address("192.0.2.10"), Address("2001:db8::10")
ARP = {"net.ipv4.conf.all.arp_ignore": "0", "net.ipv4.conf.all.arp_announce": "0"}
BARE = Found(
    links={"lo": True, "eth0": True},
    held=frozenset({(Address("127.0.0.1"), "lo")}),
    elsewhere={Address("192.0.2.3"): "eth0"},
    ports=frozenset(),
    settings=ARP | {"net.ipv4.conf.all.rp_filter": "0"},
)
SILENT = replace(BARE, settings=dict.fromkeys(ARP, "2"))


def commands(wanted: Wanted, found: Found) -> list[str]:
    return [str(step) for step in plan(wanted, found)]


def test_a_server_is_silent_before_it_has_the_address() -> None:
    assert commands(Wanted((VIP, VIP6)), BARE) == [
        "sysctl -w net.ipv4.conf.all.arp_ignore=1",
        "sysctl -w net.ipv4.conf.all.arp_announce=2",
        "ip address add 192.0.2.10/32 dev lo",
        "ip address add 2001:db8::10/128 dev lo",
    ]


def test_stricter_silence_and_addresses_that_are_there_stay() -> None:
    held = replace(SILENT, held=frozenset({(VIP, "dummy0")}))

    assert commands(Wanted((VIP,)), held) == []


def test_ipv6_needs_no_setting() -> None:
    assert commands(Wanted((VIP6,)), BARE) == ["ip address add 2001:db8::10/128 dev lo"]


def test_a_tunnel_for_ipv4_has_an_address_on_its_device_and_a_loose_filter() -> None:
    strict = replace(SILENT, settings={**SILENT.settings, "net.ipv4.conf.all.rp_filter": "1"})
    other = Address("192.0.2.11")

    assert commands(Wanted((VIP, other), (Tunnel(4, 4),)), strict) == [
        "ip link add tunl0 type ipip",
        "sysctl -w net.ipv4.conf.all.rp_filter=2",
        "ip link set tunl0 up",
        "ip address add 192.0.2.10/32 dev tunl0",
        "ip address add 192.0.2.11/32 dev lo",
    ]


def test_gue_is_unwrapped_at_its_port() -> None:
    ready = replace(SILENT, links={"tunl0": True}, held=frozenset({(VIP, "tunl0")}))
    wanted = Wanted((VIP,), (Tunnel(4, 4, "gue", 6080),))

    assert commands(wanted, ready) == ["ip fou add port 6080 gue"]
    assert commands(wanted, replace(ready, ports=None))[0] == "modprobe fou"
    assert commands(wanted, replace(ready, ports=frozenset({(4, 6080)}))) == []


def test_gue_over_ipv6_has_a_port_of_its_own() -> None:
    four_only = replace(SILENT, ports=frozenset({(4, 6080)}))

    steps = plan(Wanted((VIP6,), (Tunnel(6, 6, "gue", 6080),)), four_only)

    assert [str(step) for step in steps] == [
        "ip link add ip6tnl0 type ip6tnl",
        "ip link set ip6tnl0 up",
        "ip -6 fou add port 6080 gue",
        "ip address add 2001:db8::10/128 dev lo",
    ]
    (port,) = [step for step in steps if step.what == "port"]
    back = undo(port, four_only)
    assert back is not None
    assert str(back) == "ip -6 fou del port 6080"
    assert not is_needed(back, four_only)
    assert is_needed(back, replace(four_only, ports=frozenset({(6, 6080)})))


@pytest.mark.parametrize(
    ("tunnel", "device"),
    [
        (Tunnel(4, 4), "tunl0"),
        (Tunnel(6, 4), "sit0"),
        (Tunnel(6, 6), "ip6tnl0"),
        (Tunnel(6, 4, "gre"), "gre0"),
        (Tunnel(6, 6, "gre"), "ip6gre0"),
        (Tunnel(6, 6, "gue", 6080), "ip6tnl0"),
    ],
)
def test_each_kind_of_tunnel_has_its_device(tunnel: Tunnel, device: str) -> None:
    address = VIP if tunnel.inner == 4 else VIP6
    links = {device: False}

    steps = commands(Wanted((address,), (tunnel,)), replace(SILENT, links=links))

    assert steps[0] == f"ip link set {device} up"


@pytest.mark.parametrize(
    ("tunnel", "lacking", "whole"),
    [
        (Tunnel(4, 4), ["ip link set tunl0 up"], "--setup tun"),
        (Tunnel(6, 4), ["ip link set sit0 up"], "--setup tun --outer ipv4"),
        (
            Tunnel(6, 6, "gue", 6081),
            ["ip link set ip6tnl0 up", "ip -6 fou add port 6081 gue"],
            "--setup tun --type gue --port 6081",
        ),
    ],
)
def test_what_a_server_lacks_is_told_in_commands(
    tunnel: Tunnel, lacking: list[str], whole: str
) -> None:
    assert list(unwrapping(tunnel)) == lacking
    assert setup_command(VIP6, tunnel) == f"hadirector agent {whole} {VIP6}"
    assert setup_command(VIP, None) == f"hadirector agent --setup dr {VIP}"


def test_what_cannot_work_is_told() -> None:
    reasons = unfit(Wanted((Address("192.0.2.3"),), (Tunnel(4, 6),)), BARE)

    assert reasons == [
        "192.0.2.3 is on eth0, where it is answered for: ip address delete it there first",
        "IPv4 in IPv6 by ipip needs a device with the director's address: "
        "ip link add ... remote DIRECTOR",
    ]


def test_each_step_is_undone_by_its_opposite() -> None:
    steps = plan(Wanted((VIP,), (Tunnel(4, 4, "gue", 6080),)), replace(BARE, ports=None))

    assert [str(back) for step in steps if (back := undo(step, BARE))] == [
        "sysctl -w net.ipv4.conf.all.arp_ignore=0",
        "sysctl -w net.ipv4.conf.all.arp_announce=0",
        "ip link delete tunl0",
        "ip link set tunl0 down",
        "ip fou del port 6080",
        "ip address delete 192.0.2.10/32 dev tunl0",
    ]
    assert undo(Step("sysctl", "net.ipv4.conf.tunl0.rp_filter", "2"), BARE) is None
