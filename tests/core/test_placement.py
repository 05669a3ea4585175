"""Where virtual addresses go, and what is done about what is there already."""

import pytest

from hadirector.core import placement
from hadirector.core.address import canonical
from hadirector.core.election_types import Obstacle, PlacedAddress
from hadirector.core.placement import MARK, Held, Ownership, Put, Relet, Step, Take
from hadirector.core.settings.instances import VirtualAddress

VIP, VIP6 = canonical("192.0.2.10"), canonical("2001:db8::10")
NOBODY = Ownership()


def wanted(text: str = VIP, prefix: int = 24, lifetime: int | None = None) -> PlacedAddress:
    return PlacedAddress(canonical(text), prefix, "eth0", lifetime)


def held(
    text: str,
    prefix: int,
    *,
    interface: str = "eth0",
    bare: bool = False,
    finite: bool = False,
    mark: bool = False,
    loopback: bool = False,
) -> Held:
    return Held(interface, canonical(text), prefix, bare, finite, MARK if mark else 0, loopback)


def own(*there: Held) -> Ownership:
    """As if this process had put them there."""
    return Ownership(own=frozenset(h.key for h in there))


@pytest.mark.parametrize(
    ("vip", "prefix", "there", "placed", "bare"),
    [
        (VIP, 24, [], 24, False),
        (VIP, 32, [], 32, True),
        (VIP, 24, [held("192.0.2.1", 24)], 32, True),
        (VIP, 24, [held("192.0.2.1", 28)], 32, True),
        (VIP, 24, [held("192.0.2.1", 29)], 24, False),  # does not cover .10
        (VIP, 24, [held("192.0.2.1", 32)], 24, False),  # covers nothing
        (VIP, 24, [held("192.0.2.1", 24, finite=True)], 24, False),  # will not last
        (VIP, 24, [held("192.0.2.1", 24, interface="eth1")], 24, False),
        (VIP, 24, [held("192.0.2.11", 24, mark=True)], 24, False),  # ours, comes and goes
        (VIP6, 64, [held("2001:db8::1", 64)], 128, True),
        (VIP6, 64, [held("fe80::1", 64)], 64, False),
        (VIP6, 64, [held("192.0.2.1", 24)], 64, False),
    ],
)
def test_an_address_has_a_prefix_route_only_where_nothing_lasting_covers_it(
    vip: str, prefix: int, there: list[Held], placed: int, bare: bool
) -> None:
    steps = placement.place([wanted(vip, prefix)], there, NOBODY)

    assert steps == [Put("eth0", canonical(vip), placed, bare, None)]


def test_an_address_in_its_right_form_is_left_alone() -> None:
    there = [held("192.0.2.1", 24), held(VIP, 32, bare=True, mark=True)]

    assert placement.place([wanted()], there, own(there[1])) == []


def test_one_left_by_a_former_process_is_removed_and_added_never_made_finite() -> None:
    there = [held("192.0.2.1", 24), held(VIP, 32, bare=True, mark=True)]

    steps = placement.place([wanted(lifetime=2)], there, NOBODY)

    assert steps == [Take(("eth0", VIP, 32)), Put("eth0", VIP, 32, True, 2)]


def test_without_marks_the_note_of_the_former_process_tells_ours() -> None:
    there = [held("192.0.2.1", 24), held(VIP, 32, bare=True)]
    noted = Ownership(noted=frozenset({("eth0", VIP, 32)}))

    assert placement.place([wanted()], there, NOBODY) == []
    assert placement.place([wanted()], there, noted) == [
        Take(("eth0", VIP, 32)),
        Put("eth0", VIP, 32, True, None),
    ]


@pytest.mark.parametrize(("lifetime", "finite"), [(2, False), (None, True)])
def test_our_own_changes_its_lifetime_in_place(lifetime: int | None, finite: bool) -> None:
    there = [held("192.0.2.1", 24), held(VIP, 32, bare=True, finite=finite, mark=True)]

    steps = placement.place([wanted(lifetime=lifetime)], there, own(there[1]))

    assert steps == [Relet(Put("eth0", VIP, 32, True, lifetime))]


def test_another_finite_lifetime_is_no_step_the_renewal_carries_it() -> None:
    there = [held("192.0.2.1", 24), held(VIP, 32, bare=True, finite=True, mark=True)]

    assert placement.place([wanted(lifetime=9)], there, own(there[1])) == []


def test_ipv6_with_a_prefix_route_is_never_changed_in_place() -> None:
    there = [held(VIP6, 64, mark=True)]

    steps = placement.place([wanted(VIP6, 64, 2)], there, own(there[0]))

    assert steps == [Take(("eth0", VIP6, 64)), Put("eth0", VIP6, 64, False, 2)]


def test_an_address_changes_its_form_when_a_covering_one_comes() -> None:
    there = [held(VIP, 24, mark=True), held("192.0.2.1", 24)]

    steps = placement.place([wanted()], there, own(there[0]))

    assert steps == [Take(("eth0", VIP, 24)), Put("eth0", VIP, 32, True, None)]


def test_what_the_system_configured_is_neither_adopted_nor_joined() -> None:
    assert placement.place([wanted()], [held(VIP, 24)], NOBODY) == []


@pytest.mark.parametrize(
    ("there", "obstacle"),
    [
        (held(VIP, 24), True),
        (held(VIP, 24, interface="eth1"), True),
        (held(VIP, 24, mark=True), False),
        (held(VIP, 32, interface="lo", loopback=True), False),
        (held("192.0.2.1", 24), False),
    ],
)
def test_a_virtual_address_of_the_systems_is_an_obstacle(there: Held, obstacle: bool) -> None:
    virtual = VirtualAddress(VIP, 24, "eth0")

    found = placement.obstacles([virtual], [there], NOBODY)

    reason = (
        f"{VIP}/{there.prefix} is configured on {there.interface} by the system; "
        "a virtual address must be left to hadirector: remove it there"
    )
    assert found == ((Obstacle(VIP, "eth0", reason),) if obstacle else ())


def test_one_the_operator_adds_beside_ours_is_no_reason_to_give_it_up() -> None:
    there = [held(VIP, 32, bare=True, mark=True), held(VIP, 24)]

    assert placement.obstacles([VirtualAddress(VIP, 24, "eth0")], there, NOBODY) == ()


def test_drop_takes_ours_in_the_opposite_order_and_leaves_the_systems() -> None:
    second = canonical("192.0.2.11")
    there = [held(VIP, 32, mark=True), held(second, 32, mark=True), held(VIP, 24)]

    steps = placement.drop([wanted(), wanted(second)], there, NOBODY)

    assert steps == [Take(("eth0", second, 32)), Take(("eth0", VIP, 32))]


@pytest.mark.parametrize(
    ("there", "steps"),
    [
        ([], [Put("eth0", VIP, 24, False, None)]),
        (
            [held("192.0.2.66", 32, mark=True)],
            [Take(("eth0", canonical("192.0.2.66"), 32)), Put("eth0", VIP, 24, False, None)],
        ),
        ([held("192.0.2.66", 32)], [Put("eth0", VIP, 24, False, None)]),
        (
            [held(VIP, 32, interface="eth1", mark=True)],
            [Take(("eth1", VIP, 32)), Put("eth0", VIP, 24, False, None)],
        ),
    ],
    ids=["missing", "left over", "the system's", "on another interface"],
)
def test_reconcile_puts_back_what_is_missing_and_takes_what_is_left_over(
    there: list[Held], steps: list[Step]
) -> None:
    assert placement.reconcile((wanted(),), there, NOBODY) == steps


def test_only_an_ipv4_address_with_a_prefix_route_needs_promotion() -> None:
    assert placement.needs_promotion(Put("eth0", VIP, 24, False, None))
    assert not placement.needs_promotion(Put("eth0", VIP, 32, True, None))
    assert not placement.needs_promotion(Put("eth0", VIP6, 64, False, None))
