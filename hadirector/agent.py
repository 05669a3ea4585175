"""The agent: a small process on a real server, which tells directors how busy it is, and what the
operator there wants. It needs no right at all.

    core/agent_report    measurements to one line of HAProxy's agent-check protocol
    shell/agent_sources  what is measured, and the operator's files
    shell/agent_server   the port
"""

import asyncio
import logging
import signal

from hadirector.core import agent_report
from hadirector.core.checker_messages import Wish
from hadirector.shell import agent_sources
from hadirector.shell.agent_server import AgentServer
from hadirector.shell.agent_sources import Source, Sources, WishFiles

PORT = 8888
STATE_DIR = "/var/lib/hadirector-agent"

log = logging.getLogger(__name__)


class Agent:
    """`answer` is what a director gets now."""

    def __init__(self, sources: tuple[Source, ...], state_dir: str) -> None:
        self._sources = Sources(sources)
        self._wishes = WishFiles(state_dir)
        self._told: tuple[Wish, str] = (Wish.NONE, "")
        self._wish: tuple[Wish, str] = (Wish.NONE, "")
        self._looking: asyncio.Task[tuple[Wish, str]] | None = None

    def answer(self) -> bytes:
        """The line."""
        return agent_report.line(self._sources.loads, *self._wish)

    async def run(self) -> None:
        """For ever: measure, and look for what the operator wants."""
        while True:
            began = asyncio.get_running_loop().time()
            await self._sources.measure()
            await self._look()
            self._tell()
            took = asyncio.get_running_loop().time() - began
            await asyncio.sleep(max(0.1, agent_sources.EVERY - took))

    async def _look(self) -> None:
        """For what the operator wants; while it cannot be read, it is what it was."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(agent_sources.apart(self._wishes.wish))
            await asyncio.wait({self._looking}, timeout=agent_sources.DEADLINE)
        if self._looking.done():
            self._wish = self._looking.result()

    def _tell(self) -> None:
        """What became different."""
        found = dict(self._sources.trouble)
        if self._looking is not None and not self._looking.done():
            found["wishes"] = "took too long"
        trouble = agent_sources.troubles(found)
        if (self._wish[0], trouble) != self._told:
            self._told = (self._wish[0], trouble)
            wish, why = self._wish
            if trouble:
                log.warning("cannot be measured: %s", trouble)
            log.info("wish=%s reason=%r", wish.value or "none", why)


async def serve(sources: tuple[Source, ...], state_dir: str, address: str, port: int) -> None:
    """Until SIGTERM or SIGINT; OSError where the port cannot be had."""
    agent = Agent(sources, state_dir)
    server = AgentServer(agent.answer)
    await server.listen(address, port)
    log.info("listening on %s port %s", address or "every address", port)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(agent.run(), name="measure")
        await stopping.wait()
        running.cancel()
    await server.close()
