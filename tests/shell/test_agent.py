"""The agent as a process: over its port, with its sources and its operator's files."""

import asyncio
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hadirector import agent
from hadirector.core.checker_messages import Wish
from hadirector.shell import agent_sources
from hadirector.shell.agent_server import AT_ONCE, AgentServer
from hadirector.shell.agent_sources import Source, Sources, WishFiles, parse


async def said(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello\n")
    async with asyncio.timeout(10):
        line = await reader.read()
    writer.close()
    return line


async def test_whoever_connects_gets_one_line_and_the_end() -> None:
    server = AgentServer(lambda: b"ready up 50% #x\n")
    await server.listen("127.0.0.1", 0)

    lines = await asyncio.gather(*(said(server.ports[0]) for _ in range(AT_ONCE // 2)))

    await server.close()
    assert set(lines) == {b"ready up 50% #x\n"}


def program(folder: Path, text: str) -> str:
    path = folder / "free"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def test_every_source_is_measured_and_one_that_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "percent").write_text("40\n")
    sources = Sources(
        (
            *(Source("cpu"), Source("load")),
            Source("file", str(tmp_path / "percent")),
            Source("command", program(tmp_path, "echo 30%")),
            Source("file", str(tmp_path / "missing")),
        )
    )

    await sources.measure()

    free = {name.rpartition("/")[2]: load.free for name, load in sources.loads.items()}
    assert (free["percent"], free["free"]) == (0.4, 0.3)
    assert set(free) == {"cpu", "load", "percent", "free"}
    assert list(sources.trouble) == [f"file:{tmp_path}/missing"]


def is_gone(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True


async def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    command = program(tmp_path, f"sleep 60 & echo $! > {mark}; wait")
    sources = Sources((Source("command", command),))
    began = time.monotonic()

    await sources.measure()

    assert time.monotonic() - began < 10
    assert "took too long" in sources.trouble.values()
    await asyncio.sleep(0.2)
    assert is_gone(mark.read_text().strip())


async def test_a_file_that_hangs_is_read_by_one_thread_and_hides_no_wish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_sources, "DEADLINE", 0.1)
    monkeypatch.setattr(agent_sources, "EVERY", 0.05)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    os.mkfifo(tmp_path / "free")
    (tmp_path / "percent").write_text("40")
    before = threading.active_count()
    names = ("free", "percent")
    one = agent.Agent(tuple(Source("file", str(tmp_path / n)) for n in names), str(tmp_path))
    running = asyncio.create_task(one.run())
    await asyncio.sleep(1.0)

    (tmp_path / "maint").write_text("broken disk")
    async with asyncio.timeout(5):
        while not one.answer().startswith(b"maint"):  # noqa: ASYNC110  # no event to wait for
            await asyncio.sleep(0.02)
    threads = threading.active_count() - before
    (tmp_path / "maint").unlink()
    with (tmp_path / "free").open("w"):
        (tmp_path / "free").unlink()
        (tmp_path / "free").write_text("30")
    async with asyncio.timeout(5):
        while b" 30%" not in one.answer():  # noqa: ASYNC110  # no event to wait for
            await asyncio.sleep(0.02)
    running.cancel()

    assert threads <= 2


def test_the_operators_files_are_what_the_word_leaves(tmp_path: Path) -> None:
    files = WishFiles(str(tmp_path / "state"))
    found = [files.wish()]
    for wish, why in ((Wish.DRAIN, "update"), (Wish.MAINT, ""), (Wish.NONE, "")):
        files.say(wish, why)
        found.append(files.wish())

    assert found == [
        (Wish.NONE, ""),
        (Wish.DRAIN, "update"),
        (Wish.MAINT, "maint asked for on the server"),
        (Wish.NONE, ""),
    ]
    (tmp_path / "state" / "drain").touch()
    assert files.wish()[0] is Wish.DRAIN


@pytest.mark.parametrize("text", ["", "disk", "file:", "file:relative", "cpu:x", "command:ls -l"])
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no source"):
        parse(text)


async def test_the_verb_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    (tmp_path / "drain").write_text("kernel update\n")
    port = 20000 + os.getpid() % 20000
    command = (sys.executable, "-m", "hadirector", "agent", "--listen", f"127.0.0.1:{port}")
    process = await asyncio.create_subprocess_exec(*command, "--state-dir", str(tmp_path))
    try:
        line = b""
        async with asyncio.timeout(30):
            while not line.startswith(b"drain"):
                await asyncio.sleep(0.1)
                try:
                    line = await said(port)
                except OSError:
                    continue
    finally:
        process.send_signal(signal.SIGTERM)
        code = await process.wait()

    assert (line.endswith(b"#kernel update\n"), code) == (True, 0)
