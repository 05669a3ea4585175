"""An agent's answer: whatever it sends is read or refused, never worse."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hadirector.core.agent_answer import LINE, Answer, NoAnswerError, complete, decode
from hadirector.core.checker_messages import Wish

_WORDS = st.sampled_from(
    ["up", "DOWN", "fail", "stopped", "ready", "Drain", "maint", "0%", "75%", "100%", "99999%"]
)
_LINES = st.lists(_WORDS, min_size=1, max_size=9)


@given(st.binary(max_size=2 * LINE))
@example(b"\xff" * LINE)
@example("١٢%".encode())
@example(b"1" * 900 + b"%")
def test_any_bytes_are_an_answer_or_refused_within_bounds(raw: bytes) -> None:
    complete(raw)
    try:
        answer = decode(raw)
    except NoAnswerError as error:
        answer = Answer(None, None, None, str(error))

    assert answer.share is None or 0 <= answer.share <= 1
    assert len(answer.text) <= 200
    assert answer.text.isprintable()


@given(_LINES, st.sampled_from([" ", ",", "\t", " , "]), st.sampled_from(["\n", "\r\n", "\0", ""]))
def test_words_in_any_order_are_understood_and_the_last_of_a_kind_holds(
    words: list[str], apart: str, end: str
) -> None:
    answer = (
        decode(apart.join(words).encode() + end.encode() + b"garbage")
        if end
        else decode(apart.join(words).encode())
    )

    lower = [word.lower() for word in words]
    states = [word for word in lower if word in ("up", "down", "fail", "stopped")]
    wishes = [word for word in lower if word in ("ready", "drain", "maint")]
    shares = [word for word in lower if word.endswith("%")]
    assert answer.up == (states[-1] == "up" if states else None)
    assert (answer.wish is None) == (not wishes)
    if wishes:
        assert answer.wish is (Wish.NONE if wishes[-1] == "ready" else Wish(wishes[-1]))
    assert (answer.share is None) == (not shares)


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (b"75%\n", Answer(None, 0.75, None, "75%")),
        (b"up 100% ready\r\n", Answer(True, 1.0, Wish.NONE, "up 100% ready")),
        (b"drain", Answer(None, None, Wish.DRAIN, "drain")),
        (b"down #disk is full\n", Answer(False, None, None, "down (disk is full)")),
        (b"maint,maxconn:30\n", Answer(None, None, Wish.MAINT, "maint,maxconn:30")),
        (b"up 250%\n", Answer(True, 1.0, None, "up 250%")),
        (b"up blue\n", Answer(True, None, None, "up blue", ("blue",))),
    ],
)
def test_answers_as_the_manual_has_them(raw: bytes, answer: Answer) -> None:
    assert decode(raw) == answer


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no agent's answer: it said nothing"),
        (b"\n up", "no agent's answer: it said nothing"),
        (b"HTTP/1.1 400 Bad Request\r\n", "no agent's answer: it said 'HTTP/1.1 400 Bad Request'"),
        (b"#up\n", "no agent's answer: it said nothing"),
        (b"x" * 5000, f"no agent's answer: a line of {LINE} bytes or more"),
    ],
)
def test_what_is_no_agents_answer_is_refused_with_what_it_was(raw: bytes, why: str) -> None:
    with pytest.raises(NoAnswerError) as raised:
        decode(raw)

    assert str(raised.value) == why
