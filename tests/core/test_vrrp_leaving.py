"""core/vrrp: waking from sleep, leaving, faults, what is advertised, and sync groups."""

from dataclasses import replace

import pytest

from hadirector.core.mastership import SUCCESSOR_SETTLES
from hadirector.core.settings.instances import Preempt
from hadirector.core.vrrp import Router
from hadirector.core.vrrp_states import (
    Advertise,
    Backup,
    Candidate,
    Fault,
    Leaving,
    Master,
    Release,
    Tell,
    Then,
    Waking,
)
from tests.core.routers import (
    DOWN,
    FRONT,
    OWN,
    PATIENCE,
    PEER,
    SOONEST,
    T0,
    WELL,
    backup,
    kinds,
    master,
    said,
    with_standing,
)

RISES = ["advertise 100", "take", "proclaim False", "tell master"]

# --- Waking --------------------------------------------------------------------------------


def test_a_master_that_slept_keeps_its_addresses_and_is_silent() -> None:
    router, now = master()

    effects = router.tick(now + PATIENCE + 0.01)

    assert kinds(effects) == ["tell late_wake"]
    assert router.state == Waking(now + PATIENCE + 1.01)
    assert router.holds_addresses


def test_a_master_that_is_a_little_late_just_advertises() -> None:
    router, now = master()

    assert router.tick(now + SOONEST - 0.01) == [Advertise(100)]


@pytest.mark.parametrize(
    ("heard", "last_word"), [(1, []), (90, []), (100, []), (150, ["advertise 100"])]
)
def test_a_waking_master_becomes_backup_on_any_advert_and_unseats_nobody(
    heard: int, last_word: list[str]
) -> None:
    router, now = master()

    effects = router.heard(said(heard), PEER, now + 20)

    assert kinds(effects) == ["tell late_wake", "release", *last_word, "tell backup"]
    assert isinstance(router.state, Backup)


def test_a_waking_master_that_hears_nothing_resumes_and_announces() -> None:
    router, now = master()
    router.tick(now + 20)

    assert router.tick(now + 20.9) == []
    effects = router.tick(now + 21)

    assert kinds(effects) == ["advertise 100", "take", "proclaim True", "tell resumed"]


def test_a_waking_master_resumes_at_once_when_the_other_gives_up() -> None:
    router, now = master()
    router.tick(now + 20)

    effects = router.heard(said(0), PEER, now + 20.1)

    assert kinds(effects) == ["advertise 100", "take", "proclaim True", "tell resumed"]


# --- Leaving, Fault ------------------------------------------------------------------------


def test_a_stopping_master_keeps_its_addresses_until_its_successor_is_heard() -> None:
    router, now = master()

    assert kinds(router.stop(now)) == ["advertise 0", "tell leaving"]
    assert router.state == Leaving(now + PATIENCE, Then.STOPPED)
    assert router.holds_addresses
    assert router.heard(said(0), PEER, now + 0.1) == []

    assert kinds(router.heard(said(1), PEER, now + 0.6)) == ["release", "tell stopped"]
    assert not router.holds_addresses


def test_a_foreign_successor_is_given_time_to_put_the_addresses_on() -> None:
    router, now = master(standing=with_standing(accompanied=False))
    router.stop(now)

    assert router.heard(said(90), PEER, now + 0.6) == []
    assert router.holds_addresses
    assert router.deadline == now + 0.6 + SUCCESSOR_SETTLES
    assert kinds(router.tick(now + 0.6 + SUCCESSOR_SETTLES)) == ["release", "tell stopped"]


def test_a_foreign_successor_that_gives_up_at_once_is_none() -> None:
    router, now = master(standing=with_standing(accompanied=False))
    router.stop(now)
    router.heard(said(90), PEER, now + 0.6)

    router.heard(said(0), PEER, now + 0.61)

    assert router.tick(now + 0.7) == []
    assert router.state == Leaving(now + 0.61 + PATIENCE, Then.STOPPED)


def test_a_stopping_master_without_successor_drops_after_the_peers_patience() -> None:
    router, now = master()
    router.stop(now)

    assert router.tick(now + PATIENCE - 0.001) == []
    assert kinds(router.tick(now + PATIENCE)) == ["release", "tell stopped"]


@pytest.mark.parametrize("standing", [WELL, with_standing(faults=("eth0 is down",))])
def test_a_router_that_holds_nothing_stops_at_once(standing: object) -> None:
    router = backup()
    router.update(standing, T0)  # type: ignore[arg-type]  # pytest's parameters are objects

    assert kinds(router.stop(T0)) == ["tell stopped"]
    assert router.stop(T0) == []


def test_a_faulty_master_gives_up_and_drops_at_once() -> None:
    router, now = master()

    effects = router.update(with_standing(faults=("eth0 is down",)), now)

    assert effects == [
        Advertise(0),
        Release(),
        Tell("fault", "eth0 is down", {"priority": "100"}),
    ]
    assert router.state == Fault(("eth0 is down",))
    assert router.deadline is None
    assert router.heard(said(1), PEER, now + 1) == []


def test_after_a_fault_a_router_listens_first() -> None:
    router, now = master()
    router.update(with_standing(faults=("eth0 is down",)), now)

    assert kinds(router.update(WELL, now + 5)) == ["tell backup"]
    assert router.deadline == now + 5 + DOWN


def test_a_fault_while_stopping_ends_the_waiting_for_a_successor() -> None:
    router, now = master()
    router.stop(now)

    effects = router.update(with_standing(faults=("eth0 is down",)), now + 1)

    assert kinds(effects) == ["release", "tell stopped"]


# --- what is advertised --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preempt", "priority", "changes", "effective", "advertised"),
    [
        (Preempt.ALWAYS, 100, {}, 100, 100),
        (Preempt.ALWAYS, 100, {"delta": -30}, 70, 70),
        (Preempt.ALWAYS, 100, {"delta": -300}, 1, 1),
        (Preempt.ALWAYS, 100, {"delta": 300}, 254, 254),
        (Preempt.ALWAYS, 255, {"delta": -30}, 255, 255),
        (Preempt.ALWAYS, 255, {"silent": True}, 1, 1),
        (Preempt.WHEN_SYNCED, 100, {}, 100, 100),
        (Preempt.NEVER, 100, {}, 100, 254),
        (Preempt.NEVER, 100, {"delta": -30}, 70, 70),
        (Preempt.NEVER, 100, {"silent": True}, 1, 1),
        (Preempt.NEVER, 255, {}, 255, 255),
    ],
)
def test_priorities(
    preempt: Preempt, priority: int, changes: dict[str, object], effective: int, advertised: int
) -> None:
    router = backup(replace(FRONT, preempt=preempt, priority=priority), with_standing(**changes))

    assert (router.effective_priority, router.advertised_priority) == (effective, advertised)


def test_a_master_tells_a_changed_priority_at_once_and_stays_master() -> None:
    router, now = master()

    assert router.update(with_standing(silent=True), now + 0.5) == [Advertise(1)]
    assert router.update(with_standing(silent=True), now + 0.6) == []
    assert isinstance(router.state, Master)


# --- sync groups ---------------------------------------------------------------------------


def test_a_coupled_owner_tells_that_it_listens_while_it_waits_for_its_group() -> None:
    router = Router(replace(FRONT, priority=255), T0)

    effects = router.update(with_standing(coupled=True), T0)

    assert effects == [Tell("backup", "starting", {"priority": "255"})]
    assert router.reason == "owner of the addresses; waiting for its sync group"


def test_a_coupled_backup_waits_for_its_group_to_rise() -> None:
    router = backup(FRONT, with_standing(coupled=True))

    assert router.tick(T0 + DOWN) == []
    assert isinstance(router.state, Candidate)
    assert router.deadline is None
    assert kinds(router.promote("all down", T0 + DOWN + 0.1)) == RISES


def test_a_candidate_that_hears_its_master_again_is_a_backup() -> None:
    router = backup(FRONT, with_standing(coupled=True))
    router.tick(T0 + DOWN)

    router.heard(said(90), PEER, T0 + 4)
    assert isinstance(router.state, Candidate)
    router.heard(said(150), PEER, T0 + 5)
    assert router.deadline == T0 + 5 + DOWN


def test_a_relegated_master_gives_up_for_its_group() -> None:
    router, now = master(FRONT, with_standing(coupled=True))

    effects = router.relegate("with inside, which yielded", now)

    assert kinds(effects) == ["advertise 0", "release", "tell backup"]
    assert router.relegate("again", now) == []
    assert router.standing.source == OWN
