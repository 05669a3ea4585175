"""A network namespace of one's own for each kernel test, so that none meets another's table."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

has_ipvs = Path("/proc/net/ip_vs").exists() and os.geteuid() == 0


@contextmanager
def fresh_namespace() -> Iterator[None]:
    """This thread, and what it starts, in a new namespace with lo up; back in the old one after."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(_CLONE_NEWNET))
        try:
            run("ip", "link", "set", "lo", "up")
            yield
        finally:
            _check(_libc.setns(home, _CLONE_NEWNET))
    finally:
        os.close(home)


def run(*command: str) -> str:
    """What a command prints; CalledProcessError when it fails."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
    return done.stdout


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "changing the network namespace")
