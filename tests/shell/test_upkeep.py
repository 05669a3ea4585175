"""The runtime directory of a running daemon, removed by somebody."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hadirector.cli import live
from hadirector.core.requests import Outcome, Request, Verdict
from hadirector.shell import last_good
from hadirector.shell.control import Answers, Control, Reloaded
from hadirector.shell.upkeep import Upkeep


async def _nothing() -> Reloaded:
    return Reloaded()


async def _operate(request: Request) -> Outcome:
    return Outcome(Verdict.DONE, ())


@pytest.fixture
async def control() -> AsyncIterator[Control]:
    made = Control(
        Answers(
            status=lambda: {"node": "lb1"},
            events=lambda since: [],
            explain=lambda what: {},
            reload=_nothing,
            restart=lambda: None,
            operate=_operate,
        )
    )
    yield made
    await made.close()


async def answer(path: Path) -> int:
    return (await asyncio.to_thread(live.ask, str(path), "GET", "/v1/status"))[0]


async def test_a_removed_runtime_directory_is_made_again_and_that_is_told(
    control: Control, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    upkeep = Upkeep(str(run), control, f"{run}/control.sock", lambda: b"good")
    await upkeep.open()
    quiet = await upkeep.look()
    shutil.rmtree(run)

    told = await upkeep.look()

    assert quiet == ""
    assert told == f"{run} was removed while running; made again"
    assert last_good.of_this_boot(str(run)) == b"good"
    assert await answer(run / "control.sock") == 200
    assert await upkeep.look() == told  # for a minute


async def test_a_removed_socket_answers_again(control: Control, tmp_path: Path) -> None:
    upkeep = Upkeep(str(tmp_path), control, f"{tmp_path}/control.sock", lambda: b"good")
    await upkeep.open()
    (tmp_path / "control.sock").unlink()

    assert "control.sock was removed while running" in await upkeep.look()
    assert await answer(tmp_path / "control.sock") == 200


async def test_a_directory_that_cannot_be_made_costs_nobodys_life(
    control: Control, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    run = tmp_path / "file" / "run"
    upkeep = Upkeep(str(run), control, f"{run}/control.sock", lambda: b"good")

    await upkeep.open()

    assert "gone, and not to be made again" in await upkeep.look()
