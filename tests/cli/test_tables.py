"""What an operator reads of addresses."""

import time

import pytest

from hadirector.cli import tables


@pytest.mark.parametrize(
    ("state", "held", "leased", "says"),
    [
        ("master", ["192.0.2.10/24"], True, "here: 192.0.2.10/24 (leased)"),
        ("master", [], False, "MISSING: 192.0.2.10/24"),
        ("backup", [], False, "not here: 192.0.2.10/24"),
    ],
)
def test_addresses_are_told_as_they_are_here(
    state: str, held: list[str], leased: bool, says: str
) -> None:
    router = {"addresses": ["192.0.2.10/24"], "held": held, "leased": leased, "state": state}

    assert tables._addresses(router) == says


def test_a_hold_is_told_beside_the_reason_with_its_age() -> None:
    hold = {"since": time.time() - 300, "reason": "handed over to lb2"}

    assert tables._hold(hold) == " [held for 5m: handed over to lb2]"
    assert tables._hold(None) == ""


def test_a_node_that_is_ready_says_what_it_cannot_take_over() -> None:
    instances = {
        "front": {"routers": {"ipv4": {"state": "fault"}, "ipv6": {"state": "backup"}}},
    }

    assert tables._but(instances) == ", but not front/ipv4, in fault"
    assert tables._but({"front": {"routers": {"ipv4": {"state": "master"}}}}) == ""
