"""core/vrrp: the transition matrix of RFC 9568 6.4, state by state, with exact effects."""

from dataclasses import replace

import pytest

from hadirector.core.address import Address
from hadirector.core.vrrp import Router
from hadirector.core.vrrp_states import (
    Advertise,
    Backup,
    Init,
    Master,
    Proclaim,
    Release,
    Take,
    Tell,
)
from tests.core.routers import (
    DOWN,
    FRONT,
    HIGHER,
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


def test_a_rival_that_gives_up_when_no_advert_is_sent_so_soon_has_the_addresses_announced() -> None:
    router, now = master()
    router.heard(said(90), PEER, now + 0.3)

    assert router.heard(said(0), PEER, now + 0.4)[0] == Proclaim(duel=True)


def test_reassertion_never_becomes_a_storm() -> None:
    router, now = master()
    adverts = 0
    for millisecond in range(3000):
        at = now + millisecond / 1000
        adverts += kinds(router.heard(said(90), PEER, at)).count("advertise 100")
        adverts += kinds(router.tick(at)).count("advertise 100")

    assert adverts == 6  # two in an interval


def test_a_duel_is_told_once_however_many_adverts_it_has() -> None:
    router, now = master(replace(FRONT, advert_int=0.01))
    told = 0
    for step in range(200):
        told += kinds(router.heard(said(90), PEER, now + step * 0.01)).count("tell duel")

    assert told == 1
