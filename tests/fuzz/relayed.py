"""One fuzzed datagram at the relay's port: any bytes, or any bytes sealed by somebody with the key.

The first byte says how far the fuzzer is helped: no fuzzer guesses a MAC. What comes after the
seal is opened was made by a peer, and a peer may be of another release, or mad.
"""

from copy import deepcopy

from hadirector.core import relay_wire
from hadirector.core.relay import Relay, ToKernel, ToPeer
from hadirector.core.relay_inbox import WINDOW
from tests.core.relays import KEY, SYNC_ID, Wire

CHOICES = 1 + 8  # bytes: how it is sealed, and a sequence


def _met() -> Wire:
    wire = Wire()
    wire.meet()
    return wire


_WIRE = _met()
_EPOCH = 1_000_001  # lb1's
_LIFE = 2000  # datagrams that one relay of the long run judges


class Standby:
    """lb2's relay, which believes lb1's, and what goes to its kernel."""

    def __init__(self) -> None:
        one, two = _WIRE.ends["lb1"], _WIRE.ends["lb2"]
        self._source = one.address
        self._one: Relay = deepcopy(one.relay)
        self._two: Relay = deepcopy(two.relay)

    def judge(self, data: bytes) -> list[bytes]:
        """Have it judge the datagram that these bytes stand for, twice; what went to its kernel.
        AssertionError, or any other exception, is a finding."""
        raw = self._datagram(data)
        handed, again = self._hear(raw), self._hear(raw)
        assert not again, "twice"
        for payload in handed:
            assert relay_wire.kernel_flaw(payload, SYNC_ID) is None, "no sync datagram of ours"
        inbox = self._two._talks["lb1"].inbox
        assert inbox is None or len(inbox._missing) <= WINDOW + 1, "unbounded memory"
        assert inbox is None or len(inbox._held) <= WINDOW + 1, "unbounded memory"
        return handed

    def _hear(self, raw: bytes) -> list[bytes]:
        actions = self._two.incoming(raw, self._source, _WIRE.now)
        actions += self._two.due(_WIRE.now + 0.06)
        said = [action for action in actions if isinstance(action, ToPeer)]
        assert len(said) < 100, "an answer far larger than its cause"
        return [action.payload for action in actions if isinstance(action, ToKernel)]

    def _datagram(self, data: bytes) -> bytes:
        choice, number, body = data[:1], data[1:CHOICES], data[CHOICES:]
        match choice[0] & 3 if choice else 0:
            case 1:
                return sealed(int.from_bytes(number, "big"), body[: relay_wire.PAYLOAD])
            case 2:
                return self._one._gate.seal("lb2", body, _WIRE.now)
            case _:
                return body


def sealed(sequence: int, payload: bytes) -> bytes:
    """Records of lb1."""
    tag = relay_wire.tag("shop", "lb1")
    return relay_wire.seal_records(payload, tag, _EPOCH, sequence, SYNC_ID, KEY)


def run(data: bytes) -> list[bytes]:
    """One datagram to a relay that just met its peer."""
    return Standby().judge(data)


class Run:
    """Many datagrams, one relay after the other."""

    def __init__(self) -> None:
        self._standby = Standby()
        self._judged = 0

    def __call__(self, data: bytes) -> None:
        """libFuzzer's entry."""
        self._judged += 1
        if self._judged % _LIFE == 0:
            self._standby = Standby()
        self._standby.judge(data)
