"""What two directors see of the servers: when they differ, who is told what."""

from dataclasses import replace

from hadirector.core import views
from hadirector.core.address import Address
from hadirector.core.peers import Known, Presence, View
from hadirector.core.settings.cluster import Node
from hadirector.core.views import PATIENCE, Views

SERVER, OTHER = "web/10.0.1.11:80", "web/10.0.1.12:80"


def peer(*down: str, settled: bool = True, more: int = 0, alive: bool = True) -> dict[str, Known]:
    said = Presence("shop", "lb2", 1, 1, "d1", "1", True, "", view=View(settled, down, more))
    node = Node("lb2", 100, Address("198.51.100.2"))
    return {"lb2": Known(node, said, 0.0, alive)}


def kinds(seen: Views, own: tuple[str, ...], peers: dict[str, Known], now: float) -> list[str]:
    return [one.kind for one in seen.compare("lb1", View(True, own), own, peers, now)]


def test_a_difference_is_told_once_it_has_lasted_and_once_when_it_ends() -> None:
    seen = Views()

    told = [
        kinds(seen, own, peer(), now)
        for own, now in (
            ((SERVER,), 0.0),
            ((SERVER,), PATIENCE - 0.1),
            ((SERVER,), PATIENCE),
            ((SERVER,), PATIENCE + 1),
            ((), PATIENCE + 2),
        )
    ]

    assert told == [[], [], ["views_differ"], [], ["views_agree"]]
    assert seen.about == {}


def test_it_says_who_cannot_reach_the_server() -> None:
    mine, theirs = Views(), Views()
    for now in (0.0, PATIENCE):
        kinds(mine, (SERVER,), peer(OTHER), now)
        kinds(theirs, (), peer(SERVER), now)

    assert mine.about == {
        SERVER: "only this node cannot reach it: lb2 can",
        OTHER: "only this node can reach it: lb2 cannot",
    }
    assert theirs.about == {SERVER: "only this node can reach it: lb2 cannot"}


def test_what_passes_quickly_or_is_the_same_everywhere_is_never_told() -> None:
    seen = Views()

    told = [
        *kinds(seen, (SERVER,), peer(), 0.0),
        *kinds(seen, (SERVER,), peer(SERVER), 3.0),
        *kinds(seen, (), peer(SERVER), 6.0),
        *kinds(seen, (), peer(), 10.0),
    ]

    assert told == []


def test_only_peers_that_know_are_compared() -> None:
    silent = peer(alive=False)
    other = {"lb2": replace(peer()["lb2"], differs=True)}
    for unfit in (peer(settled=False), silent, other, peer(more=1), {}):
        seen = Views()
        for now in (0.0, PATIENCE):
            assert kinds(seen, (SERVER,), unfit, now) == []
        assert seen.elsewhere == {}


def test_a_node_that_sees_nothing_itself_says_nothing_of_others() -> None:
    seen = Views()
    for now in (0.0, PATIENCE):
        assert seen.compare("lb1", View(), (SERVER,), peer(), now) == []


def test_whether_a_peer_reaches_what_is_out_here_is_known_at_once() -> None:
    seen = Views()

    kinds(seen, (SERVER, OTHER), peer(OTHER), 0.0)

    assert seen.elsewhere == {SERVER: True, OTHER: False}


def test_a_presence_names_a_bounded_number_of_servers() -> None:
    out = views.Out()
    names = [f"web/10.0.1.11:{port}" for port in range(views.MOST + 5)]
    out._servers["web"] = tuple(names)

    assert out.view(True) == View(True, tuple(names[: views.MOST]), 5)
