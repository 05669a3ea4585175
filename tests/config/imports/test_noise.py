"""Files that are no text of a configuration."""

from pathlib import Path

import pytest

from hadirector.cli import main

NUL = {
    "ipvsadm": "-A -t 192.0.2.10:\0 -s rr\n",
    "keepalived": "virtual_server 192.0.2.10 \0 {\n}\n",
    "ldirectord": "virtual=192.0.2.10:\0\n",
}


@pytest.mark.parametrize("program", sorted(NUL))
def test_a_nul_byte_is_refused_in_one_sentence(
    program: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text(NUL[program])

    assert main.main(["import", program, str(file)]) == 1

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"hadirector: {file}: has a NUL byte")


def test_a_nul_byte_in_an_included_file_ends_in_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    included = tmp_path / "more.conf"
    included.write_text(NUL["keepalived"])
    file = tmp_path / "keepalived.conf"
    file.write_text(f"include {included}\n")

    main.main(["import", "keepalived", str(file)])

    assert "more.conf:1" in capsys.readouterr().err
