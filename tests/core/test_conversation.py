"""core/conversation: two nodes, and whoever listens between them."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hadirector.core.conversation import ANSWER_EVERY, REORDER, WINDOW, Conversation
from hadirector.core.seal import Flaw, Mark

T0 = 100.0


@dataclass(frozen=True, slots=True)
class Datagram:
    """A genuine one, on the wire or in somebody's recording."""

    mark: Mark
    echo: Mark
    made_at: float


@dataclass(slots=True)
class End:
    """One node's side; a restart is a new conversation."""

    incarnation: int
    talk: Conversation = field(init=False)

    def __post_init__(self) -> None:
        self.talk = Conversation(self.incarnation)

    def say(self, now: float, echo: Mark | None = None) -> Datagram:
        return Datagram(self.talk.next(now), echo or self.talk.heard, now)

    def hear(self, said: Datagram, now: float) -> Flaw | None:
        return self.talk.judge(said.mark, said.echo, now)

    def restart(self, incarnation: int) -> None:
        self.incarnation = incarnation
        self.talk = Conversation(incarnation)


def met() -> tuple[End, End]:
    """Two that believe each other, at T0."""
    one, two = End(1000), End(2000)
    first = one.say(T0)
    assert two.hear(first, T0) is Flaw.STALE
    assert one.hear(two.say(T0, first.mark), T0) is None
    assert two.hear(one.say(T0), T0) is None
    return one, two


def test_two_that_never_met_believe_each_other_after_three_datagrams() -> None:
    one, two = met()

    assert one.hear(two.say(T0 + 0.5), T0 + 0.5) is None
    assert two.hear(one.say(T0 + 0.5), T0 + 0.5) is None


def test_the_same_datagram_is_believed_once() -> None:
    one, two = met()
    said = one.say(T0 + 1)

    assert two.hear(said, T0 + 1) is None
    assert two.hear(said, T0 + 1) is Flaw.REPLAYED


def test_one_that_was_just_overtaken_is_believed_once() -> None:
    one, two = met()
    first, second = one.say(T0 + 1), one.say(T0 + 1)

    assert two.hear(second, T0 + 1) is None
    assert two.hear(first, T0 + 1 + REORDER / 2) is None
    assert two.hear(first, T0 + 1 + REORDER / 2) is Flaw.REPLAYED
    assert two.hear(second, T0 + 1 + REORDER / 2) is Flaw.REPLAYED
    assert two.talk.heard == second.mark


def test_one_that_was_overtaken_and_held_up_is_not_believed_any_more() -> None:
    one, two = met()
    first, second = one.say(T0 + 1), one.say(T0 + 1)

    assert two.hear(second, T0 + 1) is None
    assert two.hear(first, T0 + 1.01 + REORDER) is Flaw.REPLAYED


def test_nothing_recorded_before_a_restart_of_the_receiver_is_believed_after_it() -> None:
    one, two = met()
    recorded = [one.say(T0 + 0.1 * i) for i in range(20)]

    two.restart(2001)

    assert {two.hear(said, T0 + 3) for said in recorded} == {Flaw.STALE}


def test_what_was_held_up_for_longer_than_the_window_is_not_believed() -> None:
    one, two = met()
    held_up = one.say(T0 + 0.1)
    for second in range(1, 10):
        two.say(T0 + second)

    assert two.hear(held_up, T0 + WINDOW + 1.1) is Flaw.STALE


def test_a_restarted_sender_is_believed_again_whatever_its_clock_was_set_to() -> None:
    one, two = met()
    one.restart(3)

    hello = one.say(T0 + 1)
    assert two.hear(hello, T0 + 1) is Flaw.STALE
    assert one.hear(two.say(T0 + 1, hello.mark), T0 + 1) is None
    assert two.hear(one.say(T0 + 1), T0 + 1) is None


def test_a_director_that_was_replaced_is_not_believed_even_within_the_window() -> None:
    one, two = met()
    withheld = one.say(T0 + 0.5)
    one.restart(1001)
    hello = one.say(T0 + 1)
    two.hear(hello, T0 + 1)
    one.hear(two.say(T0 + 1, hello.mark), T0 + 1)
    assert two.hear(one.say(T0 + 1), T0 + 1) is None

    assert two.hear(withheld, T0 + 1.1) is Flaw.REPLAYED


def test_a_life_that_nobody_heard_of_is_not_believed_after_its_successor() -> None:
    one, two = met()
    one.restart(1001)
    unheard = one.say(T0 + 1.0, two.say(T0 + 1.0).mark)  # kept by whoever listens
    one.restart(1002)
    assert two.hear(one.say(T0 + 2.0, two.say(T0 + 2.0).mark), T0 + 2.0) is None

    assert two.hear(unheard, T0 + 2.1) is Flaw.STALE
    assert two.hear(one.say(T0 + 2.2), T0 + 2.2) in (None, Flaw.STALE)
    assert two.talk.heard.incarnation == 1002


def test_an_echo_of_what_was_never_said_is_not_believed() -> None:
    one, two = met()

    for echo in (Mark(2000, 99), Mark(2000, 0), Mark(1999, 1), Mark()):
        assert two.hear(one.say(T0 + 1, echo), T0 + 1) is Flaw.STALE


def test_one_that_slept_believes_again_as_soon_as_it_is_echoed() -> None:
    one, two = met()
    queued = one.say(T0 + 1)

    assert two.hear(queued, T0 + 60) is Flaw.STALE
    assert one.hear(two.say(T0 + 60, queued.mark), T0 + 60) is Flaw.STALE  # it slept as well
    again = one.say(T0 + 60)
    assert two.hear(again, T0 + 60) is Flaw.STALE
    assert one.hear(two.say(T0 + 60, again.mark), T0 + 60) is None
    assert two.hear(one.say(T0 + 60), T0 + 60) is None


def test_answers_are_not_given_faster_than_they_are_of_use() -> None:
    one, _ = met()

    given = [one.talk.owes_answer(T0 + ms / 1000) for ms in range(0, 1000)]

    assert sum(given) <= 1 / ANSWER_EVERY


class Listener(RuleBasedStateMachine):
    """Somebody on the wire records everything, holds up what he likes, and sends what he has again
    and again, while both ends talk, sleep and restart. He has no key."""

    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self.ends = [End(1), End(2)]
        self.lives = 2
        self.wire: list[tuple[int, Datagram]] = []  # to whom, what: recorded for ever
        self.believed: set[tuple[int, int, Mark]] = set()  # whose life, which

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 2.0, 7.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(who=st.integers(0, 1))
    def one_speaks(self, who: int) -> None:
        self.wire.append((1 - who, self.ends[who].say(self.now)))

    @rule(who=st.integers(0, 1), back=st.integers(1, 40))
    def something_arrives(self, who: int, back: int) -> None:
        mine = [said for to, said in self.wire if to == who]
        if len(mine) < back:
            return
        said, end = mine[-back], self.ends[who]
        flaw = end.hear(said, self.now)
        if flaw is Flaw.STALE and end.talk.owes_answer(self.now):
            self.wire.append((1 - who, end.say(self.now, said.mark)))
        if flaw is None:
            name = (who, end.incarnation, said.mark)
            assert name not in self.believed, "the same one twice in one life"
            assert self.now - said.made_at <= WINDOW, "an old one"
            self.believed.add(name)

    @rule(who=st.integers(0, 1))
    def one_restarts(self, who: int) -> None:
        self.lives += 1
        # A clock that was set back: incarnations need not grow, only be new.
        self.ends[who].restart(10**6 - self.lives)

    @rule()
    def left_alone_they_believe_each_other_soon(self) -> None:
        for _ in range(4):
            for who in (0, 1):
                said = self.ends[who].say(self.now)
                other = self.ends[1 - who]
                flaw = other.hear(said, self.now)
                if flaw is Flaw.STALE and other.talk.owes_answer(self.now):
                    self.ends[who].hear(other.say(self.now, said.mark), self.now)
            self.now += 0.5
        for who in (0, 1):
            assert self.ends[1 - who].hear(self.ends[who].say(self.now), self.now) is None

    @invariant()
    def what_is_remembered_is_bounded(self) -> None:
        assert len(self.wire) < 10_000


Listener.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestListener = Listener.TestCase
