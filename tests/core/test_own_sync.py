"""What the director tells its syncer of who is master of what."""

from dataclasses import replace

import pytest

from hadirector.core import director_events as ev
from hadirector.core import messages, peers
from hadirector.core.address import Address
from hadirector.core.messages import Process
from hadirector.core.syncer_messages import SyncPeer, SyncRole, SyncRoles
from tests.core.test_sync_absence import BACKUP, Pair

LB2 = Address("192.0.2.2")
HEARS_LB2 = replace(BACKUP, master=LB2)


class Told(Pair):
    """lb1 as standby that hears adverts of lb2, and what its syncer is told."""

    def __init__(self) -> None:
        super().__init__(HEARS_LB2)

    def later(self, seconds: float) -> SyncRoles:
        """The last word after so much time without one of lb2."""
        told: list[ev.Action] = []
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            heard = ev.From(Process.ELECTION, messages.Routers((self.own,)), float("inf"))
            for event in (heard, ev.Woken()):
                told += self.director.handle(event, self.now)
        levels = [one.message for one in told if isinstance(one, ev.Send)]
        return [one for one in levels if isinstance(one, SyncRoles)][-1]


def test_a_master_that_was_heard_and_falls_silent_is_hidden() -> None:
    pair = Told()
    pair.live(3, None)
    assert pair.later(1).peers == (SyncPeer("lb2", True, ()),)

    roles = pair.later(peers.SILENCE + 3)

    assert roles == SyncRoles(
        SyncRole.BACKUP, (), (SyncPeer("lb2", False, (), hidden=True),), roles.waits, (LB2,)
    )


@pytest.mark.parametrize("believed", [True, False])
def test_a_peer_that_was_never_heard_is_hidden_only_where_it_is_not_believed(
    believed: bool,
) -> None:
    pair = Told()
    pair.live(3, None, peer=False)
    if not believed:
        pair.director.handle(ev.PeerRefused("lb2", "signs with a key we do not have"), pair.now)

    (lb2,) = pair.later(3).peers

    assert lb2.hidden is not believed
