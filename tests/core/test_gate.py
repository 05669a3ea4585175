"""core/gate: what is let in, what is not, and what the operator is told of that."""

import pytest

from hadirector.core import seal
from hadirector.core.gate import DEAF, QUIET, Admitted, Gate, Refused
from hadirector.core.keys import Key
from hadirector.core.seal import Flaw, Header, Mark

ONE, TWO = Key(1, bytes(range(32))), Key(2, bytes(range(1, 33)))
T0 = 100.0


def gate(me: str, *keys: Key, incarnation: int = 5, cluster: str = "shop") -> Gate:
    """The gate of lb1 or lb2."""
    made = Gate(incarnation)
    made.follow(cluster, me, ["lb1" if me == "lb2" else "lb2"], keys)
    return made


def meet(one: Gate, two: Gate, now: float = T0) -> None:
    """Both believe each other: `one` is lb1's, `two` lb2's."""
    first = two.admit(one.seal("lb2", b"", now), "lb1", now)
    assert isinstance(first, Refused)
    assert first.answer is not None
    assert isinstance(one.admit(two.seal("lb1", b"", now, first.answer), "lb2", now), Admitted)
    assert isinstance(two.admit(one.seal("lb2", b"", now), "lb1", now), Admitted)


def test_without_keys_everything_unsealed_is_let_in_as_such() -> None:
    judged = gate("lb2").admit(gate("lb1").seal("lb2", b"hello", T0), "lb1", T0)

    assert judged == Admitted(b"hello", sealed=False)


def test_with_keys_a_genuine_new_datagram_is_let_in_as_sealed() -> None:
    one, two = gate("lb1", ONE, TWO), gate("lb2", TWO, ONE)
    meet(one, two)

    judged = two.admit(one.seal("lb2", b"hello", T0 + 1), "lb1", T0 + 1)

    assert judged == Admitted(b"hello", sealed=True)
    assert (two.signs, one.signs) == ({"lb1": 1}, {"lb2": 2})


@pytest.mark.parametrize(
    ("theirs", "ours", "flaw", "complaint"),
    [
        (
            (TWO,),
            (ONE,),
            Flaw.UNKNOWN_KEY,
            "lb1 signs with a key we do not have (id 2)",
        ),
        (
            (Key(1, bytes(32)),),
            (ONE,),
            Flaw.WRONG_KEY,
            "lb1's signature is wrong: its key 1 is another than ours of that number, or somebody "
            "forges its datagrams",
        ),
        (
            (),
            (ONE,),
            Flaw.UNSIGNED,
            "lb1 does not sign: it runs without key_file, or an older release",
        ),
        ((ONE,), (), Flaw.SIGNED, "lb1 signs, and this node has no key_file to verify it with"),
    ],
    ids=["unknown key", "wrong key", "unsigned", "signed"],
)
def test_what_is_not_believed_is_counted_and_told_once(
    theirs: tuple[Key, ...], ours: tuple[Key, ...], flaw: Flaw, complaint: str
) -> None:
    one, two = gate("lb1", *theirs), gate("lb2", *ours)

    told = [two.admit(one.seal("lb2", b"x", T0 + i), "lb1", T0 + i) for i in range(5)]

    assert told == [Refused(flaw, complaint), *(4 * [Refused(flaw)])]
    assert two.refused == {"lb1": {flaw.value: 5}}


def test_a_flaw_that_was_gone_for_long_is_news_again() -> None:
    one, two = gate("lb1"), gate("lb2", ONE)

    times = (T0, T0 + QUIET - 1, T0 + 2 * QUIET - 2, T0 + 3 * QUIET)
    told = [two.admit(one.seal("lb2", b"x", at), "lb1", at) for at in times]

    assert [bool(t.complaint) for t in told if isinstance(t, Refused)] == [True, False, False, True]


@pytest.mark.parametrize(
    "header",
    [
        Header("other", "lb1", "lb2", Mark(1, 1), Mark()),
        Header("shop", "lb3", "lb2", Mark(1, 1), Mark()),
        Header("shop", "lb1", "lb3", Mark(1, 1), Mark()),
        Header("shop", "lb2", "lb1", Mark(1, 1), Mark()),  # our own, sent back
    ],
    ids=["cluster", "sender", "recipient", "reflected"],
)
def test_a_genuine_datagram_that_is_not_from_here_to_us_is_refused(header: Header) -> None:
    judged = gate("lb2", ONE).admit(seal.seal(header, b"", ONE), "lb1", T0)

    assert isinstance(judged, Refused)
    assert judged.flaw is Flaw.MISDIRECTED
    assert judged.complaint.endswith("from lb1's address: compare cluster and nodes")


def test_a_replay_is_refused_and_told() -> None:
    one, two = gate("lb1", ONE), gate("lb2", ONE)
    meet(one, two)
    raw = one.seal("lb2", b"take over", T0 + 1)
    two.admit(raw, "lb1", T0 + 1)

    judged = two.admit(raw, "lb1", T0 + 1)

    text = "a datagram of lb1 came again: doubled by the network, or replayed"
    assert judged == Refused(Flaw.REPLAYED, text)


def test_the_first_stale_ones_are_nothing_to_tell_and_going_on_with_them_is() -> None:
    one, two = gate("lb1", ONE), gate("lb2", ONE)

    told = []
    for tenth in range(50):  # what lb2 answers is lost
        now = T0 + tenth / 10
        judged = two.admit(one.seal("lb2", b"", now), "lb1", now)
        assert isinstance(judged, Refused)
        if judged.complaint:
            told.append((now - T0, judged.complaint))

    text = "lb1 speaks but does not hear us: our datagrams are lost, or refused there"
    assert [complaint for _, complaint in told] == [text]
    assert told[0][0] > DEAF


def test_a_stale_one_long_after_the_last_is_a_start_and_no_deafness() -> None:
    two = gate("lb2", ONE)
    for at in (T0, T0 + 100, T0 + 200):
        one = gate("lb1", ONE, incarnation=int(at))
        judged = two.admit(one.seal("lb2", b"", at), "lb1", at)
        assert isinstance(judged, Refused)
        assert not judged.complaint


def test_a_conversation_goes_on_over_a_reload_that_rotates_keys() -> None:
    one, two = gate("lb1", ONE), gate("lb2", ONE)
    meet(one, two)

    for keys in ((ONE, TWO), (TWO, ONE), (TWO,)):
        two.follow("shop", "lb2", ["lb1"], keys)
        one.follow("shop", "lb1", ["lb2"], keys)
        assert isinstance(two.admit(one.seal("lb2", b"", T0 + 1), "lb1", T0 + 1), Admitted)
        assert isinstance(one.admit(two.seal("lb1", b"", T0 + 1), "lb2", T0 + 1), Admitted)


def test_nobodys_datagrams_are_counted_without_a_word() -> None:
    two = gate("lb2", ONE)

    assert two.reject("", Flaw.STRANGER, T0) == Refused(Flaw.STRANGER)
    assert two.refused == {"": {"stranger": 1}}


@pytest.mark.parametrize("flaw", Flaw)
def test_every_flaw_of_a_peer_has_its_sentence(flaw: Flaw) -> None:
    refused = gate("lb2", ONE).reject("lb1", flaw, T0)

    assert "lb1" in refused.complaint
