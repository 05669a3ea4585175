"""The runner process: runs scripts and hooks, and looks at tracked files and processes.

The director decides what and when; here it is done. It is a process apart because what it touches
may hang or eat (a disk, somebody's script), because a fork of a large director takes long, and
because it can give up every capability: programs run as the daemon's user and can do no more than
any other of its processes. It is there only while the director has something for it.
"""

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial

from hadirector.core import messages, runner_messages
from hadirector.shell import channel, child, confine, process_table, programs, tracked_files

HUNG = 5.0  # seconds: a look at the processes that takes longer is told


class Runner:
    """What the director says is done; what is seen is said. Needs a running loop."""

    def __init__(self, send: Callable[[messages.Message], None]) -> None:
        self._send = send
        self._programs = programs.Programs(send)
        self._watched: runner_messages.Watch | None = None
        self._looking: list[asyncio.Task[None]] = []

    def receive(self, message: messages.Message) -> None:
        """A message from the director."""
        match message:
            case messages.Run():
                self._programs.start(message)
            case runner_messages.Watch():
                self._watch(message)
            case _:
                pass  # not for us

    async def close(self) -> None:
        """Stop looking, and end whatever runs."""
        for task in self._looking:
            task.cancel()
        await self._programs.end()

    def _watch(self, watch: runner_messages.Watch) -> None:
        if watch == self._watched:
            return
        self._watched = watch
        for task in self._looking:
            task.cancel()
        looks: list[Awaitable[None]] = []
        if watch.files:
            looks.append(self._look_at_files(watch.files))
        if watch.processes:
            looks.append(self._look_at_processes(watch.processes))
        self._looking = [asyncio.ensure_future(look) for look in looks]

    async def _look_at_files(self, paths: tuple[str, ...]) -> None:
        files = tracked_files.TrackedFiles(paths)
        told: runner_messages.FilesSeen | None = None
        while True:
            seen = await files.look()
            # The director counts looks at what is not as it should be.
            if seen != told or any(file.number is None for file in seen.files):
                self._send(seen)
            told = seen
            await asyncio.sleep(tracked_files.LOOK)

    async def _look_at_processes(self, names: tuple[str, ...]) -> None:
        table = process_table.ProcessTable(names)
        told: runner_messages.ProcessesSeen | None = None
        while True:
            answer = _in_thread(table.look)
            done, _ = await asyncio.wait([answer], timeout=HUNG)
            if not done:
                self._send(runner_messages.ProcessesSeen((), "/proc does not answer"))
            seen, pause = await answer
            if seen != told or not done or any(not one.count for one in seen.processes):
                self._send(seen)
            told = seen
            await asyncio.sleep(pause)


Look = tuple[runner_messages.ProcessesSeen, float]


def _in_thread(look: Callable[[], Look]) -> "asyncio.Future[Look]":
    """A look in a thread that nobody waits for at the end: the kernel may keep it."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Look] = loop.create_future()

    def tell(found: Look) -> None:
        if not answer.done():
            answer.set_result(found)

    def work() -> None:
        found = look()
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, found)

    threading.Thread(target=work, name="processes", daemon=True).start()
    return answer


async def body(process: child.Child) -> None:
    """Until told to stop, or the director is gone."""
    runner = Runner(partial(process.send, messages.Process.DIRECTOR))
    process.start(partial(_receive, process, runner))
    process.ready = True
    process.tell()
    gone = process.channels[messages.Process.DIRECTOR].ended
    async with asyncio.TaskGroup() as tasks:
        follow = tasks.create_task(_follow(gone, process.stopping), name="director")
        await process.stopping.wait()
        follow.cancel()
        await runner.close()


async def _follow(gone: asyncio.Event, stopping: asyncio.Event) -> None:
    await gone.wait()
    stopping.set()


def _receive(
    process: child.Child, runner: Runner, sender: messages.Process, received: channel.Received
) -> None:
    if not process.obeys(received):
        runner.receive(received.message)


def _confine() -> str:
    """No capability, for this process and all it runs; whose files they may read is the user's."""
    confine.drop_capabilities()
    return ""


if __name__ == "__main__":
    sys.exit(child.main(messages.Process.RUNNER, body, _confine))
