"""Operators' orders about servers: what they are about, which is in force, which is newer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core.address import Address, Endpoint
from hadirector.core.admin import Admin, Ruling
from hadirector.core.overrides import FORGET, Override, Overrides, Stamp, Subject, subject
from tests.core.farm import ONE, TWO

HOST = Subject("", ONE.address)
WEB = Subject("web", ONE.address)


def order(
    about: Subject,
    ms: int,
    admin: Admin | None = Admin.DRAINED,
    weight: int | None = None,
    *,
    node: str = "lb1",
    expires_at: float | None = None,
) -> Override:
    return Override(about, admin, weight, "why", "root", Stamp(ms, node), 0.0, expires_at)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web/10.0.1.12:80", Subject("web", Address("10.0.1.12"), 80)),
        ("web/10.0.1.12", Subject("web", Address("10.0.1.12"))),
        ("10.0.1.12", Subject("", Address("10.0.1.12"))),
        ("2001:DB8::1", Subject("", Address("2001:db8::1"))),
        ("web/[2001:db8::1]:80", Subject("web", Address("2001:db8::1"), 80)),
        ("[2001:db8::1]", Subject("", Address("2001:db8::1"))),
    ],
)
def test_a_subject_is_read_as_operators_write_it(text: str, expected: Subject) -> None:
    assert subject(text) == expected
    assert subject(str(expected)) == expected


@pytest.mark.parametrize("text", ["", "web", "/10.0.1.12", "10.0.1.12:0", "10.0.1.12:x", "web/"])
def test_what_names_no_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"names no server|write SERVICE"):
        subject(text)


@given(st.text(max_size=40))
def test_any_text_is_a_subject_or_refused(text: str) -> None:
    try:
        found = subject(text)
    except ValueError:
        return
    assert subject(str(found)) == found


def test_the_newest_of_all_orders_about_a_server_is_in_force() -> None:
    known = Overrides([order(HOST, 1), order(WEB, 2, Admin.ENABLED)])

    in_web, elsewhere = (known.ruling(name, ONE, 0.0).admin for name in ("web", "mail"))
    known.take(order(HOST, 3, Admin.DISABLED))

    assert (in_web, elsewhere) == (Admin.ENABLED, Admin.DRAINED)
    assert known.ruling("web", ONE, 0.0).admin is Admin.DISABLED
    assert known.ruling("web", TWO, 0.0) == Ruling()


def test_an_expired_order_gives_way_to_the_one_before_it() -> None:
    known = Overrides([order(HOST, 1), order(WEB, 2, Admin.ENABLED, expires_at=10.0)])

    admins = [known.ruling("web", ONE, now).admin for now in (9.9, 10.0)]

    assert admins == [Admin.ENABLED, Admin.DRAINED]
    assert known.next_expiry(0.0) == 10.0


def test_weight_and_admin_state_are_ordered_apart() -> None:
    known = Overrides([order(WEB, 1, None, 7), order(WEB, 2), order(WEB, 3, Admin.ENABLED)])

    assert known.ruling("web", ONE, 0.0) == Ruling(Admin.ENABLED, "", 7, "by root on lb1 (why)")
    known.take(order(WEB, 4, None, None))
    assert known.ruling("web", ONE, 0.0) == Ruling()
    assert known.in_force(0.0) == []


def test_an_order_is_newer_than_all_that_its_node_knows_whatever_its_clock() -> None:
    known = Overrides([order(WEB, 9_000_000, node="lb2")])

    stamp = known.stamp("lb1", unix=1.0)

    assert known.take(order(WEB, stamp.ms, Admin.ENABLED))
    assert Overrides().stamp("lb1", unix=5.0) == Stamp(5000, "lb1")


@given(st.permutations([order(WEB, ms, node=n) for ms in (1, 2) for n in ("lb1", "lb2")]))
def test_in_whatever_order_they_come_all_nodes_end_with_the_same(orders: list[Override]) -> None:
    known = Overrides(orders)

    assert known.digest() == Overrides([order(WEB, 2, node="lb2")]).digest()


def test_what_is_over_is_forgotten_after_a_season_and_what_holds_never() -> None:
    over = [order(HOST, 1, Admin.ENABLED), order(WEB, 2, expires_at=5.0)]
    known = Overrides([*over, order(Subject("", TWO.address), 3)])

    gone = [known.forget(now) for now in (FORGET - 1, FORGET + 6)]

    assert gone == [False, True]
    assert [one.subject.address for one in known] == [TWO.address]
    assert known.ruling("web", Endpoint(TWO.address, 1), FORGET).admin is Admin.DRAINED
