"""The kernel's connection table as text, read in pieces so that no loop waits for it.

Before Linux 6.14 each read of /proc/net/ip_vs_conn walks the table from its start: 100,000 rows
took 18 s. So it is read in a thread, and can be paced to a share of a core.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

PATH = Path("/proc/self/net/ip_vs_conn")
PIECE = 128 << 10  # bytes of text between two turns of the loop: some 1,500 rows
_READ = 64 << 10
_LINEAR = (6, 14)  # commit 178883fd039d


def is_linear() -> bool:
    """Whether a reading takes a time in proportion to the table on this kernel."""
    words = os.uname().release.split(".")
    try:
        return (int(words[0]), int("".join(c for c in words[1] if c.isdigit()))) >= _LINEAR
    except (ValueError, IndexError):
        return False


async def rows(share: float = 1.0, path: Path = PATH) -> AsyncIterator[list[bytes]]:
    """All rows, a few at a time, without the titles; at most `share` of a core is used to get
    them. OSError where the kernel has no table to show."""
    descriptor = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
    rest, titles = b"", True
    try:
        while True:
            text, took = await asyncio.to_thread(_piece, descriptor)
            if not text:
                break
            lines = (rest + text).split(b"\n")
            rest = lines.pop()
            if titles:
                del lines[0]
                titles = False
            yield lines
            if share < 1.0:
                await asyncio.sleep(took * (1 / share - 1))
    finally:
        os.close(descriptor)
    if rest:
        yield [rest]


def _piece(descriptor: int) -> tuple[bytes, float]:
    """And how long it took of a core. What it waited for one is no reason to wait longer."""
    parts, size, begun = [], 0, time.thread_time()
    while size < PIECE:
        part = os.read(descriptor, _READ)
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts), time.thread_time() - begun
