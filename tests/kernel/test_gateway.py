"""Is the network there? A gateway's answer, on a real kernel."""

import time
from collections.abc import Iterator

import pytest

from hadirector.core.address import Address
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


def test_without_a_gateway_any_neighbour_that_was_heard_will_do(index: int) -> None:
    asking = Gateways(rtnetlink.Route())

    def answered() -> list[str]:
        asking.ask("eth0", index, 10.0)
        return asking.answered(10.0)

    assert answered() == []
    run("ping", "-c", "1", "-W", "5", "192.0.2.2")
    assert answered() == ["eth0"]
    run("ip", "link", "set", "eth0", "down")  # what was heard before says nothing any more
    run("ip", "link", "set", "eth0", "up")
    assert answered() == []


@pytest.mark.parametrize("held", ["192.0.2.2", "2001:db8::2"])
def test_whoever_holds_an_address_answers_for_it_once_for_each_question(
    index: int, held: str
) -> None:
    asking = Gateways(rtnetlink.Route())

    def answers() -> list[tuple[str, str]]:
        asking.ask_holder("eth0", index, Address(held), 10.0)
        time.sleep(0.05)
        return [(name, str(address)) for name, address in asking.held(10.0)]

    eventually(lambda: answers() == [("eth0", held)], 8.0)
    assert asking.held(10.0) == []


def test_an_address_nobody_holds_is_not_answered_for(index: int) -> None:
    asking = Gateways(rtnetlink.Route())

    asking.ask_holder("eth0", index, Address("192.0.2.9"), 10.0)
    time.sleep(1.5)

    assert asking.held(10.0) == []
    assert asking.waiting
    assert asking.held(13.1) == []
    assert not asking.waiting
