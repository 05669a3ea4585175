"""`hadirector ipvs` without a kernel or a daemon; tests/kernel has the rest."""

from pathlib import Path

import pytest

from hadirector.cli.main import main


def test_a_daemon_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ipvs", "--socket", str(tmp_path / "nowhere")]) == 1

    assert "no daemon answers on" in capsys.readouterr().err


def test_views_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["ipvs", "--stats", "--rate"])

    assert left.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_a_client_that_is_no_address_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["ipvs", "--connections", "--client", "nobody"])

    assert left.value.code == 2
    assert "'nobody' is no address" in capsys.readouterr().err


def test_a_file_that_cannot_be_imported_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "ipvsadm", str(tmp_path / "nowhere")]) == 1

    assert capsys.readouterr().err == f"hadirector: {tmp_path}/nowhere: No such file or directory\n"
