"""Runs the cells: a process for each row, several at the same time, a result for every cell.

Whatever happens to a row, each of its cells ends up in the table: passed, failed with what was
wrong, or not run with the reason.
"""

import argparse
import json
import os
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain

from labkit.director import keepalived_version
from labkit.guest import OUT
from labkit.interop import blows, cells, table
from labkit.interop.arena import Arena
from labkit.interop.cells import Cell, Row
from labkit.interop.judge import SLACK, judge
from labkit.interop.table import CellResult, MoveResult, Table

TITLE = f"{len(cells.MATRIX)} cells beside a real keepalived; `lab matrix --list` names them"
LENIENT = 5.0  # for busy machines: so many times the slack
BUDGET = 5  # of rows side by side: starting daemons takes CPU from those that are being measured
ROW_LIMIT = 240.0  # seconds for all cells of a row
_AGAIN = 2  # times that a cell is run again if the lab stood still
_HMAC_SINCE = (2, 4)


@dataclass(frozen=True, slots=True)
class Order:
    """`lab matrix` understood. `add`: to the results of the same keepalived that are there."""

    cells: list[Cell]
    budget: int
    slack: float
    add: bool
    json_file: str | None


def understand(words: list[str]) -> Order:
    """Exits with 2 on what it does not understand."""
    parser = argparse.ArgumentParser(prog="lab matrix")
    parser.add_argument("cell", nargs="*", help="a set, a cell or a part of names; else the 48")
    parser.add_argument("--at-once", type=int, default=BUDGET, help="1 for each v2 row, 2 for v3")
    parser.add_argument("--add", action="store_true", help="to the table that is there")
    parser.add_argument("--json", metavar="FILE", help="also write the result there")
    parser.add_argument("--list", action="store_true", help="name the cells, run nothing")
    parser.add_argument("--lenient", action="store_true", help="for busy machines: more slack")
    given = parser.parse_args(words)
    chosen = cells.choose(given.cell)
    if given.list:
        print(*(cell.name for cell in chosen), sep="\n")
        raise SystemExit(0)
    slack = SLACK * (LENIENT if given.lenient else 1)
    return Order(chosen, max(2, given.at_once), slack, given.add, given.json)


def run(order: Order) -> Table:
    """All of it; progress on the terminal, the table into netns-lab/out, beside what is to be
    known about cells that failed."""
    version = keepalived_version()
    print(f"matrix: {len(order.cells)} cells beside keepalived {version}", flush=True)
    OUT.mkdir(exist_ok=True)
    page, data = OUT / f"interop-{version}.md", OUT / f"interop-{version}.json"
    began = time.monotonic()
    results: dict[Cell, CellResult] = {}
    if order.add and data.exists():
        earlier = Table.read(json.loads(data.read_text()), cells.EVERY)
        began -= earlier.took
        results = {result.cell: result for result in earlier.results}
    else:
        shutil.rmtree(OUT / "interop-failed", ignore_errors=True)
    asked, refused = _able(order.cells, version)
    for result in chain(refused, _side_by_side(cells.by_row(asked), order)):
        results[result.cell] = result
        print(f"  {table.line(result)}", flush=True)
    told = [results[cell] for cell in cells.EVERY if cell in results]
    whole = Table(version, told, time.monotonic() - began)
    page.write_text(whole.markdown())
    data.write_text(json.dumps(whole.as_json(), indent=1) + "\n")
    print(f"\n{whole.markdown()}", flush=True)
    return whole


def _able(asked: list[Cell], version: str) -> tuple[list[Cell], list[CellResult]]:
    """What this keepalived can be asked, and an answer for what it cannot."""
    numbers = tuple(int(number) for number in version.split(".")[:2])
    able = [c for c in asked if c.row.wire.authentication != "hmac" or numbers >= _HMAC_SINCE]
    error = f"keepalived {version} has no auth_hmac (KEEPALIVED=... names another one)"
    return able, [CellResult(cell, error=error) for cell in asked if cell not in able]


def _side_by_side(rows: dict[Row, list[Cell]], order: Order) -> Iterator[CellResult]:
    """Every cell once, in the order in which they are done."""
    waiting = list(rows)
    running: dict[int, _Running] = {}  # by the descriptor its results come from
    while waiting or running:
        free = order.budget - sum(cost(one.row) for one in running.values())
        for row in [row for row in waiting if cost(row) <= free][:1]:
            waiting.remove(row)
            begun = _begin(row, rows[row], order.slack)
            running[begun.results] = begun
        patience = 0.0 if waiting and cost(waiting[0]) <= free else 1.0
        ready, _, _ = select.select(list(running), [], [], patience)
        for descriptor in ready:
            yield from running[descriptor].read()
        for one in [r for r in running.values() if r.ended or r.overdue()]:
            del running[one.results]
            yield from one.end()


def cost(row: Row) -> int:
    """Short intervals are sooner disturbed by what runs beside them."""
    return 1 if row.wire.version == 2 else 2


@dataclass(slots=True)
class _Running:
    """The process of a row."""

    row: Row
    cells: list[Cell]
    pid: int
    results: int
    began: float = field(default_factory=time.monotonic)
    ended: bool = False
    _data: bytes = b""
    _left: list[Cell] = field(init=False)

    def __post_init__(self) -> None:
        self._left = list(self.cells)

    def read(self) -> list[CellResult]:
        """What it has to tell."""
        data = os.read(self.results, 1 << 16)
        self.ended = not data
        *lines, self._data = (self._data + data).split(b"\n")
        found = [CellResult.read(json.loads(line), self.cells) for line in lines]
        self._left = [cell for cell in self._left if cell not in {r.cell for r in found}]
        return found

    def overdue(self) -> bool:
        return time.monotonic() > self.began + ROW_LIMIT

    def end(self) -> list[CellResult]:
        """Nothing of it stays; what it has not told is told now."""
        os.close(self.results)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        why = "the row's process ended" if self.ended else f"not done within {ROW_LIMIT:g} s"
        return [CellResult(cell, error=why) for cell in self._left]


def _begin(row: Row, its_cells: list[Cell], slack: float) -> _Running:
    ours, theirs = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return _Running(row, its_cells, pid, ours)
    try:
        os.close(ours)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for cell, result in zip(its_cells, _play(row, its_cells, slack), strict=False):
            assert result.cell == cell
            os.write(theirs, json.dumps(result.as_json()).encode() + b"\n")
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(0)


def _play(row: Row, its_cells: list[Cell], slack: float) -> Iterator[CellResult]:
    """One result for each cell, in order. A cell that fails does not keep the others from it.

    One that failed while the lab itself stood still says nothing about anybody: it is run again,
    and this is told.
    """
    with Arena(row) as arena:
        for cell in its_cells:
            result = play(arena, cell, slack)
            for _ in range(_AGAIN):
                if result.passed() or result.stood_still < slack / 2:
                    break
                before = (*result.disturbed, result.stood_still)
                with Arena(row) as fresh:
                    result = replace(play(fresh, cell, slack), disturbed=before)
            yield result


def play(arena: Arena, cell: Cell, slack: float) -> CellResult:
    """One cell to its end, whatever comes of it."""
    began = time.monotonic()
    moves: list[MoveResult] = []
    error = ""
    arena.metronome.reset()
    try:
        for expected, evidence in blows.BLOWS[cell.blow](arena):
            verdict = judge(cell.row.wire, expected, evidence, slack)
            if verdict.findings:
                _keep(arena, cell, len(moves) + 1, evidence.seen.text)
            what = expected.kind.value
            findings = list(verdict.findings)
            moves.append(MoveResult(what, expected.new, verdict.figures, findings))
    except Exception as failure:  # a cell may fail in any way, and the next one goes on
        _keep(arena, cell, len(moves) + 1, "")
        error = f"{type(failure).__name__}: {failure}"
    took = time.monotonic() - began
    return CellResult(cell, moves, error, took, arena.metronome.worst)


def _keep(arena: Arena, cell: Cell, number: int, packets: str) -> None:
    """What somebody needs who wants to know why a move went wrong."""
    logs = "\n\n".join(
        f"--- {side.name}, {side.product}\n{side.director.log.read_text(errors='replace')}"
        for side in arena.sides
        if side.director.log.exists()
    )
    offset = time.time() - time.monotonic()
    owned = "\n".join(
        f"{at + offset:.6f} {name} {'takes' if held else 'drops'} the address"
        for at, name, held in arena.story.owned
    )
    place = OUT / "interop-failed"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{cell.name}-{number}.txt").write_text(f"{owned}\n\n{logs}\n\n{packets}")
