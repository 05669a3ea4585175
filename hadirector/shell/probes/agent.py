"""Check type agent: one line from an agent on the server (core/agent_answer)."""

from hadirector.core.agent_answer import Answer, NoAnswerError, complete, decode
from hadirector.core.pacing import Cause, Outcome
from hadirector.shell.probes import base


class Talk:
    """Nothing is said; a line is read."""

    __slots__ = ("_came",)

    def __init__(self) -> None:
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
        strange = f"words not understood: {' '.join(answer.strange)}" if answer.strange else ""
        return Outcome(
            Cause.ANSWERED if answer.up is False else Cause.GOOD,
            f"the agent says {answer.text}",
            warning=strange,
            share=answer.share,
            wish=answer.wish,
            up=answer.up,
        )
