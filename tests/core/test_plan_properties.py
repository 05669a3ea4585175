"""What holds for every plan, whatever the tables."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import plan
from hadirector.core.address import Address, Endpoint
from hadirector.core.ipvs import (
    Destination,
    Entry,
    Forward,
    Service,
    ServiceFlags,
    ServiceKey,
    Table,
)

# Few keys and few endpoints, so that two tables drawn apart have much in common.
KEYS = (
    ServiceKey(4, 6, Address("192.0.2.10"), 80),
    ServiceKey(4, 17, Address("192.0.2.10"), 80),
    ServiceKey(6, 6, Address("2001:db8::10"), 443),
    ServiceKey(4, 0, Address(""), 0, fwmark=7),
)
ENDPOINTS = tuple(Endpoint(Address(f"10.0.1.{last}"), 80) for last in range(1, 5))

flags = st.sampled_from([ServiceFlags.NONE, ServiceFlags.PERSISTENT, ServiceFlags.SCHED1])
destination_values = st.builds(
    lambda forward, weight: (forward, weight),
    st.sampled_from([Forward.NAT, Forward.DR]),
    st.integers(0, 3),
)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    result: dict[ServiceKey, Entry] = {}
    for key in draw(st.lists(st.sampled_from(KEYS), unique=True)):
        service = Service(key, draw(st.sampled_from(["rr", "wlc"])), draw(flags))
        drawn = draw(st.dictionaries(st.sampled_from(ENDPOINTS), destination_values))
        result[key] = Entry(
            service,
            {each: Destination(each, forward, weight) for each, (forward, weight) in drawn.items()},
        )
    return result


ownership = st.frozensets(st.sampled_from(KEYS))


@given(tables(), tables(), ownership)
def test_a_plan_carried_out_gives_the_desired_table_and_what_is_foreign(
    desired: Table, actual: Table, owned: frozenset[ServiceKey]
) -> None:
    foreign = {key: entry for key, entry in actual.items() if key not in owned}

    result = plan.apply_to(actual, plan.plan(desired, actual, owned))

    assert result == {**foreign, **desired}
    assert plan.plan(desired, result, owned) == ()


@given(tables(), tables(), ownership)
def test_a_plan_has_one_step_for_each_difference(
    desired: Table, actual: Table, owned: frozenset[ServiceKey]
) -> None:
    differences = sum(key in owned and key not in desired for key in actual)
    for key, entry in desired.items():
        there = actual.get(key)
        differences += there is None or there.service != entry.service
        servers = there.destinations if there else {}
        both = servers.keys() | entry.destinations.keys()
        differences += sum(servers.get(each) != entry.destinations.get(each) for each in both)

    assert len(plan.plan(desired, actual, owned)) == differences


@given(tables(), tables(), ownership)
def test_no_step_leaves_a_service_with_less_than_before_and_after(
    desired: Table, actual: Table, owned: frozenset[ServiceKey]
) -> None:
    steps = plan.plan(desired, actual, owned)
    for key in desired.keys() & actual.keys():
        counts = [count for count, _ in _course(actual, steps, key)]
        weights = [weight for _, weight in _course(actual, steps, key)]

        assert min(counts) == min(counts[0], counts[-1])
        assert min(weights) == min(weights[0], weights[-1])


def _course(
    table: Table, steps: Sequence[plan.Operation], key: ServiceKey
) -> list[tuple[int, int]]:
    """A service's number of servers and their weight together, before and after each step."""
    stations = [table]
    for step in steps:
        stations.append(plan.apply_to(stations[-1], [step]))
    servers = [list(each[key].destinations.values()) for each in stations]
    return [(len(each), sum(server.weight for server in each)) for each in servers]
