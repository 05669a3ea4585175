"""What an agent measures on its host, and what its operator left there for it."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from hadirector.core import agent_report
from hadirector.core.agent_report import CpuTimes, Load
from hadirector.core.checker_messages import Wish

DEADLINE = 2.0  # seconds for a file or a program
MOST = 4096  # bytes read of either
WINDOW = 5  # measurements, one each EVERY: what "busy" is measured over
EVERY = 1.0  # seconds
T = TypeVar("T")
_STRONGEST = (Wish.MAINT, Wish.DRAIN)


@dataclass(frozen=True, slots=True)
class Source:
    """`cpu`, `load`, `file` of a path, or `command` of a program without arguments."""

    kind: str
    path: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}" if self.path else self.kind


def parse(text: str) -> Source:
    """`cpu`, `load`, `file:/path`, `command:/path`; ValueError."""
    kind, _, path = text.partition(":")
    if kind in ("cpu", "load") and not path:
        return Source(kind)
    if kind in ("file", "command") and path.startswith("/"):
        return Source(kind, path)
    raise ValueError(f"{text!r} is no source: cpu, load, file:/PATH or command:/PATH")


class Sources:
    """Measured again and again; `loads` is what is known, `trouble` what cannot be read. One that
    hangs is asked again when it has ended, and costs the others nothing."""

    def __init__(self, sources: tuple[Source, ...]) -> None:
        self.loads: dict[str, Load] = {}
        self.trouble: dict[str, str] = {}
        self._sources = sources
        self._times: list[CpuTimes] = []
        self._reading: dict[Source, asyncio.Task[Load]] = {}

    async def measure(self) -> None:
        """Once, all of them at a time; within DEADLINE."""
        fresh = {
            source: asyncio.create_task(self._read(source))
            for source in self._sources
            if source not in self._reading
        }
        self._reading |= fresh
        if fresh:
            await asyncio.wait(fresh.values(), timeout=DEADLINE)
        for source, task in list(self._reading.items()):
            self._note(str(source), task)
            if task.done():
                del self._reading[source]
            elif source.kind == "command":
                task.cancel()  # a file is read by a thread, which cannot be

    def _note(self, name: str, task: "asyncio.Task[Load]") -> None:
        try:
            self.loads[name] = task.result()
        except (asyncio.InvalidStateError, asyncio.CancelledError):
            why = "took too long"
        except (OSError, ValueError) as error:
            why = str(error)
        else:
            self.trouble.pop(name, None)
            return
        self.loads.pop(name, None)
        self.trouble[name] = why

    async def _read(self, source: Source) -> Load:
        match source.kind:
            case "cpu":
                self._times.append(agent_report.cpu_times(_text("/proc/stat")))
                del self._times[: -WINDOW - 1]
                return agent_report.of_cpu(self._times[0], self._times[-1])
            case "load":
                return agent_report.of_run_queue(_text("/proc/loadavg"), os.cpu_count() or 1)
            case "file":
                text = await apart(partial(_text, source.path))
                return agent_report.of_number(text, Path(source.path).name)
            case _:
                return agent_report.of_number(await _said(source.path), Path(source.path).name)


async def apart(work: Callable[[], T]) -> T:
    """Its result or its OSError or ValueError, from a thread of its own: a file of a mount that is
    gone hangs for ever, and neither others nor the end of this process wait for it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | Exception) -> None:
        if done.done():
            return
        if isinstance(result, Exception):
            done.set_exception(result)
        else:
            done.set_result(result)

    def run() -> None:
        result: T | Exception
        try:
            result = work()
        except (OSError, ValueError) as error:
            result = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=run, daemon=True).start()
    return await done


async def _said(program: str) -> str:
    """What a program prints; it and all that it started are gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        program,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        text = await process.stdout.read(MOST)
        code = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.returncode is None:
            await process.wait()
    if code:
        raise ValueError(f"exit status {code}")
    return text.decode("ascii", "replace")


def _text(path: str) -> str:
    with Path(path).open("rb") as file:
        return file.read(MOST).decode("ascii", "replace")


class WishFiles:
    """What the operator of this host wants, as files `drain` and `maint` of a directory: whoever
    may write there orders it, by hand or by `hadirector agent drain`. The first line is why."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def wish(self) -> tuple[Wish, str]:
        """The strongest, and why."""
        for wish in _STRONGEST:
            try:
                why = _text(str(self._directory / wish.value)).partition("\n")[0]
            except OSError:
                continue
            return wish, why or f"{wish.value} asked for on the server"
        return Wish.NONE, ""

    def say(self, wish: Wish, reason: str) -> None:
        """Ask for this and nothing else; OSError. What is asked for stays until `ready`."""
        if wish is not Wish.NONE:
            self._directory.mkdir(parents=True, exist_ok=True)
            path = self._directory / wish.value
            path.write_text(f"{reason}\n" if reason else "")
            path.chmod(0o644)  # the agent runs as a user of its own
        for other in _STRONGEST:
            if other is not wish:
                (self._directory / other.value).unlink(missing_ok=True)


def troubles(found: Mapping[str, str]) -> str:
    """In one line, for the log."""
    return "; ".join(f"{name}: {text}" for name, text in sorted(found.items()))
