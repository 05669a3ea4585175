"""A reload of many servers for the sake of one costs what that one costs."""

import sys
from dataclasses import replace
from pathlib import Path

from hadirector.core import differences, ipvs
from hadirector.core import director_events as ev
from hadirector.core.director import Director
from hadirector.core.keys import Secrets
from hadirector.core.messages import Health, Hello, Process, Targets, Verdict, Verdicts
from hadirector.core.plan import EditDestination
from hadirector.core.settings.cluster import Config
from tests.core.test_probed import farm

LONG = 1e9


def settled(config: Config) -> Director:
    """A director whose servers are all up and in the kernel."""
    director = Director("1", frozenset(), 0.0)
    director.handle(ev.Configured(config, Secrets()), 0.0)
    director.handle(ev.KernelRead({}, ipvs.Usage(), 0.1), 0.1)
    director.handle(ev.Applied(frozenset()), 0.2)
    targets = director.services.targets().targets
    up = tuple(Verdict(target.id, Health.UP, 0.3, None) for target in targets)
    director.handle(ev.From(Process.CHECKER, Verdicts(up, whole=True), LONG), 0.3)
    director.handle(ev.Applied(frozenset()), 0.4)
    return director


def edited(config: Config, weight: int) -> Config:
    """Another weight for the first server of the first service."""
    first, *others = config.services
    server, *more = first.real_servers
    changed = replace(first, real_servers=(replace(server, weight=weight), *more))
    return replace(config, services=(changed, *others), digest=str(weight))


def read_again(folder: Path, services: int) -> Config:
    """Equal to another reading, and no object of it the same."""
    return farm(folder, services, 10, "page")


def calls(director: Director, config: Config) -> int:
    """How many functions of ours taking a configuration takes."""
    count = 0

    def count_one(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(count_one)
    try:
        director.handle(ev.Configured(config, Secrets()), 1.0)
    finally:
        sys.setprofile(None)
    return count


def test_one_edit_is_one_operation_and_the_checker_is_not_told_what_it_knows(
    tmp_path: Path,
) -> None:
    director = settled(read_again(tmp_path, 5))

    actions = director.handle(ev.Configured(edited(read_again(tmp_path, 5), 7), Secrets()), 1.0)

    (applied,) = [action for action in actions if isinstance(action, ev.Apply)]
    (step,) = applied.operations
    assert isinstance(step, EditDestination)
    assert step.destination.weight == 7
    assert not [a for a in actions if isinstance(a, ev.Send) and isinstance(a.message, Targets)]


def test_a_checker_that_starts_is_told_though_nothing_changed(tmp_path: Path) -> None:
    director = settled(read_again(tmp_path, 2))
    director.handle(ev.Configured(edited(read_again(tmp_path, 2), 7), Secrets()), 1.0)

    actions = director.handle(
        ev.From(Process.CHECKER, Hello(Process.CHECKER, 7), LONG),
        2.0,
    )

    assert [a for a in actions if isinstance(a, ev.Send) and isinstance(a.message, Targets)]


def test_what_did_not_change_is_the_same_object_and_costs_no_call_of_its_own(
    tmp_path: Path,
) -> None:
    few, many = read_again(tmp_path, 5), read_again(tmp_path, 105)
    costs = []
    for config in (few, many):
        director = settled(config)
        found = director.kernel.actual or {}
        director.handle(ev.KernelRead(dict(found), ipvs.Usage(), 0.1), 0.5)
        again = read_again(tmp_path, len(config.services))
        costs.append(calls(director, differences.sharing(config, edited(again, 7))))

    # A hundred more services of ten servers: looked at one by one, a server is 37 calls.
    assert costs[1] - costs[0] < 100 * 60


def test_the_first_configuration_costs_each_server_the_same_however_many_there_are(
    tmp_path: Path,
) -> None:
    costs = [
        calls(Director("1", frozenset(), 0.0), farm(tmp_path, 1, servers, "page")) / servers
        for servers in (50, 250)
    ]

    assert costs[1] < 1.5 * costs[0]
