"""The kernels' counters, server by server: what speaks against a standby, and what does not."""

from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import counters
from hadirector.core.address import Address, Endpoint
from hadirector.core.ipvs import ServiceKey

KEY = ServiceKey(4, 6, Address("192.0.2.10"), 80)
SERVER = Endpoint(Address("10.0.1.11"), 8080)
OTHER = Endpoint(Address("10.0.1.12"), 8080)


def of(first: int, second: int) -> counters.Counters:
    """Active connections of two servers."""
    return counters.grouped([(KEY, SERVER, first), (KEY, OTHER, second)])


def test_two_servers_are_told_apart() -> None:
    assert sorted(filter(None, of(3, 5))) == [3, 5]


def test_what_comes_and_goes_while_both_count_is_no_lack() -> None:
    assert counters.short(of(1000, 1000), of(975, 975)) == 0
    assert counters.short(of(100_000, 100_000), of(96_000, 104_000)) == 0


def test_a_lack_of_all_is_what_is_fewer_of_all() -> None:
    assert counters.short(of(10_000, 10_000), of(9_900, 9_900)) == 200


def test_more_of_one_server_does_not_make_up_for_fewer_of_another() -> None:
    assert counters.short(of(1000, 1000), of(400, 1600)) == 600


def test_a_standby_that_has_more_lacks_nothing() -> None:
    assert counters.short(of(10, 0), of(1000, 50)) == 0


@given(st.lists(st.integers(0, 1 << 20), min_size=1, max_size=8))
def test_a_node_lacks_nothing_beside_itself(found: list[int]) -> None:
    assert counters.short(found, found) == 0


def test_the_same_server_has_the_same_group_whatever_else_there_is() -> None:
    alone = counters.grouped([(KEY, OTHER, 7)])

    assert alone.index(7) == of(0, 7).index(7)
