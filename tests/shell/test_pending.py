"""Requests on their way through the core."""

import asyncio

import pytest

from hadirector.core import director_events as ev
from hadirector.core.requests import Outcome, Release, StandBy, Verdict
from hadirector.shell import pending
from hadirector.shell.pending import Pending

DONE = Outcome(Verdict.DONE, ("nothing was held back",))


async def test_each_request_gets_its_own_answer() -> None:
    asked: list[ev.Event] = []
    waiting = Pending(asked.append, "lb1")
    first = asyncio.create_task(waiting.ask(Release("front")))
    second = asyncio.create_task(waiting.ask(StandBy(on=True)))
    await asyncio.sleep(0)
    one, two = (event for event in asked if isinstance(event, ev.Asked))

    waiting.reply(ev.Reply(two.token, Outcome(Verdict.REFUSED, ("no",))))
    waiting.reply(ev.Reply(one.token, DONE))
    waiting.reply(ev.Reply(one.token, DONE))  # nobody waits for it any more

    assert (await first, (await second).verdict) == (DONE, Verdict.REFUSED)
    assert one.token != two.token


async def test_a_core_that_does_not_answer_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pending, "PATIENCE", 0.01)

    outcome = await Pending(lambda _: None, "lb1").ask(Release())

    assert outcome.verdict is Verdict.FAILED


async def test_requests_that_wait_are_bounded() -> None:
    waiting = Pending(lambda _: None, "lb1")
    tasks = [asyncio.create_task(waiting.ask(Release())) for _ in range(pending.MOST)]
    await asyncio.sleep(0)

    assert (await waiting.ask(Release())).verdict is Verdict.REFUSED

    for task in tasks:
        task.cancel()
