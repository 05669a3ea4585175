"""Several checkers under one: real processes that share the targets."""

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hadirector import checker
from hadirector.core import shards
from hadirector.core.address import Endpoint, canonical
from hadirector.core.checker_messages import Lend, Probe, Report
from hadirector.core.messages import Blind, Health, Message, Reports, Targets, Verdict, Verdicts
from hadirector.core.settings.checks import CheckType, Target, target_id
from hadirector.shell import child
from hadirector.shell import workers as workers_module
from hadirector.shell.workers import Workers
from tests.core.test_pacing import CHECK

PATIENCE = 60.0  # seconds: processes start slowly on a busy machine


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("0.0.0.0", 0), backlog=512) as listener:
        yield listener.getsockname()[1]


def target(number: int, port: int, interval: float = 0.2) -> Target:
    check = replace(CHECK, interval=interval, fast_interval=interval)
    at = Endpoint(canonical(f"127.1.0.{number}"), port)
    return Target(target_id("port", at), check, at)


def children() -> set[int]:
    pid = os.getpid()
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # what is waited for knows no events
            await asyncio.sleep(0.02)


class Desk:
    """What the workers say."""

    def __init__(self) -> None:
        self.health: dict[str, Health] = {}
        self.blind: tuple[str, ...] = ()
        self.seen: dict[str, list[Health]] = {}

    def take(self, message: Message) -> None:
        if isinstance(message, Verdicts):
            self.health.update((v.target, v.health) for v in message.verdicts)
            for v in message.verdicts:
                self.seen.setdefault(v.target, []).append(v.health)
        elif isinstance(message, Blind):
            self.blind = message.reasons


async def test_workers_probe_their_shares_and_one_that_dies_is_replaced(port: int) -> None:
    desk, before = Desk(), children()
    workers = Workers(desk.take)
    targets = Targets(tuple(target(n, port) for n in range(1, 21)))
    up = {t.id: Health.UP for t in targets.targets}

    workers.probe(targets, 2)
    await until(lambda: desk.health == up)
    started = children() - before
    victim = min(started)
    desk.health.clear()
    os.kill(victim, signal.SIGKILL)
    await until(lambda: desk.health == up and len(children() - before - {victim}) == 2)
    await until(lambda: all("done=" in status for status in workers.statuses()))
    workers.probe(Targets(()), 0)

    assert len(started) == 2
    assert children() - before == set()
    assert len(workers) == 0


async def test_the_front_divides_when_the_load_asks_and_comes_back_alone(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARE", 0.002)
    desk = Desk()
    workers = Workers(desk.take)
    front = checker.Front(checker.Checker(desk.take, checker.engines()), workers, cpus=2)
    many = Targets(tuple(target(n, port) for n in range(1, 21)))

    front.receive(Targets((target(1, port),)))
    assert len(workers) == 0
    front.receive(many)
    assert len(workers) == 2
    await until(lambda: desk.health == {t.id: Health.UP for t in many.targets})
    front.receive(Targets((target(1, port, interval=10.0),)))
    assert len(workers) == 0
    front.close()


async def test_a_worker_that_cannot_start_is_told_until_it_runs(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(workers_module, "PAUSES", (0.1, 0.1, 0.1))
    desk, before = Desk(), children()
    workers = Workers(desk.take)
    targets = Targets(tuple(target(n, port) for n in range(1, 21)))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", full)
        workers.probe(targets, 2)
        await until(lambda: len(desk.blind) == 2)
        told, left = desk.blind, children() - before
    await until(lambda: not desk.blind)
    await until(lambda: desk.health == {t.id: Health.UP for t in targets.targets})
    workers.probe(Targets(()), 0)

    assert "checking process 0 cannot be started (Too many open files)" in told[0]
    assert left == set()


async def test_a_worker_that_dies_again_and_again_is_told(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "PAUSES", (0.1, 0.1, 0.1))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    desk = Desk()
    workers = Workers(desk.take)

    workers.probe(Targets(tuple(target(n, port) for n in range(1, 21))), 2)
    await until(lambda: len(desk.blind) == 2)
    workers.probe(Targets(()), 0)

    assert "checking process 0 dies again and again" in desk.blind[0]


def reported(number: int, up: bool = True) -> Report:
    name = told_target(number).id
    return Report(name, up, None, "by hand", child.now(), child.now() + 600.0)


def told_target(number: int) -> Target:
    plain = target(number, 80)
    return replace(plain, check=replace(plain.check, type=CheckType.EXTERNAL, max_age=600.0))


async def test_a_report_outlives_its_worker_and_goes_with_its_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk, before = Desk(), children()
    workers = Workers(desk.take)
    front = checker.Front(checker.Checker(desk.take, checker.engines()), workers, cpus=2)
    targets = Targets(tuple(told_target(n) for n in range(1, 21)))
    up = {t.id: Health.UP for t in targets.targets}

    front.receive(targets)
    front.receive(Reports(tuple(reported(n) for n in range(1, 21))))
    await until(lambda: desk.health == up)
    monkeypatch.setattr(shards, "SHARE", 0.0005)
    desk.health.clear()
    front.receive(targets)
    divided = len(workers)
    await until(lambda: desk.health == up)
    desk.health.clear()
    os.kill(min(children() - before), signal.SIGKILL)
    await until(lambda: desk.health == up)
    monkeypatch.setattr(shards, "SHARE", 1.0)
    desk.health.clear()
    front.receive(targets)
    await until(lambda: desk.health == up)
    front.close()

    assert (divided, len(workers)) == (2, 0)


async def test_verdicts_go_with_their_targets_when_they_are_divided_anew(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, before = Desk(), children()
    workers = Workers(desk.take)
    front = checker.Front(checker.Checker(desk.take, checker.engines()), workers, cpus=2)
    targets = Targets(tuple(target(n, port) for n in range(1, 21)))
    up = {t.id: Health.UP for t in targets.targets}
    slow = Targets(tuple(target(n, port, interval=30.0) for n in range(1, 21)))
    divided = []

    front.receive(targets)
    await until(lambda: desk.health == up)
    for share in (0.00001, 1.0):
        monkeypatch.setattr(shards, "SHARE", share)
        desk.seen.clear()
        front.receive(slow)
        await until(lambda: desk.seen.keys() == up.keys())
        divided.append(len(workers))
        if len(workers):
            victim = min(children() - before)
            its = {t.id for t in slow.targets if shards.shard_of(t, 2) == 0}
            desk.seen = {name: seen for name, seen in desk.seen.items() if name not in its}
            os.kill(victim, signal.SIGKILL)
            await until(lambda: desk.seen.keys() == up.keys())
        assert {one for seen in desk.seen.values() for one in seen} == {Health.UP}
    front.close()

    assert divided == [2, 0]


async def test_a_checker_that_begins_divided_goes_on_from_what_the_director_knew(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk()
    front = checker.Front(checker.Checker(desk.take, checker.engines()), Workers(desk.take), cpus=2)
    last = Probe(ok=True, answered=True, detail="connected", ms=1.0, at=1.0)
    slow = tuple(target(n, port, interval=30.0) for n in range(1, 21))
    known = tuple(Verdict(t.id, Health.FALLING, 1.0, last) for t in slow)

    monkeypatch.setattr(shards, "SHARE", 0.00001)
    front.receive(Targets(slow, known=known))
    await until(lambda: len(desk.seen) == len(slow))
    front.close()

    assert {seen[0] for seen in desk.seen.values()} == {Health.FALLING}


class Told:
    """In a worker's place: what it is told."""

    def __init__(self, number: int, _said: object) -> None:
        self.number = number
        self.lent: list[str] = []

    def assign(self, targets: Targets) -> None:
        self.targets = targets
        self.names = frozenset(one.id for one in targets.targets)

    def send(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        if isinstance(message, Lend):
            assert len(message.targets) == len(descriptors)
            self.lent += message.targets
        for descriptor in descriptors:
            os.close(descriptor)

    def stop(self) -> None:
        pass


def test_each_socket_is_handed_on_once_to_whoever_probes_its_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Told] = []

    def begin(number: int, said: object) -> Told:
        made.append(Told(number, said))
        return made[-1]

    monkeypatch.setattr(workers_module, "Worker", begin)
    workers = Workers(lambda _: None)
    names = [target(n, 80).id for n in range(1, 21)]

    workers.probe(Targets(tuple(target(n, 80) for n in range(1, 21))), 2)
    for some in (names[:10], names[10:]):
        sockets = tuple(os.open("/dev/null", os.O_RDONLY) for _ in some)
        workers.lend(Lend(tuple(some), tuple(range(10)), (4,) * 10, (0,) * 10), sockets)
    lent = [name for worker in made for name in worker.lent]
    workers.probe(Targets(()), 0)

    assert sorted(lent) == sorted(names)
