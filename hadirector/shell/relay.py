"""The relay: composition of core/relay with the private interface and the wire.

The director makes the private interface and starts the kernel's threads on it (shell/settle);
here it is waited for, and `look` is to be called each second: who takes it away, or the address on
the wire, makes the relay deaf, and that is told.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from hadirector.core import relay
from hadirector.core.address import Address
from hadirector.core.keys import Key
from hadirector.core.relay_messages import RelayState
from hadirector.core.relay_wire import PAYLOAD
from hadirector.core.settings.cluster import ConnectionSync
from hadirector.shell import backup_socket, child, relay_socket
from hadirector.shell.private_link import NAME, index_of
from hadirector.shell.private_tap import GROUP, PORT, PrivateTap
from hadirector.shell.relay_socket import RelaySocket

GRACE = 3.0  # seconds of trouble that a start may bring
LOOK_SOON = 0.1  # seconds, while the private interface or its threads are not there
UNTOLD = 1024  # datagrams that wait for them, each
UNTOLD_FOR = 3.0  # seconds at most: what is older may be over by now

Heard = Callable[[bytes, bool], None]
"""(datagram of records, whether our own kernel said it)"""


@dataclass(slots=True)
class _Trouble:
    reason: str
    since: float
    told: bool = False


class RelayLink:
    """Needs a running loop. `heard` is called for what the local master thread says and for what
    goes to the local backup thread; `notice(kind, subject, reason)` tells of what happened."""

    def __init__(
        self, incarnation: int, heard: Heard, notice: Callable[[str, str, str], None]
    ) -> None:
        self._core = relay.Relay(incarnation)
        self._heard = heard
        self._notice = notice
        self._node = ""
        self._sync: ConnectionSync | None = None
        self._keys: tuple[Key, ...] = ()
        self._peers: dict[str, Address | None] = {}
        self._tap: PrivateTap | None = None
        self._listener = (0, 0)  # interface and backup thread (its inode) when they were seen last
        self._untold: deque[tuple[float, bytes]] = deque()
        self._wire: RelaySocket | None = None
        self._troubles: dict[str, _Trouble] = {}
        self._past = (0, 0, 0)  # overrun, local, unsent: of taps and sockets that are closed
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = math.inf
        self._soon: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Handle | None = None

    def follow(
        self,
        cluster: str,
        node: str,
        sync: ConnectionSync,
        peers: tuple[str, ...],
        keys: tuple[Key, ...],
    ) -> None:
        """Relay so from now on; without keys nothing is sent and nothing taken in."""
        self._node, self._sync, self._keys = node, sync, keys
        self._peers = {peer: sync.unicast.get(peer) for peer in peers}
        settings = relay.Settings(cluster, node, sync.sync_id, self._peers, keys)
        self._core.follow(settings)
        self.look()

    @property
    def speaks(self) -> bool:
        """Whether there is a way to the peers just now, and a key to seal with."""
        return self._wire is not None and bool(self._keys)

    @property
    def longest(self) -> int:
        """Bytes of a datagram of records that may be sent."""
        return PAYLOAD

    def send(self, payload: bytes) -> bool:
        """Send a datagram of records to every peer, as if the kernel had said it; False where that
        is not possible just now."""
        if self._wire is None:
            return False
        raw = self._core.outgoing(payload, child.now())
        if raw is None:
            return False
        if self._wire.place.own is None:
            self._wire.send(raw, None)
        else:
            for address in self._peers.values():
                self._wire.send(raw, address)
        self._arm()
        return True

    def tell(self, payload: bytes) -> None:
        """Hand a datagram of records to the local backup thread; it waits a little where there is
        none just now."""
        if self._tap is not None and not self._untold:
            if self._tap.tell(payload):
                return
            self._gone()
        if len(self._untold) == UNTOLD:
            self._untold.popleft()
            self._lose(1)
        self._untold.append((child.now(), payload))

    def count_lost(self) -> int:
        """Datagrams lost between the kernel and this process, because we were too slow."""
        return self._counts()[0]

    def state(self) -> RelayState:
        """What status tells."""
        overrun, local, unsent = self._counts()
        peers = self._core.accounts(child.now())
        strangers = dict(self._core.strangers)
        troubles = tuple(one.reason for one in self._troubles.values() if one.told)
        return RelayState(peers, self._core.sent, unsent, overrun, local, strangers, troubles)

    def close(self) -> None:
        """Give everything back."""
        for timer in (self._timer, self._soon, self._leaving):
            if timer is not None:
                timer.cancel()
        self._timer = self._soon = self._leaving = None
        self._close_tap()
        self._close_wire()

    # What is there

    def look(self) -> None:
        """Have what is needed, where it can be had."""
        sync = self._sync
        if sync is None:
            return
        self._trouble("keys", "" if self._keys else "no key: no connection record is sent or taken")
        if self._look_at_tap():
            self._look_at_wire(sync)
        else:
            # Who is not heard by its own kernel is to be believed by no peer, and believes none:
            # what they send is asked for again once it can be handed on.
            self._close_wire()
            self._look_soon()
        self._arm()

    def _gone(self) -> None:
        """The private interface was taken away or down: the director sees to it. Peers are not
        heard meanwhile, so that they keep what they say. Not closed here: it is being read."""
        if self._leaving is None:
            self._leaving = asyncio.get_running_loop().call_soon(self._leave)

    def _leave(self) -> None:
        self._leaving = None
        self._close_tap()
        self._close_wire()
        self._look_soon()

    def _look_at_tap(self) -> bool:
        """Whether the kernel's threads are heard, and listen."""
        if self._tap is not None and self._tap.index != index_of():
            self._close_tap()
        why = ""
        if self._tap is None:
            why = self._open_tap()
        text = f"the kernel's sync threads do not speak with us: {why}"
        self._trouble("tap", text if why else "")
        return self._tap is not None

    def _open_tap(self) -> str:
        """Hear them; why not, or nothing."""
        thread = backup_socket.find(GROUP, PORT)
        if thread is None:
            return f"none listens on {NAME}"
        index, inode = self._listener
        if thread.inode == inode and index not in (0, index_of()):
            return f"the one that listens does so on a {NAME} that is gone"
        try:
            self._tap = PrivateTap(self._said, self._gone)
        except OSError as error:
            return f"{NAME}: {error.strerror or 'is not there'}"
        self._listener = (self._tap.index, thread.inode)
        self._tell_late(self._tap)
        return ""

    def _tell_late(self, tap: PrivateTap) -> None:
        """What waited for the backup thread."""
        while self._untold:
            at, payload = self._untold.popleft()
            if child.now() - at > UNTOLD_FOR or not tap.tell(payload):
                self._lose(1)

    def _look_soon(self) -> None:
        """At a start the director makes what is not there yet."""
        if self._soon is None:
            loop = asyncio.get_running_loop()
            self._soon = loop.call_later(LOOK_SOON, self._look_again)

    def _look_again(self) -> None:
        self._soon = None
        self.look()

    def _look_at_wire(self, sync: ConnectionSync) -> None:
        try:
            where = relay_socket.place(sync, self._node)
            if self._wire is not None and self._wire.place != where:
                self._close_wire()
            if self._wire is None:
                self._wire = RelaySocket(where, self._came)
        except OSError as error:
            self._close_wire()
            self._trouble("wire", relay_socket.why(error, sync, self._node))
            return
        self._trouble("wire", "")

    def _close_tap(self) -> None:
        if self._tap is not None:
            overrun, local, unsent = self._past
            tap, self._tap = self._tap, None
            tap.close()  # what waits in it is counted as lost by that
            self._past = (overrun + tap.lost + tap.refused, local + tap.strangers, unsent)

    def _lose(self, datagrams: int) -> None:
        """Between the kernel and us."""
        overrun, local, unsent = self._past
        self._past = (overrun + datagrams, local, unsent)

    def _close_wire(self) -> None:
        if self._wire is not None:
            self._wire.close()
            overrun, local, unsent = self._past
            self._past = (overrun, local, unsent + self._wire.unsent)
            self._wire = None

    def _counts(self) -> tuple[int, int, int]:
        overrun, local, unsent = self._past
        if self._tap is not None:
            overrun += self._tap.lost + self._tap.refused
            local += self._tap.strangers
        return overrun, local, unsent + (self._wire.unsent if self._wire is not None else 0)

    def _trouble(self, kind: str, reason: str) -> None:
        """A level; told once it holds for longer than a start takes."""
        now = child.now()
        known = self._troubles.get(kind)
        if not reason:
            self._troubles.pop(kind, None)
        elif known is None or known.reason != reason:
            self._troubles[kind] = _Trouble(reason, now)
        elif not known.told and now - known.since > GRACE:
            known.told = True
            self._notice("relay_trouble", self._node, reason)

    # What comes

    def _said(self, payload: bytes) -> None:
        self._heard(payload, True)
        if not self.send(payload):  # no key, no wire, or nothing that can be sealed
            self._lose(1)

    def _came(self, raw: bytes, source: Address) -> None:
        self._act(self._core.incoming(raw, source, child.now()))
        self._arm()

    def _act(self, actions: list[relay.Action]) -> None:
        for action in actions:
            match action:
                case relay.ToKernel(_, payload):
                    self._heard(payload, False)
                    self.tell(payload)
                case relay.ToPeer(peer, raw):
                    if self._wire is not None:
                        self._wire.send(raw, self._peers[peer])
                case relay.Told(kind, peer, reason):
                    self._notice(kind, peer, reason)
                case _:
                    assert_never(action)

    # What is due

    def _arm(self) -> None:
        """Wake when the core wants it; most of the time a timer is set already."""
        due_at = self._core.deadline()
        if self._timer is not None:
            if due_at >= self._due_at:
                return
            self._timer.cancel()
        self._due_at = due_at
        wait = max(0.0, due_at - child.now())
        self._timer = asyncio.get_running_loop().call_later(wait, self._due)

    def _due(self) -> None:
        self._timer = None
        self._act(self._core.due(child.now()))
        self._arm()
