"""Is the network there? A gateway's answer, on a real kernel."""

import time
from collections.abc import Iterator

import pytest

from hadirector.shell import rtnetlink
from hadirector.shell.gateway import Gateways
from hadirector.shell.links import Table
from tests.kernel.namespace import fresh_namespace, run
from tests.kernel.pair import Machine, eventually, needs_root

pytestmark = [pytest.mark.kernel, needs_root]


@pytest.fixture
def index() -> Iterator[int]:
    """Of eth0 in a namespace of its own; 192.0.2.2 and 2001:db8::2 are at the other end."""
    far = Machine()
    with fresh_namespace():
        run(
            *("ip", "link", "add", "eth0", "type", "veth"),
            *("peer", "name", "eth0", "netns", str(far.pid)),
        )
        run("ip", "address", "add", "192.0.2.1/24", "dev", "eth0")
        run("ip", "address", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
        far.run("ip", "address", "add", "192.0.2.2/24", "dev", "eth0")
        far.run("ip", "address", "add", "2001:db8::2/64", "dev", "eth0", "nodad")
        run("ip", "link", "set", "eth0", "up")
        far.run("ip", "link", "set", "eth0", "up")
        table, route = Table(), rtnetlink.Route()
        table.read(route)
        route.close()
        yield table.index("eth0") or 0
    far.end()


@pytest.mark.parametrize("gateway", ["192.0.2.2", "2001:db8::2"])
def test_a_gateway_that_answers_is_heard_once(index: int, gateway: str) -> None:
    run("ip", "route", "add", "default", "via", gateway)
    asking = Gateways(rtnetlink.Route())

    def answered() -> list[str]:
        asking.ask("eth0", index, 10.0)  # again and again: nothing is sent while addresses settle
        time.sleep(0.05)
        return asking.answered(10.0)

    eventually(lambda: answered() == ["eth0"], 8.0)
    assert asking.answered(10.0) == []
    assert not asking.waiting


def test_a_gateway_nobody_asks_about_any_more_is_forgotten(index: int) -> None:
    run("ip", "route", "add", "default", "via", "192.0.2.9")
    asking = Gateways(rtnetlink.Route())

    asking.ask("eth0", index, 10.0)

    assert asking.answered(12.9) == []
    assert asking.waiting
    assert asking.answered(13.1) == []
    assert not asking.waiting


def test_a_gateway_that_is_not_there_is_not_heard(index: int) -> None:
    run("ip", "route", "add", "default", "via", "192.0.2.9")
    asking = Gateways(rtnetlink.Route())

    asking.ask("eth0", index, 10.0)
    time.sleep(0.5)

    assert asking.waiting
    assert asking.answered(10.0) == []


def test_without_a_gateway_nobody_is_asked_and_nobody_heard_of(index: int) -> None:
    asking = Gateways(rtnetlink.Route())

    asking.ask("eth0", index, 10.0)

    assert asking.waiting  # for a sign of anybody
    assert asking.answered(11.0) == []
