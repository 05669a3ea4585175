"""`slow_start` and `feedback` of a virtual service: what holds weights back."""

from hadirector.config import scalars
from hadirector.config.problem import Wrong
from hadirector.config.reader import Parse, Section, one_of_names
from hadirector.config.tree import Scalar, Tree
from hadirector.core.ipvs import Scheduler
from hadirector.core.settings.checks import Check, CheckRule, CheckType
from hadirector.core.settings.services import Feedback

# These look at nothing but whether a weight is 0; fo takes the greatest, ovf counts connections.
_WEIGHTLESS = frozenset({Scheduler.RR, Scheduler.LC, Scheduler.LBLC, Scheduler.LBLCR, Scheduler.DH})
_PLACING = frozenset({Scheduler.SH, Scheduler.MH})
_OTHERWISE = {
    Scheduler.FO: "gives all connections to the server of the greatest weight",
    Scheduler.OVF: "takes a weight for a number of connections",
}
# A program's exit status and an external report can give a weight as well.
_TELLING = (CheckType.AGENT, CheckType.EXEC, CheckType.EXTERNAL)
_TYPES = "agent, exec or external"
_DEFAULT = Feedback(checks=())


def read_feedback(
    section: Section, rule: CheckRule, known: dict[str, Check], scheduler: Scheduler
) -> Feedback | None:
    """`feedback: false`, or how weights follow what servers report: by checks of the service that
    can tell a share, or by the one that `check` names beside them."""
    asked = tuple(name for name in rule.checks if name in known and known[name].type in _TELLING)
    tree = section.node.entries.get("feedback")
    if isinstance(tree, Scalar):
        wanted = section.read("feedback", scalars.boolean, True)
        return Feedback(checks=asked) if wanted and asked else None
    below = section.section("feedback")
    if below is None:
        heeded = scheduler not in _WEIGHTLESS and scheduler not in _OTHERWISE
        return Feedback(checks=asked) if asked and heeded else None
    extra = below.read("check", _telling(known), None)
    checks = tuple(dict.fromkeys((*asked, *((extra,) if extra else ()))))
    found = Feedback(
        checks=checks,
        change=below.read("change", scalars.number(0.1, 100), _DEFAULT.change * 100) / 100,
        deadband=below.read("deadband", scalars.number(0, 50), _DEFAULT.deadband * 100) / 100,
        least=below.read("least", scalars.number(1, 100), _DEFAULT.least * 100) / 100,
        smooth=below.read("smooth", scalars.duration(0, 600), _DEFAULT.smooth),
    )
    if not checks and not below.has("check"):
        text = f"no check of this service is of type {_TYPES}: add the 'check: NAME' of one"
        section.error(section.value_at("feedback"), "feedback", text)
    below.close()
    return found if checks else None


def lint(section: Section, scheduler: Scheduler, fed: bool) -> None:
    """Keys that do nothing, or harm, with this scheduler."""
    for key in ("slow_start", *(("feedback",) if fed else ())):
        if not section.has(key):
            continue
        at = section.value_at(key)
        if scheduler in _WEIGHTLESS:
            text = f"scheduler {scheduler.value} heeds no weights: it does nothing; use wlc or wrr"
            section.warn(at, key, text)
        elif scheduler in _PLACING:
            name = scheduler.value
            text = f"scheduler {name} places clients by weight: each step moves some of them"
            section.warn(at, key, text)
        elif scheduler in _OTHERWISE:
            text = f"scheduler {scheduler.value} {_OTHERWISE[scheduler]}: use wlc or wrr"
            section.error(at, key, text)


def _telling(known: dict[str, Check]) -> Parse[str]:
    name_of = one_of_names(tuple(known), "check")

    def parse(tree: Tree) -> str:
        name = name_of(tree)
        if known[name].type not in _TELLING:
            raise Wrong(f"{name} is of type {known[name].type.value}: name one of type {_TYPES}")
        return name

    return parse
