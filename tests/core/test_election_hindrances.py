"""What keeps a router from starting or holding: no socket, an address not settled yet; and what a
node with many routers looks at when one of them hears something."""

from dataclasses import replace

import pytest

from hadirector.core.address import Address
from hadirector.core.election import Election
from hadirector.core.election_types import (
    Deaf,
    DeafEars,
    Link,
    Links,
    Note,
    Reconcile,
    Report,
    SendAdvert,
    Tick,
)
from hadirector.core.member import Member
from hadirector.core.messages import RouterStateName
from hadirector.core.settings.instances import VirtualAddress
from tests.core.electorate import FRONT, INSIDE, T0, links, settings, words

IPV6 = VirtualAddress(Address("2001:db8::10"), 64, "eth0")
DUAL = replace(FRONT, virtual_addresses=(*FRONT.virtual_addresses, IPV6))
OUT_OF_DESCRIPTORS = DeafEars((Deaf("eth0", 4, "Too many open files"),))


def states(election: Election) -> dict[tuple[str, int], RouterStateName]:
    return {(r.instance, r.family): r.state for r in election.routers()}


def test_a_router_that_cannot_hear_is_in_fault_until_it_can_and_the_others_are_not() -> None:
    election = Election()
    election.handle(settings(FRONT, INSIDE), T0)
    election.handle(OUT_OF_DESCRIPTORS, T0)
    election.handle(links(1), T0)
    election.handle(Tick(), T0 + 4)

    assert states(election) == {
        ("front", 4): RouterStateName.FAULT,
        ("inside", 4): RouterStateName.MASTER,
    }
    (front, _) = election.routers()
    assert front.reason == "eth0: no VRRP socket for ipv4: Too many open files"

    election.handle(DeafEars(()), T0 + 5)
    assert states(election)[("front", 4)] is RouterStateName.BACKUP


def test_a_master_that_becomes_deaf_gives_up() -> None:
    election = Election()
    election.handle(settings(FRONT), T0)
    election.handle(links(1), T0)
    election.handle(Tick(), T0 + 4)

    told = words(election.handle(OUT_OF_DESCRIPTORS, T0 + 5))

    assert told == ["front advert 0", "drop 192.0.2.10", "front fault"]


def settling(usable: bool) -> Links:
    addresses = (Address("198.51.100.1"), *((Address("fe80::1"),) if usable else ()))
    return Links((Link("eth0", True, addresses, settling=not usable),))


def test_an_address_that_settles_at_boot_is_waited_for_by_both_families() -> None:
    election = Election()
    election.handle(settings(DUAL), T0)

    assert words(election.handle(settling(usable=False), T0)) == []
    assert set(states(election).values()) == {RouterStateName.INIT}
    told = words(election.handle(settling(usable=True), T0 + 2))

    assert told == ["front backup", "front backup"]


def test_after_the_start_an_address_that_settles_is_a_fault() -> None:
    election = Election()
    election.handle(settings(DUAL), T0)
    election.handle(settling(usable=True), T0)

    election.handle(settling(usable=False), T0 + 1)

    assert set(states(election).values()) == {RouterStateName.FAULT}


def test_a_mastership_given_up_is_not_adopted_however_short_the_boot() -> None:
    election = Election({("front", 4): None})
    election.handle(settings(replace(FRONT, advert_int=40.0, startup_delay=None)), 3.0)
    election.handle(links(1), 3.0)

    assert states(election) == {("front", 4): RouterStateName.BACKUP}  # nor waits for the network


def test_an_input_costs_as_much_as_the_routers_it_concerns(monkeypatch: pytest.MonkeyPatch) -> None:
    election = Election()
    some = [
        replace(
            FRONT,
            name=f"r{number}",
            virtual_router_id=number,
            advert_int=1.0 if number == 1 else 40.0,
            virtual_addresses=(VirtualAddress(Address(f"192.0.2.{number}"), 24, "eth0"),),
        )
        for number in range(1, 101)
    ]
    election.handle(settings(*some), T0)
    election.handle(links(1), T0)
    election.handle(Tick(), T0 + 4)
    looked: list[str] = []
    face = vars(Member)["face"].fget

    def counted(member: Member) -> object:
        looked.append(member.instance.name)
        return face(member)

    monkeypatch.setattr(Member, "face", property(counted))

    actions = election.handle(Tick(), T0 + 5)

    assert [type(action) for action in actions] == [SendAdvert, Note]
    assert looked == ["r1"]
    assert election.handle(links(1), T0 + 5) == ()
    assert looked == ["r1"]
    told = election.handle(links(1, eth0=False), T0 + 5)
    assert {Reconcile(), Report()} <= set(told[-2:])
    assert len(looked) == 101
