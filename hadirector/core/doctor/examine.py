"""All checks, over one configuration and what was found out."""

from hadirector.core.doctor import forwarding, host, segment, services
from hadirector.core.doctor.case import Case
from hadirector.core.doctor.check import Check
from hadirector.core.doctor.facts import Facts
from hadirector.core.doctor.finding import Finding, NotChecked, Report
from hadirector.core.doctor.limits import limits
from hadirector.core.settings.cluster import Config

CHECKS: tuple[Check, ...] = (
    *services.checks(),
    *forwarding.checks(),
    *segment.checks(),
    *host.checks(),
)


def examine(config: Config, facts: Facts) -> Report:
    """Everything that is wrong, what could not be looked at, what was, and what cannot be had."""
    case = Case(config, facts)
    findings: list[Finding] = []
    not_checked: list[NotChecked] = []
    checked: list[str] = []
    for check in CHECKS:
        if not check.applies(config):
            continue
        reason = next((facts.unknown[need] for need in check.needs if need in facts.unknown), "")
        if reason:
            not_checked.append(NotChecked(check.title, reason))
            continue
        checked.append(check.title)
        for told in check.look(case):
            if isinstance(told, NotChecked):
                not_checked.append(told)
            else:
                findings.append(told)
    left = tuple(dict.fromkeys(not_checked))
    return Report(tuple(findings), left, tuple(checked), limits(case))
