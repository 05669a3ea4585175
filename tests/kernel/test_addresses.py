"""Addresses, leases and events on a real kernel."""

import time
from collections.abc import Callable, Iterator

import pytest

from hadirector.core.address import canonical
from hadirector.core.election_types import PlacedAddress
from hadirector.core.placement import MARK
from hadirector.shell import child, rtnetlink
from hadirector.shell.addresses import Addresses
from hadirector.shell.lease import Lease
from hadirector.shell.links import Table
from tests.kernel.namespace import fresh_namespace, run
from tests.kernel.pair import eventually, needs_root, stays

pytestmark = [pytest.mark.kernel, needs_root]

VIP, VIP6 = canonical("192.0.2.10"), canonical("2001:db8::10")


class Hand:
    """All that places addresses, in a namespace of its own with eth0 up and without addresses."""

    def __init__(self) -> None:
        self.route = rtnetlink.Route()
        self.table = Table()
        self.lease = Lease(child.now)
        self.addresses = Addresses(self.route, self.table, self.lease)
        self.look()

    def look(self) -> None:
        """Read the kernel."""
        self.table.read(self.route)

    def close(self) -> None:
        self.lease.close()
        self.route.close()


@pytest.fixture
def hand() -> Iterator[Hand]:
    with fresh_namespace():
        run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far")
        run("ip", "link", "set", "eth0", "up")
        run("ip", "link", "set", "far", "up")
        made = Hand()
        yield made
        made.close()


def test_beside_a_covering_address_it_is_a_32_without_route(hand: Hand) -> None:
    configure(hand, "192.0.2.1/24")
    routes = run("ip", "route")

    hand.addresses.place([wanted()])

    assert "192.0.2.10/32 scope global noprefixroute" in shown()
    assert run("ip", "route") == routes
    assert protocol_of(VIP) == MARK


def test_alone_it_brings_the_route_to_its_net_and_takes_it_along(hand: Hand) -> None:
    hand.addresses.place([wanted()])

    assert "192.0.2.0/24 dev eth0" in run("ip", "route")

    hand.addresses.drop([wanted()])

    assert "192.0.2.0/24" not in run("ip", "route")
    assert "192.0.2.10" not in shown()


def test_a_first_address_that_goes_does_not_take_the_operators_along(hand: Hand) -> None:
    run("sysctl", "-qw", "net.ipv4.conf.eth0.promote_secondaries=0")
    run("sysctl", "-qw", "net.ipv4.conf.all.promote_secondaries=0")
    hand.addresses.place([wanted()])
    run("ip", "address", "add", "192.0.2.1/24", "dev", "eth0")

    hand.addresses.drop([wanted()])

    assert "192.0.2.1/24" in shown()
    hand.addresses.restore()
    assert run("sysctl", "-n", "net.ipv4.conf.eth0.promote_secondaries") == "0\n"


def test_a_lease_ends_within_a_second_of_its_time_and_takes_nothing_along(hand: Hand) -> None:
    configure(hand, "192.0.2.1/24", "2001:db8::1/64")
    routes = (run("ip", "route"), run("ip", "-6", "route"))

    hand.addresses.place([wanted(lifetime=2), wanted6(lifetime=2)])

    took = eventually(lambda: VIP not in shown() and VIP6 not in shown(), 4.0)
    assert 1.5 <= took <= 3.0
    assert "192.0.2.1/24" in shown()
    assert (run("ip", "route"), run("ip", "-6", "route")) == routes


def test_an_expiring_first_address_leaves_the_operators_in_place(hand: Hand) -> None:
    hand.addresses.place([wanted(lifetime=2)])
    run("ip", "address", "add", "192.0.2.1/24", "dev", "eth0")

    eventually(lambda: VIP not in shown(), 4.0)

    assert "192.0.2.1/24" in shown()
    assert "192.0.2.0/24 dev eth0" in run("ip", "route")


def test_renewal_keeps_an_address_without_a_gap_while_the_loop_turns(hand: Hand) -> None:
    configure(hand, "192.0.2.1/24")
    watch = rtnetlink.Watch()
    in_this_namespace(hand.lease.start)
    hand.addresses.place([wanted(lifetime=2)])

    def turn() -> bool:
        hand.lease.turned()
        return hand.addresses.own == {("eth0", VIP, 32)} and VIP in shown()

    assert stays(turn, 5.0)
    gone = [c for c in watch.read() if isinstance(c, rtnetlink.AddressGone)]
    watch.close()
    assert gone == []
    # Now the loop hangs: a third of the lease later nobody renews any more.
    assert 1.0 < eventually(lambda: VIP not in shown(), 5.0) <= 2 / 3 + 3.0


def test_a_lifetime_changes_in_place_and_back(hand: Hand) -> None:
    configure(hand, "192.0.2.1/24", "2001:db8::1/64")
    routes = (run("ip", "route"), run("ip", "-6", "route"))
    hand.addresses.place([wanted(), wanted6()])
    watch = rtnetlink.Watch()

    hand.addresses.place([wanted(lifetime=2), wanted6(lifetime=2)])
    leased = shown()
    hand.addresses.place([wanted(), wanted6()])

    changes = watch.read()
    watch.close()
    assert leased.count("dynamic") == 2
    assert "dynamic" not in shown()
    assert not [c for c in changes if isinstance(c, rtnetlink.AddressGone)]
    assert (run("ip", "route"), run("ip", "-6", "route")) == routes


def test_ipv6_without_a_covering_address_keeps_its_route_when_leased(hand: Hand) -> None:
    hand.addresses.place([wanted6()])

    hand.addresses.place([wanted6(lifetime=5)])

    assert "2001:db8::/64 dev eth0" in run("ip", "-6", "route")
    assert f"{VIP6}/64" in shown()
    (line,) = [line for line in shown().splitlines() if VIP6 in line]
    assert "tentative" not in line


def test_what_a_killed_process_left_is_replaced_not_made_finite(hand: Hand) -> None:
    configure(hand, "192.0.2.1/24")
    left_by_another(hand, VIP, 32)
    watch = rtnetlink.Watch()

    hand.addresses.place([wanted(lifetime=2)])

    kinds = [type(c) for c in watch.read()]
    watch.close()
    assert kinds == [rtnetlink.AddressGone, rtnetlink.AddressEntry]
    assert "192.0.2.10/32 scope global dynamic noprefixroute" in shown()


def test_what_a_killed_process_left_goes_when_it_is_not_wanted(hand: Hand) -> None:
    configure(hand, "192.0.2.1/24", "192.0.2.77/24")
    left_by_another(hand, VIP, 32)

    assert hand.addresses.reconcile(()) == 1

    assert VIP not in shown()
    assert "192.0.2.77/24" in shown()


def test_one_the_system_configured_is_an_obstacle_and_stays(hand: Hand) -> None:
    configure(hand, f"{VIP}/24")

    hand.addresses.place([wanted()])
    hand.addresses.drop([wanted()])

    assert f"{VIP}/24" in shown()
    assert hand.addresses.own == frozenset()


def test_a_refusal_is_told_and_the_rest_is_done(
    hand: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    configure(hand, "192.0.2.1/24")
    run("ip", "address", "add", f"{VIP}/32", "dev", "eth0")  # behind our back

    hand.addresses.place([wanted(), PlacedAddress(canonical("192.0.2.11"), 24, "eth0", None)])

    assert hand.addresses.stale
    assert hand.addresses.own == {("eth0", canonical("192.0.2.11"), 32)}
    (told,) = [record.message for record in caplog.records]
    assert told.startswith("addresses: put 192.0.2.10/32 on eth0: ")  # and the kernel's words


def test_five_hundred_addresses_go_on_and_off_fast(hand: Hand) -> None:
    configure(hand, "10.1.0.1/16")
    many = [
        PlacedAddress(canonical(f"10.1.{n // 250}.{n % 250 + 2}"), 16, "eth0", 2)
        for n in range(500)
    ]

    started = time.monotonic()
    hand.addresses.place(many)
    placed = time.monotonic() - started

    assert len(hand.addresses.own) == 500
    assert shown().count("/32 ") == 500
    hand.addresses.drop(many)
    assert shown().count("/32 ") == 0
    assert placed < 0.5


def test_renewals_say_nothing_new_and_changes_do(hand: Hand) -> None:
    configure(hand, "192.0.2.1/24")
    watch = rtnetlink.Watch()
    hand.addresses.place([wanted(lifetime=2)])
    news = [hand.table.enter(change) for change in watch.read()]
    renewal = rtnetlink.renew_address(
        hand.table.index("eth0") or 0, VIP, 32, rtnetlink.NOPREFIXROUTE | 2, MARK, 2
    )

    hand.route.execute([renewal], "renew")
    renewed = [hand.table.enter(change) for change in watch.read()]
    run("ip", "address", "del", f"{VIP}/32", "dev", "eth0")
    deleted = [hand.table.enter(change) for change in watch.read()]
    watch.close()

    assert len(news) == 1
    assert (renewed, deleted) == ([False], [True])


def test_events_that_were_lost_are_noticed(hand: Hand) -> None:
    watch = rtnetlink.Watch()
    watch._socket.setsockopt(1, 33, 2304)  # SO_RCVBUFFORCE: room for next to nothing
    for number in range(50):
        run("ip", "address", "add", f"10.2.0.{number + 1}/32", "dev", "eth0")

    with pytest.raises(rtnetlink.Lost):
        watch.read()
    watch.close()


def test_the_table_knows_links_as_the_election_wants_them(hand: Hand) -> None:
    configure(hand, "192.0.2.1/24", "192.0.2.2/24")
    (link,) = hand.table.links(["eth0", "missing"])

    assert (link.name, link.up) == ("eth0", True)
    assert link.addresses[:2] == (canonical("192.0.2.1"), canonical("192.0.2.2"))
    assert len(hand.table.hardware("eth0")) == 6

    run("ip", "link", "set", "far", "down")
    hand.look()
    assert [link.up for link in hand.table.links(["eth0"])] == [False]


def configure(hand: Hand, *addresses: str) -> None:
    """What an operator's network configuration would do."""
    for each in addresses:
        nodad = ("nodad",) if ":" in each else ()
        run("ip", "address", "add", each, "dev", "eth0", *nodad)
    hand.look()


def left_by_another(hand: Hand, address: str, prefix: int) -> None:
    index = hand.table.index("eth0")
    assert index is not None
    put = rtnetlink.put_address(
        index, canonical(address), prefix, rtnetlink.NOPREFIXROUTE, MARK, None
    )
    assert hand.route.execute([put], "put") == []
    hand.look()


def wanted(lifetime: int | None = None) -> PlacedAddress:
    return PlacedAddress(VIP, 24, "eth0", lifetime)


def wanted6(lifetime: int | None = None) -> PlacedAddress:
    return PlacedAddress(VIP6, 64, "eth0", lifetime)


def shown() -> str:
    """All addresses of eth0, one a line."""
    return run("ip", "-o", "address", "show", "dev", "eth0")


def protocol_of(address: str) -> int:
    """IFA_PROTO by iproute2's own reading of it is too new for Debian 12: ask the kernel."""
    route = rtnetlink.Route()
    entries = [rtnetlink.read_address(b) for b in route.dump(rtnetlink.list_addresses(), "list")]
    route.close()
    return next(e.protocol for e in entries if e is not None and e.address == address)


def in_this_namespace(start: Callable[[], None]) -> None:
    """A thread starts in the namespace of the one that starts it; said here for the reader."""
    start()
