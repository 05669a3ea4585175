"""The journal on disk: it outlives its writer, and never costs the director its time."""

from pathlib import Path

import pytest

from hadirector.core.messages import Event
from hadirector.shell import journal_file
from hadirector.shell.journal_file import JournalFile

FIRST = Event(7, 1.5, "server_down", "web/10.0.1.11:80", "refused", {"weight": "0"})
SECOND = Event(8, 2.5, "server_up", "web/10.0.1.11:80", "connected")


async def test_events_come_back_in_order_with_the_clock_of_the_reader(tmp_path: Path) -> None:
    journal = JournalFile(str(tmp_path))
    journal.add(FIRST, 1000.0)
    journal.add(SECOND, 1000.0)
    await journal.flush()

    # Rebooted: CLOCK_BOOTTIME began anew 990 Unix seconds later.
    found = journal_file.load(str(tmp_path), 1990.0)

    assert [(e.number, e.at, e.reason) for e in found] == [
        (7, -988.5, "refused"),
        (8, -987.5, "connected"),
    ]


async def test_a_line_cut_short_by_a_crash_costs_only_itself(tmp_path: Path) -> None:
    journal = JournalFile(str(tmp_path))
    journal.add(FIRST, 0.0)
    await journal.flush()
    with (tmp_path / journal_file.NAME).open("ab") as file:
        file.write(b'{"number":8,"at"\n')
    journal.add(SECOND, 0.0)
    await journal.flush()

    assert journal_file.load(str(tmp_path), 0.0) == (FIRST, SECOND)


async def test_a_disk_that_refuses_is_told_and_counted(tmp_path: Path) -> None:
    journal = JournalFile(str(tmp_path / "missing"))

    journal.add(FIRST, 0.0)
    await journal.flush()

    assert journal.trouble.endswith("missing/journal.jsonl: No such file or directory")
    assert journal.lost == 1


async def test_a_file_grown_large_keeps_its_newest_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_file, "ROTATE", 1000)
    journal = JournalFile(str(tmp_path))
    for number in range(1, 30):
        journal.add(Event(number, 0.0, "x", "y", "z"), 0.0)
        await journal.flush()

    numbers = [event.number for event in journal_file.load(str(tmp_path), 0.0)]

    assert numbers[-1] == 29
    assert numbers == list(range(numbers[0], 30))
    assert len(numbers) >= 5
    assert (tmp_path / journal_file.NAME).stat().st_size <= 1000


async def test_long_lines_do_not_keep_the_file_from_shrinking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_file, "ROTATE", 10_000)
    journal = JournalFile(str(tmp_path))
    for number in range(1, 60):
        journal.add(Event(number, 0.0, "x", "y", "z" * 900), 0.0)
        await journal.flush()
        assert (tmp_path / journal_file.NAME).stat().st_size <= 10_000

    assert journal_file.load(str(tmp_path), 0.0)[-1].number == 59


def test_without_a_file_there_is_no_past(tmp_path: Path) -> None:
    assert journal_file.load(str(tmp_path), 0.0) == ()
