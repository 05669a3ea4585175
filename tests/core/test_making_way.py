"""Records that make way for those a kernel would not take."""

from dataclasses import replace

import pytest

from hadirector.core import ipvs_sync
from hadirector.core.ipvs_sync import INACTIVE, TEMPLATE, Record
from hadirector.core.making_way import InVain, making_way
from tests.core.test_ipvs_sync import ONE, SIX


@pytest.mark.parametrize("one", [ONE, SIX])
def test_a_template_is_given_a_second_an_inactive_one_is_told_as_active(one: Record) -> None:
    template = replace(one, client_port=0, state=1, flags=TEMPLATE | INACTIVE, timeout=300)
    flow = replace(one, protocol=17, state=0, flags=INACTIVE | 3)

    assert _way(template) == replace(template, timeout=1)
    assert _way(flow) == replace(flow, flags=3)
    assert _way(replace(one, flags=3)) is None


def test_what_was_given_in_two_rounds_in_a_row_is_stuck() -> None:
    vain = InVain()
    vain.given({7: [b"a", b"b"], 8: [b"d"]})
    assert vain.stuck(7, [b"a", b"b"]) == []

    vain.given({7: [b"b", b"c"]})
    assert vain.stuck(7, [b"a", b"b", b"c"]) == [b"b"]
    assert vain.stuck(8, [b"d"]) == []

    vain.given({7: [b"c"]})
    assert vain.stuck(7, [b"b", b"c"]) == [b"c"]


def _way(record: Record) -> Record | None:
    raw = making_way(ipvs_sync.encode(record))
    return None if raw is None else ipvs_sync.decode(raw)
