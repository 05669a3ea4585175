"""Which policies make an address silent but for its services."""

from dataclasses import replace

from hadirector.core.acceptance import ALLOW, BLOCK, ICMPV6, Policy, policies
from hadirector.core.address import Address, Endpoint
from hadirector.core.ipvs import Forward, Protocol, Service, ServiceKey
from hadirector.core.settings.checks import CheckRule, Combine
from hadirector.core.settings.instances import VirtualAddress
from hadirector.core.settings.services import OnFailure, RealServer, VirtualService
from tests.core.electorate import FRONT, INSIDE, VIP

VIP6 = VirtualAddress(Address("2001:db8::10"), 64, "eth0")
SILENT = replace(FRONT, accept=False)


def service(forward: Forward, server: str = "192.0.2.1") -> VirtualService:
    return VirtualService(
        name="web",
        address="192.0.2.10:80",
        protocol="tcp",
        services=(Service(ServiceKey(4, Protocol.TCP, VIP.address, 80), "wlc"),),
        forward=forward,
        check=CheckRule(Combine.ALL, ()),
        quorum=1,
        floor=0.0,
        on_failure=OnFailure.AUTO,
        slow_start=0.0,
        fallback=None,
        real_servers=(RealServer(endpoint=Endpoint(Address(server), 80), forward=forward),),
    )


def nobody(_: Address) -> bool:
    return False


def node(address: Address) -> bool:
    return address == "192.0.2.1"


def test_by_default_there_is_none() -> None:
    assert policies((FRONT, INSIDE), (service(Forward.DR),), node) == ()


def test_every_address_of_a_silent_instance_is_blocked_and_no_other() -> None:
    excluded = VirtualAddress(Address("192.0.2.77"), 24, "eth0")

    found = policies((replace(SILENT, excluded_addresses=(excluded,)), INSIDE), (), nobody)

    assert found == (Policy(BLOCK, VIP.address), Policy(BLOCK, excluded.address))


def test_ipv6_neighbours_may_ask_and_answer_and_that_is_put_first() -> None:
    found = policies((replace(SILENT, virtual_addresses=(VIP6,)),), (), nobody)

    assert found == (
        Policy(ALLOW, VIP6.address, ICMPV6, kind=135),
        Policy(ALLOW, VIP6.address, ICMPV6, kind=136),
        Policy(BLOCK, VIP6.address),
    )


def test_a_service_served_by_this_node_under_the_address_itself_may_pass() -> None:
    allowed = Policy(ALLOW, VIP.address, Protocol.TCP, 80)
    blocked = Policy(BLOCK, VIP.address)

    assert policies((SILENT,), (service(Forward.DR),), node) == (allowed, blocked)
    assert policies((SILENT,), (service(Forward.TUN),), node) == (allowed, blocked)
    assert policies((SILENT,), (service(Forward.NAT),), node) == (blocked,)
    assert policies((SILENT,), (service(Forward.DR, "10.0.1.2"),), node) == (blocked,)
