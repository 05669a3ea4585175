"""Whether this node sees its servers at all: a checker that is silent, or cannot reach them.

Both are our own trouble and no word about any server, so weights stay as they are; a node that
does not see is not to take over from one that does.
"""

from collections.abc import Callable
from dataclasses import replace

from hadirector.core import as_client, ipvs, messages
from hadirector.core import director_events as ev
from hadirector.core.services import Change, Services

SILENCE = 5.0  # seconds without a heartbeat: weights freeze, and that is told


class CheckerWatch:
    """What is known of this node's checker; `node` gives the name that is told."""

    def __init__(self, node: Callable[[], str], now: float) -> None:
        self.silent = False
        self.blind: tuple[str, ...] = ()
        self._node = node
        self._heard_at = now
        self._taught: object = None
        self._lent: set[str] = set()  # the targets that it was lent a socket for

    @property
    def hindrance(self) -> str:
        """Why nothing new is known of servers; empty when it is."""
        return "the checker is silent" if self.silent else next(iter(self.blind), "")

    def teach(self, services: Services, *, anew: bool) -> list[ev.Action]:
        """All it is to probe, and after it (`lend`) the sockets it cannot make itself; if it knows
        that, only anew. Of 37,000 servers that is 14 MB."""
        before = self._taught
        targets = services.targets()
        self._taught = targets, services.paths
        if not anew and self._taught == before:
            return []
        self._lent = set()
        if anew:
            # One that began at UNKNOWN would take a server out by its first probe that fails.
            targets = replace(targets, known=services.known())
        return [ev.Send(messages.Process.CHECKER, targets, float("inf"))]

    def lend(self, services: Services, made: Callable[[ipvs.ServiceKey], bool]) -> list[ev.Action]:
        """Sockets for the probes as a client whose services the kernel has, as `made` knows."""
        if len(self._lent) == len(services.paths):
            return []
        due = [p for p in services.paths if p.target not in self._lent and made(p.key)]
        self._lent |= {path.target for path in due}
        return [ev.Send(messages.Process.CHECKER, m, float("inf")) for m in as_client.loans(due)]

    def spoke(self, now: float) -> list[Change]:
        """Anything came of it."""
        self._heard_at = now
        if not self.silent:
            return []
        self.silent = False
        return [Change("checker_back", self._node(), "the checker speaks again")]

    def sees(self, reasons: tuple[str, ...]) -> list[Change]:
        """What keeps it from probing: told when it begins and ends; status has particulars."""
        before, self.blind = self.blind, reasons
        if bool(before) == bool(reasons):
            return []
        kind, text = "checker_sees", "every server can be probed again"
        if reasons:
            kind, text = "checker_blind", "; ".join(reasons)
        return [Change(kind, self._node(), text)]

    def due(self, now: float) -> list[Change]:
        """Time passed."""
        if self.silent or now <= self._heard_at + SILENCE:
            return []
        self.silent = True
        reason = f"silent for {SILENCE:g} s: weights stay as they are"
        return [Change("checker_silent", self._node(), reason)]

    def deadline(self) -> float | None:
        """When it counts as silent unless it speaks."""
        return None if self.silent else self._heard_at + SILENCE
