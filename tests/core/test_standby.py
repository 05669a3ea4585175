"""core/operations: what a handover and standby leave behind."""

from dataclasses import replace

from hadirector.core import director_events as ev
from hadirector.core import messages
from hadirector.core.director import Director
from hadirector.core.messages import OrderKind, Process
from hadirector.core.requests import Outcome, Release, StandBy, Verdict
from hadirector.core.stance import Since, Stance
from tests.core.electorate import INSIDE
from tests.core.operations_desk import (
    BACKUP,
    KEYED,
    MASTER,
    UNREADY,
    Desk,
    held,
    master,
    router,
)

# --- the hold --------------------------------------------------------------------------------


def test_an_election_is_told_of_a_hold_with_its_settings() -> None:
    core = Director("1", frozenset(), 0.0, (), Stance(None, {"front": Since(0.0, "x")}))

    actions = core.handle(ev.Configured(KEYED), 0.0)

    told = [a.message for a in actions if isinstance(a, ev.Send) and a.to is Process.ELECTION]
    assert isinstance(told[0], messages.ElectionSettings)
    assert told[0].stance == messages.Stance(held=("front",))
    assert messages.Stance(held=("front",)) in told[1:]


def test_a_release_ends_the_hold_on_disk_as_well() -> None:
    desk = held()

    desk.ask(Release("front"))

    assert desk.level == messages.Stance()
    assert desk.saved == [Stance()]
    line = "front: released; preempts as configured (always)"
    assert desk.replies == [Outcome(Verdict.DONE, (line,))]


def test_a_release_of_nothing_is_fine_and_says_so() -> None:
    desk = master()

    desk.ask(Release())

    assert desk.replies == [Outcome(Verdict.DONE, ("nothing was held back",))]
    assert desk.saved == []


def test_a_hold_ends_when_this_node_is_master_all_the_same() -> None:
    desk = held()

    desk.routers(router("front", MASTER), router("inside", BACKUP))

    assert desk.level == messages.Stance()
    assert desk.events[-1] == (
        "hold_ended",
        "front",
        "this node is master again: told by the test",
    )


def test_a_hold_does_not_end_while_one_family_is_still_handed_over() -> None:
    desk = held()

    desk.routers(router("front", BACKUP), router("front", MASTER, family=6))

    assert desk.level == messages.Stance(held=("front",))


def test_a_hold_ends_with_its_instance() -> None:
    desk = held()

    desk.feed(ev.Configured(replace(KEYED, instances=(INSIDE,))))

    assert desk.level == messages.Stance()


def test_a_reply_waits_for_the_disk_and_says_when_it_does_not_write() -> None:
    desk = held()
    desk.disk = False
    desk.ask(Release("front"))
    assert desk.replies == []

    desk.feed(ev.StanceSaved("/var/lib: No space left on device"))

    assert desk.replies[0].warnings == (
        "a restart would forget this: /var/lib: No space left on device",
    )


def test_a_reply_does_not_wait_for_ever_for_the_disk() -> None:
    desk = held()
    desk.disk = False
    desk.ask(Release("front"))

    desk.wake(2.0)

    warning = "a restart would forget this: not written to the disk yet"
    assert desk.replies[0].warnings == (warning,)


# --- standby ---------------------------------------------------------------------------------


def test_standby_hands_over_everything_and_stays_out() -> None:
    desk = master()

    desk.ask(StandBy(on=True, reason="kernel"))
    desk.answer()
    assert desk.level == messages.Stance(standby=True)
    assert desk.orders[0].kind is OrderKind.YIELD
    desk.obey()
    desk.routers(router("front", BACKUP, since=0.01), router("inside", BACKUP, since=0.01))

    assert desk.replies[0].verdict is Verdict.DONE
    assert desk.saved[-1] == Stance(Since(0.0, "kernel"))
    assert not desk.core.operations.stance.holds


def test_standby_that_cannot_hand_over_is_refused_and_begins_nothing() -> None:
    desk = master(presence=UNREADY)

    desk.ask(StandBy(on=True))

    assert desk.replies[0].verdict is Verdict.REFUSED
    assert desk.saved == []


def test_forced_standby_stays_even_if_nobody_takes_over() -> None:
    desk = master(presence=UNREADY)
    desk.ask(StandBy(on=True, force=True))
    desk.obey()
    leaving = (router("front", MASTER, leaving=True), router("inside", MASTER, leaving=True))
    desk.routers(*leaving)

    desk.routers(router("front", MASTER), router("inside", MASTER))

    assert desk.replies[0].verdict is Verdict.FAILED
    assert desk.level == messages.Stance(standby=True)
    assert desk.events[-1][0] == "standby_serves"


def test_standby_of_a_backup_begins_at_once_and_twice_is_once() -> None:
    desk = Desk()
    desk.routers(router("front", BACKUP), router("inside", BACKUP))

    desk.ask(StandBy(on=True))
    desk.ask(StandBy(on=True))

    lines = [reply.lines for reply in desk.replies]
    assert lines == [("in standby; this node was master of nothing",), ("in standby already",)]
    assert desk.level == messages.Stance(standby=True)


def test_a_node_in_standby_that_serves_says_so_once() -> None:
    desk = Desk(KEYED, Stance(Since(0.0, "kernel")))
    desk.routers(router("front", BACKUP), router("inside", BACKUP))

    for _ in range(3):
        desk.routers(router("front", MASTER), router("inside", BACKUP))

    told = [event for event in desk.events if event[0] == "standby_serves"]
    reason = "serves although in standby, nobody else could: told by the test"
    assert told == [("standby_serves", "front", reason)]


def test_standby_off_ends_it_and_says_what_follows() -> None:
    desk = Desk(KEYED, Stance(Since(0.0, "kernel")))
    desk.routers(router("front", BACKUP), router("inside", MASTER))

    desk.ask(StandBy(on=False))
    desk.ask(StandBy(on=False))

    assert desk.level == messages.Stance()
    assert [reply.lines for reply in desk.replies] == [
        (
            "standby ended",
            "front: preempts as configured (always)",
            "inside: this node is master",
        ),
        ("was not in standby",),
    ]


def test_standby_off_says_what_is_still_held_back() -> None:
    stance = Stance(Since(0.0, "kernel"), {"front": Since(0.0, "handed over to lb2")})
    desk = Desk(KEYED, stance)
    desk.routers(router("front", BACKUP), router("inside", BACKUP))

    desk.ask(StandBy(on=False))

    assert desk.level == messages.Stance(held=("front",))
    assert desk.replies[0].lines == (
        "standby ended",
        "inside: preempts as configured (always)",
        "front: still held back: handed over to lb2",
    )
