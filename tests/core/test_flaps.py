"""A server that comes and goes fills no journal."""

from hadirector.core.flaps import TOLD, Flaps
from hadirector.core.services import Change

DOWN = Change("server_down", "web/10.0.1.11:80", "down, quiesced: refused")
UP = Change("server_up", "web/10.0.1.11:80", "configured weight; HTTP 200")
OTHER = Change("server_down", "web/10.0.1.12:80", "down, quiesced: refused")


def test_the_first_flaps_are_told_in_full_and_the_rest_as_a_number() -> None:
    flaps = Flaps()

    told = [flaps.tell([DOWN if turn % 2 == 0 else UP], float(turn)) for turn in range(30)]

    assert told[:TOLD] == [[DOWN], [UP]] * 3
    assert not any(told[TOLD:])
    assert flaps.due(59.0) == []
    over = flaps.due(60.0)
    assert [c.kind for c in over] == ["flapping"]
    assert over[0].reason == "24 more changes within 60 s: it comes and goes"


def test_the_last_word_is_true_whatever_was_held_back() -> None:
    flaps = Flaps()
    for turn in range(7):
        flaps.tell([DOWN if turn % 2 == 0 else UP], float(turn))

    assert flaps.due(60.0)[1:] == [DOWN]


def test_a_server_that_flaps_on_gets_a_number_a_minute_until_it_is_quiet() -> None:
    flaps = Flaps()
    for turn in range(10):
        flaps.tell([DOWN if turn % 2 == 0 else UP], 0.0)
    flaps.due(60.0)

    second = flaps.tell([DOWN, UP], 61.0)
    told = flaps.due(120.0)
    quiet = flaps.due(180.0)

    assert second == []
    assert [c.kind for c in told] == ["flapping"]
    assert quiet == []
    assert flaps.tell([DOWN], 181.0) == [DOWN]


def test_another_server_is_told_all_the_same() -> None:
    flaps = Flaps()
    flaps.tell([DOWN, UP] * 10, 0.0)

    assert flaps.tell([OTHER], 1.0) == [OTHER]
