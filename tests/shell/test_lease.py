"""The lease's thread: it renews while the loop turns, and complains only when it does not."""

import logging
import sys
import time
from collections.abc import Iterator

import pytest

from hadirector.shell import rtnetlink
from hadirector.shell.child import now
from hadirector.shell.lease import Lease
from hadirector.shell.netlink import Request

KEY = ("eth0", "192.0.2.10", 32)
NOWHERE = 0x7FFFFFFF  # no link has this index: each renewal is refused, and logged
RENEWAL: dict[object, Request] = {
    KEY: rtnetlink.renew_address(NOWHERE, KEY[1], 32, 0, 112, 2)  # type: ignore[arg-type]
}


@pytest.fixture
def lease() -> Iterator[Lease]:
    made = Lease(now)
    made.start()
    yield made
    made.close()


@pytest.fixture
def switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def renewals(caplog: pytest.LogCaptureFixture) -> int:
    return sum("not renewed, first" in record.getMessage() for record in caplog.records)


def stalls(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [record.getMessage() for record in caplog.records]
    return [text for text in said if "stands still" in text]


def test_it_renews_each_third_while_the_loop_turns(
    lease: Lease, caplog: pytest.LogCaptureFixture
) -> None:
    lease.turned()
    lease.hold(RENEWAL, 4.5)  # type: ignore[arg-type]  # a busy machine may take 1.5 s of the test
    until = time.monotonic() + 3.3
    while time.monotonic() < until:
        time.sleep(0.05)
        lease.turned()

    assert 1 <= renewals(caplog) <= 3
    assert stalls(caplog) == []


def test_a_loop_that_stands_still_for_a_third_is_told_once_and_nothing_renewed(
    lease: Lease, caplog: pytest.LogCaptureFixture
) -> None:
    lease.turned()
    lease.hold(RENEWAL, 0.3)  # type: ignore[arg-type]
    time.sleep(0.5)

    assert len(stalls(caplog)) == 1
    assert renewals(caplog) <= 1


def test_leases_that_come_and_go_at_once_are_never_taken_for_a_loop_that_stands_still(
    lease: Lease, caplog: pytest.LogCaptureFixture, switching: None
) -> None:
    caplog.set_level(logging.WARNING)
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        lease.turned()
        lease.hold({}, 0)
        lease.hold(RENEWAL, 2)  # type: ignore[arg-type]

    assert stalls(caplog) == []
