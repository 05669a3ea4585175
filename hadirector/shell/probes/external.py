"""Check type external: what somebody pushed through the API, as long as it holds."""

import asyncio
from collections.abc import Callable, Iterable

from hadirector.core import messages
from hadirector.core.checker_messages import Report
from hadirector.core.duration import spell
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Target
from hadirector.shell.probes import base

KEPT = 100_000  # reports


class External:
    """The last report of each target; `now` is CLOCK_BOOTTIME. One that nobody reports for max_age
    after it came here counts as failed: what a life before knew of it is as old by then."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = now
        self._reports: dict[str, Report] = {}
        self._came: dict[str, float] = {}  # since when these wait for a first report

    def keep(self, targets: frozenset[str]) -> None:
        """The others are no longer asked for."""
        self._reports = {n: r for n, r in self._reports.items() if n in targets}
        self._came = {n: at for n, at in self._came.items() if n in targets}

    def take(self, told: messages.Reports) -> Iterable[str]:
        """Reports came; the targets that there is news of."""
        for report in told.reports:
            known = self._reports.get(report.target)
            if known is None and len(self._reports) >= KEPT:
                continue
            if known is None or report.at >= known.at:
                self._reports[report.target] = report
                yield report.target

    def start(self, target: Target, done: base.Done) -> base.Running:
        """Look at the last report; the end comes on the next turn of the loop."""
        return base.Soon(self._loop.call_soon(done, self._outcome(target)))

    def _outcome(self, target: Target) -> Outcome:
        report = self._reports.get(target.id)
        now = self._now()
        if report is None:
            if now <= self._came.setdefault(target.id, now) + target.check.max_age:
                return Outcome(Cause.WAITING, "nothing was reported yet")
            text = f"no report for {spell(target.check.max_age)}"
            return Outcome(Cause.ANSWERED, text)
        said = f"reported {'up' if report.up else 'down'}"
        said += f" with {report.share:.0%} of its weight" if report.share is not None else ""
        said += f" ({report.reason})" if report.reason else ""
        if now > report.until:
            text = f"no report for {spell(target.check.max_age)}; the last one: {said}"
            return Outcome(Cause.ANSWERED, text)
        return Outcome(Cause.GOOD if report.up else Cause.ANSWERED, said, share=report.share)
