"""The table of links and addresses: what counts as news, and events beside a survey."""

import asyncio
from dataclasses import replace

import pytest

from hadirector.core import placement
from hadirector.core.address import Address
from hadirector.core.election_types import Link
from hadirector.shell.links import Key, Table, key_of
from hadirector.shell.rtnetlink import (
    DADFAILED,
    SECONDARY,
    TENTATIVE,
    AddressEntry,
    AddressGone,
    LinkEntry,
    LinkGone,
    LinkMoved,
    Route,
)
from hadirector.shell.survey import Survey

ETH0 = LinkEntry(2, "eth0", up=True, loopback=False, hardware=b"\2\0\0\0\0\1")
VETH = LinkEntry(9, "veth9", up=True, loopback=False, hardware=b"\2\0\0\0\0\2")


def entry(index: int, text: str, flags: int = 0, protocol: int = 0) -> AddressEntry:
    return AddressEntry(index, Address(text), 24, flags, protocol, finite=False)


OWN, FOREIGN, VIP = entry(2, "192.0.2.1"), entry(9, "10.9.0.1"), entry(2, "192.0.2.10")


def dump(
    *entries: LinkEntry | AddressEntry,
) -> tuple[dict[int, LinkEntry], dict[Key, AddressEntry]]:
    return (
        {e.index: e for e in entries if isinstance(e, LinkEntry)},
        {key_of(e): e for e in entries if isinstance(e, AddressEntry)},
    )


def table(*entries: LinkEntry | AddressEntry) -> Table:
    made = Table()
    made.survey_begins()
    made.survey_ends(*dump(*entries))
    return made


def addresses(of: Table, name: str = "eth0") -> list[str]:
    return [h.address for h in of.held([name])]


def test_only_what_concerns_us_is_news() -> None:
    known = table(ETH0, VETH, OWN)
    known.concern(frozenset({"eth0"}), frozenset({VIP.address}))

    assert known.enter(VIP)
    assert not known.enter(VIP)  # told again
    assert not known.enter(FOREIGN)
    assert not known.enter(LinkGone(9))
    assert known.enter(LinkEntry(9, "eth0", True, False, b""))  # renamed to one that counts
    assert known.enter(entry(7, "192.0.2.10"))  # ours, configured elsewhere
    assert known.enter(entry(7, "192.0.2.99", protocol=placement.MARK))


def test_what_events_said_during_a_survey_is_newer_than_what_it_read() -> None:
    known = table(ETH0, VETH, OWN, FOREIGN)
    known.survey_begins()
    known.enter(VIP)
    known.enter(AddressGone(2, OWN.address, 24))
    known.enter(LinkGone(9))

    assert not known.survey_ends(*dump(ETH0, VETH, OWN, FOREIGN))  # read before all that

    assert addresses(known) == ["192.0.2.10"]
    assert known.index("veth9") is None
    assert addresses(known, "veth9") == []


def test_what_no_event_told_is_learnt_by_the_survey() -> None:
    known = table(ETH0, VETH, OWN, FOREIGN)
    known.survey_begins()

    assert known.survey_ends(*dump(ETH0, VIP))

    assert addresses(known) == ["192.0.2.10"]
    assert known.index("veth9") is None


@pytest.mark.parametrize("six", ["fe80::1", "2001:db8::1"])
def test_an_ipv6_address_that_settles_is_told_unless_it_has_a_duplicate(six: str) -> None:
    """Link-local for multicast; unicast may come from any."""
    for flags, settling in ((TENTATIVE, True), (TENTATIVE | DADFAILED, False)):
        known = table(ETH0, entry(2, "192.0.2.9", SECONDARY), OWN, entry(2, six, flags))

        (told,) = known.links(["eth0", "missing"])

        assert told == Link("eth0", True, (OWN.address, Address("192.0.2.9")), settling)


def test_a_survey_reads_what_a_whole_read_does_in_small_steps() -> None:
    async def surveyed() -> bool:
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        survey = Survey(found, done.set_result)
        survey.begin()
        async with asyncio.timeout(5):
            return await done

    route, whole, found = Route(), Table(), Table()
    whole.read(route)
    route.close()

    assert asyncio.run(surveyed())

    assert found.held() == whole.held()
    assert found.index("lo") == whole.index("lo") is not None


def test_links_that_reach_the_network_by_another_way_are_told_once() -> None:
    known = table(ETH0, VETH)
    known.concern(frozenset({"eth0"}), frozenset())
    known.take_moved()

    assert not known.enter(ETH0)  # told again
    assert known.take_moved() == frozenset()
    for other in (
        replace(ETH0, hardware=b"\2\0\0\0\0\7"),  # a bond took its other link's address
        replace(ETH0, index=12),  # made anew
        replace(ETH0, index=12, up=True),
    ):
        known.enter(other)
    assert known.take_moved() == {"eth0"}
    known.enter(replace(ETH0, index=12, up=False))
    assert known.take_moved() == frozenset()
    known.enter(replace(ETH0, index=12))  # back again
    assert known.take_moved() == {"eth0"}
    assert known.enter(LinkMoved(replace(ETH0, index=12)))  # a bond changed its active link
    assert known.take_moved() == {"eth0"}
    assert not known.enter(LinkMoved(VETH))  # nobody's concern
    assert known.take_moved() == frozenset()


def test_devices_are_found_by_name_by_mark_and_with_their_vrf() -> None:
    blue = LinkEntry(20, "blue", True, False, b"", kind="vrf", vrf_table=10)
    parent = replace(ETH0, master=20, enabled=True)
    device = LinkEntry(21, "vrrp.51", False, False, b"\0", "macvlan", 2, 0, "hadirector")
    bridge = LinkEntry(22, "br0", True, False, b"\1")
    known = table(blue, parent, device, bridge, replace(VETH, master=22))

    found = known.found(["eth0", "veth9"])

    assert {name: (f.kind, f.parent, f.vrf) for name, f in found.items()} == {
        "eth0": ("", "", "blue"),
        "veth9": ("", "", ""),  # a bridge is no VRF
        "vrrp.51": ("macvlan", "eth0", ""),
    }
    assert (found["eth0"].up, found["vrrp.51"].up) == (True, False)
    assert (known.vrf_table("eth0"), known.vrf_table("veth9"), known.vrf_table("none")) == (
        10,
        0,
        0,
    )
