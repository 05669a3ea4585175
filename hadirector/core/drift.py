"""What is told of drift: somebody who changes IPVS in a loop fills no journal.

A service is told once a minute; what was repaired meanwhile is counted and told at the end of it.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import islice

from hadirector.core import plan
from hadirector.core.ipvs import ServiceKey

EVERY = 60.0  # seconds between lines about one service
AT_ONCE = 5  # services told one by one; an emptied table may have had a thousand

Line = tuple[str, str]
"""(subject, reason)."""


class DriftNews:
    """`tell` takes what each read of the kernel showed to be wrong, and gives lines to write."""

    def __init__(self) -> None:
        self._told_at: dict[ServiceKey, float] = {}
        self._since: Counter[ServiceKey] = Counter()

    def tell(self, repaired: Iterable[plan.Operation], now: float) -> list[Line]:
        """Lines about these repairs, and about those counted in a minute that is over."""
        found: dict[ServiceKey, list[plan.Operation]] = {}
        for step in repaired:
            found.setdefault(plan.service_of(step), []).append(step)
        lines = self._overdue(now)
        fresh = [key for key in found if key not in self._told_at]
        for key in found.keys() - set(fresh):
            self._since[key] += len(found[key])
        self._told_at |= dict.fromkeys(fresh, now)
        lines += [(str(key), _words(found[key])) for key in islice(fresh, AT_ONCE)]
        if len(fresh) > AT_ONCE:
            lines.append(("ipvs", f"{len(fresh) - AT_ONCE} more services repaired"))
        return lines

    def _overdue(self, now: float) -> list[Line]:
        """The end of each service's minute; a service that goes on drifting begins another."""
        lines = []
        for key in [key for key, at in self._told_at.items() if now - at >= EVERY]:
            count = self._since.pop(key, 0)
            if count:
                lines.append((str(key), f"repaired {count} more times within {EVERY:.0f} s"))
                self._told_at[key] = now
            else:
                del self._told_at[key]
        if len(lines) > AT_ONCE:
            rest = len(lines) - AT_ONCE
            lines[AT_ONCE:] = [("ipvs", f"{rest} more services were repaired again and again")]
        return lines


def _words(steps: list[plan.Operation]) -> str:
    more = f", and {len(steps) - 1} more" if len(steps) > 1 else ""
    return f"repaired: {plan.describe(steps[0])}{more}"
