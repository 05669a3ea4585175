"""A silent server with nobody to compare with: the trouble may be ours."""

from collections.abc import Sequence
from dataclasses import replace

from hadirector.core.messages import Health, Probe, Targets, Verdict
from hadirector.core.pacing import Report, Schedule, Start, Woken
from hadirector.core.settings.checks import CheckType
from hadirector.core.silences import Shards
from tests.core.test_pacing import CHECK, GOOD, REFUSED, SILENT, ended, target

FAST = replace(CHECK, fall=1, interval=1.0)


class Farm:
    """Servers by number; `answer` ends the next probe of one."""

    def __init__(self, *numbers: int) -> None:
        self.schedule = Schedule(100)
        self.now = 10.0
        self.flying: dict[str, Start] = {}
        self.verdicts: dict[int, Verdict] = {}
        self._names = {target(n, FAST).id: n for n in numbers}
        self._take(self.schedule.handle(Targets(tuple(target(n, FAST) for n in numbers)), 10.0))

    def answer(self, number: int, outcome: object) -> Verdict:
        name = target(number, FAST).id
        while name not in self.flying:
            self.now += 0.01
            self._take(self.schedule.handle(Woken(), self.now))
        start = self.flying.pop(name)
        assert isinstance(outcome, type(GOOD))
        self._take(self.schedule.handle(ended(start, outcome), self.now))
        return self.verdicts[number]

    def _take(self, actions: Sequence[object]) -> None:
        for action in actions:
            if isinstance(action, Start):
                self.flying[action.target.id] = action
            elif isinstance(action, Report):
                self.verdicts[self._names[action.verdict.target]] = action.verdict


def test_one_that_falls_silent_while_others_answer_is_not_alone() -> None:
    farm = Farm(1, 2)
    farm.answer(1, GOOD)
    farm.answer(2, GOOD)
    start_silence = farm.answer(1, SILENT)
    farm.answer(2, GOOD)

    again = farm.answer(1, SILENT)

    assert start_silence.health is again.health is Health.DOWN
    assert not again.alone


def test_when_all_fall_silent_each_is_alone_until_it_is_asked_after_another_answered() -> None:
    farm = Farm(1, 2, 3)
    for number in (1, 2, 3):
        farm.answer(number, GOOD)
    alone = [farm.answer(number, SILENT).alone for number in (1, 2, 3)]

    farm.answer(2, GOOD)
    waiting = [farm.verdicts[n].alone for n in (1, 2, 3)]
    began = farm.now
    dead, back = farm.answer(1, SILENT), farm.answer(3, GOOD)

    assert (alone, waiting) == ([True, True, True], [True, False, True])
    assert farm.now - began < 0.1  # they are asked at once
    assert (dead.alone, dead.health) == (False, Health.DOWN)
    assert (back.alone, back.health) == (False, Health.RISING)


def test_an_answer_that_is_wrong_is_an_answer() -> None:
    farm = Farm(1, 2)
    farm.answer(1, SILENT)

    farm.answer(2, REFUSED)

    assert not farm.answer(1, SILENT).alone
    assert not farm.verdicts[2].alone


def test_its_own_answer_under_another_check_is_no_company() -> None:
    schedule = Schedule(10)
    tcp, http = target(1, FAST), replace(target(1, replace(FAST, path="/x")), id="other")
    schedule.handle(Targets((tcp, http)), 0.0)
    starts = [a for a in schedule.handle(Woken(), 1.0) if isinstance(a, Start)]

    schedule.handle(ended(starts[0], SILENT), 1.1)
    actions = schedule.handle(ended(starts[1], GOOD), 1.2)

    told = {v.target: v.alone for v in schedule.verdicts()}
    assert told[starts[0].target.id] is True
    assert len([a for a in actions if isinstance(a, Report)]) == 1


def said(number: int, ok: bool, at: float, alone: bool = False) -> Verdict:
    """Of a probe that took half a second."""
    health = Health.UP if ok else Health.DOWN
    probe = Probe(ok, ok, "told", 500.0, at)
    return Verdict(target(number, FAST).id, health, at, probe, alone)


def judged(shards: Shards, shard: int, *verdicts: Verdict) -> list[bool]:
    return [verdict.alone for verdict in shards.judge(shard, verdicts)]


def two_shards() -> Shards:
    shards = Shards()
    shards.keep([target(1, FAST), target(2, FAST)])
    shards.judge(0, (said(1, True, 10.0),))
    shards.judge(1, (said(2, True, 10.0),))
    return shards


def test_one_is_not_alone_while_a_server_of_another_process_answers() -> None:
    shards = two_shards()
    falling = judged(shards, 0, said(1, False, 11.5))
    shards.judge(1, (said(2, True, 11.2),))

    down = judged(shards, 0, said(1, False, 12.5, alone=True))

    assert (falling, down) == ([False], [False])


def test_one_asked_before_another_answered_is_alone_until_it_is_asked_again() -> None:
    shards = two_shards()
    first = judged(shards, 0, said(1, False, 11.5, alone=True))
    shards.judge(1, (said(2, True, 15.0),))

    before = judged(shards, 0, said(1, False, 15.2, alone=True))
    shards.judge(1, (said(2, True, 15.6),))
    after = judged(shards, 0, said(1, False, 16.2, alone=True))

    assert (first, before, after) == ([True], [True], [False])


def test_one_that_another_process_probes_from_now_on_is_compared_anew() -> None:
    shards = two_shards()
    first = judged(shards, 0, said(1, False, 11.5, alone=True))
    shards.judge(0, (said(2, True, 11.8),))
    same = judged(shards, 0, said(1, False, 12.5, alone=True))

    moved = judged(shards, 1, said(1, False, 13.5, alone=True))

    assert (first, same, moved) == ([True], [True], [False])


def test_all_that_fell_silent_are_alone_in_every_process() -> None:
    shards = two_shards()
    first = judged(shards, 0, said(1, False, 11.5, alone=True))
    second = judged(shards, 1, said(2, False, 11.6, alone=True))

    again = judged(shards, 0, said(1, False, 12.5, alone=True))

    assert (first, second, again) == ([True], [True], [True])


def test_what_a_program_says_is_no_answer_of_the_network() -> None:
    shards = Shards()
    program = replace(target(2, FAST), check=replace(FAST, type=CheckType.EXEC))
    shards.keep([target(1, FAST), program])
    shards.judge(0, (said(1, False, 11.5, alone=True),))
    shards.judge(1, (said(2, True, 11.8),))

    assert judged(shards, 0, said(1, False, 12.5, alone=True)) == [True]
