"""The targets that cannot be probed because of this node itself, and why."""

from collections.abc import Set
from itertools import islice

from hadirector.core.address import Endpoint

REASONS = 8  # told; more different ones are no help to anybody


class Blind:
    """Targets by what keeps us from them. `changes` counts, so that a reader sees news cheaply."""

    def __init__(self) -> None:
        self.changes = 0
        self._targets: dict[str, tuple[str, Endpoint]] = {}

    def add(self, target: str, server: Endpoint, reason: str) -> None:
        """This one cannot be probed now."""
        if self._targets.get(target) != (reason, server):
            self._targets[target] = (reason, server)
            self.changes += 1

    def remove(self, target: str) -> None:
        """A probe of it counted."""
        self.changes += self._targets.pop(target, None) is not None

    def keep(self, targets: Set[str]) -> None:
        """The others are no longer probed."""
        for target in self._targets.keys() - targets:
            self.remove(target)

    def reasons(self) -> tuple[str, ...]:
        """One sentence for each reason; empty when nothing keeps us from probing."""
        found: dict[str, dict[Endpoint, None]] = {}
        for reason, server in self._targets.values():
            found.setdefault(reason, {})[server] = None
        return tuple(_words(list(found[reason]), reason) for reason in islice(found, REASONS))


def _words(servers: list[Endpoint], reason: str) -> str:
    more = f" and {len(servers) - 1} more" if len(servers) > 1 else ""
    return f"this node cannot reach {servers[0]}{more}: {reason}; weights stay as they are"
