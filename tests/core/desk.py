"""The director's core on a desk: what reaches it, and what it ordered, in few words."""

from collections.abc import Sequence

from hadirector.core import director_events as ev
from hadirector.core import ipvs, messages, plan
from hadirector.core.director import Director
from hadirector.core.messages import Health, Process
from tests.core import farm
from tests.core.farm import KEY, ONE, TWO

Kernel = dict[ipvs.ServiceKey, ipvs.Entry]
DONE = ev.Applied(frozenset({KEY}))


def refused(text: str) -> ev.Applied:
    """The kernel refused something of the web service."""
    return ev.Applied(frozenset({KEY}), ((KEY, text),))


def from_checker(message: messages.Message) -> ev.From:
    return ev.From(Process.CHECKER, message, float("inf"))


def read(table: ipvs.Table, took: float = 0.001) -> ev.KernelRead:
    return ev.KernelRead(table, ipvs.Usage(), took)


def steps(actions: Sequence[ev.Action]) -> tuple[plan.Operation, ...]:
    """All operations ordered by these actions."""
    return tuple(op for a in actions if isinstance(a, ev.Apply) for op in a.operations)


def kinds(actions: Sequence[ev.Action]) -> list[tuple[str, str]]:
    """Kind and subject of the journal entries written."""
    return [(a.event.kind, a.event.subject) for a in actions if isinstance(a, ev.Write)]


def started(table: ipvs.Table, owned: frozenset[ipvs.ServiceKey] = frozenset()) -> Director:
    """A director at second 0 that has read this table and applied its first plan."""
    director = Director("1", owned, 0.0)
    director.handle(ev.Configured(farm.CONFIG), 0.0)
    director.handle(read(table), 0.0)
    director.handle(DONE, 0.0)
    return director


def settled() -> Director:
    """A director at second 0 with both servers up and the kernel as it should be."""
    director = started({})
    director.handle(from_checker(farm.verdicts((ONE, Health.UP), (TWO, Health.UP))), 0.0)
    director.handle(DONE, 0.0)
    return director
