"""How many clients another set of servers moves."""

from hadirector.core.address import Address, Endpoint
from hadirector.core.maglev import SLOTS, moved, table

SERVERS = [Endpoint(Address(f"10.0.1.{number}"), 80) for number in range(1, 11)]
TEN = dict.fromkeys(SERVERS, 1)


def test_each_server_has_slots_by_its_weight() -> None:
    slots = table({SERVERS[0]: 3, SERVERS[1]: 1, SERVERS[2]: 0})

    assert abs(slots.count(SERVERS[0]) - 3 * SLOTS / 4) <= 3
    assert slots.count(SERVERS[2]) == 0
    assert len(slots) == SLOTS


def test_a_server_that_goes_moves_little_more_than_its_own_clients() -> None:
    nine = dict.fromkeys(SERVERS[1:], 1)

    assert 0.1 <= moved(TEN, nine) < 0.2
    assert moved(TEN, TEN) == 0.0
    assert moved(TEN, {}) == 1.0
    assert moved({}, {}) == 0.0
