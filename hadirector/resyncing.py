"""The master's side of a resync: brings one standby up to date, again and again, by core/campaign.

What is sent goes where the kernel's own records go, so the standby's kernel takes it as if ours
had said it; over the link to its syncer go only comparisons and losses.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf
from typing import Protocol, TypeVar

from hadirector.core import comparison, counters, ipvs_sync, making_way, mirror
from hadirector.core import resync_messages as said
from hadirector.core.campaign import NOISE, PERIOD, YOUNG, Campaign, Compared, Keys
from hadirector.core.comparison import Scope
from hadirector.core.counters import Counters
from hadirector.core.pace import Pace
from hadirector.shell import child
from hadirector.shell.known_connections import KnownConnections, Turns, in_turns
from hadirector.shell.resync_link import Link, LinkError, until_one_ends

log = logging.getLogger(__name__)

SILENCE = 30.0  # seconds: it tells how it is each second
ANSWER_WITHIN = 60.0  # seconds: a standby may read its table before it answers
LISTED = 1 << 22  # connections of one bucket
QUEUE = 64  # parts of a listing that wait
SETTLE = 0.2  # seconds that what was sent last is given on its way
RETRY = 0.005  # seconds before a datagram that the network did not take is tried again
LOOK_AGAIN = 1.0  # seconds while something is waited for
TOGETHER = 16  # datagrams, before others have their turn
UNHEARD = 0.15  # seconds while sending: the standby tells how it is each 0.05 s
STUCK = 5.0  # seconds of that: the link is down

T = TypeVar("T", said.Digests, said.Listing)


class Stream(Protocol):
    """Where records go: to every standby's backup thread."""

    @property
    def longest(self) -> int:
        """Bytes of a datagram."""

    def send(self, payload: bytes) -> bool:
        """Whether it was taken; else it may be tried again."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a session needs of the syncer around it."""

    known: KnownConnections
    stream: Callable[[], Stream | None]
    scope: Callable[[], tuple[bytes, ...] | None]
    told: Callable[[], None]  # something changed that the director is to know
    notice: Callable[[str, str, str], None]


class Session:
    """With one standby, over one link. `campaign` outlives a link that breaks."""

    def __init__(self, link: Link, campaign: Campaign, around: Surroundings) -> None:
        self.campaign = campaign
        self._link = link
        self._around = around
        self._known = around.known
        self._round = 0
        self._state: said.State | None = None
        self._state_at = child.now()
        self._listens_since = child.now()  # its present backup thread, as far as we were told
        self._reported = asyncio.Event()
        self._answers: asyncio.Queue[said.Digests | said.Listing] = asyncio.Queue(QUEUE)
        self._woken = asyncio.Event()  # its state changed, or somebody asks
        self._asked = True  # it just came
        self._pace: Pace | None = None
        self._scope: tuple[bytes, ...] | None = None  # of this round
        self._told_at = -inf
        self._in_vain = making_way.InVain()

    def ask(self) -> None:
        """Compare now."""
        self._asked = True
        self._woken.set()

    async def run(self) -> None:
        """Until the link breaks: LinkError."""
        await until_one_ends(self._listen(), self._rounds())

    async def _listen(self) -> None:
        while True:
            message = await self._link.receive(SILENCE)
            match message:
                case said.State():
                    if self._pace is not None:
                        self._pace.report(message.drops, message.queue)
                    self._state_at = child.now()
                    self._reported.set()
                    news = self._state is None or _differs(self._state, message)
                    if self._state is None or self._state.thread != message.thread:
                        self._listens_since = child.now()
                    self._state = message
                    if news:
                        self.ask()
                case said.Ask(reason):
                    log.info("standby=%s asks for a comparison: %.200r", self._link.node, reason)
                    self.ask()
                case said.Digests() | said.Listing():
                    await self._answers.put(message)
                case _:
                    raise LinkError(f"{self._link.node} says what is not a standby's to say")

    async def _rounds(self) -> None:
        due = child.now()
        again = False  # what is too young yet is to be looked at once more
        soon = False  # whether this was the last word on it
        while True:
            self._woken.clear()
            waits = self._waits()
            if waits:
                await self._judge_unable(waits)
                self._asked = True  # as soon as it can be
                pause = LOOK_AGAIN
            else:
                if self._asked or child.now() >= due:
                    if self._asked:
                        self.campaign.begin_anew()
                    again, self._asked = again or self._asked, False
                    young, untold = await self._one_round(strictly=again)
                    pause = self.campaign.pause
                    if self.campaign.done:
                        soon = (again and young) or (untold and not soon)
                        again = False
                        if soon:  # they may be on their way, or lost
                            pause = YOUNG + LOOK_AGAIN
                    due = child.now() + pause
                pause = 0.0 if self._asked else min(due - child.now(), LOOK_AGAIN)
            if pause > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._woken.wait()

    def _waits(self) -> str:
        """What keeps us from comparing."""
        if self._state is None:
            return "it has not told yet how it is"
        if self._around.stream() is None:
            return "nothing can be sent to it over the sync interface"
        return self._state.waits

    async def _judge_unable(self, why: str) -> None:
        if self.campaign.standing.reason != why or child.now() - self._told_at > PERIOD:
            self.campaign.unable(why)
            await self._tell()

    async def _tell(self) -> None:
        """The standby, which waits for a word each minute, and the director."""
        self._told_at = child.now()
        await self._link.send(self.campaign.standing)
        self._around.told()

    async def _one_round(self, strictly: bool) -> tuple[bool, bool]:
        """Compare, judge, tell, send what is missing; whether any too young to count is missing,
        and more than a few that nobody told of (`_sort`)."""
        self._round += 1
        begun = child.now()
        scope = self._scope = self._around.scope()
        salt = os.urandom(said.SALT)
        exact = await self._known.refresh()
        await self._link.send(said.Compare(self._round, scope, salt))
        theirs = await self._answer(said.Digests)
        wanted = None if scope is None else frozenset(scope)
        exact = exact and theirs.exact
        # At once: both kernels are to have counted at the same time.
        active = () if exact else await self._known.active(wanted)
        ours, total = await self._known.digests(wanted, salt)
        missing = {n: keys async for n, keys in self._missing(ours, theirs, wanted, salt) if keys}
        whole = theirs.held == 0
        old, untold = (missing, {}) if whole else await self._sort(missing, begun, strictly)
        before = self.campaign.standing
        absent, anew = _count(old), _count(untold)
        stubborn = await in_turns(self.campaign.stubborn(*each) for each in old.items())
        fewer = _fewer(active, theirs) if active else 0
        compared = Compared(total, absent, stubborn, exact, theirs.drops, sum(active), fewer)
        verdict = self.campaign.judge(compared, child.now())
        if given := _together(old, untold):
            await self._send(given)
            sent = absent + anew
            most = sent > total / 2  # it came back, and has heard a few by now
            self.campaign.sent(given, most, child.now())
            if most:
                took = child.now() - begun
                text = f"sent {sent} of {total} connections in {took:.1f} s: it lacked them"
                self._around.notice("resync", self._link.node, text)
        elif verdict.ready and not before.ready:
            text = f"{verdict.reason} ({verdict.measure.value})"
            self._around.notice("sync_complete", self._link.node, text)
        if not given:
            self._in_vain.given({})
        await self._tell()
        return _count(missing) > absent + anew, anew > NOISE * total

    async def _missing(
        self, ours: bytes, theirs: said.Digests, scope: Scope, salt: bytes
    ) -> AsyncIterator[tuple[int, list[bytes]]]:
        """The keys of what we have and the standby has not, bucket by bucket."""
        differing = comparison.differing(ours, theirs.digests)
        buckets, turns = self._known.mirror.buckets, Turns()
        if theirs.held == 0:
            for number in differing:
                bucket = buckets[number].items()
                yield number, [k for k, v in bucket if comparison.is_compared(v, scope)]
                await turns.give()
            return
        if not differing:
            return
        await self._link.send(said.List(self._round, tuple(differing)))
        async for number, has in self._listed(differing):
            hashes = comparison.hashes(buckets[number].items(), scope, salt)
            yield number, [key for hashed, key in hashes if hashed not in has]
            await turns.give()

    async def _listed(self, buckets: Sequence[int]) -> AsyncIterator[tuple[int, set[bytes]]]:
        """Each of these buckets and what the standby lists of it; a large one comes in parts."""
        at = 0
        has: set[bytes] = set()
        while at < len(buckets):
            part = await self._answer(said.Listing)
            if not part.hashes or at + len(part.hashes) > len(buckets):
                raise LinkError(f"{self._link.node} lists what it was not asked for")
            for left, raw in zip(range(len(part.hashes) - 1, -1, -1), part.hashes, strict=True):
                has |= comparison.split_hashes(raw)
                if len(has) > LISTED:
                    raise LinkError(f"{self._link.node} lists more than a bucket can hold")
                if left or not part.more:
                    yield buckets[at], has
                    at, has = at + 1, set()
            await asyncio.sleep(0)

    async def _sort(self, missing: Keys, begun: float, strictly: bool) -> tuple[Keys, Keys]:
        """Those that are no longer on their way, as they are old, or the standby did not listen yet
        when they were said; and those that only this reading has shown. Where the standby had all,
        and nothing happened, these are no proof that it lacks any, as the kernel keeps them back
        for up to two seconds: they are given to it, and judged by the next comparison."""
        before = max(begun - YOUNG, self._listens_since)
        lenient = self.campaign.standing.ready and not strictly
        old: dict[int, list[bytes]] = {}
        untold: dict[int, list[bytes]] = {}
        turns = Turns()
        for number, keys in missing.items():
            for key in keys:
                value = self._known.mirror.get(key)
                if value is not None and mirror.is_old(value, before):
                    kind = untold if lenient and mirror.is_anew(value) else old
                    kind.setdefault(number, []).append(key)
            await turns.give()
        return old, untold

    async def _answer(self, kind: type[T]) -> T:
        """The standby's answer in this round."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                while True:
                    answer = await self._answers.get()
                    if isinstance(answer, kind) and answer.round == self._round:
                        return answer
        except TimeoutError:
            raise LinkError(f"{self._link.node} does not answer") from None

    # Sending

    async def _send(self, keys: Keys) -> None:
        """Their records, paced, as often as the campaign says."""
        await self._link.send(said.Sending(True))
        self._pace = Pace(child.now(), self._state.drops if self._state else 0)
        try:
            await self._make_way(keys)
            self._in_vain.given(keys)
            for _ in range(self.campaign.copies):
                await self._send_once(self._records(chain.from_iterable(keys.values())))
        finally:
            self._pace = None
        await asyncio.sleep(SETTLE)
        await self._link.send(said.Sending(False))

    async def _make_way(self, keys: Keys) -> None:
        """Have the standby's kernel let go of what it has in place of those given in vain."""
        ways: list[bytes] = []
        templates, turns = False, Turns()
        for number, missing in keys.items():
            for raw in self._records(self._in_vain.stuck(number, missing)):
                if way := making_way.making_way(raw):
                    ways.append(way)
                    templates = templates or ipvs_sync.is_template(way)
            await turns.give()
        await self._send_once(iter(ways))
        if templates:
            await asyncio.sleep(making_way.GONE_AFTER)

    def _records(self, keys: Iterable[bytes]) -> Iterator[bytes]:
        now = child.now()
        values = (self._known.mirror.get(key) for key in keys)
        return (mirror.record(value, now) for value in values if value is not None)

    async def _send_once(self, records: Iterator[bytes]) -> None:
        stream, scope = self._around.stream(), self._scope
        if stream is None or self._pace is None:
            return
        longest = min(stream.longest, 1472)  # the peer's interface may be another one than ours
        sync_id = self._known.sync_id
        for number, (payload, count) in enumerate(ipvs_sync.pack(records, sync_id, longest)):
            wait = self._pace.wait(count, child.now())
            if wait or number % TOGETHER == 0:
                await asyncio.sleep(wait)
                await self._hear_of_it()
                if self._around.scope() != scope:  # another master knows some of them better now
                    return self.ask()
            until = child.now() + STUCK
            while not stream.send(payload):
                if child.now() > until:
                    raise LinkError("the sync interface takes no datagrams")
                await asyncio.sleep(RETRY)

    async def _hear_of_it(self) -> None:
        """A standby that has no time to tell how it is has no time for more either; and one to
        whom much is sent is to know that we are there."""
        if child.now() - self._told_at > PERIOD:
            self._told_at = child.now()
            await self._link.send(said.Sending(True))
        if child.now() - self._state_at < UNHEARD:
            return
        self._reported.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN):
                await self._reported.wait()


def _count(keys: Keys) -> int:
    return sum(map(len, keys.values()))


def _together(some: Keys, others: Keys) -> Keys:
    if not others:
        return some
    numbers = some.keys() | others.keys()
    return {n: [*some.get(n, ()), *others.get(n, ())] for n in numbers}


def _fewer(active: Counters, theirs: said.Digests) -> int:
    """How many connections too few the standby's kernel has by its counters."""
    if theirs.groups:
        return counters.short(active, theirs.groups)
    return counters.short((sum(active),), (theirs.active,))


def _differs(before: said.State, after: said.State) -> bool:
    return (before.waits, before.thread) != (after.waits, after.thread)
