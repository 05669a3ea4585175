"""What others say of servers: checks of type external, fed through the API.

A report is good for the check's `max_age`. It is kept here for the checker's next life; the next
life of the director learns it from whoever reports again.
"""

from collections.abc import Iterable

from hadirector.core.checker_messages import Report, Reports
from hadirector.core.settings.checks import CheckType, Target

REASON = 200  # characters


class Externals:
    """The targets of external checks, and the last report of each."""

    def __init__(self) -> None:
        self._targets: dict[str, Target] = {}
        self._reports: dict[str, Report] = {}

    def configure(self, targets: Iterable[Target]) -> None:
        """All targets of checks."""
        self._targets = {t.id: t for t in targets if t.check.type is CheckType.EXTERNAL}
        self._reports = {n: r for n, r in self._reports.items() if n in self._targets}

    def targets(self, check: str, server: str) -> tuple[str, ...]:
        """The targets of a check that `server` means: an address, or an address and a port; all of
        them where it is empty."""
        return tuple(
            target.id
            for target in self._targets.values()
            if target.check.name == check
            and server in ("", str(target.endpoint), target.endpoint.address)
        )

    def refusal(self, check: str, server: str) -> str:
        """Why nothing can be reported of them, or nothing."""
        if self.targets(check, server):
            return ""
        names = sorted({target.check.name for target in self._targets.values()})
        if not names:
            return "no service here has a check of type external"
        if check not in names:
            return f"{check}: no external check of that name is used; there are {', '.join(names)}"
        return f"{server}: no server of that address is checked by {check}"

    def report(
        self, names: Iterable[str], up: bool, share: float | None, reason: str, now: float
    ) -> Reports:
        """Take a report of these targets, and tell the checker."""
        reports = tuple(
            Report(name, up, share, reason[:REASON], now, now + self._targets[name].check.max_age)
            for name in names
            if name in self._targets
        )
        self._reports.update((report.target, report) for report in reports)
        return Reports(reports)

    def known(self, now: float) -> Reports:
        """All that still hold, for a checker that starts."""
        return Reports(tuple(r for r in self._reports.values() if r.until > now))
