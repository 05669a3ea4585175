"""The port of an agent: whoever connects gets one line and the end of it.

What a client sends means nothing (HAProxy's `agent-send` may send a line), but it is read and
thrown away until the client closes, too: a connection closed with data unread is reset, and a reset
may overtake the line.
"""

import asyncio
import contextlib
from collections.abc import Callable

AT_ONCE = 64  # connections; one more is closed without an answer
DEADLINE = 2.0  # seconds for one of them
MOST = 4096  # bytes read of it


class AgentServer:
    """`answer` gives the line."""

    def __init__(self, answer: Callable[[], bytes]) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._open = 0

    async def listen(self, address: str, port: int) -> None:
        """From now on; OSError."""
        self._server = await asyncio.start_server(
            self._serve, address or None, port, limit=1024, reuse_address=True
        )

    @property
    def ports(self) -> tuple[int, ...]:
        """Where it listens."""
        sockets = self._server.sockets if self._server else ()
        return tuple(sorted({int(one.getsockname()[1]) for one in sockets}))

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            async with asyncio.timeout(DEADLINE):
                if self._open <= AT_ONCE:
                    writer.write(self._answer())
                    writer.write_eof()
                    left = MOST
                    while left > 0 and (read := await reader.read(left)):
                        left -= len(read)
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()
        finally:
            self._open -= 1
            with contextlib.suppress(OSError):
                writer.close()
