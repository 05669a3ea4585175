"""The director core's hand: what a disk that hangs holds up, and what it does not."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from hadirector.core import director_events as ev
from hadirector.core.stance import Stance
from hadirector.shell import executor, state_file
from tests.core import farm


class Kernel:
    """What of IPVS is asked here."""

    async def apply(self, operations: tuple[object, ...]) -> list[Any]:
        return []


class Disk:
    """Hangs until it answers; how many writes wait, and what was written."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.waiting = 0
        self.written: list[str] = []

    def replace_file(self, path: str, content: bytes) -> None:
        self.waiting += 1
        self.answers.wait(30)
        self.written.append(Path(path).name)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr(state_file, "replace_file", disk.replace_file)
    monkeypatch.setattr(state_file, "PATIENCE", 0.05)
    yield disk
    disk.answers.set()


class Hand:
    """An executor, and what it answered."""

    def __init__(self, folder: Path) -> None:
        self.said: asyncio.Queue[ev.Event] = asyncio.Queue()
        self.noticed: list[tuple[str, str, str]] = []
        config = replace(farm.CONFIG, state_dir=str(folder))
        told = lambda *what: self.noticed.append(what)  # noqa: E731
        journal = type("Journal", (), {"trouble": ""})()
        none = cast(Any, None)
        self.executor = executor.Executor(
            config, self.said.put, told, none, cast(Any, journal), (none, none)
        )
        self.executor.ipvs = cast(Any, Kernel())

    async def hears(self, kind: type[ev.Event]) -> Any:
        """The next answer of that kind."""
        async with asyncio.timeout(10):
            while True:
                said = await self.said.get()
                if isinstance(said, kind):
                    return said


@pytest.fixture
async def hand(tmp_path: Path) -> AsyncIterator[Hand]:
    hand = Hand(tmp_path)
    running = asyncio.create_task(hand.executor.run(lambda: None))
    yield hand
    running.cancel()


async def test_weights_are_set_while_the_disk_hangs_and_its_trouble_is_told(
    disk: Disk, hand: Hand
) -> None:
    for want in (ev.SaveOverrides(()), ev.SaveStance(Stance()), ev.SaveOwned(frozenset())):
        hand.executor.want(want)
    hand.executor.want(ev.Apply(()))

    assert "does not answer" in (await hand.hears(ev.OverridesSaved)).trouble
    await hand.hears(ev.Applied)
    assert [kind for kind, _, reason in hand.noticed if "does not answer" in reason] == [
        "state_not_saved"
    ]


async def test_a_disk_that_hangs_holds_one_write_of_a_file_and_gets_the_newest_once_it_answers(
    disk: Disk, hand: Hand
) -> None:
    for _ in range(5):
        hand.executor.want(ev.SaveOverrides(()))
    for _ in range(5):
        await hand.hears(ev.OverridesSaved)
    assert disk.waiting == 1

    disk.answers.set()
    trouble = "not asked yet"
    async with asyncio.timeout(10):
        while trouble:
            hand.executor.want(ev.SaveOverrides(()))
            trouble = (await hand.hears(ev.OverridesSaved)).trouble
    assert disk.waiting == len(disk.written)
