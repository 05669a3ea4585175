"""core/hearing and core/vrrp: a node that cannot hear yet takes nobody's place."""

from dataclasses import replace

from hadirector.core.address import Address
from hadirector.core.settings.instances import Preempt
from hadirector.core.vrrp import Router
from hadirector.core.vrrp_states import Backup, Claim, Fault, Hold, Master, Standing
from tests.core.routers import DOWN, FRONT, PEER, T0, WELL, kinds, passing, said, with_standing

AUTO = replace(FRONT, startup_delay=None, preempt=Preempt.WHEN_SYNCED)
CLAIMED = with_standing(ready=False, claims=(Claim("lb1", PEER, 90),))
HELD = "tell deaf"


def booted(standing: Standing = WELL) -> Router:
    """One whose links are known, at the startup gate."""
    router = Router(AUTO, T0)
    router.update(standing, T0)
    assert router.waits_for_network
    return router


def listening(standing: Standing = WELL) -> Router:
    """One whose gateway answered: frames pass, but no advert came."""
    router = booted(standing)
    router.hear_network(T0)
    assert router.listens_in_vain
    return router


def ticks(router: Router, until: float) -> list[str]:
    """All that comes of its deadlines."""
    return kinds(passing(router, until))


def test_a_master_that_only_answers_for_its_addresses_is_not_pushed_aside() -> None:
    router = listening(CLAIMED)
    router.ears.answered(T0 + 2)

    assert ticks(router, T0 + 10) == [HELD]

    assert isinstance(router.state, Backup)
    assert router.state.hold is Hold.DEAF
    assert router.is_deaf
    assert router.reason == (
        "lb1 is master, but no advert arrives: holding back; does eth0 let protocol 112 in?"
    )


def test_it_holds_back_for_as_long_as_both_say_so() -> None:
    router = listening(CLAIMED)
    words = []
    for second in range(1, 300):
        router.ears.answered(T0 + second)
        words += ticks(router, T0 + second)
    assert words == [HELD]

    router.update(with_standing(ready=False), T0 + 300)  # the peer is master no more, or dead

    assert "tell master" in ticks(router, T0 + 302)


def test_where_nobody_answers_for_them_the_peer_s_word_holds_nobody_back() -> None:
    router = listening(CLAIMED)

    assert ticks(router, T0 + 4)[-1] == "tell master"
    assert isinstance(router.state, Master)
    assert router.effective_priority == 100


def test_an_answer_without_a_word_may_be_a_dead_node_s_and_counts_for_ten_seconds() -> None:
    router = listening()
    words: list[str] = []
    for second in range(1, 12):
        router.ears.answered(T0 + second)
        words += ticks(router, T0 + second)
        if second < 10:
            assert words == ([HELD] if second > DOWN else [])

    assert words[-1] == "tell master"


def test_who_heard_an_advert_once_takes_over_when_they_end_whatever_is_said() -> None:
    router = listening(CLAIMED)
    router.heard(said(150), PEER, T0 + 1)
    router.ears.answered(T0 + 2)

    assert not router.listens_in_vain
    assert ticks(router, T0 + 5)[-1] == "tell master"


def test_with_a_delay_written_nothing_of_this_applies() -> None:
    router = Router(replace(AUTO, startup_delay=0.0), T0)
    router.update(CLAIMED, T0)
    router.ears.answered(T0 + 1)

    assert ticks(router, T0 + 4)[-1] == "tell master"
    assert router.effective_priority == 100


def dark() -> tuple[Router, float]:
    """One that heard nothing at all, and became master."""
    router = booted()
    ticks(router, T0 + 10 + DOWN)
    assert isinstance(router.state, Master)
    return router, T0 + 10 + DOWN


def test_who_heard_nothing_at_all_is_master_in_the_dark_and_says_priority_1() -> None:
    router, now = dark()

    assert router.effective_priority == router.advertised_priority == 1
    assert router.waits_for_network
    assert router.is_deaf
    assert router.reason == (
        "no advert heard; nothing at all was heard yet: advertising priority 1 until it is, "
        "or for a minute"
    )
    assert kinds(router.tick(now + 1)) == ["advertise 1"]


def test_in_the_dark_it_gives_way_to_whoever_is_there() -> None:
    router, now = dark()
    assert set(ticks(router, now + 20)) == {"advertise 1"}

    effects = router.heard(said(90), PEER, now + 20)

    assert kinds(effects) == ["release", "advertise 1", "tell backup"]
    assert router.effective_priority == 100
    router.update(replace(WELL, ready=False), now + 20)
    router.heard(said(90), PEER, now + 21)
    assert isinstance(router.state, Backup)
    assert router.state.hold is Hold.NOT_READY


def test_when_the_network_is_heard_it_listens_before_it_says_its_own_priority() -> None:
    router, now = dark()

    assert router.hear_network(now + 0.5) == []
    words = ticks(router, now + 0.5 + DOWN)
    assert set(words) == {"advertise 1"}
    assert ticks(router, now + 2 + DOWN)[:2] == ["advertise 100", "tell dark_over"]
    assert router.effective_priority == 100
    assert router.reason == "the network is heard: priority 100 from now on"
    assert not router.is_deaf


def test_where_nothing_is_ever_heard_the_dark_ends_after_60_seconds() -> None:
    router, now = dark()

    assert set(ticks(router, now + 59)) == {"advertise 1"}
    assert ticks(router, now + 61)[:2] == ["advertise 100", "tell dark_over"]

    assert router.reason == "nothing was heard for long enough: priority 100 from now on"
    assert not router.is_deaf
    assert not router.waits_for_network


def test_where_adverts_are_slow_the_dark_is_as_long_as_a_master_may_be_silent() -> None:
    router = Router(replace(AUTO, advert_int=40.0), T0)
    router.update(WELL, T0)
    down = 40 * DOWN
    ticks(router, T0 + 10 + down)
    router.hear_network(T0 + 10 + down + 1)

    assert set(ticks(router, T0 + 10 + 2 * down - 1)) == {"advertise 1"}
    assert "tell dark_over" in ticks(router, T0 + 10 + 2 * down + 40)


def test_a_network_that_is_heard_late_in_the_dark_does_not_prolong_it() -> None:
    router, now = dark()
    ticks(router, now + 59)

    router.hear_network(now + 59)

    assert "tell dark_over" in ticks(router, now + 61)


def test_one_that_becomes_master_again_is_not_in_the_dark_for_longer() -> None:
    router, now = dark()
    ticks(router, now + 61)

    router.give_way(now + 61.5)

    words = ticks(router, now + 70)
    assert words[-1] == "advertise 100"
    assert "advertise 1" not in words
    assert isinstance(router.state, Master)


def test_a_link_that_was_down_is_to_be_heard_anew() -> None:
    router = listening()
    router.heard(said(150), PEER, T0 + 1)
    down = with_standing(linked=False, faults=("eth0 is down",))

    router.update(down, T0 + 2)
    assert isinstance(router.state, Fault)
    router.update(WELL, T0 + 3)

    assert router.waits_for_network
    assert router.deadline == T0 + 13


def test_a_fault_of_another_kind_leaves_what_was_heard() -> None:
    router = listening()
    router.heard(said(150), PEER, T0 + 1)

    router.update(with_standing(faults=("a script fails",)), T0 + 2)
    router.update(WELL, T0 + 3)

    assert isinstance(router.state, Backup)
    assert not router.listens_in_vain


def test_a_process_after_another_one_has_heard_what_that_one_heard() -> None:
    router = Router(AUTO, T0, noted_at=T0 - 100)
    router.update(CLAIMED, T0)

    assert isinstance(router.state, Backup)
    assert not router.listens_in_vain


def test_an_owner_waits_for_nobody() -> None:
    router = Router(replace(AUTO, priority=255), T0)

    router.update(replace(WELL, source=Address("198.51.100.2")), T0)

    assert router.advertised_priority == 255
