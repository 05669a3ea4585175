"""core/vrrp and core/listening: who holds back, from whom, and until when."""

from dataclasses import replace

import pytest

from hadirector.core.settings.instances import Preempt
from hadirector.core.vrrp import Router
from hadirector.core.vrrp_states import Backup, Candidate, Hold, Standing
from tests.core.routers import (
    DOWN,
    FRONT,
    HIGHER,
    PATIENCE,
    PEER,
    SOONEST,
    T0,
    backup,
    kinds,
    master,
    said,
    with_standing,
)

SYNCED = replace(FRONT, preempt=Preempt.WHEN_SYNCED, sync_wait=120.0, peer_priorities=(90,))
NEVER = replace(FRONT, preempt=Preempt.NEVER, peer_priorities=(90,))
READY = with_standing(ready=True)
NOT_READY = with_standing(ready=False, ready_reason="checks are not settled")
HELD = with_standing(held=True)
STANDBY = with_standing(standby=True)
ASIDE = "stays out: in standby, and lb2 could be master"


def hear_each_second(router: Router, priority: int, first: float, seconds: int) -> list[str]:
    """A master's adverts, one a second, ticks in between; all that came of it."""
    words: list[str] = []
    for second in range(seconds):
        words += kinds(router.tick(first + second))
        words += kinds(router.heard(said(priority), PEER, first + second))
    return words


@pytest.mark.parametrize(
    ("instance", "standing", "heard", "hold"),
    [
        (FRONT, NOT_READY, 90, None),  # always
        (SYNCED, READY, 90, None),
        (SYNCED, NOT_READY, 90, Hold.NOT_READY),
        (SYNCED, NOT_READY, 80, None),  # degraded: less than any peer's configured priority
        (SYNCED, NOT_READY, 1, None),  # its director is silent
        (NEVER, READY, 90, Hold.NEVER),
        (NEVER, READY, 80, None),
        (NEVER, READY, 1, None),
    ],
)
def test_holding_back_is_for_a_healthy_master(
    instance: object, standing: Standing, heard: int, hold: Hold | None
) -> None:
    assert isinstance(instance, type(FRONT))
    router = backup(instance, standing)

    router.heard(said(heard), PEER, T0 + 2)

    assert isinstance(router.state, Backup)
    assert router.state.hold is hold
    assert router.deadline == T0 + (DOWN if hold is None else 2 + DOWN)


@pytest.mark.parametrize(
    ("heard", "obeyed"), [([90], True), ([90, 90], True), ([90, 70], False), ([1], False)]
)
def test_a_foreign_master_is_degraded_when_it_says_less_than_it_did(
    heard: list[int], obeyed: bool
) -> None:
    router = backup(replace(NEVER, peer_priorities=()))

    for priority in heard:
        router.heard(said(priority), PEER, T0 + 2)

    assert isinstance(router.state, Backup)
    assert (router.state.hold is Hold.NEVER) is obeyed


def test_beside_a_peer_a_foreign_master_is_healthy_whatever_our_file_says_of_priorities() -> None:
    # A keepalived that is yet to be replaced, with priorities of its own; ours know 90 only.
    named = with_standing(ready=False, names=((HIGHER, "lb3"),))
    router = backup(SYNCED, named)

    router.heard(said(80), PEER, T0 + 2)
    assert isinstance(router.state, Backup)
    assert router.state.hold is Hold.NOT_READY

    router.heard(said(70), PEER, T0 + 3)
    assert router.state.hold is None  # less than it was heard to say


def test_sync_wait_ends_beside_a_foreign_master_though_another_peer_lives() -> None:
    router = backup(SYNCED, with_standing(ready=False, names=((HIGHER, "lb3"),)))

    words = hear_each_second(router, 90, T0 + 1, 121)

    assert words == ["tell following", "tell sync_wait"]
    assert router.reason.endswith("preempting a foreign master")
    assert kinds(router.tick(T0 + 120 + DOWN))[-1] == "tell master"


@pytest.mark.parametrize("instance", [SYNCED, NEVER])
def test_an_absent_master_is_replaced_whoever_holds_back(instance: object) -> None:
    assert isinstance(instance, type(FRONT))
    router = backup(instance, NOT_READY)
    router.heard(said(90), PEER, T0 + 2)

    assert kinds(router.tick(T0 + 2 + DOWN))[-1] == "tell master"


def test_a_standby_preempts_once_it_is_ready() -> None:
    router = backup(SYNCED, NOT_READY)
    assert hear_each_second(router, 90, T0 + 1, 60) == ["tell following"]

    router.update(READY, T0 + 60.5)
    words = hear_each_second(router, 90, T0 + 61, 4)

    # Obeyed last at T0 + 60, so its patience ends 3.6 s later.
    rises = ["advertise 100", "take", "proclaim False", "tell master"]
    assert words == [*rises, "advertise 100", "proclaim True"]


def test_beside_a_foreign_master_patience_with_not_being_ready_ends_after_sync_wait() -> None:
    router = backup(SYNCED, replace(NOT_READY, accompanied=False))

    words = hear_each_second(router, 90, T0 + 1, 121)

    assert words == ["tell following", "tell sync_wait"]
    assert router.reason == (
        "not ready after 120 s (checks are not settled): preempting a foreign master"
    )
    assert kinds(router.tick(T0 + 120 + DOWN))[-1] == "tell master"


def test_beside_another_director_it_is_told_and_the_waiting_goes_on() -> None:
    router = backup(SYNCED, NOT_READY)

    words = hear_each_second(router, 90, T0 + 1, 300)

    assert words == ["tell following", "tell sync_wait"]
    assert router.reason.endswith("waiting on")


def test_being_ready_in_time_leaves_nothing_to_tell() -> None:
    router = backup(SYNCED, NOT_READY)
    hear_each_second(router, 90, T0 + 1, 100)

    router.update(READY, T0 + 100.5)

    assert "tell sync_wait" not in hear_each_second(router, 90, T0 + 101, 30)


def test_a_master_under_never_stays_master_when_a_higher_configured_one_returns() -> None:
    incumbent, now = master(NEVER)
    returning = backup(replace(NEVER, priority=150, peer_priorities=(100,)))

    for second in range(10):
        (advert,) = incumbent.tick(now + 1 + second)
        returning.tick(T0 + 1 + second)
        returning.heard(said(advert.priority), PEER, T0 + 1 + second)  # type: ignore[union-attr]

    assert returning.deadline == pytest.approx(T0 + 10 + 3 + 106 / 256)
    assert not returning.holds_addresses


def test_under_never_a_higher_advert_is_obeyed_all_the_same() -> None:
    router, now = master(NEVER)

    assert kinds(router.heard(said(255), PEER, now)) == ["release", "advertise 254", "tell backup"]


def test_a_handover_keeps_the_addresses_until_the_successor_speaks_and_then_holds_back() -> None:
    router, now = master()

    assert kinds(router.give_way(now)) == ["advertise 0", "tell leaving"]
    assert kinds(router.heard(said(90), PEER, now + 0.6)) == ["release", "tell backup"]
    router.update(HELD, now + 0.7)
    hear_each_second(router, 90, now + 1, 30)
    assert router.reason == f"following {PEER}, priority 90: a handover is not yet released"

    router.update(with_standing(), now + 30.5)
    router.heard(said(90), PEER, now + 31)
    assert router.deadline == now + 30 + DOWN


def test_a_handover_nobody_follows_is_taken_back() -> None:
    router, now = master()
    router.give_way(now)

    effects = router.tick(now + PATIENCE)

    assert kinds(effects) == ["advertise 100", "take", "proclaim True", "tell resumed"]
    assert router.reason == "handover failed: nobody took over"


@pytest.mark.parametrize(
    ("heard", "obeyed"), [(90, True), (2, True), (1, False)], ids=["healthy", "degraded", "lost"]
)
def test_after_a_handover_a_degraded_master_is_left_in_peace_but_not_one_that_asks_for_anybody(
    heard: int, obeyed: bool
) -> None:
    router = backup(FRONT, HELD)

    router.heard(said(heard), PEER, T0 + 1)

    assert router.deadline == (T0 + 1 + DOWN if obeyed else T0 + DOWN)


def test_after_a_handover_an_absent_master_is_replaced_all_the_same() -> None:
    router = backup(FRONT, HELD)
    router.heard(said(90), PEER, T0 + 1)

    assert kinds(router.tick(T0 + 1 + DOWN))[-1] == "tell master"


@pytest.mark.parametrize("standing", [HELD, STANDBY], ids=["held", "standby"])
def test_an_owner_that_gave_its_addresses_away_listens_at_its_start(standing: Standing) -> None:
    router = Router(replace(FRONT, priority=255, startup_delay=None), T0)

    assert kinds(router.update(standing, T0)) == []
    assert router.waits_for_network
    assert kinds(router.hear_network(T0 + 1)) == ["tell backup"]
    assert kinds(router.heard(said(90), PEER, T0 + 2)) == ["tell following"]
    assert not router.holds_addresses


def test_giving_way_is_for_masters() -> None:
    router = backup()

    assert router.give_way(T0 + 1) == []
    assert isinstance(router.state, Backup)


# --- standby ---------------------------------------------------------------------------------


def test_a_master_in_standby_advertises_priority_1_whatever_it_is_configured_to() -> None:
    for instance in (FRONT, NEVER, replace(FRONT, priority=255)):
        router, now = master(instance)

        assert kinds(router.update(STANDBY, now + 0.5)) == ["advertise 1"]
        assert router.holds_addresses


def test_a_backup_in_standby_obeys_every_master_and_waits_the_longest() -> None:
    router = backup(FRONT, STANDBY)

    router.heard(said(1), PEER, T0 + 1)

    assert router.deadline == T0 + 1 + PATIENCE
    assert kinds(router.tick(T0 + 1 + PATIENCE)) == [
        "advertise 1",
        "take",
        "proclaim False",
        "tell master",
    ]


@pytest.mark.parametrize("coupled", [False, True])
def test_a_backup_in_standby_listens_on_while_another_node_could_be_master(coupled: bool) -> None:
    router = backup(FRONT, with_standing(standby=True, aside=ASIDE, coupled=coupled))

    effects = router.tick(T0 + PATIENCE)

    assert kinds(effects) == ["tell standby_waits"]
    assert router.reason == f"no advert heard; {ASIDE}"
    assert router.tick(T0 + 2 * PATIENCE) == []  # told once
    router.update(with_standing(standby=True, coupled=coupled), T0 + 10)
    router.tick(T0 + 3 * PATIENCE)
    assert router.holds_addresses or isinstance(router.state, Candidate)


def test_a_candidate_goes_back_to_listening_when_another_node_could_be_master() -> None:
    router = backup(FRONT, with_standing(coupled=True))
    router.tick(T0 + DOWN)
    assert isinstance(router.state, Candidate)

    router.update(with_standing(coupled=True, standby=True, aside=ASIDE), T0 + 4)

    assert router.deadline == T0 + 4 + PATIENCE


@pytest.mark.parametrize(
    ("standing", "before", "can"),
    [
        (with_standing(), "backup", True),
        (with_standing(known=False), "init", False),
        (with_standing(faults=("eth0 is down",)), "fault", False),
    ],
)
def test_only_who_listens_or_holds_can_rise(standing: Standing, before: str, can: bool) -> None:
    router = backup(FRONT, standing)

    assert router.can_rise is can, before


def test_a_backup_takes_over_on_order_whatever_its_timer_says() -> None:
    router = backup()
    router.heard(said(150), PEER, T0 + 1)

    effects = router.promote("ordered to", T0 + 2)

    assert kinds(effects) == ["advertise 100", "take", "proclaim False", "tell master"]


# --- adoption after a restart ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "word"),
    [(0.5, "tell master"), (SOONEST - 0.01, "tell master"), (SOONEST, "tell backup")],
)
def test_mastership_is_adopted_only_while_no_peer_can_have_lost_patience(
    age: float, word: str
) -> None:
    router = Router(replace(FRONT, startup_delay=None), T0, noted_at=T0 - age)

    assert kinds(router.update(with_standing(), T0))[-1] == word


def test_mastership_is_not_adopted_into_a_fault() -> None:
    router = Router(FRONT, T0, noted_at=T0 - 0.1)

    assert kinds(router.update(with_standing(faults=("eth0 is down",)), T0)) == ["tell fault"]
    assert kinds(router.update(with_standing(), T0 + 0.1)) == ["tell backup"]
