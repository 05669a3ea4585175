"""A master and its standby, link and stream in memory: what is sent, and when that is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import pytest

from hadirector import resyncing
from hadirector.core import campaign, comparison, counters, ipvs_sync, making_way
from hadirector.core import resync_messages as said
from hadirector.core.address import Address, packed
from hadirector.core.campaign import PERIOD, Campaign
from hadirector.core.comparison import Scope
from hadirector.core.counters import Counters
from hadirector.core.ipvs_sync import INACTIVE, TEMPLATE
from hadirector.core.syncer_messages import Measure, Standby
from hadirector.following import Follower, Place
from hadirector.shell import child, known_connections
from hadirector.shell.backup_socket import BackupSocket
from hadirector.shell.known_connections import KnownConnections
from hadirector.shell.resync_link import Link
from tests.core.test_counters import KEY, SERVER
from tests.core.test_ipvs_sync import ONE

SYNC_ID = 51


def record(port: int) -> bytes:
    return ipvs_sync.encode(replace(ONE, client_port=port))


class End:
    """One end of a link that never breaks."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.inbox: asyncio.Queue[said.Message] = asyncio.Queue()
        self.other = self
        self.old = False  # whether its release tells no counters by groups

    async def send(self, message: said.Message) -> None:
        if self.old and isinstance(message, said.Digests):
            message = replace(message, groups=())
        await self.other.inbox.put(message)

    async def receive(self, within: float) -> said.Message:
        return await self.inbox.get()


class Known(KnownConnections):
    """A node whose table is what its mirror has; `linear`: its kernel reads it in one go."""

    linear = True
    unheard: Sequence[int] = ()  # client ports of those that the table alone shows
    counted: Counters = ()  # by its kernel, where that is not what its mirror has

    async def refresh(self) -> bool:
        self.mirror.begin_reading(child.now(), child.now() - PERIOD)
        self.mirror.read(map(record, self.unheard), child.now())
        return self.linear

    async def active(self, scope: Scope) -> Counters:
        return self.counted or counters.grouped([(KEY, SERVER, len(self.mirror))])


class Pair:
    """Both nodes."""

    def __init__(self) -> None:
        self.master, self.standby = Known(), Known()
        self.master.sync_id = self.standby.sync_id = SYNC_ID
        self.campaign = Campaign("lb2")
        self.tasks: list[asyncio.Task[None]] = []
        self.told: list[Standby] = []  # verdicts that came to the standby
        self.news: list[tuple[str, str]] = []  # of the master: kind and reason
        self.speaks = True  # whether the master has an interface to send on
        self.deaf = False  # whether datagrams are lost
        self.said: list[bytes] = []  # records of all datagrams
        self.scope: tuple[bytes, ...] | None = None
        self.longest = 1472
        self.ends = ends = End("lb2"), End("lb1")
        ends[0].other, ends[1].other = ends[1], ends[0]
        around = resyncing.Surroundings(
            *(self.master, self.stream, lambda: self.scope, lambda: None),
            lambda kind, node, reason: self.news.append((kind, reason)),
        )
        self.session = resyncing.Session(cast(Link, ends[0]), self.campaign, around)
        place = Place(self.standby, lambda: BackupSocket(1, 0), str, float, self.told.append)
        self.follower = Follower(cast(Link, ends[1]), place)

    def stream(self) -> resyncing.Stream | None:
        """Where the master sends."""
        return self if self.speaks else None

    def send(self, payload: bytes) -> bool:
        """The stream of records."""
        self.said += ipvs_sync.split(payload, SYNC_ID)
        if not self.deaf:
            self.standby.hear(payload, own=False)
        return True

    def opened(self, ago: float, ports: range) -> None:
        """Connections that the master has heard of so many seconds ago."""
        self.master.mirror.hear(map(record, ports), child.now() - ago)

    def begin(self) -> None:
        """The standby's thread listens, and both syncers talk."""
        self.tasks += [asyncio.ensure_future(each.run()) for each in (self.follower, self.session)]

    async def until(self, met: Callable[[], bool], within: float) -> None:
        for _ in range(int(within * 100)):
            if met():
                return
            await asyncio.sleep(0.01)
        raise TimeoutError

    def has_all(self) -> bool:
        """Whether the standby has what its master has."""
        return len(self.standby.mirror) == len(self.master.mirror)


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    """`begin` has them talk."""
    both = Pair()
    try:
        yield both
    finally:
        for task in both.tasks:
            task.cancel()
        both.master.close()
        both.standby.close()


async def test_what_came_before_the_standby_listened_is_missing_however_young_it_is() -> None:
    async with pair() as both:
        both.opened(60.0, range(1000, 1100))
        both.standby.mirror.hear([record(1000)], child.now())  # it said something meanwhile
        both.opened(2.0, range(2000, 2040))

        both.begin()
        await both.until(lambda: both.campaign.standing.ready, 10.0)

        assert both.has_all()


async def test_a_standby_that_came_back_and_heard_a_few_was_sent_the_table_all_the_same() -> None:
    async with pair() as both:
        both.opened(100.0, range(1000, 1100))
        both.standby.hear(next(ipvs_sync.pack([record(1000)], SYNC_ID, 1472))[0], own=False)
        both.begin()

        await both.until(lambda: both.campaign.standing.ready, 5)

        assert both.campaign.standing.resync_at is not None
        assert [reason.partition(" in ")[0] for kind, reason in both.news if kind == "resync"] == [
            "sent 99 of 100 connections"
        ]


async def test_what_is_too_young_to_be_missing_is_looked_at_again_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resyncing, "YOUNG", 0.4)
    monkeypatch.setattr(resyncing, "LOOK_AGAIN", 0.1)
    async with pair() as both:
        both.opened(60.0, range(1000, 1100))
        both.standby.mirror.hear([record(1000)], child.now())
        both.opened(-0.2, range(2000, 2040))  # a moment after the standby listens: lost

        both.begin()
        await both.until(lambda: both.campaign.standing.ready, 10.0)
        await both.until(both.has_all, 5.0)


async def test_what_is_on_its_way_is_not_sent() -> None:
    async with pair() as both:
        both.opened(60.0, range(1000, 1001))
        both.begin()
        await both.until(lambda: both.campaign.standing.ready, 10.0)
        rounds = both.campaign.standing.rounds
        both.opened(-0.1, range(2000, 2040))
        both.session.ask()
        await both.until(lambda: both.campaign.standing.rounds > rounds, 10.0)

        assert both.campaign.standing.ready
        assert len(both.standby.mirror) == 1


@pytest.mark.parametrize("linear", [(True, False), (False, True)], ids=["master", "standby"])
async def test_of_two_kernels_one_of_which_reads_its_table_in_one_go_the_standby_gets_ready(
    linear: tuple[bool, bool],
) -> None:
    async with pair() as both:
        both.master.linear, both.standby.linear = linear
        both.opened(60.0, range(1000, 1100))

        both.begin()
        await both.until(lambda: both.campaign.standing.ready, 5.0)

        assert both.campaign.standing.measure is Measure.ESTIMATED
        assert both.has_all()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons each fifth of a second."""
    monkeypatch.setattr(campaign, "PERIOD", 0.2)
    monkeypatch.setattr(resyncing, "LOOK_AGAIN", 0.1)
    monkeypatch.setattr(resyncing, "YOUNG", 0.1)


@pytest.mark.usefixtures("often")
async def test_what_the_masters_kernel_has_not_told_yet_takes_nobodys_readiness() -> None:
    async with pair() as both:
        both.opened(60.0, range(1000, 1100))
        both.begin()
        await both.until(lambda: both.campaign.standing.ready, 5.0)
        await asyncio.sleep(0.4)  # what it asked for when it came is over
        before = len(both.told)

        both.master.unheard = [5000]
        await both.until(both.has_all, 5.0)
        await both.until(lambda: len(both.told) > before + 2, 5.0)

        assert all(one.ready for one in both.told[before:])


@pytest.mark.usefixtures("often")
async def test_what_was_never_told_and_is_lost_again_is_missing() -> None:
    async with pair() as both:
        both.opened(60.0, range(1000, 1100))
        both.begin()
        await both.until(lambda: both.campaign.standing.ready, 5.0)
        await asyncio.sleep(0.4)

        both.deaf, both.master.unheard = True, [5000]
        await both.until(lambda: both.campaign.standing.missing == 1, 5.0)
        both.deaf = False
        await both.until(lambda: both.campaign.standing.ready, 5.0)

        assert both.has_all()


async def test_a_table_that_changes_while_it_is_compared_is_sent_whole_all_the_same() -> None:
    async with pair() as both:
        both.opened(60.0, range(1000, 1100))
        count = both.master.digests

        async def digests(scope: Scope, salt: bytes) -> tuple[bytes, int]:
            found = await count(scope, salt)
            both.opened(0.0, range(2000, 6000))
            return found

        both.master.digests = digests  # type: ignore[method-assign]  # a client comes meanwhile
        both.begin()
        await both.until(lambda: both.campaign.standing.ready, 5.0)

        assert both.campaign.standing.resync_at is not None


async def test_what_a_standby_keeps_of_another_server_is_made_to_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(making_way, "GONE_AFTER", 1.1)
    template = replace(ONE, client_port=0, flags=TEMPLATE | INACTIVE, state=1, timeout=300)
    moved = replace(template, server=Address("10.0.1.12"))
    async with pair() as both:
        both.opened(60.0, range(1000, 1001))
        both.master.mirror.hear([ipvs_sync.encode(moved)], child.now() - 60.0)
        both.standby.mirror.hear([record(1000), ipvs_sync.encode(template)], child.now())

        both.begin()
        await both.until(lambda: both.campaign.standing.compared_at is not None, 5.0)
        assert both.campaign.standing.missing == 1
        await both.until(lambda: both.campaign.standing.ready, 8.0)

        told = [ipvs_sync.timeout_of(raw) for raw in both.said]
        assert [time for time, before in zip(told, [0, *told], strict=False) if time != before] == [
            300,
            1,
            300,
        ]


async def test_what_became_another_masters_while_it_is_sent_is_not_sent() -> None:
    async with pair() as both:
        both.opened(60.0, range(1000, 9000))
        both.scope = (bytes(4), packed(ONE.virtual))
        lost = both.send

        def send(payload: bytes) -> bool:
            both.scope = (bytes(4),)
            return lost(payload)

        both.send = send  # type: ignore[method-assign]  # the instance moves as the sending begins
        both.begin()
        await both.until(lambda: both.campaign.standing.ready, 5.0)

        assert 0 < len(both.said) < 2000
        assert both.campaign.standing.total == 0


async def test_a_standby_hears_that_its_master_cannot_send_and_is_compared_once_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resyncing, "LOOK_AGAIN", 0.1)
    async with pair() as both:
        both.opened(60.0, range(1000, 1100))
        both.begin()
        await both.until(lambda: bool(both.told) and both.told[-1].ready, 5.0)

        both.speaks = False
        await both.until(lambda: not both.told[-1].ready, 5.0)
        assert both.told[-1].reason == "nothing can be sent to it over the sync interface"
        both.opened(20.0, range(2000, 2010))  # meanwhile
        both.speaks = True
        await both.until(lambda: both.told[-1].ready, 5.0)

        assert both.has_all()


async def test_a_long_sending_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair() as both:
        both.opened(60.0, range(1000, 3000))
        send, heard = both.follower._link.receive, list[said.Message]()

        async def receive(within: float) -> said.Message:
            heard.append(await send(within))
            return heard[-1]

        monkeypatch.setattr(both.follower._link, "receive", receive)
        monkeypatch.setattr(resyncing, "PERIOD", 0.0)
        both.begin()
        await both.until(both.has_all, 5.0)
        await both.until(lambda: said.Sending(False) in heard, 5.0)

        assert heard.count(said.Sending(True)) > 1


class Counted(bytes):
    """A key that tells how often it was looked up or put into a set."""

    looks = 0

    def __hash__(self) -> int:
        Counted.looks += 1
        return bytes.__hash__(self)

    def __eq__(self, other: object) -> bool:
        return bytes.__eq__(self, other)


@pytest.mark.parametrize("held", [0, 1])
async def test_a_large_table_is_brought_over_in_small_pieces(
    monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr(known_connections, "TURN", 0.0)  # a turn for others after each step
    judge = comparison.is_compared

    def is_compared(value: bytes, scope: Scope) -> bool:
        Counted.looks += 1
        return judge(value, scope)

    monkeypatch.setattr(comparison, "is_compared", is_compared)
    most = 0

    async def count() -> None:
        nonlocal most
        while True:
            Counted.looks = 0
            await asyncio.sleep(0)
            most = max(most, Counted.looks)

    async with pair() as both:
        both.opened(60.0, range(1000, 21_000))
        buckets = both.master.mirror.buckets
        buckets[:] = [{Counted(k): v for k, v in bucket.items()} for bucket in buckets]
        both.standby.mirror.hear([record(port) for port in range(1000, 1000 + held)], child.now())
        both.tasks.append(asyncio.ensure_future(count()))

        both.begin()
        await both.until(lambda: both.campaign.standing.ready, 20.0)

        assert both.has_all()
        assert 0 < most < 2000


async def test_what_a_kernel_lacks_of_one_server_is_not_made_up_for_by_another_ones() -> None:
    async with pair() as both:
        both.opened(100.0, range(1000, 1100))
        both.master.linear = both.standby.linear = False
        other = replace(SERVER, port=9090)
        both.master.counted = counters.grouped([(KEY, SERVER, 600), (KEY, other, 600)])
        both.standby.counted = counters.grouped([(KEY, SERVER, 200), (KEY, other, 1000)])
        both.begin()

        await both.until(lambda: both.campaign.standing.rounds > 1, 5)

        assert not both.campaign.standing.ready
        assert both.campaign.standing.reason == (
            "of 1200 active connections the standby's kernel lacks 400"
        )


async def test_a_standby_of_an_older_release_is_judged_by_all_that_its_kernel_counts() -> None:
    async with pair() as both:
        both.opened(100.0, range(1000, 1100))
        both.master.linear = both.standby.linear = False
        both.master.counted = counters.grouped([(KEY, SERVER, 600)])
        both.standby.counted = (590,)
        both.ends[1].old = True
        both.begin()

        await both.until(lambda: both.campaign.standing.ready, 5)
