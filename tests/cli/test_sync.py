"""`hadirector sync` and `resync`: what they say, and their exit status."""

import argparse
from typing import Any

import pytest

from hadirector.cli import sync

ONE: dict[str, Any] = {"ready": True, "reason": "all is there", "rounds": 3}


def node(**standbys: dict[str, Any]) -> dict[str, Any]:
    """The sync status of a master with these standbys."""
    return {"standbys": standbys, "masters": {}, "missing": 0, "ready": True}


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What status says, one after the other; the last one for ever."""
    told: list[dict[str, Any]] = []

    def ask(socket: str, method: str, path: str) -> tuple[int, dict[str, Any]]:
        if method == "POST":
            return 200, {"ok": True}
        return 200, {"sync": told.pop(0) if len(told) > 1 else told[0]}

    monkeypatch.setattr(sync, "ask", ask)
    monkeypatch.setattr(sync, "table", lambda _: "")
    monkeypatch.setattr(sync, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(sync, "PATIENCE", 0.05)
    return told


OPTIONS = argparse.Namespace(socket="", json=False, watch=False)


def test_a_standby_that_cannot_be_compared_is_nothing_to_call_well(
    shell: list[dict[str, Any]],
) -> None:
    shell.append(node(lb2=ONE))
    assert sync.sync(OPTIONS) == 0

    shell[:] = [node(lb2=ONE, lb3={**ONE, "ready": False})]
    assert sync.sync(OPTIONS) == 1


def test_resync_says_who_was_not_compared(
    shell: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    gone = {**ONE, "ready": False, "reason": "its syncer is not connected"}
    shell[:] = [node(lb2=ONE, lb3=gone), node(lb2={**ONE, "rounds": 4}, lb3=gone)]

    assert sync.resync(OPTIONS) == 1

    told = capsys.readouterr().err
    assert told == "hadirector: not compared with lb3: its syncer is not connected\n"


def test_resync_is_well_once_everybody_was_compared(
    shell: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    began_anew = {**ONE, "rounds": 1}  # other settings came meanwhile: it is counted from then on
    shell[:] = [node(lb2=ONE), node(lb2=ONE), node(lb2=began_anew)]

    assert sync.resync(OPTIONS) == 0
    assert capsys.readouterr().err == ""
