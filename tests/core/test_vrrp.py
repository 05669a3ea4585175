"""core/vrrp: the transition matrix of RFC 9568 6.4, state by state, with exact effects."""

from dataclasses import replace

import pytest

from hadirector.core.address import Address
from hadirector.core.settings.instances import Preempt
from hadirector.core.vrrp import Router
from hadirector.core.vrrp_states import (
    Advertise,
    Backup,
    Candidate,
    Fault,
    Init,
    Leaving,
    Master,
    Proclaim,
    Release,
    Take,
    Tell,
    Then,
    Waking,
)
from tests.core.routers import (
    DOWN,
    FRONT,
    HIGHER,
    OWN,
    PATIENCE,
    PEER,
    SKEW,
    T0,
    WELL,
    backup,
    kinds,
    master,
    said,
    with_standing,
)

RISES = ["advertise 100", "take", "proclaim False", "tell master"]

# --- Init ----------------------------------------------------------------------------------


def test_nothing_happens_before_the_links_are_known() -> None:
    router = Router(FRONT, T0)

    assert router.state == Init(None)
    assert router.deadline is None
    assert router.tick(T0 + 100) == []


def test_startup_makes_a_backup_that_waits_its_master_down_interval() -> None:
    router = Router(FRONT, T0)

    effects = router.update(WELL, T0 + 1)

    assert effects == [Tell("backup", "starting", {"priority": "100"})]
    assert router.state == Backup(T0 + 1 + DOWN, 1.0)


def test_startup_makes_the_owner_of_the_addresses_master_at_once() -> None:
    router = Router(replace(FRONT, priority=255, startup_delay=None), T0)

    effects = router.update(WELL, T0)

    assert kinds(effects) == ["advertise 255", "take", "proclaim False", "tell master"]


@pytest.mark.parametrize(("delay", "opens"), [(None, T0 + 10), (4.0, T0 + 4), (0.0, None)])
def test_the_startup_gate_opens_in_time(delay: float | None, opens: float | None) -> None:
    router = Router(replace(FRONT, startup_delay=delay), T0)
    router.update(WELL, T0)

    if opens is None:
        assert isinstance(router.state, Backup)
        return
    assert router.state == Init(opens)
    assert router.tick(opens - 0.001) == []
    assert kinds(router.tick(opens)) == ["tell backup"]
    assert router.deadline == opens + DOWN


def test_the_automatic_gate_opens_when_the_network_is_heard_and_a_fixed_one_does_not() -> None:
    automatic, fixed = (Router(replace(FRONT, startup_delay=d), T0) for d in (None, 4.0))
    for router in (automatic, fixed):
        router.update(WELL, T0)

    assert kinds(automatic.hear_network(T0 + 1)) == ["tell backup"]
    assert fixed.hear_network(T0 + 1) == []
    assert fixed.heard(said(150), PEER, T0 + 1) == []
    assert fixed.state == Init(T0 + 4)


def test_an_advert_opens_the_automatic_gate_and_is_obeyed() -> None:
    router = Router(replace(FRONT, startup_delay=None), T0)
    router.update(WELL, T0)

    assert kinds(router.heard(said(150), PEER, T0 + 1)) == ["tell backup", "tell following"]
    assert router.deadline == T0 + 1 + DOWN


# --- Backup --------------------------------------------------------------------------------


def test_backup_becomes_master_when_master_down_expires() -> None:
    router = backup()

    assert router.tick(T0 + DOWN - 0.001) == []
    effects = router.tick(T0 + DOWN)

    assert effects == [
        Advertise(100),
        Take(),
        Proclaim(duel=False),
        Tell("master", "no advert heard", {"priority": "100"}),
    ]
    assert router.state == Master(T0 + DOWN + 1, T0 + DOWN, T0 + DOWN)


@pytest.mark.parametrize(
    ("version", "priority", "interval", "expires"),
    [
        (3, 100, 1.0, 3.609375),
        (3, 100, 0.01, 0.03609375),
        (3, 254, 1.0, 3.0078125),
        (3, 1, 40.0, 159.84375),
        (2, 100, 1.0, 3.609375),
        (2, 100, 10.0, 30.609375),  # version 2's skew is a part of a second, not of the interval
    ],
)
def test_master_down_is_three_intervals_and_the_skew(
    version: int, priority: int, interval: float, expires: float
) -> None:
    settings = replace(FRONT, version=version, priority=priority, advert_int=interval)

    assert backup(settings).deadline == pytest.approx(T0 + expires)


@pytest.mark.parametrize(
    ("heard", "restarts"), [(254, True), (101, True), (100, True), (99, False), (1, False)]
)
def test_an_advert_is_obeyed_if_its_priority_is_not_lower(heard: int, restarts: bool) -> None:
    router = backup()

    router.heard(said(heard), PEER, T0 + 2)

    assert router.deadline == (T0 + 2 + DOWN if restarts else T0 + DOWN)


@pytest.mark.parametrize(("version", "learnt"), [(3, 0.1), (2, 1.0)])
def test_version_3_learns_the_masters_interval(version: int, learnt: float) -> None:
    router = backup(replace(FRONT, version=version))

    router.heard(said(150, interval=0.1), PEER, T0 + 2)

    assert router.deadline == pytest.approx(T0 + 2 + 3 * learnt + SKEW * learnt)


def test_priority_zero_is_followed_by_the_skew_time_only() -> None:
    router = backup()
    router.heard(said(150), PEER, T0)

    assert router.heard(said(0), PEER, T0 + 1) == []

    assert router.deadline == T0 + 1 + SKEW
    effects = router.tick(T0 + 1 + SKEW)
    assert effects[-1] == Tell(
        "master", f"{PEER} gave up (priority 0)", {"priority": "100", "took": "1.609"}
    )


def test_priority_zero_repeated_does_not_put_the_takeover_off() -> None:
    router = backup()

    router.heard(said(0), PEER, T0 + 1)
    router.heard(said(0), PEER, T0 + 1.5)

    assert router.deadline == T0 + 1 + SKEW


def test_preemption_is_the_timer_running_out_on_lower_adverts() -> None:
    router = backup()

    for second in (1, 2, 3):
        router.heard(said(90), PEER, T0 + second)
    effects = router.tick(T0 + DOWN)

    assert kinds(effects) == RISES
    assert router.reason == f"preempting {PEER}, whose priority 90 is lower"


def test_the_preempt_delay_runs_from_the_first_lower_advert() -> None:
    router = backup(replace(FRONT, preempt_delay=10.0))

    for second in range(1, 12):
        assert router.tick(T0 + second) == []
        router.heard(said(90), PEER, T0 + second)

    # The one at T0 + 10 was the last obeyed: the delay began at T0 + 1.
    assert router.deadline == T0 + 10 + DOWN


def test_a_higher_advert_ends_the_preempt_delay_and_a_lower_one_begins_it_anew() -> None:
    router = backup(replace(FRONT, preempt_delay=2.0))
    router.heard(said(90), PEER, T0 + 1)
    router.heard(said(150), PEER, T0 + 2)

    router.heard(said(90), PEER, T0 + 4)

    assert router.deadline == T0 + 4 + DOWN


def test_a_backup_that_slept_listens_for_one_interval_before_it_rises() -> None:
    router = backup()
    woken = T0 + DOWN + PATIENCE + 0.1

    assert router.tick(woken) == []
    assert router.deadline == woken + 1
    assert kinds(router.tick(woken + 1)) == RISES


def test_a_backup_whose_timer_is_merely_late_rises() -> None:
    assert kinds(backup().tick(T0 + DOWN + 1.0)) == RISES


# --- Master --------------------------------------------------------------------------------


def test_master_advertises_each_interval_without_drift() -> None:
    router, now = master()

    assert router.tick(now + 0.999) == []
    assert router.tick(now + 1.02) == [Advertise(100)]
    assert router.deadline == now + 2


@pytest.mark.parametrize(
    ("heard", "source", "yields"),
    [
        (254, PEER, True),
        (101, PEER, True),
        (100, HIGHER, True),
        (100, PEER, False),
        (99, HIGHER, False),
        (1, HIGHER, False),
    ],
)
def test_master_yields_to_a_higher_priority_and_to_a_higher_address_among_equals(
    heard: int, source: Address, yields: bool
) -> None:
    router, now = master()

    now += 1.0
    router.tick(now)

    effects = router.heard(said(heard), source, now + 0.5)

    if yields:
        inputs = {"priority": "100", "heard": str(heard), "from": source}
        assert effects == [
            Release(),
            Advertise(100),  # the last word: the winner announces again
            Tell("backup", f"yielding to {source}, a better one", inputs),
        ]
        assert router.deadline == now + 0.5 + DOWN
    else:
        assert kinds(effects) == ["advertise 100", "proclaim True", "tell duel"]
        assert router.deadline == now + 1.5


def test_addresses_tie_by_their_bytes_and_not_by_their_text() -> None:
    router, now = master(FRONT, with_standing(source=Address("198.51.100.9")))

    assert kinds(router.heard(said(100), Address("198.51.100.10"), now)) == [
        "release",
        "advertise 100",
        "tell backup",
    ]


def test_the_last_word_of_the_one_taken_over_from_is_answered_but_no_news() -> None:
    router, now = master()

    assert kinds(router.heard(said(90), PEER, now + 0.001)) == ["advertise 100", "proclaim True"]


def test_master_answers_priority_zero_with_an_advert_and_announces_its_addresses() -> None:
    router, now = master()

    assert router.heard(said(0), PEER, now + 0.3) == [Advertise(100), Proclaim(duel=True)]
    assert router.deadline == now + 1.3


def test_reassertion_never_becomes_a_storm() -> None:
    router, now = master()
    adverts = 0
    for millisecond in range(3000):
        at = now + millisecond / 1000
        adverts += kinds(router.heard(said(90), PEER, at)).count("advertise 100")
        adverts += kinds(router.tick(at)).count("advertise 100")

    assert adverts == 6  # two in an interval


def test_a_duel_is_told_once_a_second_at_most() -> None:
    router, now = master(replace(FRONT, advert_int=0.01))
    told = 0
    for step in range(200):
        told += kinds(router.heard(said(90), PEER, now + step * 0.01)).count("tell duel")

    assert told == 2


# --- Waking --------------------------------------------------------------------------------


def test_a_master_that_slept_keeps_its_addresses_and_is_silent() -> None:
    router, now = master()

    effects = router.tick(now + PATIENCE + 0.01)

    assert kinds(effects) == ["tell late_wake"]
    assert router.state == Waking(now + PATIENCE + 1.01)
    assert router.holds_addresses


def test_a_master_that_is_a_little_late_just_advertises() -> None:
    router, now = master()

    assert router.tick(now + PATIENCE - 0.01) == [Advertise(100)]


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
