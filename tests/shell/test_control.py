"""The API and the verbs that use it, over a real unix socket."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hadirector.cli import follow, live
from hadirector.cli import main as command
from hadirector.core.requests import Outcome, Request, Verdict
from hadirector.core.status import Json
from hadirector.shell import alone, control
from hadirector.shell.control import Answers, Control, Reloaded, SocketInUse

EVENT: Json = {
    "number": 1,
    "at": 1000.25,
    "kind": "server_down",
    "subject": "web/10.0.1.11:80",
    "reason": "down, quiesced: refused",
    "inputs": {"weight": "0"},
}


RELOADED: Json = {
    "number": 2,
    "at": 1000.5,
    "kind": "config_reloaded",
    "subject": "lb1",
    "reason": "services: ~web; digest d2",
    "inputs": {},
}


class Daemon:
    """The director as the API sees it."""

    def __init__(self) -> None:
        self.refusal: str | None = None
        self.restarts = 0
        self.reloads = 0

    def answers(self) -> Answers:
        return Answers(
            status=lambda: {
                "node": "lb1",
                "headline": "lb1: MASTER of front; all well",
                "processes": {"director": {"pid": 7 + self.restarts}},
                "trouble": ["front/ipv4 is in fault"] if self.reloads else [],
            },
            events=lambda since: [EVENT, RELOADED][: 1 + self.reloads] if since < 1 else [],
            explain=lambda what: {
                "subject": what,
                "now": [f"{what}: all well"],
                "history": [EVENT],
            },
            reload=self._reload,
            restart=self._restart,
            operate=self._operate,
        )

    async def _reload(self) -> Reloaded:
        if self.refusal is None:
            self.reloads += 1
            return Reloaded(None, ("x.yaml:5:3: warning: no service uses it",))
        return Reloaded(self.refusal)

    async def _operate(self, request: Request) -> Outcome:
        return Outcome(Verdict.DONE, (str(request),))

    def _restart(self) -> str | None:
        self.restarts += 1
        return None


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "control.sock")


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
async def api(path: str, daemon: Daemon) -> AsyncIterator[Control]:
    control = Control(daemon.answers())
    await control.open_socket(path)
    yield control
    await control.close()


async def _run(*arguments: str) -> int:
    """A verb as an operator runs it, beside the loop that serves it."""
    return await asyncio.to_thread(command.main, list(arguments))


@pytest.mark.usefixtures("api")
async def test_the_socket_is_for_owner_and_group_only(path: str) -> None:
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660


@pytest.mark.usefixtures("api")
async def test_status_is_told_as_json(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await _run("status", "--json", "--socket", path) == 0

    assert json.loads(capsys.readouterr().out)["node"] == "lb1"


async def test_who_asks_before_the_director_knows_its_configuration_waits_for_the_answer(
    path: str, daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    configured = asyncio.Event()
    api = Control(replace(daemon.answers(), configured=configured))
    await api.open_socket(path)
    asked = asyncio.ensure_future(_run("status", "--json", "--socket", path))
    await asyncio.sleep(0.2)

    assert not asked.done()
    configured.set()

    assert await asked == 0
    assert json.loads(capsys.readouterr().out)["node"] == "lb1"
    await api.close()


async def test_a_director_that_never_gets_to_know_its_configuration_says_so(
    path: str,
    daemon: Daemon,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control, "STARTING", 0.1)
    api = Control(replace(daemon.answers(), configured=asyncio.Event()))
    await api.open_socket(path)

    assert await _run("status", "--socket", path) == 1
    assert "does not know its configuration" in capsys.readouterr().err
    await api.close()


@pytest.mark.usefixtures("api")
async def test_events_are_one_line_each(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await _run("events", "--socket", path) == 0

    line = capsys.readouterr().out.strip()
    assert line.partition("  ")[2] == (
        "server_down      web/10.0.1.11:80: down, quiesced: refused  [weight=0]"
    )


@pytest.mark.usefixtures("api")
async def test_explain_tells_the_state_then_the_history(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await _run("explain", "web", "--socket", path) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "web: all well"
    assert "server_down" in lines[2]


@pytest.mark.usefixtures("api")
async def test_a_refused_reload_exits_1_with_the_reason(
    path: str, daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    fine = await _run("reload", "--socket", path)
    daemon.refusal = "x.yaml:3:1: error: unknown key"
    refused = await _run("reload", "--socket", path)

    assert (fine, refused) == (0, 1)
    assert capsys.readouterr().err.endswith("x.yaml:3:1: error: unknown key\n")


@pytest.mark.usefixtures("api")
async def test_a_reload_tells_what_it_changed_what_is_doubtful_and_what_it_broke(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await _run("reload", "--socket", path) == 0

    told = capsys.readouterr()
    assert told.out == "reloaded: services: ~web; digest d2\n"
    assert told.err.splitlines() == [
        "x.yaml:5:3: warning: no service uses it",
        "TROUBLE: front/ipv4 is in fault",
    ]


@pytest.mark.usefixtures("api")
async def test_a_check_of_the_status_is_silent_but_for_head_and_troubles(
    path: str, daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    fine = await _run("status", "--check", "--socket", path)
    daemon.reloads = 1
    hurt = await _run("status", "--check", "--socket", path)

    assert (fine, hurt) == (0, 1)
    assert capsys.readouterr().out.splitlines() == [
        "lb1: MASTER of front; all well",
        "lb1: MASTER of front; all well",
        "TROUBLE: front/ipv4 is in fault",
    ]


@pytest.mark.usefixtures("api")
async def test_restart_director_is_asked_for_once_and_waits_for_the_new_one(
    path: str, daemon: Daemon
) -> None:
    assert await _run("restart-director", "--socket", path) == 0

    assert daemon.restarts == 1


async def test_events_stream_on_to_a_follower(path: str, api: Control) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")

    async with asyncio.timeout(5):
        await reader.readuntil(b"data: ")
        first = json.loads(await reader.readline())
        api.publish({"number": 2})
        await reader.readuntil(b"data: ")
        second = json.loads(await reader.readline())
    writer.close()

    assert (first, second) == (EVENT, {"number": 2})


async def test_a_follower_is_let_go_at_once_when_the_daemon_leaves(
    path: str, daemon: Daemon
) -> None:
    control = Control(daemon.answers())
    await control.open_socket(path)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")

    async with asyncio.timeout(5):
        await reader.readuntil(b"data: ")
        await control.close()
        rest = await reader.read()
    writer.close()

    assert rest.endswith(b"0\r\n\r\n")
    assert os.path.basename(path) not in os.listdir(os.path.dirname(path))


@pytest.mark.usefixtures("api")
async def test_an_operator_s_reason_is_one_line_that_no_terminal_obeys(path: str) -> None:
    asked = "/v1/standby?on=1&reason=%1b%5B2Jnew%0Akernel"
    _, told = await asyncio.to_thread(live.ask, path, "POST", asked)

    assert "reason='[2Jnew kernel'" in told["lines"][0]


async def test_http_answers_readers_and_takes_no_orders(daemon: Daemon) -> None:
    control = Control(daemon.answers())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    await control.open_http("127.0.0.1", port)

    codes = []
    for request in ("GET /v1/status", "POST /v1/reload", "POST /v1/handover"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(5):
            codes.append((await reader.read()).split()[1])
        writer.close()
    await control.close()

    assert codes == [b"200", b"404", b"404"]


async def test_a_socket_left_by_a_dead_daemon_is_replaced(path: str, daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)

    control = Control(daemon.answers())
    await control.open_socket(path)

    assert await _run("status", "--json", "--socket", path) == 0
    await control.close()


@pytest.mark.usefixtures("api")
async def test_a_socket_somebody_answers_on_is_left_alone(path: str, daemon: Daemon) -> None:
    with pytest.raises(SocketInUse, match="another daemon answers there"):
        await Control(daemon.answers()).open_socket(path)


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path, daemon: Daemon) -> None:
    file = tmp_path / "control.sock"
    file.write_text("precious")

    with pytest.raises(SocketInUse, match="is not a socket"):
        await Control(daemon.answers()).open_socket(str(file))

    assert file.read_text() == "precious"


def test_while_a_director_is_replaced_every_verb_says_that_the_election_goes_on(
    path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "NAME", f"\0{path}")

    with alone.alone():
        assert command.main(["status", "--socket", path]) == 1

    error = capsys.readouterr().err
    assert f"the daemon runs (process {os.getpid()})" in error
    assert "the election goes on meanwhile" in error
    assert error.count("\n") == 1


def test_without_a_daemon_every_verb_says_so_in_one_line(
    path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "NAME", f"\0{path}")
    verbs = ("status", "events", "explain", "reload", "restart-director", "handover", "release")
    for verb in (*map(str.split, verbs), ["standby", "on"]):
        assert command.main([*verb, "--socket", path]) == 1
        error = capsys.readouterr().err
        assert error.startswith("hadirector: no daemon answers on ")
        assert error.count("\n") == 1


async def test_events_are_followed_from_one_director_to_the_next(
    path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "holder", lambda: 7)
    monkeypatch.setattr(follow, "PATIENCE", 1.0)
    first = Control(_answers_of(1))
    await first.open_socket(path)
    followed = asyncio.create_task(_run("events", "-f", "--socket", path))
    await asyncio.sleep(0.3)
    await first.close()
    second = Control(_answers_of(2))
    await second.open_socket(path)
    await asyncio.sleep(1.0)
    await second.close()

    assert await followed == 1  # nobody came after the second one
    told = capsys.readouterr()
    assert [line.split()[-1] for line in told.out.splitlines()] == ["1", "2"]
    assert "no director answers" in told.err


def _answers_of(last: int) -> Answers:
    """A director whose journal has so many entries."""

    def entry(number: int) -> Json:
        what = {"kind": "drift", "subject": "web", "reason": str(number)}
        return {"number": number, "at": 1000.0, **what, "inputs": {}}

    return replace(
        Daemon().answers(), events=lambda since: [entry(n) for n in range(since + 1, last + 1)]
    )
