"""Commands that are run on events: what waits, what is next, when it is tried again.

Rules
1. A hook is told of states: `master` of an instance, `server_down` of a server. What it was not
   told of yet is superseded by the subject's next state, whether the hook wants to hear of that or
   not. What it is being told already runs to its end or its timeout; the next state waits for it.
2. Each hook has a queue of its own and runs one command at a time, the oldest first.
3. A command that fails is tried again, after a pause that doubles from RETRY to RETRY_MOST, for as
   long as the state is still that one; meanwhile the other subjects get their turn.
4. A state that was told with success and holds again, with nothing told in between, is not told
   again.
5. A director that starts tells no hook what the one before it told. What that one still had to
   tell it goes on telling, unless the state has moved on.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from hadirector.core.messages import Event, Run
from hadirector.core.runner_messages import Ran, RunEnd
from hadirector.core.scripts import NO_WORD, is_good
from hadirector.core.services import Change
from hadirector.core.settings.cluster import Config, Hook

RETRY, RETRY_MOST = 1.0, 60.0  # seconds
WAITING = 4096  # subjects a hook may be behind with; more are dropped and told
UNKILLABLE = 5.0  # seconds past its end for a command that cannot be killed; then the next one
RESUME = 3.0  # seconds for a new director to learn what became of the states left over
TICKET = "hook/"  # begins the ticket of every run of a hook

_STATES = {
    **dict.fromkeys(("init", "backup", "master", "fault", "stopped"), "router"),
    **dict.fromkeys(("server_down", "server_up"), "server"),
    **dict.fromkeys(("quorum_lost", "quorum_gained"), "quorum"),
}

Subject = tuple[str, str]
"""What has a state: ("router", "front"), ("server", "web/10.0.1.11:80"), ("quorum", "web")."""

Holds = Callable[[str, str], bool | None]
"""(kind, subject) -> whether it is still so; None: not known now."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Something a hook still has to be told."""

    command: tuple[str, ...]
    event: Event


@dataclass(frozen=True, slots=True)
class _Entry:
    """An event on its way, as its `number`th. `failed`: how often, with the last reason."""

    event: Event
    number: int
    due_at: float
    failed: int = 0
    reason: str = ""


@dataclass(slots=True)
class _Queue:
    """One hook. `waiting` by subject; `last`: what it was last told of each, None if in vain."""

    hook: Hook
    waiting: dict[Subject, _Entry] = field(default_factory=dict)
    running: tuple[Subject, _Entry, str] | None = None
    gone_at: float = 0.0  # whatever is heard of it, the run counts as over then
    last: dict[Subject, str | None] = field(default_factory=dict)
    overflowing: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """A hook as status shows it."""

    hook: Hook
    waiting: int
    running: str
    failing: tuple[str, ...]


class Hooks:
    """The hooks of a node. `left_over` is what a former director had still to tell."""

    def __init__(self, left_over: Iterable[Pending] = ()) -> None:
        self._queues: list[_Queue] = []
        self._left_over = tuple(left_over)
        self._states: dict[Subject, str] = {}  # the newest by events
        self._split: frozenset[str] = frozenset()  # instances whose families go their own ways
        self._about: dict[str, str] = {}
        self._number = 0

    # --- in ----------------------------------------------------------------------------------

    def configure(self, config: Config, now: float) -> None:
        """These hooks; one that stays keeps its queue, one that changed inherits what waited."""
        old = self._queues
        self._about = {"HADIRECTOR_NODE": config.node, "HADIRECTOR_CLUSTER": config.cluster}
        self._split = frozenset(
            i.name for i in config.instances if not i.couple and len(i.families()) > 1
        )
        kept = {queue.hook: queue for queue in old}
        self._queues = [kept.get(hook) or _Queue(hook) for hook in config.hooks]
        for before, after in zip(old, self._queues, strict=False):
            if before not in self._queues and after not in old:
                after.waiting = {
                    subject: entry
                    for subject, entry in _unfinished(before)
                    if entry.event.kind in after.hook.events
                }
        for pending in self._left_over:
            self._resume(pending, now)
        self._left_over = ()

    def happened(self, event: Event, now: float) -> list[Change]:
        """An event of the journal: a new state of its subject, or nothing to us."""
        subject = self._subject(event)
        if subject is None or self._states.get(subject) == event.kind:
            return []  # both families of an instance say so
        self._states[subject] = event.kind
        told: list[Change] = []
        for queue in self._queues:
            told += self._queue(queue, subject, event, now)
        return told

    def ended(self, ran: Ran, now: float) -> list[Change]:
        """A run came to its end; what to tell."""
        for queue in self._queues:
            if queue.running is not None and queue.running[2] == ran.ticket:
                subject, entry, _ = queue.running
                if not ran.gone:
                    queue.gone_at = now + UNKILLABLE
                    return []
                queue.running = None
                return self._judge(queue, subject, entry, ran, now)
        return []

    def lost(self, now: float) -> None:
        """The runner is gone, and with it all that ran: it is run again."""
        for queue in self._queues:
            self._run_again(queue, now)

    def start(self, holds: Holds, now: float) -> tuple[list[Run], list[Change]]:
        """What is to be run now, and what to tell."""
        runs: list[Run] = []
        told: list[Change] = []
        for queue in self._queues:
            if queue.running is not None and queue.gone_at <= now:
                subject, entry, ticket = queue.running
                queue.running = None
                ran = Ran(ticket, RunEnd.LATE, 0, "no end of it was seen", 0.0)
                told += self._judge(queue, subject, entry, ran, now)
            while queue.running is None and (found := _next(queue, now)):
                subject, entry = found
                if queue.last.get(subject) == entry.event.kind:
                    del queue.waiting[subject]  # the state was left and came back meanwhile
                    continue
                still = holds(entry.event.kind, entry.event.subject)
                if still is None:
                    queue.waiting[subject] = replace(entry, due_at=now + RETRY)
                    continue
                del queue.waiting[subject]
                if still:
                    runs.append(self._start(queue, subject, entry, now))
                else:
                    told += _superseded(queue, entry, "it is so no more")
        return runs, told

    # --- readings ----------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When `start` has something to do; what waits behind a run waits for its end."""
        due = [
            min((e.due_at for e in queue.waiting.values()), default=None)
            if queue.running is None
            else queue.gone_at
            for queue in self._queues
        ]
        return min((at for at in due if at is not None), default=None)

    def busy(self) -> bool:
        """Whether anything runs, or waits for its first try."""
        return any(
            queue.running is not None or any(not entry.failed for entry in queue.waiting.values())
            for queue in self._queues
        )

    def pending(self) -> tuple[Pending, ...]:
        """All that is still to be told, for the next director."""
        return tuple(
            Pending(queue.hook.command, entry.event)
            for queue in self._queues
            for _, entry in _unfinished(queue)
        )

    def shown(self) -> tuple[Shown, ...]:
        """Each hook as it is."""
        return tuple(_shown(queue) for queue in self._queues)

    # --- helpers of the above, in their order ------------------------------------------------

    def _resume(self, pending: Pending, now: float) -> None:
        subject = self._subject(pending.event)
        for queue in self._queues:
            wanted = pending.event.kind in queue.hook.events
            if queue.hook.command == pending.command and wanted and subject is not None:
                self._number += 1
                queue.waiting[subject] = _Entry(pending.event, self._number, now + RESUME)

    def _subject(self, event: Event) -> Subject | None:
        kind = _STATES.get(event.kind)
        if kind is None:
            return None
        if kind == "router" and event.subject in self._split:
            return kind, f"{event.subject}/{event.inputs.get('family', '')}"
        return kind, event.subject

    def _queue(self, queue: _Queue, subject: Subject, event: Event, now: float) -> list[Change]:
        outdated = queue.waiting.pop(subject, None)
        told = _superseded(queue, outdated, f"{event.kind} now") if outdated else []
        known = queue.last.get(subject) == event.kind and not _runs(queue, subject)
        if event.kind not in queue.hook.events or known:
            return told
        if len(queue.waiting) >= WAITING and subject[0] != "router":
            return told + _overflow(queue, event)
        queue.overflowing = False
        self._number += 1
        queue.waiting[subject] = _Entry(replace(event, subject=subject[1]), self._number, now)
        return told

    def _start(self, queue: _Queue, subject: Subject, entry: _Entry, now: float) -> Run:
        self._number += 1
        ticket = f"{TICKET}{self._number}"
        queue.running = subject, entry, ticket
        queue.gone_at = now + queue.hook.timeout + NO_WORD
        queue.last[subject] = None
        event = entry.event
        environment = self._about | {
            "HADIRECTOR_EVENT": event.kind,
            "HADIRECTOR_SUBJECT": event.subject,
            "HADIRECTOR_REASON": event.reason.replace("\0", " "),
        }
        return Run(ticket, queue.hook.command, environment, queue.hook.timeout, event)

    def _judge(
        self, queue: _Queue, subject: Subject, entry: _Entry, ran: Ran, now: float
    ) -> list[Change]:
        what = f"{queue.hook.command[0]} for {entry.event.kind}"
        name = entry.event.subject
        if is_good(ran):
            queue.last[subject] = entry.event.kind
            after = f"done at try {entry.failed + 1}"
            return [Change("hook_done", name, f"{what}: {after}")] if entry.failed else []
        failed = entry.failed + 1
        if (
            subject in queue.waiting
            or self._states.get(subject, entry.event.kind) != entry.event.kind
        ):
            return [Change("hook_failed", name, f"{what}: {ran.reason}; the state has moved on")]
        pause = min(RETRY_MOST, RETRY * 2.0 ** (failed - 1))
        queue.waiting[subject] = replace(
            entry, due_at=now + pause, failed=failed, reason=ran.reason
        )
        if ran.reason == entry.reason:
            return []
        return [Change("hook_failed", name, f"{what}: {ran.reason}; tried again until it is done")]

    def _run_again(self, queue: _Queue, now: float) -> None:
        if queue.running is not None:
            subject, entry, _ = queue.running
            queue.running = None
            if subject not in queue.waiting:
                queue.waiting[subject] = replace(entry, due_at=now)


def _next(queue: _Queue, now: float) -> tuple[Subject, _Entry] | None:
    """The oldest of what is due."""
    due = [
        (entry.number, subject) for subject, entry in queue.waiting.items() if entry.due_at <= now
    ]
    if not due:
        return None
    subject = min(due)[1]
    return subject, queue.waiting[subject]


def _unfinished(queue: _Queue) -> list[tuple[Subject, _Entry]]:
    running = [queue.running[:2]] if queue.running is not None else []
    return [(s, e) for s, e in running if s not in queue.waiting] + list(queue.waiting.items())


def _runs(queue: _Queue, subject: Subject) -> bool:
    return queue.running is not None and queue.running[0] == subject


def _superseded(queue: _Queue, entry: _Entry, why: str) -> list[Change]:
    """Told only where somebody knows that it was tried."""
    if not entry.failed:
        return []
    text = f"{queue.hook.command[0]} for {entry.event.kind}: given up after {entry.failed} tries: "
    return [Change("hook_given_up", entry.event.subject, text + why)]


def _overflow(queue: _Queue, event: Event) -> list[Change]:
    if queue.overflowing:
        return []
    queue.overflowing = True
    text = f"{queue.hook.command[0]} is behind with {WAITING} subjects: further ones are dropped"
    return [Change("hook_failed", event.subject, text)]


def _shown(queue: _Queue) -> Shown:
    running = f"{queue.running[1].event.kind} of {queue.running[0][1]}" if queue.running else ""
    failing = tuple(
        f"{queue.hook.command[0]} for {e.event.kind} of {e.event.subject}: {e.reason}, "
        f"{e.failed} tries"
        for _, e in _unfinished(queue)
        if e.failed
    )
    return Shown(queue.hook, len(queue.waiting), running, failing)
