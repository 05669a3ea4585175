"""The interop matrix: which cells there are, and that none of them can be missing in its table."""

from pathlib import Path

import pytest

from hadirector.config import load
from labkit.interop import cells, complaints, configs, table
from labkit.interop.cells import Cell, Wire
from labkit.interop.configs import Terms
from labkit.interop.table import CellResult, MoveResult, Table


def test_the_matrix_has_every_combination_once() -> None:
    combinations = {
        (c.row.wire.version, c.row.wire.family, c.row.wire.cast, c.row.master, c.blow)
        for c in cells.MATRIX
    }

    assert len(cells.MATRIX) == len(combinations) == 48
    assert {c.row.wire.authentication for c in cells.MATRIX} == {"none"}


def test_words_choose_cells() -> None:
    assert cells.choose([]) == list(cells.MATRIX)
    one = "v3-ipv6-unicast-we-kill"
    assert [c.name for c in cells.choose([one])] == [one]
    assert len(cells.choose(["v2-ipv4-unicast"])) == 8
    assert len(cells.choose(["v3"])) == 32  # of the matrix; signed ones by their own name
    assert len(cells.choose(["hmac"])) == 32
    with pytest.raises(SystemExit):
        cells.choose(["v5"])


def test_a_row_runs_its_cells_in_the_order_that_needs_the_fewest_starts() -> None:
    rows = cells.by_row(cells.choose(["v3-ipv4-multicast"]))

    assert [row.name for row in rows] == ["v3-ipv4-multicast-we", "v3-ipv4-multicast-they"]
    assert [[c.blow for c in its] for its in rows.values()] == [
        ["priority", "kill", "preempt", "stop"]
    ] * 2


PASSED = MoveResult("the master is killed", "lb2", {"silence": 0.362, "formula": 0.361}, [])


def results(*those: CellResult) -> Table:
    return Table("2.2.7", list(those), 12.0)


def test_a_cell_passes_only_if_it_was_run_and_nothing_is_wrong() -> None:
    cell = cells.MATRIX[0]

    assert CellResult(cell, [PASSED]).passed()
    assert not CellResult(cell).passed()
    assert not CellResult(cell, [PASSED], error="the row's process ended").passed()
    assert not CellResult(cell, [PASSED, MoveResult("x", "lb1", {}, ["two owners"])]).passed()


def test_the_table_has_every_cell_and_what_is_wrong() -> None:
    we = cells.choose(["v3-ipv4-multicast-we"])
    told = [
        CellResult(we[0], error="RuntimeError: no lb1 master within 20 s"),
        CellResult(we[1], [PASSED]),
        CellResult(we[2], [MoveResult("x", "lb1", {}, ["two owners for 3 s"])]),
    ]

    page = results(*told).markdown()

    row = next(line for line in page.splitlines() if line.startswith("| v3-ipv4-multicast"))
    columns = [text.strip() for text in row.strip("|").split("|")]
    by_blow = dict(zip(table._COLUMNS, columns[2:], strict=True))
    assert by_blow[we[0].blow] == "**not run to its end**"
    assert by_blow[we[1].blow] == "ok 362 ms (361 ms)"
    assert by_blow[we[2].blow].startswith("**FAILED**")
    assert by_blow["stop" if we[3].blow == "stop" else we[3].blow] == "not asked for"
    assert f"- {we[0].name}: RuntimeError: no lb1 master within 20 s" in page
    assert f"- {we[2].name}: x: two owners for 3 s" in page


def test_the_json_of_a_table_can_be_read_again() -> None:
    one = results(
        CellResult(cells.MATRIX[3], [PASSED], took=1.5, stood_still=0.1, disturbed=(2.5,))
    )

    assert Table.read(one.as_json(), cells.EVERY) == one


WIRES = tuple(dict.fromkeys(cell.row.wire for cell in cells.EVERY))


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("name", ["lb1", "lb2"])
def test_the_configuration_of_every_wire_is_one_hadirector_takes(
    wire: Wire, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "hadirector.yaml"
    file.write_text(configs.hadirector(wire, name, Terms(150, 100, preempt=False), tmp_path))

    config = load.load(str(file), name).config

    assert config is not None
    (instance,) = config.instances
    assert (instance.version, instance.advert_int) == (wire.version, wire.advert_int)
    assert (instance.priority, instance.peer_priorities) == (150, (100,))
    assert (instance.unicast is not None) == (wire.cast == "unicast")
    assert instance.authentication.kind.value == wire.authentication


LOG = """\
Thu Nov 26 13:05:46 2026: NOTICE: setting config option max_auto_priority should result in better
Thu Nov 26 13:05:47 2026: (front) Receive advertisement timeout
Thu Nov 26 13:05:50 2026: (front) Master received advert from 192.0.2.1 with higher priority 150
Thu Nov 26 13:05:50 2026: (front) received lower priority (100) advert from 192.0.2.2 - discarding
Thu Nov 26 13:05:51 2026: (front) Backup received priority 0 advertisement
Thu Nov 26 13:05:52 2026: WARNING - keepalived was built for newer Linux 6.1.187, running on 6.1.176
"""


@pytest.mark.parametrize(
    "complaint",
    [
        "(front) Invalid VRRPv3 checksum from 192.0.2.1",
        "(front) vrrp packet from 192.0.2.1 too short, length 12 and expect 16",
        "(front) received an invalid passwd from 192.0.2.1!",
        "(front) received a 0 auth from 192.0.2.1, expecting 1!",
        "(front) advertisement interval mismatch with 192.0.2.1 mine=1 sec rcv'd=2 sec",
        "(front) expected 2 VIPs but received 1",
        "(front) ip address associated with VRID 51 not present in MASTER advert : 192.0.2.11",
        "(front) unicast source address 192.0.2.3 not a unicast peer",
        "(front) Expected unicast packet but received multicast packet from 192.0.2.1",
        "(front) wrong VRRP version from 192.0.2.1. Received 2 and expect 3",
        "(front) invalid TTL/HL from 192.0.2.1. Received 64 and expect 255",
        "(front) missing authentication trailer from 192.0.2.1",
        "bogus VRRP packet received on front !!!",
        "(/run/lb1.conf: Line 13) Unknown keyword 'auth_hmac'",
    ],
)
def test_keepalived_complaining_is_heard_and_its_ordinary_words_are_not(complaint: str) -> None:
    assert complaints.in_log(LOG) == []
    assert complaints.in_log(f"{LOG}Thu Nov 26 13:05:52 2026: {complaint}\n") == [complaint]


def test_a_cell_is_named_after_what_happens_in_it() -> None:
    wire = Wire(2, 4, "unicast", "pass")

    assert Cell(cells.Row(wire, "they"), "stop").name == "v2-pass-ipv4-unicast-they-stop"
