"""How probes are divided among processes."""

from dataclasses import replace

import pytest

from hadirector.core import shards
from hadirector.core.checker_messages import Targets
from hadirector.core.settings.checks import CheckType
from tests.core.test_pacing import CHECK, target


@pytest.mark.parametrize(
    ("wanted", "cpus", "before", "count"),
    [
        (0.0, 8, 0, 1),
        (0.3, 8, 0, 1),
        (0.5, 8, 0, 2),
        (0.5, 1, 0, 1),
        (100.0, 4, 0, 4),
        (100.0, 64, 0, shards.MOST),
        (0.3, 8, 2, 2),
        (0.2, 8, 2, 1),
        (1.0, 2, 4, 2),
        (0.9, 8, 4, 4),
        (0.5, 8, 4, 2),
    ],
)
def test_there_are_as_many_as_the_load_asks_and_the_cpus_allow(
    wanted: float, cpus: int, before: int, count: int
) -> None:
    assert shards.count(wanted, cpus, before) == count


def test_ten_thousand_tcp_probes_a_second_take_about_half_a_cpu() -> None:
    assert 0.4 < shards.load(target(n) for n in range(10_000)) < 0.7


def test_a_tls_probe_weighs_as_much_as_many_others() -> None:
    one = shards.load([target(1, replace(CHECK, type=CheckType.HTTPS))])

    assert one > 10 * shards.load([target(1)])


def test_each_target_has_one_place_and_the_checks_of_a_server_the_same() -> None:
    targets = tuple(target(n) for n in range(1, 1001))
    other = tuple(replace(t, id=f"other{t.id}") for t in targets)

    parts = shards.divide(Targets(targets + other), 4)

    found = [t for part in parts for t in part.targets]
    assert sorted(t.id for t in found) == sorted(t.id for t in targets + other)
    assert all(300 < len(part.targets) < 700 for part in parts)
    for part in parts:
        assert {t.endpoint for t in part.targets if t.id.startswith("other")} == {
            t.endpoint for t in part.targets if not t.id.startswith("other")
        }


@pytest.mark.parametrize("before", [2, 4, 7])
def test_one_process_more_takes_its_share_from_all_and_moves_nothing_else(before: int) -> None:
    targets = [target(n) for n in range(1, 2001)]

    places = [(shards.shard_of(t, before), shards.shard_of(t, before + 1)) for t in targets]

    moved = [new for old, new in places if old != new]
    assert set(moved) == {before}
    assert 0.7 < len(moved) / (len(targets) / (before + 1)) < 1.3
