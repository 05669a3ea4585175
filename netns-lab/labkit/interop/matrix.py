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
from dataclasses import dataclass, field

from labkit.guest import OUT
from labkit.interop import blows, cells, table
from labkit.interop.arena import Arena
from labkit.interop.cells import Cell, Row
from labkit.interop.judge import SLACK, judge
from labkit.interop.table import CellResult, MoveResult

LENIENT = 5.0  # for busy machines: so many times the slack
AT_ONCE = 4
ROW_LIMIT = 240.0  # seconds for all cells of a row


@dataclass(frozen=True, slots=True)
class Order:
    """`lab matrix` understood."""

    cells: list[Cell]
    at_once: int
    slack: float
    json_file: str | None


def understand(words: list[str]) -> Order:
    """Exits with 2 on what it does not understand."""
    parser = argparse.ArgumentParser(prog="lab matrix")
    parser.add_argument("cell", nargs="*", help="a set, a cell or a part of names; else the 48")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="rows side by side")
    parser.add_argument("--json", metavar="FILE", help="also write the result there")
    parser.add_argument("--list", action="store_true", help="name the cells, run nothing")
    parser.add_argument("--lenient", action="store_true", help="for busy machines: more slack")
    given = parser.parse_args(words)
    chosen = cells.choose(given.cell)
    if given.list:
        print(*(cell.name for cell in chosen), sep="\n")
        raise SystemExit(0)
    slack = SLACK * (LENIENT if given.lenient else 1)
    return Order(chosen, given.at_once, slack, given.json)


def run(order: Order) -> list[CellResult]:
    """All of it; progress on the terminal, the table into netns-lab/out, beside what is to be
    known about cells that failed."""
    shutil.rmtree(OUT / "interop-failed", ignore_errors=True)
    began = time.monotonic()
    rows = cells.by_row(order.cells)
    waiting = list(rows.items())
    running: dict[int, _Running] = {}  # by the descriptor its results come from
    results: dict[Cell, CellResult] = {}
    while waiting or running:
        while waiting and len(running) < order.at_once:
            row, its_cells = waiting.pop(0)
            begun = _begin(row, its_cells, order.slack)
            running[begun.results] = begun
        ready, _, _ = select.select(list(running), [], [], 1.0)
        for one in [running[descriptor] for descriptor in ready]:
            for result in one.read():
                results[result.cell] = result
                print(f"  {table.line(result)}", flush=True)
        for one in [r for r in running.values() if r.ended or r.overdue()]:
            del running[one.results]
            one.end()
            for cell in [c for c in one.cells if c not in results]:
                results[cell] = CellResult(cell, error=one.why())
                print(f"  {table.line(results[cell])}", flush=True)
    told = [results[cell] for cell in order.cells]
    took = time.monotonic() - began
    page = table.markdown(told, took)
    print(f"\n{page}", flush=True)
    OUT.mkdir(exist_ok=True)
    (OUT / "interop.md").write_text(page)
    (OUT / "interop.json").write_text(json.dumps(table.as_json(told, took), indent=1) + "\n")
    return told


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

    def read(self) -> list[CellResult]:
        """What it has to tell."""
        data = os.read(self.results, 1 << 16)
        self.ended = not data
        *lines, self._data = (self._data + data).split(b"\n")
        return [CellResult.read(json.loads(line), self.cells) for line in lines]

    def overdue(self) -> bool:
        return time.monotonic() > self.began + ROW_LIMIT

    def end(self) -> None:
        os.close(self.results)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def why(self) -> str:
        return "the row's process ended" if self.ended else f"not done within {ROW_LIMIT:g} s"


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
    """One result for each cell, in order. A cell that fails does not keep the others from it."""
    with Arena(row) as arena:
        for cell in its_cells:
            yield _one(arena, cell, slack)


def _one(arena: Arena, cell: Cell, slack: float) -> CellResult:
    began = time.monotonic()
    moves: list[MoveResult] = []
    error = ""
    try:
        for expected, evidence in blows.BLOWS[cell.blow](arena):
            verdict = judge(cell.row.wire, expected, evidence, slack)
            if verdict.findings:
                _keep(arena, cell, len(moves) + 1, evidence.seen.text)
            what = expected.kind.value
            moves.append(MoveResult(what, expected.new, verdict.figures, list(verdict.findings)))
    except Exception as failure:  # a cell may fail in any way, and the next one goes on
        _keep(arena, cell, len(moves) + 1, "")
        error = f"{type(failure).__name__}: {failure}"
    return CellResult(cell, moves, error, time.monotonic() - began)


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
