"""Notes each coming and going of one address on the directors, as their kernels tell it."""

import threading
import time
from collections.abc import Iterable
from contextlib import suppress

from labkit import kernel, topology
from labkit.director import Director
from labkit.story import Story


class AddressWatch:
    """A thread for each director; what it hears goes to `story.owned`."""

    def __init__(
        self, directors: Iterable[Director], story: Story, address: str = topology.VIP
    ) -> None:
        self._story = story
        self._address = address
        self._running = True
        self._threads = [
            threading.Thread(target=self._listen, args=(d,), daemon=True) for d in directors
        ]
        self._monitors = {d.name: kernel.address_monitor(d.node.anchor) for d in directors}
        for thread in self._threads:
            thread.start()

    def _listen(self, director: Director) -> None:
        held = False
        anchor = director.node.anchor
        monitor = self._monitors[director.name]
        monitor.settimeout(0.2)
        while self._running:
            if director.node.anchor != anchor:  # it was rebooted
                anchor, held = director.node.anchor, False
                monitor.close()
                monitor = self._monitors[director.name] = kernel.address_monitor(anchor)
                monitor.settimeout(0.2)
            with suppress(TimeoutError):
                datagram = monitor.recv(1 << 16)
                now = time.monotonic()
                for added, address in kernel.address_events(datagram):
                    if address == self._address and added != held:
                        held = added
                        self._story.owned.append((now, director.name, held))

    def stop(self) -> None:
        """No more is noted."""
        self._running = False
        for thread in self._threads:
            thread.join(2)
        for monitor in self._monitors.values():
            monitor.close()
