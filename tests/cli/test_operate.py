"""handover, release and standby on the command line, over a real unix socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hadirector.cli import main as command
from hadirector.cli import operate
from hadirector.core.requests import HandOver, Outcome, Release, Request, StandBy, Verdict
from hadirector.shell.control import Answers, Control, Reloaded


class Daemon:
    """Takes requests as the director does, and answers with what it is told to."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.outcome = Outcome(Verdict.DONE, ("front: lb2 took over in 9 ms",))

    async def operate(self, request: Request) -> Outcome:
        self.asked.append(request)
        return self.outcome

    def answers(self) -> Answers:
        async def nothing() -> Reloaded:
            return Reloaded()

        return Answers(
            status=dict, events=lambda _: [], explain=lambda _: {}, reload=nothing,
            restart=lambda: None, operate=self.operate,
        )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "control.sock")


@pytest.fixture
async def daemon(path: str) -> AsyncIterator[Daemon]:
    made = Daemon()
    control = Control(made.answers())
    await control.open_socket(path)
    yield made
    await control.close()


async def run(path: str, *arguments: str) -> int:
    """A verb as an operator runs it, beside the loop that serves it."""
    return await asyncio.to_thread(command.main, [*arguments, "--socket", path])


@pytest.mark.parametrize(
    ("arguments", "request_"),
    [
        (["handover"], HandOver()),
        (["handover", "front"], HandOver("front")),
        (
            ["handover", "front", "--force", "--reason", "new NIC\n& more "],
            HandOver("front", True, "new NIC & more"),
        ),
        (["release"], Release()),
        (["release", "director"], Release("director")),
        (["standby", "on", "--reason", "kernel"], StandBy(True, False, "kernel")),
        (["standby", "on", "--force"], StandBy(True, True)),
        (["standby", "off"], StandBy(False)),
    ],
    ids=str,
)
async def test_what_is_asked_reaches_the_director(
    daemon: Daemon, path: str, arguments: list[str], request_: Request
) -> None:
    assert await run(path, *arguments) == 0

    assert daemon.asked == [request_]


async def test_a_handover_ends_with_who_took_over_and_how_fast(
    daemon: Daemon, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.outcome = Outcome(
        Verdict.DONE, ("front: lb2 took over in 9 ms",), ("lb2 runs another configuration",)
    )

    assert await run(path, "handover") == 0

    told = capsys.readouterr()
    assert told.out == "front: lb2 took over in 9 ms\n"
    assert told.err == "warning: lb2 runs another configuration\n"


async def test_what_an_order_waits_for_is_told_meanwhile_once(
    path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operate, "PATIENCE", 0.02)
    asked: list[str] = []
    enough = asyncio.Event()

    class Slow(Daemon):
        async def operate(self, request: Request) -> Outcome:
            await enough.wait()
            return self.outcome

    def status() -> dict[str, Any]:
        asked.append("status")
        if len(asked) == 4:
            enough.set()
        return {"handover": f"front: lb2 is asked whether it is ready ({9 - len(asked)} s at most)"}

    control = Control(replace(Slow().answers(), status=status))
    await control.open_socket(path)
    try:
        assert await run(path, "handover") == 0
    finally:
        await control.close()

    told = capsys.readouterr()
    assert told.out == "front: lb2 took over in 9 ms\n"
    assert told.err == "waiting: front: lb2 is asked whether it is ready (8 s at most)\n"


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.REFUSED, 4), (Verdict.FAILED, 1)])
async def test_what_is_not_done_exits_with_its_own_code_and_the_reason(
    daemon: Daemon, path: str, capsys: pytest.CaptureFixture[str], verdict: Verdict, code: int
) -> None:
    daemon.outcome = Outcome(verdict, ("lb2 is not ready: IPVS was not read yet",))

    assert await run(path, "handover") == code

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == f"{verdict.value}: lb2 is not ready: IPVS was not read yet\n"


async def test_json_has_verdict_lines_and_warnings(
    daemon: Daemon, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.outcome = Outcome(Verdict.REFUSED, ("no",), ("careful",))

    assert await run(path, "standby", "on", "--json") == 4

    assert json.loads(capsys.readouterr().out) == {
        "verdict": "refused",
        "lines": ["no"],
        "warnings": ["careful"],
    }


@pytest.mark.parametrize("arguments", [["standby"], ["standby", "perhaps"], ["handover", "a", "b"]])
def test_what_is_no_command_line_exits_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        command.main(arguments)

    assert left.value.code == 2


@pytest.mark.parametrize("verb", ["handover", "release", "standby"])
def test_the_help_says_what_follows(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main([verb, "--help"])

    told = " ".join(capsys.readouterr().out.split())
    assert "--json" in told
    if verb != "release":
        assert "4 refused, and nothing was changed" in told
    if verb == "standby":
        assert "Only where nobody else is left does a node in standby serve" in told
