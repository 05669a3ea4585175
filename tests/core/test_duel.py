"""core/duel: two masters, told when it begins and when it ends."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from hadirector.core.address import Address
from hadirector.core.vrrp_states import Claim, Proclaim, Standing, Tell
from tests.core.routers import FRONT, PATIENCE, PEER, kinds, master, passing, said, with_standing

NAMED = with_standing(names=((PEER, "lb1"),))


def told(effects: Iterable[object]) -> list[Tell]:
    return [e for e in effects if isinstance(e, Tell)]


def test_a_duel_is_told_with_who_where_and_the_priorities() -> None:
    router, now = master(FRONT, NAMED)
    router.tick(now + 1)

    (duel,) = told(router.heard(said(90), PEER, now + 1.5))

    assert duel == Tell(
        "duel",
        "198.51.100.1 (lb1) is master too: heard on eth0 with priority 90 against 100: "
        "it has to yield",
        {"from": PEER, "interface": "eth0", "priority": "100", "heard": "90"},
    )
    assert [rival.source for rival in router.duels.rivals] == [PEER]


def test_it_is_over_when_the_rival_is_not_heard_any_more_and_lasted_as_long_as_it_was() -> None:
    router, now = master(FRONT, NAMED)
    router.tick(now + 1)
    for second in range(5):
        router.heard(said(90), PEER, now + 1.5 + second)
        assert told(router.tick(now + 2 + second)) == []

    silent = now + 5.5 + PATIENCE
    assert told(passing(router, silent)) == []
    (over,) = told(passing(router, silent + 1.1))

    assert over == Tell(
        "duel_over",
        "198.51.100.1 (lb1) yielded: it is not heard any more; two masters were heard for 4 s",
        {"from": PEER, "interface": "eth0", "lasted": "4"},
    )
    assert router.duels.rivals == ()


def test_a_rival_that_gives_up_ends_it_at_once() -> None:
    router, now = master()
    router.tick(now + 1)
    router.heard(said(90), PEER, now + 1.5)

    (over,) = told(router.heard(said(0), PEER, now + 2.25))

    assert over.reason == ("198.51.100.1 gave up (priority 0); two masters were heard for 0 s")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("better", "this node yielded to 198.51.100.1 (lb1)"),
        ("fault", "this node failed"),
        ("stop", "this node left"),
        ("sleep", "this node slept"),
    ],
)
def test_it_is_over_when_this_router_is_no_master_any_more(how: str, reason: str) -> None:
    router, now = master(FRONT, NAMED)
    router.tick(now + 1)
    router.heard(said(90), PEER, now + 1.5)

    effects = {
        "better": lambda: router.heard(said(200), PEER, now + 2),
        "fault": lambda: router.update(replace(NAMED, faults=("eth0 is down",)), now + 2),
        "stop": lambda: router.stop(now + 2),
        "sleep": lambda: router.tick(now + 60),
    }[how]()

    (over,) = [tell for tell in told(effects) if tell.kind == "duel_over"]
    assert over.reason.startswith(reason)
    assert router.duels.rivals == ()


def test_the_last_word_of_one_taken_over_from_is_no_duel_but_going_on_is() -> None:
    router, now = master()

    assert told(router.heard(said(90), PEER, now + 0.001)) == []
    assert told(router.heard(said(90), PEER, now + 0.002)) == []  # doubled on the way
    assert [tell.kind for tell in told(router.heard(said(90), PEER, now + 0.9))] == ["duel"]


def test_a_last_word_is_forgotten_without_a_word() -> None:
    router, now = master()
    router.heard(said(90), PEER, now + 0.001)

    assert told(passing(router, now + 20)) == []
    assert kinds(router.heard(said(90), PEER, now + 20.5))[-1] == "tell duel"


def test_any_number_of_made_up_rivals_is_answered_but_only_a_few_are_remembered() -> None:
    router, now = master()
    router.tick(now + 1)

    tells = []
    for number in range(100):
        source = Address(f"198.51.100.{100 + number}")
        tells += told(router.heard(said(90), source, now + 1.5))

    assert len(tells) == len(router.duels.rivals) == 8


def test_each_duel_is_told_anew() -> None:
    router, now = master()
    router.tick(now + 1)
    words: list[str] = []
    for at in (1.5, 20.5):
        words += kinds(passing(router, now + at))
        words += kinds(router.heard(said(90), PEER, now + at))
    words += kinds(passing(router, now + 40))
    words = [word for word in words if "tell" in word]

    assert words == ["tell duel", "tell duel_over"] * 2


def claiming(priority: int) -> Standing:
    return with_standing(claims=(Claim("lb1", PEER, priority),))


def test_when_a_peer_says_it_gave_mastership_up_the_addresses_are_announced_again() -> None:
    # Its last word may have been lost on a way that is cut in one direction.
    router, now = master()
    assert router.update(claiming(90), now + 5) == []

    assert router.update(with_standing(), now + 9) == [Proclaim(duel=True)]


def test_the_peer_just_preempted_is_no_reason_to_announce_beside_the_takeover() -> None:
    router, now = master(FRONT, claiming(90))

    assert router.update(with_standing(), now + 0.05) == []
