"""When a standby without its master's connections is a trouble, on either node."""

from collections.abc import Iterator
from dataclasses import replace

from hadirector.core import director_events as ev
from hadirector.core import messages, peers, troubles
from hadirector.core.director import Director
from hadirector.core.messages import Process, RouterStateName
from hadirector.core.settings.cluster import (
    Config,
    ResyncPolicy,
    SyncTransport,
)
from hadirector.core.syncer_messages import Standby, Synced
from tests.core import farm, syncing
from tests.core.desk import read
from tests.core.test_own_processes import MASTER

SYNC = syncing.SYNC
SYNCED = replace(farm.CONFIG, connection_sync=SYNC, services=())
HERE = "all 3 connections are there"
MISSING = "3 of 3 connections are missing"
BACKUP = replace(MASTER, state=RouterStateName.BACKUP)


class Pair:
    """lb1 with its syncer, each half second, and lb2 by its presence."""

    def __init__(self, own: messages.Router = MASTER, config: Config = SYNCED) -> None:
        self.director = Director("1", frozenset(), 0.0)
        self.own = own
        self.others = "backup" if own is MASTER else "master"
        self.mtu = 1500  # of lb2's sync interface
        self.now = 0.0
        self.director.handle(ev.Configured(config), 0.0)
        self.director.handle(read({}), 0.0)

    def live(self, seconds: float, word: Synced | None, peer: bool = True) -> list[list[str]]:
        """So much time, in which the syncer says this; the troubles at each half second."""
        return list(self._live(seconds, word, peer))

    def _live(self, seconds: float, word: Synced | None, peer: bool) -> Iterator[list[str]]:
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            self.hear(Process.CHECKER, messages.Heartbeat(0.0, 0.0))
            self.hear(Process.ELECTION, messages.Routers((self.own,)))
            if peer:
                said = peers.Presence(
                    "shop",
                    "lb2",
                    1,
                    int(self.now * 2),
                    "d1",
                    "1",
                    True,
                    "",
                    {"front/ipv4": self.others},
                    sync_mtu=self.mtu,
                )
                self.director.handle(ev.Heard(said), self.now)
            if word is not None:
                self.hear(Process.SYNCER, word)
            yield troubles.build(self.director, {})

    def hear(self, who: Process, message: messages.Message) -> None:
        self.director.handle(ev.From(who, message, float("inf")), self.now)


def of_standby(ready: bool, reason: str, known: int = 3) -> Synced:
    return Synced(
        True, "this node is master", known=known, standbys=(Standby("lb2", ready, reason),)
    )


def test_a_standby_that_rejoins_and_is_complete_soon_wakes_nobody() -> None:
    pair = Pair()

    told = pair.live(15, of_standby(False, MISSING)) + pair.live(5, of_standby(True, HERE))

    assert not any(told)


def test_a_standby_that_lacks_connections_for_longer_is_told_until_it_has_them() -> None:
    pair = Pair()
    pair.live(60, of_standby(True, HERE))

    soon = pair.live(20, of_standby(False, MISSING))
    late = pair.live(1, of_standby(False, MISSING))

    assert not any(soon)
    assert late[-1] == [f"standby lb2 would lose connections: {MISSING}"]
    assert pair.live(0.5, of_standby(True, HERE)) == [[]]


def test_comparisons_that_find_something_now_and_then_are_no_trouble() -> None:
    pair = Pair()

    told = [
        one
        for _ in range(10)
        for one in pair.live(19, of_standby(False, MISSING)) + pair.live(1, of_standby(True, HERE))
    ]

    assert not any(told)


def test_a_large_table_has_more_time() -> None:
    pair = Pair()
    whole = of_standby(False, "1000000 of 1000000 connections are missing", 1_000_000)

    assert not any(pair.live(60, whole))
    assert pair.live(11, whole)[-1]


def test_the_standby_tells_of_itself() -> None:
    pair = Pair(BACKUP)
    word = Synced(False, "not compared with lb1 yet: lb1 does not answer")

    assert not any(pair.live(20, word))
    assert pair.live(1, word)[-1] == [
        f"this node, as standby, would lose connections: {word.reason}"
    ]


def test_a_standby_that_never_asks_for_connections_is_told() -> None:
    pair = Pair()
    nobody = Synced(True, "this node is master")

    assert pair.live(22, nobody)[-1] == [
        "standby lb2 would lose connections: its syncer does not connect to us (TCP port 8849)"
    ]


def test_who_is_gone_is_told_as_gone_and_has_all_its_time_when_it_returns() -> None:
    pair = Pair()
    pair.live(5, of_standby(True, HERE))
    gone = of_standby(False, "its syncer is not connected")

    away = pair.live(60, gone, peer=False)
    back = pair.live(15, gone)

    assert away[-1] == ["lb2 is silent on the peer channel"]
    assert back[-1] == []


def test_another_master_needs_no_connections_of_ours() -> None:
    pair = Pair()
    pair.others = "master"

    told = pair.live(40, Synced(True, "this node is master"))[-1]

    assert not [text for text in told if "connections" in text]


def test_without_resync_nobody_is_expected_to_have_them() -> None:
    pair = Pair(BACKUP, replace(SYNCED, connection_sync=replace(SYNC, resync=ResyncPolicy.NEVER)))

    assert not any(pair.live(40, Synced(False, "not compared with lb1 yet")))


def test_a_syncer_that_says_nothing_is_told_and_what_it_said_before_counts_no_more() -> None:
    pair = Pair()
    silent = ["the syncer is silent: nobody knows which connections are where"]

    never = pair.live(11, None)
    pair.live(30, of_standby(False, MISSING))
    again = pair.live(11, None)

    assert never[-1] == silent
    assert not any(never[:19])
    assert again[-1] == silent


def test_what_troubles_connection_sync_is_told_at_once() -> None:
    told = Pair().live(0.5, replace(of_standby(True, HERE), trouble="sync interface eth1 is down"))

    assert told[-1] == ["connection sync: sync interface eth1 is down"]


def test_sync_interfaces_that_take_other_packets_are_told_on_both_nodes() -> None:
    pair = Pair()
    pair.mtu = 1400

    told = pair.live(1, replace(of_standby(True, HERE), mtu=1500))

    assert told[-1] == [
        "connection sync: eth1 has an MTU of 1500 here and of 1400 on lb2: longer records are lost "
        "on the way; set the same on both"
    ]


def test_what_no_record_fills_is_no_trouble() -> None:
    pair = Pair()
    pair.mtu = 9000

    assert not any(pair.live(2, replace(of_standby(True, HERE), mtu=1500)))


def test_an_interface_that_is_not_there_or_not_told_of_is_compared_with_none() -> None:
    pair = Pair()
    pair.mtu = 0

    assert not any(pair.live(2, replace(of_standby(True, HERE), mtu=1400)))


def test_the_relays_datagrams_fit_everywhere() -> None:
    sealed = replace(SYNC, transport=SyncTransport.AUTHENTICATED)
    pair = Pair(config=replace(SYNCED, connection_sync=sealed))
    pair.mtu = 1400

    assert not any(pair.live(2, replace(of_standby(True, HERE), mtu=1500)))
