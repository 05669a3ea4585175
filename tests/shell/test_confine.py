"""Giving up privileges: what stays, and that nothing comes back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")

NET_ADMIN, NET_RAW = 12, 13


def _after(giving_up: str, then: str) -> str:
    """What a fresh interpreter prints that gives up privileges first."""
    code = f"import os, subprocess\nfrom hadirector.shell import confine\n{giving_up}\n{then}"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    ).stdout


def _status(text: str) -> dict[str, list[str]]:
    pairs = (line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    return {name: value.split() for name, value in pairs}


OWN_STATUS = "print(open('/proc/self/status').read())"
CHILDS_STATUS = "subprocess.run(['cat', '/proc/self/status'])"


@needs_root
@pytest.mark.parametrize("who", [OWN_STATUS, CHILDS_STATUS])
def test_root_becomes_nobody_without_any_capability(who: str) -> None:
    status = _status(_after("confine.drop_privileges()", who))

    assert status["Uid"] == status["Gid"] == ["65534"] * 4
    assert status["Groups"] == []
    for held in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert status[held] == ["0000000000000000"]


@needs_root
def test_nobody_cannot_write_what_belongs_to_root(tmp_path: Path) -> None:
    mine = tmp_path / "hosts"
    mine.write_text("127.0.0.1 localhost\n")
    for directory in (tmp_path, *tmp_path.parents):
        assert directory.stat().st_uid == 0
    attempt = "try:\n    open({!r}, 'a').close()\nexcept PermissionError:\n    print('refused')\n"

    assert _after("", attempt.format(str(mine))) == ""
    assert _after("confine.drop_privileges()", attempt.format(str(mine))) == "refused\n"
    etc = attempt.format("/etc/hadirector-was-here")
    assert _after("confine.drop_privileges()", etc) == "refused\n"
    assert not Path("/etc/hadirector-was-here").exists()


@needs_root
def test_root_that_may_not_change_its_user_still_loses_every_capability() -> None:
    giving_up = f"confine.keep({{{NET_ADMIN}}})\nprint(confine.drop_privileges())"
    told, _, rest = _after(giving_up, OWN_STATUS).partition("\n")

    status = _status(rest)
    assert "CAP_SETUID" in told
    assert status["Uid"] == ["0"] * 4
    assert status["CapEff"] == status["CapPrm"] == ["0000000000000000"]


@needs_root
@pytest.mark.parametrize("who", [OWN_STATUS, CHILDS_STATUS])
def test_what_is_kept_is_kept_and_nothing_else(who: str) -> None:
    status = _status(_after(f"confine.keep({{{NET_ADMIN}, {NET_RAW}}})", who))

    both = f"{1 << NET_ADMIN | 1 << NET_RAW:016x}"
    assert status["CapEff"] == status["CapPrm"] == status["CapBnd"] == [both]
    assert status["Uid"] == ["0"] * 4
    assert status["NoNewPrivs"] == ["1"]


@needs_root
def test_what_is_not_there_is_not_gained_by_keeping_it() -> None:
    giving_up = f"confine.keep({{{NET_RAW}}})\nconfine.keep({{{NET_ADMIN}, {NET_RAW}}})"

    status = _status(_after(giving_up, OWN_STATUS))

    assert status["CapEff"] == [f"{1 << NET_RAW:016x}"]
