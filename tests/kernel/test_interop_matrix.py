"""The interop matrix can fail: a mistake planted on the wire, and the cell it concerns says so."""

from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.interop import configs, matrix
from labkit.interop.arena import Arena
from labkit.interop.cells import Cell, Row, Wire
from labkit.interop.configs import Terms
from labkit.interop.judge import SLACK
from labkit.interop.table import CellResult
from tests.kernel.keepalived import DEBIAN
from tests.kernel.pair import needs_root

pytestmark = [
    pytest.mark.kernel,
    needs_root,
    pytest.mark.skipif(DEBIAN is None, reason="keepalived is not installed"),
]

WE = Row(Wire(3, 4, "multicast"), "we")


Plant = Callable[[str, str, str], CellResult]
"""(blow, what is right in hadirector's configuration, what is written instead)."""


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Plant:
    """Changes hadirector's configuration behind the matrix's back, then runs a cell."""

    def planted(blow: str, right: str, wrong: str) -> CellResult:
        tell = configs.hadirector

        def lie(wire: Wire, name: str, terms: Terms, directory: Path) -> str:
            return tell(wire, name, terms, directory).replace(right, wrong)

        monkeypatch.setattr(configs, "hadirector", lie)
        monkeypatch.setattr(matrix, "OUT", tmp_path)
        with Arena(WE) as arena:
            return matrix.play(arena, Cell(WE, blow), SLACK)

    return planted


def test_another_advert_interval_is_found_on_the_wire_and_in_the_counters(plant: Plant) -> None:
    result = plant("kill", "advert_int: 0.1", "advert_int: 0.2")

    wrong = "\n".join(result.wrong())
    assert "192.0.2.1 sent interval 0.2, not 0.1" in wrong
    assert "advert_interval_err" in wrong
    assert not result.passed()


def test_a_better_node_that_preempts_where_it_must_not_is_found(plant: Plant) -> None:
    result = plant("preempt", "preempt: never", "preempt: always")

    returned = "the better one returns and must not preempt"
    assert f"{returned}: lb1 advertised" in result.wrong()
    assert f"{returned}: lb1 took the address" in result.wrong()
    assert not result.passed()
