"""The http conversation: bytes in, verdict out; no sockets."""

import time
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core.address import Endpoint, canonical
from hadirector.core.keys import FileText
from hadirector.core.pacing import Cause, Outcome
from hadirector.core.settings.checks import Check, CheckType, StatusRange, Target
from hadirector.shell.probes import base, credentials, http
from hadirector.shell.probes.chunks import Chunks
from hadirector.shell.probes.search import Search

CHECK = Check(
    name="page",
    type=CheckType.HTTP,
    interval=1.0,
    fast_interval=0.2,
    timeout=0.5,
    rise=2,
    fall=2,
    held=False,
    path="/healthz",
)
OK_BODY = replace(CHECK, body="OK")
ENDPOINT = Endpoint(canonical("10.0.1.11"), 8080)
SEARCH = Search()

GOOD = Outcome(Cause.GOOD, "HTTP 200")
MATCHES = Outcome(Cause.GOOD, "HTTP 200, body matches")


def answered(detail: str) -> Outcome:
    return Outcome(Cause.ANSWERED, detail)


def talk(chunks: Iterable[bytes], check: Check = CHECK) -> Outcome:
    """The verdict after these chunks and a close."""
    one = http.Talk(Target("t", check, ENDPOINT), SEARCH)
    for chunk in chunks:
        outcome = one.received(chunk)
        if outcome is not None:
            assert isinstance(outcome, Outcome)
            return outcome
    return one.closed()


def still_open(raw: bytes, check: Check = CHECK) -> base.Reply:
    """The verdict after these bytes, the server not closing."""
    return http.Talk(Target("t", check, ENDPOINT), SEARCH).received(raw)


def test_request_names_host_and_closes() -> None:
    assert http.request(CHECK, ENDPOINT) == (
        b"GET /healthz HTTP/1.1\r\nHost: 10.0.1.11:8080\r\nUser-Agent: hadirector\r\n"
        b"Accept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
    )


def test_configured_fields_replace_ours_and_a_post_has_a_length() -> None:
    check = replace(
        CHECK, method="POST", host="shop.example", headers=(("user-agent", "me"), ("X-A", "1"))
    )

    assert http.request(check, ENDPOINT) == (
        b"POST /healthz HTTP/1.1\r\nHost: shop.example\r\nuser-agent: me\r\nAccept: */*\r\n"
        b"Accept-Encoding: identity\r\nConnection: close\r\nContent-Length: 0\r\nX-A: 1\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("address", "port", "host"),
    [
        ("10.0.1.11", 80, b"Host: 10.0.1.11\r\n"),
        ("2001:db8::1", 80, b"Host: [2001:db8::1]\r\n"),
        ("2001:db8::1", 81, b"Host: [2001:db8::1]:81\r\n"),
    ],
)
def test_host_is_written_as_a_browser_would(address: str, port: int, host: bytes) -> None:
    assert host in http.request(CHECK, Endpoint(canonical(address), port))


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", GOOD),
        (b"HTTP/1.1 200\r\ncontent-length:0\r\n\r\n", GOOD),
        (b"HTTP/1.0 204 No Content\n\n", Outcome(Cause.GOOD, "HTTP 204")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", GOOD),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nOK\r\n0\r\n\r\n", GOOD),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", GOOD),
        (
            b"HTTP/1.1 503 Busy\r\nContent-Length: 99\r\n\r\n",
            answered("HTTP 503, expected 200-299"),
        ),
        (b"HTTP/1.1 101 Switching\r\n\r\n", answered("HTTP 101, expected 200-299")),
        (b"SSH-2.0-OpenSSH_9.2\r\n", answered(r"not an HTTP answer: 'SSH-2.0-OpenSSH_9.2\r\n'")),
        (b"HTTP/2 200\r\n\r\n", answered("not an HTTP answer: 'HTTP/2 200'")),
        (b"HTTP/1.1 999 x\r\n\r\n", answered("not an HTTP answer: 'HTTP/1.1 999 x'")),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            answered("Content-Length '-1' is not one number"),
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            answered("broken chunked body: 'zz' is no size"),
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            answered("broken chunked body: a chunk longer than its size"),
        ),
    ],
)
@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_an_answer_is_decided_without_waiting_for_the_close_however_it_is_cut(
    raw: bytes, outcome: Outcome, cut: int
) -> None:
    chunks = [raw[at : at + cut] for at in range(0, len(raw), cut)]
    one = http.Talk(Target("t", CHECK, ENDPOINT), SEARCH)

    outcomes = [one.received(chunk) for chunk in chunks]

    decided = [outcome for outcome in outcomes if isinstance(outcome, Outcome)]
    # A one-byte cut shows less of a wrong greeting: only the cause is the same then.
    assert decided[0] == outcome if cut == 1000 else decided[0].cause is outcome.cause


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (b"", answered("closed without an answer")),
        (b"HTTP/1.1 2", answered("closed in the head of its answer 'HTTP/1.1 2'")),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil close", GOOD),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nuntil close", GOOD),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nOK",
            answered("closed in the body of its answer, after 2 of 9 bytes"),
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
            answered("closed in the body of its answer, after 3 bytes"),
        ),
    ],
)
def test_a_close_ends_the_answer_well_only_where_it_may(raw: bytes, outcome: Outcome) -> None:
    assert talk([raw] if raw else []) == outcome


def test_an_answer_to_head_has_no_body_whatever_its_length_says() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"

    assert still_open(raw, replace(CHECK, method="HEAD")) == GOOD
    assert still_open(raw) is None


def test_wanted_status_ranges_are_told() -> None:
    check = replace(CHECK, status=(StatusRange(200, 204), StatusRange(301, 301)))

    assert talk([b"HTTP/1.1 301 x\r\nContent-Length: 0\r\n\r\n"], check).cause is Cause.GOOD
    assert talk([b"HTTP/1.1 205 x\r\n\r\n"], check) == answered("HTTP 205, expected 200-204, 301")


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"all OK here", MATCHES),
        (b"broken", answered("HTTP 200, body does not match /OK/: it starts 'broken'")),
        (b"", answered("HTTP 200, body does not match /OK/: it is empty")),
        (b"\xff\x00", answered(r"HTTP 200, body does not match /OK/: it starts '\xff\x00'")),
    ],
)
def test_body_is_searched(body: bytes, outcome: Outcome) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    assert still_open(raw, OK_BODY) == outcome


def test_a_match_may_lie_across_chunks() -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nO\r\n1\r\nK\r\n0\r\n\r\n"

    assert talk([raw], OK_BODY) == MATCHES


def test_bytes_beyond_the_content_length_are_no_body() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nOK"

    assert talk([raw], OK_BODY).cause is Cause.ANSWERED


def test_a_body_is_read_up_to_its_bound() -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    within = b"x" * (http.BODY_BOUND - 2) + b"OK"
    one = http.Talk(Target("t", OK_BODY, ENDPOINT), SEARCH)

    assert one.received(head + within[:-1]) is None
    assert one.received(within[-1:]) == MATCHES
    assert talk([head, b"x" + within], OK_BODY).cause is Cause.ANSWERED


def test_an_endless_head_is_cut_off() -> None:
    one = http.Talk(Target("t", CHECK, ENDPOINT), SEARCH)
    assert one.received(b"HTTP/1.1 200 OK\r\n") is None

    outcomes = [one.received(b"X-Fill: " + b"x" * 998 + b"\r\n") for _ in range(17)]

    assert outcomes == [None] * 16 + [answered("head of its answer over 16 KiB")]


def test_a_head_over_the_bound_is_refused_though_it_came_whole() -> None:
    raw = b"HTTP/1.1 200 OK\r\nX-Fill: " + b"x" * http.HEAD_BOUND + b"\r\n\r\n"

    assert still_open(raw) == answered("head of its answer over 16 KiB")


def test_a_body_longer_than_the_bound_is_not_waited_for_whatever_its_length_says() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n"

    assert still_open(head + b"x" * (http.BODY_BOUND - 1)) is None
    assert still_open(head + b"x" * http.BODY_BOUND) == GOOD


def test_endless_interim_answers_are_cut_off() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"

    outcome = talk([interim] * 1000)

    assert outcome == answered("head of its answer over 16 KiB")


def test_an_endless_chunk_line_and_endless_trailers_are_cut_off() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert still_open(head + b"1" * 2000) == answered("broken chunked body: a line over 1024 bytes")
    assert still_open(head + b"0\r\n" + b"A: b\r\n" * 65) == answered(
        "broken chunked body: over 64 trailer fields"
    )


def test_a_pattern_that_never_ends_is_broken_off() -> None:
    check = replace(CHECK, body="(a+)+b")
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n" + b"a" * 60
    began = time.process_time()

    outcome = still_open(raw, check)

    assert outcome == answered("body: /(a+)+b/ was not decided within 20ms")
    assert time.process_time() - began < 0.5


def test_a_pattern_that_is_none_is_our_fault() -> None:
    outcome = talk([b"HTTP/1.1 200 OK\r\n\r\n"], replace(CHECK, body="("))

    assert outcome.cause is Cause.OURS


_PIECES = st.one_of(
    st.binary(max_size=64),
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 100 \r\n\r\n",
            b"Content-Length: 5\r\n",
            b"Content-Length: 99999999999999999999\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"\r\n",
            b"\n\n",
            b"5\r\nabcde\r\n",
            b"0\r\n\r\n",
            b"ffffffff\r\n",
        ]
    ),
)


@given(st.lists(_PIECES, max_size=20), st.booleans())
def test_whatever_a_server_sends_ends_in_a_short_verdict(
    chunks: list[bytes], searched: bool
) -> None:
    outcome = talk([chunk for chunk in chunks if chunk], OK_BODY if searched else CHECK)

    assert outcome.cause in (Cause.GOOD, Cause.ANSWERED)
    assert 0 < len(outcome.detail) < 250
    assert outcome.detail.isascii()
    assert outcome.detail.isprintable()


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=10), st.data())
def test_chunked_bodies_come_out_as_they_went_in(parts: list[bytes], data: st.DataObject) -> None:
    raw = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nA: b\r\n\r\n"
    cut = data.draw(st.integers(min_value=1, max_value=len(raw)))
    chunks = Chunks()

    body = b"".join(chunks.feed(raw[at : at + cut]) for at in range(0, len(raw), cut))

    assert body == b"".join(parts)
    assert chunks.done


def test_a_body_compressed_unasked_is_never_inflated() -> None:
    bomb = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"

    assert talk([bomb], OK_BODY) == answered(
        "HTTP 200, but its body is compressed ('gzip'), which was not asked for"
    )
    assert talk([bomb]) == GOOD


def test_a_password_goes_into_the_request_and_nowhere_else() -> None:
    pair = credentials.read("/f", {"/f": FileText(b"probe:s3cret\n")})

    assert isinstance(pair, credentials.Credentials)
    assert b"\r\nAuthorization: Basic cHJvYmU6czNjcmV0\r\n" in http.request(CHECK, ENDPOINT, pair)
    assert "s3cret" not in repr(pair)


@pytest.mark.parametrize(
    ("files", "detail"),
    [
        ({}, "/f was not read: mend that, then 'hadirector reload'"),
        ({"/f": FileText(b"s3cret")}, "/f: its first line is not 'user:password'"),
        ({"/f": FileText(b"")}, "/f: its first line is empty or not printable"),
        ({"/f": FileText(b"a:s3\rX-Evil: 1")}, ""),
    ],
)
def test_a_file_without_credentials_is_our_own_trouble(
    files: dict[str, FileText], detail: str
) -> None:
    begin = http.starter(SEARCH, files)
    talk = begin(Target("t", replace(CHECK, auth_file="/f"), ENDPOINT))

    if detail:
        assert talk == Outcome(Cause.OURS, detail)
    else:
        assert isinstance(talk, http.Talk)
        assert isinstance(sent := talk.opened(), bytes)
        assert b"X-Evil" not in sent


def test_a_request_may_carry_a_body() -> None:
    check = replace(CHECK, method="POST", send='{"ping": 1}')

    assert http.request(check, ENDPOINT).endswith(b'Content-Length: 11\r\n\r\n{"ping": 1}')
