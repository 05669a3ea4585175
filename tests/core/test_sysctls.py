"""The settings a director owns."""

from dataclasses import replace

import pytest

from hadirector.core import ipvs, sysctls
from hadirector.core.address import Address, Endpoint, Family
from hadirector.core.ipvs import Timeouts
from hadirector.core.settings.instances import VirtualAddress
from hadirector.core.settings.services import RealServer
from tests.core import farm


@pytest.mark.parametrize(
    ("timeouts", "period"),
    [
        (Timeouts(tcp=900, tcp_fin=120, udp=300), 10),
        (Timeouts(), 10),
        (Timeouts(tcp=12, tcp_fin=120, udp=300), 4),
        (Timeouts(tcp=900, tcp_fin=120, udp=20), 6),
        (Timeouts(tcp=900, tcp_fin=29, udp=300), 9),
        (Timeouts(tcp=1, tcp_fin=120, udp=300), 1),
    ],
)
def test_the_refresh_period_fits_three_times_into_the_shortest_timeout(
    timeouts: Timeouts, period: int
) -> None:
    assert sysctls.refresh_period(timeouts) == period


def test_sync_settings_damp_the_threshold_before_it_is_opened() -> None:
    settings = {each.name: each.value for each in sysctls.for_sync(Timeouts(tcp=12))}

    assert settings == {
        "net.core.rmem_max": "8388608",
        "net.ipv4.vs.sync_sock_size": "8388608",
        "net.ipv4.vs.sync_version": "1",
        "net.ipv4.vs.backup_only": "0",
        "net.ipv4.vs.sync_persist_mode": "0",
        "net.ipv4.vs.sync_refresh_period": "4",
        "net.ipv4.vs.sync_retries": "1",
        "net.ipv4.vs.sync_threshold": "0 1",
    }
    names = list(settings)
    assert names.index("net.ipv4.vs.sync_refresh_period") < names.index(
        "net.ipv4.vs.sync_threshold"
    )


def test_only_buffers_are_raise_only() -> None:
    every = [*sysctls.for_director({4, 6}, ["eth0"]), *sysctls.for_sync(Timeouts())]

    assert [each.name for each in every if each.raise_only] == [
        "net.core.rmem_max",
        "net.ipv4.vs.sync_sock_size",
    ]


@pytest.mark.parametrize(
    ("nat", "forwarding"),
    [
        ((), set()),
        ((4,), {"net.ipv4.ip_forward"}),
        ((6,), {"net.ipv6.conf.all.forwarding"}),
        ((4, 6), {"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"}),
    ],
)
def test_a_node_forwards_only_where_servers_answer_through_it(
    nat: tuple[Family, ...], forwarding: set[str]
) -> None:
    names = {each.name for each in sysctls.for_director(nat)}

    assert {name for name in names if "forward" in name} == forwarding


def test_what_heeds_router_advertisements_goes_on_doing_so_before_forwarding_is_on() -> None:
    names = [each.name for each in sysctls.for_director({6}, ["eth0", "eth0/7"])]

    assert names[-3:] == [
        "net.ipv6.conf.eth0.accept_ra",
        "net.ipv6.conf.eth0/7.accept_ra",
        "net.ipv6.conf.all.forwarding",
    ]
    assert not any("accept_ra" in each.name for each in sysctls.for_director({4}, ["eth0"]))


def test_what_is_chosen_goes_before_the_defaults() -> None:
    chosen = {"conntrack": "1", "expire_nodest_conn": None}

    settings = {each.name: each.value for each in sysctls.for_director((), chosen=chosen)}

    assert settings == {
        "net.ipv4.vs.expire_quiescent_template": "1",
        "net.ipv4.vs.conn_reuse_mode": "1",
        "net.ipv4.vs.conntrack": "1",
    }


@pytest.mark.parametrize(
    ("schedulers", "hashing"),
    [((), False), (("mh",), True), (("mh", "sh"), True), (("mh", "wlc"), False)],
)
def test_unknown_connections_go_on_where_all_clients_are_hashed(
    schedulers: tuple[str, ...], hashing: bool
) -> None:
    services = [
        replace(farm.WEB, services=(replace(farm.WEB.services[0], scheduler=scheduler),))
        for scheduler in schedulers
    ]

    assert sysctls.hashes_all(services) is hashing
    names = {each.name for each in sysctls.for_director((), hashing=hashing)}
    assert ("net.ipv4.vs.sloppy_tcp" in names) is hashing
    kept = sysctls.for_director((), chosen={"sloppy_tcp": None}, hashing=hashing)
    assert "net.ipv4.vs.sloppy_tcp" not in {each.name for each in kept}


def test_an_address_that_may_be_the_first_of_its_net_needs_promotion() -> None:
    virtual = [
        VirtualAddress(Address("192.0.2.10"), 24, "eth0"),
        VirtualAddress(Address("192.0.2.11"), 24, "eth0"),
        VirtualAddress(Address("10.0.9.1"), 24, "eth1.7"),
        VirtualAddress(Address("10.0.8.1"), 32, "eth2"),
        VirtualAddress(Address("2001:db8::10"), 64, "eth3"),
    ]

    assert [(each.name, each.value) for each in sysctls.for_addresses(virtual)] == [
        ("net.ipv4.conf.eth0.promote_secondaries", "1"),
        ("net.ipv4.conf.eth1/7.promote_secondaries", "1"),
    ]


SIX = replace(
    farm.WEB,
    services=(
        ipvs.Service(ipvs.ServiceKey(6, ipvs.Protocol.TCP, Address("2001:db8::10"), 80), "rr"),
    ),
)


def server(address: str, forward: ipvs.Forward) -> RealServer:
    return RealServer(endpoint=Endpoint(Address(address), 80), forward=forward)


@pytest.mark.parametrize(
    ("servers", "fallback", "families"),
    [
        ([server("2001:db8::1", ipvs.Forward.DR)], None, set()),
        ([server("2001:db8::1", ipvs.Forward.TUN)], None, set()),
        ([server("2001:db8::1", ipvs.Forward.NAT)], None, {6}),
        (
            [server("2001:db8::1", ipvs.Forward.DR)],
            server("2001:db8::9", ipvs.Forward.NAT),
            {6},
        ),
        ([server("10.0.1.1", ipvs.Forward.NAT)], None, {4}),
        ([server("10.0.1.1", ipvs.Forward.TUN)], None, set()),
    ],
    ids=["dr", "tun", "nat", "nat fallback", "ipv4 nat", "tun to ipv4"],
)
def test_only_nat_asks_for_forwarding(
    servers: list[RealServer], fallback: RealServer | None, families: set[int]
) -> None:
    service = replace(SIX, real_servers=tuple(servers), fallback=fallback)

    assert sysctls.nat_families([service]) == families
