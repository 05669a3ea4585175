"""What directors say to each other beside their presence, on a peer channel with a key.

A handover: the master's director asks the successor's whether it would (`Prepare`), makes its own
election yield, and then has the successor take over at once (`TakeOver`). Each question is
repeated until its `Answer` comes; one token is obeyed once.
"""

from dataclasses import dataclass

from hadirector.core.overrides import Override
from hadirector.core.peers import Presence


@dataclass(frozen=True, slots=True)
class Echo:
    """Nothing but its header: what was not believed is to be said again (core/conversation)."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Would you take these instances over, now?"""

    token: str
    instances: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Take these over: their master has given them up. Of an instance that is divided between
    nodes a router, "front/ipv6"."""

    token: str
    instances: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """To the question with this token. `taken`: to TakeOver. `refusal` empty: yes."""

    token: str
    taken: bool
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """Operators' orders about real servers that the sender knows; instants count from now."""

    orders: tuple[Override, ...]


Order = Prepare | TakeOver | Answer
"""What core/operations takes."""

Keyed = Order | Told
"""What only a key makes believable."""

PeerMessage = Presence | Echo | Keyed
