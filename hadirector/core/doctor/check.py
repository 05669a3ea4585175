"""What a check is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hadirector.core.doctor.case import Case
from hadirector.core.doctor.facts import Group
from hadirector.core.doctor.finding import Finding, NotChecked
from hadirector.core.settings.cluster import Config

Look = Callable[[Case], Iterable[Finding | NotChecked]]


def always(config: Config) -> bool:
    """For a check that has a meaning in every configuration."""
    return True


@dataclass(frozen=True, slots=True)
class Check:
    """`title` in words, `needs` the groups it cannot do without, `applies` whether this
    configuration has what it is about."""

    title: str
    needs: tuple[Group, ...]
    look: Look
    applies: Callable[[Config], bool] = always
