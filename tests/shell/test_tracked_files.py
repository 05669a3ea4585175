"""Numbers in files, as operators and editors write them."""

import asyncio
import os
from pathlib import Path

import pytest

from hadirector.core.runner_messages import FileSeen, FilesSeen
from hadirector.shell import tracked_files


@pytest.mark.parametrize(
    ("content", "number"),
    [(b"0", 0), (b"-20\n", -20), (b" +7 \n\n", 7), (b"-254\r\n", -254), (b"0010", 10)],
)
def test_a_whole_number_is_read(tmp_path: Path, content: bytes, number: int) -> None:
    path = tmp_path / "weight"
    path.write_bytes(content)

    assert tracked_files.read(str(path)) == FileSeen(str(path), number)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"twenty", "no whole number in it: 'twenty'"),
        (b"-20 # down", "no whole number in it: '-20 # down'"),
        (b"1.5", "no whole number in it: '1.5'"),
        (b"0x10", "no whole number in it: '0x10'"),
        (b"9999999999", "9999999999 is out of range"),
        (b"7" * 10_000, "no whole number in it: '77777777777777777777'"),
        (b"\xff\x00", "no whole number in it: '\\\\xff\\x00'"),
    ],
)
def test_anything_else_is_no_number_and_says_why(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "weight"
    path.write_bytes(content)

    assert tracked_files.read(str(path)) == FileSeen(str(path), None, reason)


def test_what_is_no_readable_file_says_why_and_nobody_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")

    reasons = {
        name: tracked_files.read(str(tmp_path / name)).reason
        for name in ("missing", "fifo", "folder", "loop")
    }

    assert reasons == {
        "missing": "No such file or directory",
        "fifo": "not a regular file",
        "folder": "not a regular file",
        "loop": "Too many levels of symbolic links",
    }


async def test_a_file_is_read_by_its_path_again_and_again(tmp_path: Path) -> None:
    path, draft = tmp_path / "weight", tmp_path / "draft"
    files = tracked_files.TrackedFiles([str(path)])
    seen = []

    for content in ("1", "2"):
        draft.write_text(content)
        draft.rename(path)
        seen.append(await files.look())

    assert seen == [FilesSeen((FileSeen(str(path), n),)) for n in (1, 2)]


async def test_a_disk_that_hangs_keeps_one_thread_and_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, hung = tmp_path / "good", tmp_path / "hung"
    good.write_text("5")
    asked = []
    answers = asyncio.Event()
    loop = asyncio.get_running_loop()
    plain = tracked_files.read

    def read(path: str) -> FileSeen:
        if path != str(hung):
            return plain(path)
        asked.append(path)
        asyncio.run_coroutine_threadsafe(answers.wait(), loop).result()
        return FileSeen(path, 7)

    monkeypatch.setattr(tracked_files, "read", read)
    files = tracked_files.TrackedFiles([str(hung), str(good)])

    looks = [await files.look() for _ in range(3)]

    assert looks == [FilesSeen((FileSeen(str(good), 5),), (str(hung),))] * 3
    assert asked == [str(hung)]
    answers.set()
    async with asyncio.timeout(20.0):
        while (await files.look()).silent:
            pass
    assert FileSeen(str(hung), 7) in (await files.look()).files
