"""core/election: what others do to a master's belongings, moved links, virtual MACs."""

from dataclasses import replace

from hadirector.core import messages
from hadirector.core.address import Address
from hadirector.core.election_types import (
    Announce,
    Desired,
    Moved,
    PacketReceived,
    PlacedAddress,
    Refusals,
    Restored,
    SendAdvert,
    Tick,
)
from hadirector.core.node_view import homes_of
from hadirector.core.routing import route_of
from hadirector.core.settings.instances import VirtualAddress, VirtualRoute
from hadirector.core.vmac import VirtualDevice
from tests.core.electorate import FRONT, INSIDE, VIP, Electorate, order, pair, settings, words

HELD = PlacedAddress(VIP.address, 24, "eth0", None)
ROUTE = VirtualRoute("203.0.113.0/24", Address("192.0.2.1"), None, None, None, None)
MAC = bytes.fromhex("00005e000133")


def moved(*names: str) -> Moved:
    return Moved(frozenset(names))


def test_a_master_announces_again_where_its_link_moved_and_says_why() -> None:
    electorate = pair(FRONT, INSIDE)

    actions = electorate.tell("lb1", moved("eth0", "eth7"))

    assert words(actions) == ["announce 192.0.2.10 x5", "front announced_again"]
    (event,) = [a for a in actions if isinstance(a, messages.Event)]
    assert event.reason == "eth0 reaches the network by another way: announced again"
    later = [words for _, _, words in electorate.run(10.0) if "192.0.2.10" in words]
    assert later == ["announce 192.0.2.10 x5"]  # once more after the delay


def test_an_address_on_another_interface_is_announced_when_that_moves() -> None:
    elsewhere = VirtualAddress(Address("10.0.9.1"), 24, "eth1")
    electorate = pair(replace(FRONT, virtual_addresses=(VIP, elsewhere)))

    actions = electorate.tell("lb1", moved("eth1"))

    assert words(actions)[-1] == "front announced_again"
    assert "announce 10.0.9.1 x5" in words(actions)


def test_a_backup_announces_nothing_whatever_moves() -> None:
    electorate = pair(FRONT)

    assert electorate.tell("lb2", moved("eth0", "eth1")) == ()


def test_what_was_restored_is_told_by_its_instance_and_announced_once() -> None:
    electorate = pair(FRONT, INSIDE)

    actions = electorate.tell("lb1", Restored((HELD,)))

    assert words(actions) == ["front vip_restored", "announce 192.0.2.10 x1"]
    assert words(electorate.tell("lb1", Restored((HELD,)))) == ["front vip_restored"]


def test_a_fight_is_seen_in_the_routers_troubles_and_ends_by_itself() -> None:
    electorate = pair(FRONT)
    for _ in range(5):
        electorate.tell("lb1", Restored((HELD,)))

    (router,) = electorate.nodes["lb1"].routers()
    assert router.troubles == ("another program keeps removing 192.0.2.10 on eth0",)
    told = [word for _, _, word in electorate.run(61.0) if "vip" in word]
    assert told == ["front vip_undisturbed"]
    (router,) = electorate.nodes["lb1"].routers()
    assert router.troubles == ()
    assert electorate.holders() == ["lb1"]


def test_a_refused_route_is_told_once_and_costs_no_mastership() -> None:
    electorate = pair(replace(FRONT, virtual_routes=(ROUTE,)))
    refused = Refusals(((route_of(ROUTE, 4, "eth0"), "the kernel refuses it: no gateway"),))

    actions = electorate.tell("lb1", refused)

    assert words(actions) == ["front route_refused"]
    assert electorate.tell("lb1", refused) == ()
    assert electorate.holders() == ["lb1"]
    assert words(electorate.tell("lb1", Refusals(()))) == ["front route_accepted"]


def with_vmac() -> Electorate:
    return pair(replace(FRONT, vmac=True))


def test_with_a_virtual_mac_addresses_sit_on_its_device_which_backups_have_too() -> None:
    electorate = with_vmac()

    device = VirtualDevice("vrrp.51", "eth0", 4, MAC)
    placed = PlacedAddress(VIP.address, 24, "vrrp.51", None, "eth0")
    assert electorate.nodes["lb1"].desired() == Desired((placed,), devices=(device,))
    assert electorate.nodes["lb2"].desired() == Desired(devices=(device,))


def test_only_who_holds_the_addresses_speaks_from_the_virtual_mac() -> None:
    electorate = with_vmac()
    electorate.cut.add("lb2")  # and becomes a second master
    electorate.run(5.0)
    assert electorate.holders() == ["lb1", "lb2"]
    one, two, now = electorate.nodes["lb1"], electorate.nodes["lb2"], electorate.now + 1.0

    (said,) = [a for a in one.handle(Tick(), now) if isinstance(a, SendAdvert)]
    packet = PacketReceived("eth0", said.source, said.destination, 255, said.message)
    (last,) = [a for a in two.handle(packet, now) if isinstance(a, SendAdvert)]

    # lb2 dropped its addresses, and says so from the MAC of its own interface.
    assert two.desired().addresses == ()
    assert (said.hardware, last.hardware) == (MAC, b"")


def test_the_device_stays_until_a_stopping_master_has_left() -> None:
    electorate = with_vmac()
    electorate.cut.add("lb2")

    actions = electorate.tell("lb1", order(messages.OrderKind.STOP))

    (resigned,) = [a for a in actions if isinstance(a, SendAdvert)]
    assert (resigned.advert.priority, resigned.hardware) == (0, MAC)
    assert len(electorate.nodes["lb1"].desired().devices) == 1
    electorate.run(5.0)
    assert electorate.nodes["lb1"].desired() == Desired()


def test_a_moved_parent_is_what_counts_for_a_virtual_mac() -> None:
    electorate = with_vmac()

    assert electorate.tell("lb1", moved("vrrp.51")) == ()
    actions = electorate.tell("lb1", moved("eth0"))

    (announced,) = [a for a in actions if isinstance(a, Announce)]
    assert [v.interface for v in announced.addresses] == ["vrrp.51"]


def test_switching_to_a_virtual_mac_hands_over_to_another_router() -> None:
    electorate = pair(FRONT)

    electorate.tell("lb1", settings(replace(FRONT, vmac=True)))
    electorate.run(6.0)

    assert electorate.holders() == ["lb1"]
    (held,) = electorate.nodes["lb1"].desired().addresses
    assert held.interface == "vrrp.51"


def test_addresses_of_a_virtual_mac_are_asked_for_where_their_master_is_heard() -> None:
    elsewhere = VirtualAddress(Address("10.0.9.1"), 24, "eth1")
    instance = replace(FRONT, vmac=True, virtual_addresses=(VIP, elsewhere))

    assert homes_of(instance, 4) == {VIP.address: "eth0", elsewhere.address: "eth1"}
