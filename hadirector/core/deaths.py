"""Which processes of this node died, and whether that was told already."""

from collections.abc import Iterator

from hadirector.core.journal import Journal
from hadirector.core.messages import Process, ProcessState
from hadirector.core.services import Change

DIED = "process_died"
RECENT = 60.0  # seconds a restart stays a trouble: who looks a moment later still sees it

States = tuple[ProcessState, ...]


def news(before: States, after: States, journal: Journal) -> Iterator[Change]:
    """What to tell of `after`, as the supervisor told it last; `before` is what it told then.

    A director that starts hears of deaths for the first time: of its forerunner's, and of all
    that its forerunner told of. The journal, which outlives it, knows which is which.
    """
    known = {state.process: state.restarts for state in before}
    since = next((s.since for s in after if s.process is Process.SUPERVISOR), 0.0)
    for state in after:
        if not state.ended or state.restarts == known.get(state.process, 0):
            continue
        subject, restarts = state.process.value, str(state.restarts)
        told = any(
            event.kind == DIED and event.inputs.get("restarts") == restarts and event.at >= since
            for event in journal.about(subject)
        )
        if not told:
            reason = f"{state.ended}; a new one takes its place"
            yield Change(DIED, subject, reason, {"restarts": restarts})


def trouble(states: States, now: float) -> list[str]:
    """What is not running, and what was started anew a moment ago because it died."""
    told = []
    for state in states:
        name, how = state.process.value, state.ended or "it ended"
        if not state.alive:
            told.append(f"the {name} process is not running: {how}; a new one starts")
        elif state.ended and now - state.since < RECENT:
            told.append(f"the {name} process {how} and was started again, restart {state.restarts}")
    return told
