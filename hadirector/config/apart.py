"""Reading a configuration apart, in a process of its own: YAML would block the daemon's loop."""

import asyncio
import sys
import time
from dataclasses import dataclass

DEADLINE = 120.0  # seconds for a configuration of any size


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a configuration was not taken: for who asked, line by line; for the journal, in one."""

    whole: str
    short: str = ""

    @property
    def brief(self) -> str:
        """What fits an event: the first line, and how many more there are."""
        first, *others = self.whole.splitlines() or [""]
        return self.short or (f"{first} (and {len(others)} more)" if others else first)


def trouble(path: str, brief: str) -> str:
    """That a file was refused just now, and what that means, for status."""
    meaning = "mend it: until then a restart goes on with the last good one, a reboot fails"
    return f"{path} was refused at {time.strftime('%H:%M')}: {brief}; {meaning}"


def command(path: str, node: str | None, runtime_dir: str | None = None) -> list[str]:
    """What reads a file, and keeps parts of it for the next time: in the runtime directory, where
    those of the last time are."""
    words = [sys.executable, "-P", "-m", "hadirector.config", path, "--keep"]
    words += ["--node", node] if node else []
    return words + (["--parsed", f"{runtime_dir}/parsed"] if runtime_dir else [])


async def parse(path: str, node: str, runtime_dir: str | None = None) -> bytes:
    """What `handover.decode` takes, of the file at `path`; TimeoutError after DEADLINE, OSError."""
    reader = await asyncio.create_subprocess_exec(
        *command(path, node, runtime_dir),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE):
            return (await reader.communicate())[0]
    finally:
        if reader.returncode is None:
            reader.kill()
