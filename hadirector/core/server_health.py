"""One health for a server, from the verdicts of all checks of its service."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hadirector.core.address import Endpoint
from hadirector.core.messages import Health, Verdict, Wish
from hadirector.core.settings.checks import CheckRule, Combine, target_id
from hadirector.core.settings.services import VirtualService

ASKS = (Wish.DRAIN, Wish.MAINT)
_STRONGER = (Wish.NONE, Wish.DRAIN, Wish.MAINT)


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """The verdicts of all checks of a server, made one. `detail` tells the check that decided.
    `alone`: it is down because it fell silent, as everybody else did: the trouble may be ours."""

    health: Health
    answered: bool
    detail: str
    decided_by: Verdict | None
    alone: bool = False

    @property
    def since(self) -> float:
        """When the health last changed, CLOCK_BOOTTIME; 0 where nobody judged."""
        return self.decided_by.since if self.decided_by else 0.0


def combine(rule: CheckRule, endpoint: Endpoint, verdicts: Mapping[str, Verdict]) -> ServerHealth:
    """Enough up is up, enough down is down."""
    if not rule.checks:
        return ServerHealth(Health.UP, True, "not checked", None)
    known = [verdicts.get(target_id(name, endpoint)) for name in rule.checks]
    needed = _needed(rule)
    good = [v for v in known if v is not None and is_in(v.health)]
    bad = [v for v in known if v is not None and is_out(v.health)]
    if len(good) >= needed:
        return _health(good, Health.UP)
    if len(bad) > len(rule.checks) - needed:
        return _health(bad, Health.DOWN)
    return ServerHealth(Health.UNKNOWN, False, "no verdict yet", None)


def judge(
    service: VirtualService, endpoint: Endpoint, verdicts: Mapping[str, Verdict]
) -> ServerHealth:
    """The same of a server of this service, and what it says of itself: `down` of an agent has it
    out also where that agent is asked for its load alone. Its silence does not."""
    health = combine(service.check, endpoint, verdicts)
    if service.feedback is None or is_out(health.health):
        return health
    for name in service.feedback.checks:
        verdict = verdicts.get(target_id(name, endpoint))
        if verdict is None or verdict.last is None or verdict.last.up is not False:
            continue
        if is_out(verdict.health) and name not in service.check.checks:
            told = f"its agent's last word is down: {verdict.last.detail}"
            return ServerHealth(Health.DOWN, True, told, verdict)
    return health


def is_in(health: Health) -> bool:
    """Whether a server of this health serves; asked for each server of a service at each verdict,
    and hashing an Enum takes ten times as long."""
    return health is Health.UP or health is Health.FALLING


def is_out(health: Health) -> bool:
    """Whether its checks have it out."""
    return health is Health.DOWN or health is Health.RISING


def wish(checks: Iterable[str], endpoint: Endpoint, verdicts: Mapping[str, Verdict]) -> Wish:
    """What a server's own operator asks for, by whichever of these checks is an agent's."""
    return max(
        (
            verdict.last.wish
            for name in checks
            if (verdict := verdicts.get(target_id(name, endpoint))) is not None
            and verdict.last is not None
            and verdict.last.wish is not None
        ),
        key=_STRONGER.index,
        default=Wish.NONE,
    )


def recall(verdict: Verdict, before: Verdict) -> Verdict:
    """With what an agent said in the checker's life before and did not say again, which holds."""
    last, known = verdict.last, before.last
    if last is None or known is None:
        return verdict
    wish = known.wish if last.wish is None else last.wish
    up = known.up if last.up is None else last.up
    if wish is last.wish and up is last.up:
        return verdict
    health = Health.DOWN if last.ok and up is False else verdict.health
    last = replace(last, wish=wish, up=up, ok=last.ok and up is not False)
    return replace(verdict, health=health, last=last)


def _needed(rule: CheckRule) -> int:
    match rule.combine:
        case Combine.ALL:
            return len(rule.checks)
        case Combine.ANY:
            return 1
        case Combine.AT_LEAST:
            return rule.count


def _health(deciding: list[Verdict], settled: Health) -> ServerHealth:
    """Doubt of any deciding check shows: falling rather than up, rising rather than down. A server
    answered if any of those that are against it got an answer."""
    doubtful = [v for v in deciding if v.health is not settled]
    chosen = doubtful[0] if doubtful else deciding[0]
    last = chosen.last
    detail = last.detail if last else "no probe yet"
    alone = all(v.alone for v in deciding)
    return ServerHealth(chosen.health, bool(last and last.answered), detail, chosen, alone)
