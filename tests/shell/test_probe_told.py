"""Checks whose answer comes from elsewhere: an agent, a program, a report; and pings."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hadirector import checker
from hadirector.core.address import Endpoint, canonical
from hadirector.core.checker_messages import Report, Reports, Wish
from hadirector.core.messages import Execute, Executed, Health, Message, Targets, Verdict, Verdicts
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import CheckType, Target
from hadirector.shell import child
from hadirector.shell.probes import ping
from tests.shell.probing import check, probe, says, serving

NOBODY = "192.0.2.1"  # TEST-NET-1


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        (b"up 75%\n", Outcome(Cause.GOOD, "the agent says up 75%", share=0.75, up=True)),
        (b"drain\r\n", Outcome(Cause.GOOD, "the agent says drain", wish=Wish.DRAIN)),
        (b"ready,up", Outcome(Cause.GOOD, "the agent says ready,up", wish=Wish.NONE, up=True)),
        (b"fail #disk\n", Outcome(Cause.ANSWERED, "the agent says fail (disk)", up=False)),
        (b"SSH-2.0\n", Outcome(Cause.ANSWERED, "no agent's answer: it said 'SSH-2.0'")),
        (
            b"up blue\n",
            Outcome(Cause.GOOD, "the agent says up blue", "words not understood: blue", up=True),
        ),
    ],
)
async def test_an_agent_is_understood(line: bytes, outcome: Outcome) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(line)
        await writer.drain()

    async with serving(speak) as port:
        assert await probe(check(CheckType.AGENT), port) == outcome


async def test_an_agent_that_says_nothing_is_silent() -> None:
    async with serving(says(stay=True)) as port:
        outcome = await probe(check(CheckType.AGENT, timeout=0.1), port)

    assert outcome.cause is Cause.SILENT


class Told:
    """A checker with one target, and what it says."""

    def __init__(self, target: Target, now: Callable[[], float] = lambda: 100.0) -> None:
        self.verdicts: list[Verdict] = []
        self.executes: list[Execute] = []
        self.checker = checker.Checker(self._send, {})
        self.checker.receive(Targets((target,)))

    def _send(self, message: Message) -> None:
        if isinstance(message, Verdicts):
            self.verdicts += message.verdicts
        elif isinstance(message, Execute):
            self.executes.append(message)

    async def until(self, health: Health) -> str:
        async with asyncio.timeout(5):
            while self.verdicts[-1].health is not health:  # noqa: ASYNC110  # no event to wait for
                await asyncio.sleep(0.002)
        last = self.verdicts[-1].last
        return last.detail if last else ""


def told_target(kind: CheckType, **changes: object) -> Target:
    fast = replace(check(kind, 0.5), interval=0.05, fast_interval=0.02, rise=1, fall=1, max_age=0.3)
    return Target("t", fast, Endpoint(canonical(NOBODY), 80))


async def test_a_program_is_asked_for_by_the_name_of_its_target_and_its_end_is_the_verdict() -> (
    None
):
    told = Told(told_target(CheckType.EXEC))
    async with asyncio.timeout(5):
        while not told.executes:  # noqa: ASYNC110  # no event to wait for
            await asyncio.sleep(0.002)
    asked = told.executes[0]

    told.checker.receive(Executed(asked.ticket, Cause.ANSWERED, "exit 1: no route to slapd"))
    detail = await told.until(Health.DOWN)
    told.checker.close()

    assert asked.target == "t"
    assert detail == "exit 1: no route to slapd"


async def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    told = Told(told_target(CheckType.EXEC))
    told.checker.receive(Executed(12345, Cause.GOOD, "exit 0"))
    await asyncio.sleep(0.01)
    told.checker.close()

    assert told.verdicts[-1].health is Health.UNKNOWN


async def test_a_report_counts_at_once_and_as_long_as_it_holds() -> None:
    told = Told(told_target(CheckType.EXTERNAL))
    await asyncio.sleep(0.1)
    assert told.verdicts[-1].health is Health.UNKNOWN

    now = child.now()
    told.checker.receive(Reports((Report("t", True, 0.5, "tests passed", now, now + 0.3),)))
    said = await told.until(Health.UP)
    share = told.verdicts[-1].last
    expired = await told.until(Health.DOWN)
    now = child.now()
    told.checker.receive(Reports((Report("t", False, None, "", now, now + 0.3),)))
    await asyncio.sleep(0.05)
    told.checker.close()

    assert said == "reported up with 50% of its weight (tests passed)"
    assert share is not None
    assert share.share == 0.5
    assert expired.startswith("no report for 300ms; the last one: reported up")


async def test_one_that_nobody_reports_counts_as_failed_after_the_age_of_a_report() -> None:
    told = Told(told_target(CheckType.EXTERNAL))

    detail = await told.until(Health.DOWN)
    told.checker.close()

    assert detail == "no report for 300ms"


PING_ALLOWED = Path("/proc/sys/net/ipv4/ping_group_range").read_text().split() != ["1", "0"]


@pytest.mark.skipif(not PING_ALLOWED, reason="net.ipv4.ping_group_range lets nobody ping")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_a_host_that_echoes_is_good(address: str) -> None:
    outcome = await probe(check(CheckType.PING), 0, address)

    assert outcome == Outcome(Cause.GOOD, "echo reply")


@pytest.mark.skipif(not PING_ALLOWED, reason="net.ipv4.ping_group_range lets nobody ping")
async def test_echoes_of_many_are_told_apart_and_each_ends_once() -> None:
    engine = ping.PingEngine()
    ended: list[tuple[int, Cause]] = []
    for number in range(200):
        at = Endpoint(canonical(f"127.0.1.{number + 1}"), 0)
        target = Target(str(number), check(CheckType.PING), at)
        engine.start(target, lambda outcome, n=number: ended.append((n, outcome.cause)))  # type: ignore[misc]
    async with asyncio.timeout(5):
        while len(ended) < 200:  # noqa: ASYNC110  # no event to wait for
            await asyncio.sleep(0.01)
    engine.close()

    assert sorted(ended) == [(n, Cause.GOOD) for n in range(200)]


async def test_without_the_right_to_ping_it_is_our_own_trouble() -> None:
    outcome = await probe(check(CheckType.PING, 0.2), 0, NOBODY)

    assert outcome.cause in (Cause.OURS, Cause.SILENT, Cause.UNREACHABLE)
