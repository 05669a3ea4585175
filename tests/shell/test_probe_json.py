"""The http conversation where the answer is to be JSON."""

from dataclasses import replace

import pytest

from hadirector.core.pacing import Cause
from hadirector.core.settings.questions import JsonWanted
from tests.shell.test_probe_http import CHECK, MATCHES, answered, talk


def json_answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


STATE = b'{"status": "ok", "up": true, "n": 3, "db": [{"role": "primary"}], "a.b": {"/": null}}'


@pytest.mark.parametrize(
    ("path", "wanted", "detail"),
    [
        ("status", '"ok"', "JSON as expected"),
        ("up", "true", "JSON as expected"),
        ("n", "3", "JSON as expected"),
        ("n", "3.0", "JSON as expected"),
        ("db.0.role", '"primary"', "JSON as expected"),
        ("/a.b/~1", "null", "JSON as expected"),
        ("status", '"up"', 'JSON status is "ok", expected "up"'),
        ("n", '"3"', 'JSON n is 3, expected "3"'),
        ("up", "1", "JSON up is true, expected 1"),
        ("db", '"x"', 'JSON db is a list, expected "x"'),
        ("db.1.role", '"primary"', 'JSON db.1.role is not there, expected "primary"'),
        ("status.x", "1", "JSON status.x is not there, expected 1"),
    ],
)
def test_what_stands_in_a_json_answer_is_compared_as_json_has_it(
    path: str, wanted: str, detail: str
) -> None:
    check = replace(CHECK, json=(JsonWanted(path, wanted),))

    outcome = talk([json_answer(STATE)], check)

    assert outcome.detail == f"HTTP 200, {detail}"
    assert (outcome.cause is Cause.GOOD) == (detail == "JSON as expected")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"<html>", "HTTP 200, body is not JSON: it starts '<html>'"),
        (b"", "HTTP 200, body is not JSON: it is empty"),
        (b"[" * 200_000, f"HTTP 200, body is not JSON: it starts '{'[' * 40}'..."),
        (b'"' + b"x" * 300_000 + b'"', "HTTP 200, body is too long to be read as JSON"),
        (b"9" * 5000, f"HTTP 200, body is not JSON: it starts '{'9' * 40}'..."),
    ],
    ids=["html", "nothing", "very deep", "too long", "a huge number"],
)
def test_a_body_that_is_no_json_is_told_as_that(body: bytes, detail: str) -> None:
    check = replace(CHECK, json=(JsonWanted("status", '"ok"'),))

    assert talk([json_answer(body)], check) == answered(detail)


def test_json_and_a_pattern_must_both_be_right() -> None:
    check = replace(CHECK, json=(JsonWanted("n", "3"),), body="primary")

    assert talk([json_answer(STATE)], check) == MATCHES
    assert talk([json_answer(b'{"n": 3}')], check).cause is Cause.ANSWERED
