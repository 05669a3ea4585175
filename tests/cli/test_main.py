"""The command as a shell uses it: pipes that end, disks that are full, locales without umlauts."""

import subprocess
import sys
from pathlib import Path

from tests.config.files import CONF

COMMAND = f"{sys.executable} -m hadirector"
LONG = f"{COMMAND} check -c {CONF}/pair.yaml --node lb1 --json"


def shell(line: str) -> tuple[int, str]:
    """Exit status and stderr."""
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_a_reader_that_leaves_early_is_no_trouble() -> None:
    status = f"{LONG} | true; exit ${{PIPESTATUS[0]}}"

    assert shell(status) == (0, "")


def test_what_cannot_be_written_is_told_and_no_success() -> None:
    code, error = shell(f"{LONG} > /dev/full")

    assert code == 1
    assert error.startswith("hadirector: what was to be told could not be written: ")
    assert len(error.splitlines()) == 1


def test_letters_that_the_locale_lacks_are_spelled(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("cluster: shop\nwärter: 1\n", encoding="utf-8")

    code, error = shell(f"PYTHONIOENCODING=ascii {COMMAND} check -c {path}")

    assert code == 1
    assert "unknown key 'w\\xe4rter'" in error
