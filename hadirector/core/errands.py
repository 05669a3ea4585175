"""The programs of checks: the checker asks, the director knows what is to be run, the runner runs.

    checker -- Execute(target) --> director -- Run(command) --> runner
    checker <-- Executed --------- director <-- Ran ----------- runner

The checker, which strangers talk to, can name a target of its own and no command. At most AT_ONCE
programs run at a time; who waits longer than the check's timeout was not run, and that is our own
trouble.

What an exit status says:

    0        well
    other    failed
    with `exit: share`, as keepalived's misc_dynamic has it:
    0        well, the whole weight
    1        failed
    2-102    well, with a share of 0 to 100 % of the weight (status - 2)
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hadirector.core.address import family
from hadirector.core.checker_messages import Cause, Execute, Executed
from hadirector.core.messages import Run
from hadirector.core.runner_messages import Ran, RunEnd
from hadirector.core.settings.checks import Check, CheckType, Target

AT_ONCE = 32  # programs of checks
WAITING = 4096  # more than the checker has under way
TICKET = "check/"  # begins the ticket of every run of a check's program
NO_WORD = 5.0  # seconds past its deadline without a word: the run is lost


@dataclass(frozen=True, slots=True)
class _Errand:
    """A run that is asked for, or under way until `until`."""

    ticket: int
    target: Target
    until: float


class Errands:
    """All that run and wait. Methods give runs to start and answers to the checker."""

    def __init__(self) -> None:
        self._targets: dict[str, Target] = {}
        self._waiting: OrderedDict[int, _Errand] = OrderedDict()
        self._running: dict[int, _Errand] = {}
        self._lingering: set[int] = set()  # told of as late, and not dead yet

    @property
    def wanted(self) -> bool:
        """Whether anything is to be run by checks."""
        return bool(self._targets)

    def configure(self, targets: Iterable[Target]) -> None:
        """All targets of checks."""
        self._targets = {t.id: t for t in targets if t.check.type is CheckType.EXEC}

    def ask(self, asked: Execute, now: float) -> list[Executed]:
        """The checker's wish; what can be answered at once."""
        target = self._targets.get(asked.target)
        if target is None or len(self._waiting) >= WAITING:
            why = "no such check" if target is None else "too many programs wait"
            return [Executed(asked.ticket, Cause.OURS, why)]
        self._waiting[asked.ticket] = _Errand(asked.ticket, target, now + target.check.timeout)
        return []

    def start(self, now: float) -> list[Run]:
        """What is to be run now."""
        runs: list[Run] = []
        while self._waiting and len(self._running) - len(self._lingering) < AT_ONCE:
            ticket, errand = self._waiting.popitem(last=False)
            if errand.until <= now:
                continue  # nobody waits for it any more
            check = errand.target.check
            self._running[ticket] = _Errand(ticket, errand.target, now + check.timeout + NO_WORD)
            runs.append(
                Run(
                    f"{TICKET}{ticket}",
                    arguments(check.command, errand.target),
                    environment(errand.target),
                    check.timeout,
                )
            )
        return runs

    def ended(self, ran: Ran, now: float) -> list[Executed]:
        """The runner's word, about any run."""
        for ticket in [t for t, errand in self._running.items() if errand.until <= now]:
            self._forget(ticket)
        if not ran.ticket.startswith(TICKET):
            return []
        ticket = int(ran.ticket.removeprefix(TICKET))
        errand = self._running.get(ticket)
        if errand is None:
            return []
        told = ticket in self._lingering
        if ran.gone:
            self._forget(ticket)
        else:
            self._lingering.add(ticket)
        return [] if told else [verdict(ticket, ran, errand.target.check)]

    def lost(self) -> list[Executed]:
        """The runner is gone, and with it all that ran."""
        answers = [
            Executed(ticket, Cause.OURS, "the process that runs programs died")
            for ticket in self._running
            if ticket not in self._lingering
        ]
        self._running.clear()
        self._lingering.clear()
        return answers

    def _forget(self, ticket: int) -> None:
        self._running.pop(ticket, None)
        self._lingering.discard(ticket)


def arguments(command: tuple[str, ...], target: Target) -> tuple[str, ...]:
    """The command of a check with `{address}` and `{port}` replaced by the server's."""
    address, port = target.endpoint.address, str(target.endpoint.port)
    return tuple(a.replace("{address}", address).replace("{port}", port) for a in command)


def environment(target: Target) -> dict[str, str]:
    """What a program finds there."""
    address, port = target.endpoint.address, str(target.endpoint.port)
    return {
        "HADIRECTOR_CHECK": target.check.name,
        "HADIRECTOR_SERVER_ADDRESS": address,
        "HADIRECTOR_SERVER_PORT": port,
        "HADIRECTOR_FAMILY": f"ipv{family(target.endpoint.address)}",
        "HADIRECTOR_TIMEOUT": f"{target.check.timeout:g}",
    }


_CAUSES: Mapping[RunEnd, Cause] = {
    RunEnd.EXITED: Cause.ANSWERED,
    RunEnd.KILLED: Cause.ANSWERED,
    RunEnd.LATE: Cause.SILENT,
    RunEnd.REFUSED: Cause.OURS,  # a program that cannot be executed says nothing of a server
    RunEnd.VOID: Cause.OURS,
}


def verdict(ticket: int, ran: Ran, check: Check) -> Executed:
    """What the end of a program says of the server."""
    if ran.end is not RunEnd.EXITED:
        return Executed(ticket, _CAUSES[ran.end], ran.reason)
    if not check.exit_share:
        good = ran.status == 0
        return Executed(ticket, Cause.GOOD if good else Cause.ANSWERED, ran.reason)
    if ran.status == 1 or ran.status > 102:
        return Executed(ticket, Cause.ANSWERED, ran.reason)
    share = 1.0 if ran.status == 0 else (ran.status - 2) / 100
    return Executed(ticket, Cause.GOOD, f"{ran.reason} ({share:.0%} of its weight)", share)
