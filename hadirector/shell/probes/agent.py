"""Check type agent: one line from an agent on the server (core/agent_answer).

What an agent does not say again still holds: one that told `down` and later only its load is down.
"""

from collections.abc import Callable

from hadirector.core.agent_answer import Answer, NoAnswerError, complete, decode
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Target
from hadirector.shell.probes import base

REMEMBERED = 100_000  # agents that said they are down


def starter() -> Callable[[Target], base.Conversation]:
    """Makes the conversation of each probe; they share who said that it is down."""
    down: dict[str, None] = {}
    return lambda target: Talk(target.id, down)


class Talk:
    """Nothing is said; a line is read."""

    __slots__ = ("_came", "_down", "_target")

    def __init__(self, target: str, down: dict[str, None]) -> None:
        self._target = target
        self._down = down
        self._came = bytearray()

    def opened(self) -> base.Reply:
        return None

    def received(self, data: bytes) -> base.Reply:
        self._came += data
        return self.closed() if complete(self._came) else None

    def closed(self) -> Outcome:
        try:
            answer = decode(self._came)
        except NoAnswerError as error:
            return base.answered(str(error))
        return self._outcome(answer)

    def missing(self) -> str:
        return "an agent's line" if not self._came else "the end of its line"

    def _outcome(self, answer: Answer) -> Outcome:
        if answer.up is True:
            self._down.pop(self._target, None)
        elif answer.up is False and len(self._down) < REMEMBERED:
            self._down[self._target] = None
        up = answer.up is not False and self._target not in self._down
        strange = f"words not understood: {' '.join(answer.strange)}" if answer.strange else ""
        return Outcome(
            Cause.GOOD if up else Cause.ANSWERED,
            f"the agent says {answer.text}",
            warning=strange,
            share=answer.share,
            wish=answer.wish,
        )
