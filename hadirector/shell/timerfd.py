"""A timer of the kernel's that the loop can read: exact where asyncio's own rounds up to 1 ms.

os.timerfd_create is Python 3.13's; until then it is called through the C library. The clock is
CLOCK_BOOTTIME, the instants absolute, so time spent suspended counts.
"""

import ctypes
import os
import time
from contextlib import suppress

_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_ABSTIME = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """One timer; the descriptor is readable once the instant set last has come."""

    def __init__(self) -> None:
        self._descriptor = int(
            _libc.timerfd_create(ctypes.c_int(time.CLOCK_BOOTTIME), _NONBLOCK | _CLOEXEC)
        )
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._set_for: float | None = None

    def fileno(self) -> int:
        """For the loop's reader."""
        return self._descriptor

    def set(self, at: float | None) -> None:
        """Expire at this instant (CLOCK_BOOTTIME seconds; one that is past: at once); None: never.
        The instant already set costs nothing."""
        if at == self._set_for:
            return
        self._set_for = at
        # All zero would disarm: an instant in the past is any other small number.
        ns = 0 if at is None else max(1, round(at * 1e9))
        spec = _Timerspec(_Timespec(0, 0), _Timespec(ns // 10**9, ns % 10**9))
        if _libc.timerfd_settime(self._descriptor, _ABSTIME, ctypes.byref(spec), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def clear(self) -> None:
        """Take note that it expired: readable again only after the next `set`."""
        self._set_for = None
        with suppress(BlockingIOError):
            os.read(self._descriptor, 8)

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self._descriptor)
