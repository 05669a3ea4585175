"""Signals that come while the daemon starts: what they ask for waits until somebody can obey.

Without this a SIGHUP in the first second, while Python reads its modules, ends the daemon. SIGUSR1
and SIGUSR2, which keepalived obeys, end nobody here.
"""

import signal
from types import FrameType

_asked: set[int] = set()


def listen() -> None:
    """From now on a SIGHUP is remembered; SIGUSR1 and SIGUSR2 are nothing yet."""
    signal.signal(signal.SIGHUP, _remember)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def reload_asked() -> bool:
    """Whether a SIGHUP came since; asking forgets it."""
    asked = signal.SIGHUP in _asked
    _asked.clear()
    return asked


def _remember(number: int, _frame: FrameType | None) -> None:
    _asked.add(number)
