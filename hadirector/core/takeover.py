"""A planned switch seen from the successor: a peer's director hands over, this node takes over."""

from collections import OrderedDict
from dataclasses import dataclass

from hadirector.core import director_events as ev
from hadirector.core import messages
from hadirector.core.messages import OrderKind, Process
from hadirector.core.peer_messages import Answer, TakeOver
from hadirector.core.services import Change

ORDER_HOLDS = 2.0  # seconds an order is good for: one that waited longer is not obeyed
_REMEMBERED = 32  # requests

Step = ev.Action | Change


def order(kind: OrderKind, orders: dict[str, str]) -> list[Step]:
    """Orders to the own election, token -> subject."""
    return [
        ev.Send(Process.ELECTION, messages.Order(kind, token, name), ORDER_HOLDS)
        for token, name in orders.items()
    ]


@dataclass(slots=True)
class _Asked:
    """A peer's request; the own election has not answered the `open` orders yet."""

    node: str
    token: str
    open: set[str]
    refusal: str = ""

    def answer(self) -> list[Step]:
        if self.open:
            return []
        return [ev.TellPeer(self.node, Answer(self.token, taken=True, refusal=self.refusal))]


class TakeOvers:
    """Those that peers asked for: each is ordered once and answered as often as it is asked."""

    def __init__(self) -> None:
        self._asked: OrderedDict[str, _Asked] = OrderedDict()

    def ask(self, node: str, said: TakeOver) -> list[Step]:
        """A peer's master has given these up."""
        name = f"{node}/{said.token}"
        if name in self._asked:
            return self._asked[name].answer()
        orders = {f"{name}/{number}": subject for number, subject in enumerate(said.instances)}
        self._asked[name] = _Asked(node, said.token, set(orders))
        while len(self._asked) > _REMEMBERED:
            self._asked.popitem(last=False)
        told = [
            Change("takeover_asked", subject.partition("/")[0], f"{node} hands it over")
            for subject in said.instances
        ]
        return [*order(OrderKind.TAKE_OVER, orders), *told]

    def obeyed(self, told: messages.Obeyed) -> list[Step] | None:
        """The own election's answer; None: not to one of these."""
        asked = self._asked.get(told.token.rpartition("/")[0])
        if asked is None:
            return None
        asked.open.discard(told.token)
        asked.refusal = asked.refusal or told.refused
        return asked.answer()
