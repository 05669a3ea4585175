"""Hundreds of routers on one interface: their adverts come all at once, and none may be lost."""

from collections.abc import Iterator

import pytest

from hadirector.core.address import canonical
from hadirector.shell.vrrp_socket import READS, VrrpSockets
from tests.kernel.pair import needs_root

pytestmark = [pytest.mark.kernel, needs_root]

HERE = canonical("127.0.0.1")
ADVERT = bytes.fromhex("31336401001e5c3fc000020a")
VRIDS = 255


@pytest.fixture
def sockets() -> Iterator[VrrpSockets]:
    made = VrrpSockets(lambda _: None, lambda _: None)
    made.keep({("lo", 4): 1})
    assert made.deaf == ()
    yield made
    made.close()


def send(sockets: VrrpSockets, count: int) -> None:
    for _ in range(count):
        assert sockets.send("lo", ADVERT, HERE, HERE) == ""


def test_what_several_masters_of_all_routers_said_in_seconds_of_sleep_is_kept(
    sockets: VrrpSockets,
) -> None:
    send(sockets, 5 * VRIDS)

    heard = 0
    while packets := sockets.receive():
        heard += len(packets)

    assert heard == 5 * VRIDS


def test_a_turn_hears_every_router_before_it_looks_at_their_timers(sockets: VrrpSockets) -> None:
    sockets.expect(VRIDS)
    send(sockets, 5 * VRIDS)

    assert len(sockets.receive()) >= VRIDS


def test_a_turn_of_a_node_with_few_routers_is_not_kept_long_by_a_flood(
    sockets: VrrpSockets,
) -> None:
    sockets.expect(2)
    send(sockets, 5 * VRIDS)

    assert len(sockets.receive()) == READS
