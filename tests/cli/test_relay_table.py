"""cli/relay_table and core/relay_status: the relay's account, told."""

from dataclasses import replace
from typing import Any

from hadirector.cli.relay_table import lines
from hadirector.core import relay_status
from hadirector.core.address import Address
from hadirector.core.peers import Known
from hadirector.core.relay_messages import RelayPeer, RelayState
from hadirector.core.settings.cluster import Node

GOOD = RelayPeer(True, 90.0, 2, 1200, 0, 0, 0.0, 7, {"stale": 1})
STATE = RelayState({"lb2": GOOD}, sent=40)
LB2 = Known(Node("lb2", 100, Address("10.0.0.2")), alive=True)


def table(state: RelayState) -> list[str]:
    built: Any = relay_status.build(state, 1000.0)
    return lines(built)


def test_a_relay_that_is_well_is_one_line_for_each_peer() -> None:
    assert table(STATE) == ["relay of lb2: 1200 datagrams taken, key 2"]
    assert relay_status.troubles(STATE, {"lb2": LB2}, 91.0) == []
    assert relay_status.lost(STATE) == 0


def test_what_was_lost_and_what_was_refused_is_told() -> None:
    peer = replace(GOOD, again=30, lost=2, behind=0.4, refused={"wrong_key": 5, "replayed": 1})
    state = replace(
        STATE, peers={"lb2": peer}, overrun=3, local=4, strangers={"unsigned": 9, "stranger": 1}
    )

    assert table(state) == [
        "relay of lb2: 1200 datagrams taken, key 2, 30 of them sent again, 2 lost, 0.4 s behind",
        "relay of lb2, refused: 5 wrong key, 1 replayed",
        "relay, refused of nobody known: 9 unsigned, 1 stranger",
        "relay: 4 datagrams of other programs of this host on the private interface, not sealed",
        "relay: 3 datagrams lost between the kernel and the daemon",
    ]
    assert relay_status.lost(state) == 5


def test_a_living_peer_whose_relay_is_silent_is_a_trouble_and_a_dead_one_is_not() -> None:
    silent = replace(STATE, peers={"lb2": replace(GOOD, alive=False)}, troubles=("no key",))

    told = relay_status.troubles(silent, {"lb2": LB2}, 90.0 + relay_status.SILENCE + 1.0)

    assert told[0] == "no key"
    assert told[1].startswith("lb2's relay is not heard: none of its connection records come")
    assert relay_status.troubles(silent, {"lb2": LB2}, 92.0) == ["no key"]
    assert relay_status.troubles(silent, {"lb2": replace(LB2, alive=False)}, 200.0) == ["no key"]
    assert table(silent) == ["relay of lb2: not heard"]


def test_without_a_relay_nothing_is_told() -> None:
    assert relay_status.build(None, 0.0) is None
    assert lines(None) == []
    assert relay_status.troubles(None, {"lb2": LB2}, 0.0) == []
