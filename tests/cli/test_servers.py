"""drain, disable, enable and weight on the command line, over a real unix socket."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hadirector.cli import main as command
from hadirector.cli import servers
from hadirector.core.draining import Left
from hadirector.core.overrides import Subject
from hadirector.core.requests import OrderKind, OrderServer, Outcome, Verdict
from hadirector.shell.control import Control
from hadirector.shell.drain_watch import DrainWatch
from hadirector.shell.orders_api import OrdersApi
from tests.cli.test_operate import Daemon

NAME = "web/10.0.1.11:80"


class Watch(DrainWatch):
    """Says what it is told to, the last of it for ever."""

    @property
    def exact(self) -> bool:
        return True

    def __init__(self) -> None:
        self.said: list[Left] = []

    def look(self, about: Subject) -> list[Left]:
        return [self.said.pop(0)] if len(self.said) > 1 else self.said[:]


class Orders:
    """Takes orders, and answers with what it is told to."""

    def __init__(self) -> None:
        self.asked: list[OrderServer] = []
        self.outcome = Outcome(Verdict.DONE, (f"{NAME}: weight 0: drained",))

    async def ask(self, order: OrderServer) -> Outcome:
        self.asked.append(order)
        return self.outcome


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "control.sock")


@pytest.fixture
async def desk(path: str) -> AsyncIterator[tuple[Orders, Watch]]:
    orders, watch = Orders(), Watch()
    more = (OrdersApi(orders.ask, watch).add_routes,)
    control = Control(replace(Daemon().answers(), more=more))
    await control.open_socket(path)
    yield orders, watch
    await control.close()


async def run(*arguments: str) -> int:
    return await asyncio.to_thread(command.main, list(arguments))


async def test_an_order_goes_with_all_its_parts_and_each_server_is_one(
    desk: tuple[Orders, Watch], path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    orders, _ = desk
    words = ("drain", "web/10.0.1.11", "10.0.1.12", "--reason", "new kernel", "--expires", "2h")

    code = await run(*words, "--socket", path)
    weight = await run("weight", "10.0.1.11", "7", "--socket", path)

    assert (code, weight) == (0, 0)
    assert [(one.kind, one.server, one.expires) for one in orders.asked[:2]] == [
        (OrderKind.DRAIN, "web/10.0.1.11", 7200.0),
        (OrderKind.DRAIN, "10.0.1.12", 7200.0),
    ]
    assert (orders.asked[2].kind, orders.asked[2].weight) == (OrderKind.WEIGHT, 7)
    assert orders.asked[0].reason == "new kernel"
    assert orders.asked[0].by
    assert capsys.readouterr().out.startswith(f"{NAME}: weight 0: drained\n")


async def test_an_unknown_server_is_exit_1_with_the_reason(
    desk: tuple[Orders, Watch], path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    desk[0].outcome = Outcome(Verdict.FAILED, ("no real server is 10.9.9.9",))

    code = await run("drain", "10.9.9.9", "--wait", "--socket", path)

    assert (code, capsys.readouterr().err) == (1, "failed: no real server is 10.9.9.9\n")


@pytest.mark.parametrize(
    ("why_not", "expected"),
    [("", 0), ("2 connections are left", 4), ("ask lb2", 1)],
)
async def test_wait_ends_safe_late_or_where_nobody_knows(
    desk: tuple[Orders, Watch],
    path: str,
    capsys: pytest.CaptureFixture[str],
    why_not: str,
    expected: int,
) -> None:
    first = Left(NAME, 0, 2, 0, 1, "2 connections are left", oldest=61.0, eta=5.0)
    desk[1].said = [first, first, Left(NAME, 0, 0, 0, 0, why_not, elsewhere=expected == 1)]

    code = await run("drain", NAME, "--wait", "--deadline", "1s", "--socket", path)

    told = capsys.readouterr()
    assert code == expected
    assert (
        f"{NAME}: weight 0, 2 active, 0 inactive connections, 1 persistence templates; "
        "the oldest for at least 1m01s; at this pace none in 5s\n"
    ) in told.out
    assert told.out.endswith("safe to reboot\n") is (expected == 0)


async def test_where_nobody_knows_what_is_left_nothing_is_ordered(
    desk: tuple[Orders, Watch], path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    why = "this node is backup of front: ask its master, 192.0.2.1"
    desk[1].said = [Left(NAME, 1, 0, 0, 0, why, elsewhere=True)]

    code = await run("drain", NAME, "--wait", "--socket", path)
    alone = await run("drain", NAME, "--socket", path)

    assert (code, alone, len(desk[0].asked)) == (4, 0, 1)
    assert capsys.readouterr().err == (
        f"refused: {NAME}: {why}: only the master knows what is left, and nothing was ordered\n"
    )


async def test_for_programs_wait_prints_one_document(
    desk: tuple[Orders, Watch], path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    desk[1].said = [Left(NAME, 0, 0, 3, 0, "")]

    code = await run("drain", NAME, "--wait", "--json", "--socket", path)

    told = json.loads(capsys.readouterr().out)
    assert (code, told["safe"], told["servers"][NAME]["inactive"]) == (0, True, 3)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("500ms", 0.5), ("10m", 600), ("1d", 86400)]
)
def test_times_have_units(text: str, seconds: float) -> None:
    assert servers.duration(text) == seconds
    for wrong in ("", "m", "-1s", "10x", "nan"):
        with pytest.raises(argparse.ArgumentTypeError):
            servers.duration(wrong)
