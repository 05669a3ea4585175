"""The stance on disk: it outlives everything but a release."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from hadirector.core.stance import Pause, Since, Stance
from hadirector.shell import child
from hadirector.shell.stance_file import StanceFile, load

STANCE = Stance(
    Since(60.0, "kernel"),
    {"front": Since(115.0, "handed over to lb2")},
    Pause(720.0, "by hand"),
)


async def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    assert await StanceFile(str(tmp_path)).save(STANCE) == ""

    loaded = load(str(tmp_path))

    assert loaded.standby is not None
    assert loaded.standby.reason == "kernel"
    assert loaded.standby.at == pytest.approx(60.0, abs=2.0)
    assert loaded.holds["front"].reason == "handed over to lb2"
    assert not stat.S_IMODE((tmp_path / "stance.json").stat().st_mode) & 0o027


async def test_after_a_reboot_it_is_as_old_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "now", lambda: 120.0)  # since the boot
    await StanceFile(str(tmp_path)).save(STANCE)
    monkeypatch.setattr(child, "now", lambda: 10.0)

    loaded = load(str(tmp_path))

    assert loaded.standby is not None
    assert loaded.standby.at == pytest.approx(10.0 - 60, abs=2.0)
    assert loaded.pause is not None
    assert loaded.pause.until == pytest.approx(10.0 + 600, abs=2.0)
    assert loaded.pause.reason == "by hand"


def test_without_a_file_the_node_is_on_duty(tmp_path: Path) -> None:
    assert load(str(tmp_path)) == Stance()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"standby": 1}', b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "stance.json").write_bytes(content)

    assert load(str(tmp_path)) == Stance()


async def test_what_the_disk_refuses_is_told_and_written_later(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    file = StanceFile(str(absent))
    assert await file.save(STANCE) == f"{absent}/stance.json: No such file or directory"

    absent.mkdir()
    await file.retry()

    assert file.trouble == ""
    assert set(load(str(absent)).holds) == {"front"}


async def test_a_later_stance_replaces_one_that_was_never_written(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    file = StanceFile(str(absent))
    await file.save(STANCE)
    await file.save(replace(STANCE, holds={}))

    absent.mkdir()
    await file.retry()

    assert not load(str(absent)).holds
