"""The lease: virtual addresses whose lifetime must be renewed, and the thread that does it.

A process that is killed renews nothing, and the kernel takes the addresses away. A process whose
loop hangs must not renew either: the loop shows that it turns by `turned`, and once that is longer
ago than a third of the lease the thread stops. It is a thread of its own because a system call on
an address waits for the kernel's routing lock, which others may hold for tens of milliseconds.

What it shares with the loop are whole values, replaced and never changed: no locks. The price is
that a renewal under way while the loop removes its address puts it back; the event of that reaches
the loop, which removes it again (a renewal cannot be told not to add, the kernel offers no such
flag).
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hadirector.core.placement import Key
from hadirector.shell import realtime, rtnetlink
from hadirector.shell.netlink import KernelError, Request

log = logging.getLogger(__name__)

SHARE = 3  # renewed each third of the lease, given up when the loop stood still for a third
_PATIENCE = 0.5  # seconds for the kernel's answer: it only matters for the log


@dataclass(frozen=True, slots=True)
class _Held:
    """What is on lease: one value, so the thread never sees half of a change."""

    renewals: Mapping[Key, Request]
    lifetime: float  # seconds, the shortest

    @property
    def third(self) -> float:
        return self.lifetime / SHARE


class Lease:
    """The addresses on lease and their thread. All methods are for the loop."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._held = _Held({}, 0.0)
        self._turned_at = now()
        self._stalled = False
        self._leaving = threading.Event()
        self._changed = threading.Event()
        self._route = rtnetlink.Route(_PATIENCE)
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Renew from now on."""
        self._thread.start()

    def turned(self) -> None:
        """The loop turned."""
        self._turned_at = self._now()

    def hold(self, renewals: Mapping[Key, Request], lifetime: float) -> None:
        """Renew these and no others; `lifetime` is the shortest of theirs, seconds."""
        self._held = _Held(dict(renewals), lifetime)
        self._changed.set()

    def close(self) -> None:
        """Renew once more and stop: whoever comes next has the whole lease to take over in."""
        self._leaving.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE * 2)
        self._route.close()

    def _run(self) -> None:
        realtime.follow()
        due = math.inf
        while not self._leaving.is_set():
            self._changed.wait(None if due == math.inf else max(0.0, due - self._now()))
            changed = self._changed.is_set()
            self._changed.clear()  # first: what changes from here on wakes it again
            held = self._held
            if not held.renewals:
                due = math.inf
            elif changed:
                due = min(due, self._now() + held.third)
            if self._now() < due:
                continue
            due = self._now() + held.third
            self._renew(held)
        self._renew(self._held)

    def _is_turning(self, patience: float) -> bool:
        silent = self._now() - self._turned_at
        if silent <= patience:
            self._stalled = False
        elif not self._stalled:
            self._stalled = True
            log.warning("lease not renewed: the loop stands still for %.2f s", silent)
        return not self._stalled

    def _renew(self, held: _Held) -> None:
        requests = list(held.renewals.values())
        if not requests or not self._is_turning(held.third):
            return
        started = time.monotonic()
        try:
            refused = self._route.execute(requests, "renew leases")
        except KernelError as error:
            log.warning("lease: %s after %.2f s", error, time.monotonic() - started)
            return
        if refused:
            log.warning("lease: %d not renewed, first: %s", len(refused), refused[0].text)
