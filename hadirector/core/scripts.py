"""When each tracked script is run, and what the end of a run says.

Rules
- A script has a slot each `interval`, counted from its last start; its first one is at once. It
  never overlaps itself: a slot that comes while it runs, or cannot be killed, is missed.
- At most AT_ONCE run at a time; those that wait longest go first. One that cannot be killed does
  not count: it keeps nothing but its own place.
- What this host could not start (no memory, no process to be had) says nothing of the script, nor
  does a run whose runner died: it is run again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hadirector.core.deadlines import Deadlines
from hadirector.core.messages import Run
from hadirector.core.runner_messages import Ran, RunEnd
from hadirector.core.settings.cluster import Script

AT_ONCE = 8  # scripts under way
NO_WORD = 30.0  # seconds past its deadline without a word: the run is lost
TICKET = "script/"  # begins the ticket of every run of a script


@dataclass(frozen=True, slots=True)
class _Run:
    """A script under way, as it was when it began. `lost_at` None: it was heard of, and is late."""

    ticket: str
    script: Script
    lost_at: float | None


class Schedule:
    """The scripts that are tracked, by name."""

    def __init__(self) -> None:
        self._scripts: dict[str, Script] = {}
        self._due = Deadlines[str]()
        self._waiting: dict[str, None] = {}  # due, for want of a place
        self._running: dict[str, _Run] = {}
        self._number = 0

    def configure(self, scripts: Iterable[Script], now: float) -> None:
        """All of them; one that stays keeps its slot, unless it is another now."""
        before, self._scripts = self._scripts, {script.name: script for script in scripts}
        for name in before.keys() - self._scripts.keys():
            self._due.set(name, None)
            self._waiting.pop(name, None)
        for name, script in self._scripts.items():
            if script != before.get(name):
                self._due.set(name, now)

    def start(self, now: float) -> list[Run]:
        """What is to be run now."""
        self._give_up(now)
        for name in self._due.take_due(now):
            self._due.set(name, now + self._scripts[name].interval)
            if name not in self._running:
                self._waiting.setdefault(name)
        free = AT_ONCE - sum(run.lost_at is not None for run in self._running.values())
        return [self._start(name, now) for name in list(self._waiting)[: max(0, free)]]

    def ended(self, ran: Ran) -> str | None:
        """The name of a script whose run this is a verdict on; None: it is none."""
        name = next((n for n, run in self._running.items() if run.ticket == ran.ticket), None)
        if name is None:
            return None
        run = self._running[name]
        if ran.gone:
            del self._running[name]
        else:
            self._running[name] = replace(run, lost_at=None)
        if run.lost_at is None or ran.end is RunEnd.VOID:
            return None  # told when its time was up; or nothing to be told
        script = self._scripts.get(name)
        return name if script and script.command == run.script.command else None

    def lost(self, now: float) -> None:
        """The runner is gone, and with it all that ran."""
        for name in self._running:
            self._run_again(name, now)
        self._running.clear()

    def deadline(self) -> float | None:
        """When something is due; what waits for a place waits for an end."""
        lost = [run.lost_at for run in self._running.values() if run.lost_at is not None]
        due = self._due.soonest()
        return min(lost if due is None else [*lost, due], default=None)

    def _start(self, name: str, now: float) -> Run:
        script = self._scripts[name]
        self._number += 1
        ticket = f"{TICKET}{name}/{self._number}"
        del self._waiting[name]
        self._due.set(name, now + script.interval)
        self._running[name] = _Run(ticket, script, now + script.timeout + NO_WORD)
        return Run(ticket, script.command, {"HADIRECTOR_SCRIPT": name}, script.timeout)

    def _give_up(self, now: float) -> None:
        for name, run in tuple(self._running.items()):
            if run.lost_at is not None and run.lost_at <= now:
                del self._running[name]
                self._run_again(name, now)

    def _run_again(self, name: str, now: float) -> None:
        if name in self._scripts:
            self._due.set(name, now)


def is_good(ran: Ran) -> bool:
    """Whether a program succeeded."""
    return ran.end is RunEnd.EXITED and ran.status == 0
