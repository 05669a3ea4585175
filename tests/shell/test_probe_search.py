"""The search of a body for a pattern: what it finds, and that no pattern costs more than it may."""

import signal
import time
from contextlib import suppress

import pytest

from hadirector.shell.probes.http import BODY_BOUND
from hadirector.shell.probes.search import Search, SearchTooLongError

SEARCH = Search()


def test_a_search_broken_off_does_not_disturb_the_next() -> None:
    with pytest.raises(SearchTooLongError):
        SEARCH.found("(a+)+b", "a" * 60)

    assert SEARCH.found("a+", "a" * 60)


def test_a_second_search_in_the_process_does_not_disarm_the_first() -> None:
    Search()

    with pytest.raises(SearchTooLongError):
        SEARCH.found("(a+)+b", "a" * 40)


def test_a_search_leaves_no_timer_behind_and_minds_no_signal_still_on_its_way() -> None:
    SEARCH.found("a+", "a" * 60)

    signal.raise_signal(signal.SIGVTALRM)

    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


@pytest.mark.parametrize("pattern", [".*OK", r"\w+@", "(?s).*OK", "a*b", "(a+)+b"])
def test_no_pattern_and_no_text_cost_more_than_their_bound(pattern: str) -> None:
    began = time.process_time()

    with suppress(SearchTooLongError):
        assert not SEARCH.found(pattern, "a" * BODY_BOUND)

    assert time.process_time() - began < 0.2  # 21 s before, and 35 ms on an idle machine now


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("O.", "x" * 100_000 + "OK", True),
        ("OK.*", "OK" + "x" * 100_000, True),
        ("OK$", "OK" + "x" * 100_000, False),
        ("O.$", "x" * 4094 + "OK" + "x" * 9000, False),
        (r"OK\b", "x" * 4094 + "OKx" * 3000, False),
        ("O.$", "x" * 9000 + "OK", True),
        ("^O.", "x" * 3072 + "OK" + "x" * 9000, False),
        (r"\AO.", "OK" + "x" * 9000, True),
        ("b.{900}b", "x" * 4000 + "b" + "x" * 900 + "b" + "x" * 4000, True),
    ],
)
def test_windows_do_not_change_what_is_found(pattern: str, text: str, found: bool) -> None:
    assert SEARCH.found(pattern, text) is found
