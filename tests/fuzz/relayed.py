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
_ONE, _TWO = _WIRE.ends["lb1"], _WIRE.ends["lb2"]
_EPOCH = 1_000_001  # lb1's


def run(data: bytes) -> list[bytes]:
    """Have lb2 judge the datagram that these bytes stand for, twice; what went to its kernel.
    AssertionError, or any other exception, is a finding."""
    two: Relay = deepcopy(_TWO.relay)
    raw = _datagram(data)
    handed: list[bytes] = []
    for _ in range(2):
        actions = two.incoming(raw, _ONE.address, _WIRE.now)
        actions += two.due(_WIRE.now + 0.06)
        handed += [action.payload for action in actions if isinstance(action, ToKernel)]
        said = [action for action in actions if isinstance(action, ToPeer)]
        assert len(said) < 100, "an answer far larger than its cause"
    assert len(handed) <= 1, "twice"
    for payload in handed:
        assert relay_wire.kernel_flaw(payload, SYNC_ID) is None, "no sync datagram of ours"
        assert data[0] & 3 == 1, "not by the seal of a peer"
    account = two.accounts(_WIRE.now)["lb1"]
    assert account.lost <= 2**64, "lost"
    inbox = two._talks["lb1"].inbox
    assert inbox is None or len(inbox._missing) <= WINDOW + 1, "unbounded memory"
    return handed


def _datagram(data: bytes) -> bytes:
    choice, number, body = data[:1], data[1:CHOICES], data[CHOICES:]
    match choice[0] & 3 if choice else 0:
        case 1:
            tag, sequence = relay_wire.tag("shop", "lb1"), int.from_bytes(number, "big")
            payload = body[: relay_wire.PAYLOAD]
            return relay_wire.seal_records(payload, tag, _EPOCH, sequence, SYNC_ID, KEY)
        case 2:
            one: Relay = deepcopy(_ONE.relay)
            return one._gate.seal("lb2", body, _WIRE.now)
        case _:
            return body
