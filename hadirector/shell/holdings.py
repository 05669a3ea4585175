"""Which of its virtual addresses a router has in the kernel: what status shows beside its state."""

from collections.abc import Iterable
from dataclasses import replace

from hadirector.core.messages import Router
from hadirector.shell.links import Table


def seen(routers: Iterable[Router], table: Table) -> tuple[Router, ...]:
    """These routers, each with those of its addresses that are on this host."""
    told = tuple(routers)
    if not told:
        return told
    there = {str(one.address) for one in table.held()}
    return tuple(
        replace(router, held=tuple(a for a in router.addresses if a.partition("/")[0] in there))
        for router in told
    )
