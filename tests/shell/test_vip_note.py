"""The note of which addresses are ours, for kernels that cannot mark them."""

import asyncio
import json
from pathlib import Path

import pytest

from hadirector.core.address import canonical
from hadirector.core.placement import Key
from hadirector.shell import vip_note

OURS: frozenset[Key] = frozenset(
    {("eth0", canonical("192.0.2.10"), 32), ("eth0.7", canonical("2001:db8::10"), 128)}
)


@pytest.mark.parametrize(
    ("release", "keeps"),
    [
        ("5.18.0-1-amd64", True),
        ("6.1.176", True),
        ("5.17.15", False),
        ("5.4.0-150-generic", False),
        ("4.18.0-513.el8", False),
        ("unknown", False),
    ],
)
def test_addresses_carry_a_mark_since_linux_5_18(release: str, keeps: bool) -> None:
    assert vip_note.kernel_keeps_marks(release) is keeps


def test_what_was_noted_in_this_boot_is_read_back(tmp_path: Path) -> None:
    path = f"{tmp_path}/addresses"

    vip_note.save(path, OURS)

    assert vip_note.load(path) == OURS


def test_a_note_of_another_boot_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "addresses"
    vip_note.save(str(file), OURS)
    _, keys = json.loads(file.read_text())
    file.write_text(json.dumps(["another boot", keys]))

    assert vip_note.load(str(file)) == frozenset()


@pytest.mark.parametrize("content", [b"", b"{}", b'["boot", [["eth0", 1, 2]]]', b"\xff"])
def test_a_broken_note_says_nothing_and_is_told(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "addresses"
    file.write_bytes(content)

    assert vip_note.load(str(file)) == frozenset()
    assert "addresses left over are not known" in caplog.text


def test_no_note_is_no_trouble(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert vip_note.load(f"{tmp_path}/none") == frozenset()
    assert caplog.text == ""


async def test_the_keeper_writes_the_newest_state_one_at_a_time(tmp_path: Path) -> None:
    path = f"{tmp_path}/addresses"
    written = asyncio.Event()
    keeper = vip_note.Keeper(False, written.set)

    keeper.keep(path, OURS)
    keeper.keep(path, frozenset())  # while the thread is busy: for the next call
    await asyncio.wait_for(written.wait(), 5.0)
    assert keeper.load(path) == OURS

    written.clear()
    keeper.keep(path, frozenset())
    await asyncio.wait_for(written.wait(), 5.0)
    assert keeper.load(path) == frozenset()
    keeper.close()


async def test_where_the_kernel_keeps_marks_nothing_is_written_or_read(tmp_path: Path) -> None:
    path = f"{tmp_path}/addresses"
    keeper = vip_note.Keeper(True, lambda: None)

    keeper.keep(path, OURS)
    vip_note.save(path, OURS)

    assert keeper.load(path) == frozenset()
    keeper.close()
