"""What a virtual router has heard so far, and what it may do while it is deaf.

A node that boots is deaf for a while: a switch port forwards only after its spanning tree's delay,
a firewall lets protocol 112 in only once its rules are loaded. By RFC 9568 it would find its
master down, become master and, with the higher priority, push a healthy one out of its place as
soon as it is heard itself. Three rules keep it from that:

1. The startup gate (core/vrrp): listening begins when frames are known to pass, or after 10 s.
2. Who never heard an advert of this virtual router, while somebody else on the segment answers for
   its addresses, is deaf to a living master. It holds back as long as a live peer says that it is
   that master; for 10 s where nobody says so, since what answers may be what a dead node left
   behind. A peer's word alone holds nobody back: where its addresses are not answered for, the
   segment is in two, and this half has nobody else.
3. Who becomes master having heard nothing at all is master in the dark: it serves, but advertises
   priority 1, so as to give way to whoever is there. Once the network is heard it goes on so for
   one master-down interval, in which a master that is there is heard; then it says its own. On a
   wire where nobody ever says anything it does so after 60 s: no spanning tree keeps a port closed
   for longer (802.1D: 20 s until what is known of the tree is too old, then 15 s of listening and
   15 s of learning), so there is nobody to give way to. Where adverts are slower than one in 15 s
   it waits for a master-down interval at least.

A link that went down makes deaf anew. Rules 2 and 3 are part of `startup_delay: auto`: who writes
a number there has decided how long to wait, and for what.
"""

import math
from collections.abc import Sequence

from hadirector.core.vrrp_states import Claim

STARTUP_PATIENCE = 10.0  # seconds: for the network, and for a master that only answers for itself
ANSWER_HOLDS = 15.0  # seconds: the kernel asks a neighbour it knew again only after 5
DARK_AT_MOST = 60.0  # seconds as master; a port is closed for 20 + 2 * 15 at most
IN_THE_DARK = "nothing at all was heard yet: advertising priority 1 until it is, or for a minute"


class Ears:
    """One router's, from a start or from a link that came up. `network`: frames are known to pass;
    `advert`: an advert of this virtual router came."""

    def __init__(self, network: bool) -> None:
        self.network = network
        self.advert = network
        self._told = False  # that it holds back
        self.dark = False
        self._lit_at = math.inf
        self._answered_at = -math.inf
        self._listens_from = -math.inf

    def listen(self, now: float) -> None:
        """Listening begins."""
        self._listens_from = now

    def answered(self, now: float) -> None:
        """Somebody else answers for an address of this router."""
        self._answered_at = now

    def is_deaf(self, claimed: bool, now: float) -> bool:
        """Rule 2: whether there is a master that this router merely does not hear."""
        if self.advert or now - self._answered_at > ANSWER_HOLDS:
            return False
        return claimed or now < self._listens_from + STARTUP_PATIENCE

    def tells(self) -> bool:
        """Whether it is to be told that it holds back: once."""
        first, self._told = not self._told, True
        return first

    def go_dark(self, patience: float, now: float) -> None:
        """Rule 3, at becoming master. Who becomes it again has waited some of its time already.
        `patience`: as long as a master that is there may be silent."""
        self._lit_at = min(self._lit_at, now + max(DARK_AT_MOST, patience))
        self.dark = not self.network and now < self._lit_at

    def light(self, patience: float, now: float) -> None:
        """The network is heard. `patience`: as long as a master that is there may be silent."""
        self.network = True
        if self.dark:
            self._lit_at = min(self._lit_at, now + patience)

    def see(self, now: float) -> str:
        """Why the dark ends now; empty if it does not."""
        if not self.dark or now < self._lit_at:
            return ""
        self.dark = False
        silence = "nothing was heard for long enough"
        return "the network is heard" if self.network else silence

    def leave_the_dark(self) -> None:
        """No master any more."""
        self.dark = False


def holding_back(claims: Sequence[Claim], interface: str) -> str:
    """Why, with the likely cause."""
    who = f"{claims[0].node} is master" if claims else "somebody answers for its addresses"
    return f"{who}, but no advert arrives: holding back; does {interface} let protocol 112 in?"
