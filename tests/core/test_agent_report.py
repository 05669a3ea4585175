"""What an agent says: measurements to one line, as HAProxy's manual has it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadirector.core import agent_report
from hadirector.core.agent_report import CpuTimes, Load
from hadirector.core.checker_messages import Wish

STAT = "cpu  100 0 50 800 50 0 0 0 20 0\ncpu0 1 2 3\n"
LINE = re.compile(rb"(ready|drain|maint) up( [1-9][0-9]?%| 100%)? #[ -~]*\n")


def test_cpu_times_are_read_as_proc_has_them() -> None:
    assert agent_report.cpu_times(STAT) == CpuTimes(whole=1000, idle=850)
    for wrong in ("", "intr 1 2", "cpu 1 2"):
        with pytest.raises(ValueError, match="no CPU times"):
            agent_report.cpu_times(wrong)


def test_what_is_not_busy_is_free() -> None:
    load = agent_report.of_cpu(CpuTimes(1000, 850), CpuTimes(1200, 900))

    assert load == Load(0.25, "cpu 75% busy")
    assert agent_report.of_cpu(CpuTimes(1, 1), CpuTimes(1, 1)).free == 1.0


def test_one_process_for_each_cpu_leaves_half_and_none_leaves_all() -> None:
    frees = [agent_report.of_run_queue(f"{load} 0 0 1/2 3", 4).free for load in (0, 4, 12)]

    assert frees == [1.0, 0.5, 0.25]


def test_the_lowest_source_counts_and_is_named() -> None:
    loads = {"cpu": Load(0.7, "cpu 30% busy"), "load": Load(0.5, "load 4 on 4 CPUs")}

    assert agent_report.line(loads, Wish.NONE, "") == b"ready up 50% #load 4 on 4 CPUs\n"
    assert agent_report.line(loads, Wish.DRAIN, "why") == b"drain up 50% #why\n"
    assert agent_report.line({}, Wish.NONE, "") == b"ready up #no load is known\n"


@given(
    st.dictionaries(st.text(max_size=3), st.builds(Load, st.floats(0, 1), st.text(max_size=200))),
    st.sampled_from(Wish),
    st.text(max_size=300),
)
def test_whatever_is_measured_the_line_is_one_that_every_reader_knows(
    loads: dict[str, Load], wish: Wish, reason: str
) -> None:
    assert LINE.fullmatch(agent_report.line(loads, wish, reason))


@pytest.mark.parametrize("text", ["", "x", "-1", "nan", "inf"])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        agent_report.of_number(text, "file")
    assert agent_report.of_number("130 %", "file").free == 1.0
