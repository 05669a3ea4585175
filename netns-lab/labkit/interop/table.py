"""The matrix as people and programs read it."""

from dataclasses import asdict, dataclass, field
from typing import Any

from labkit.director import KEEPALIVED
from labkit.interop.cells import BLOWS, Cell, Row

_TITLES = {"stop": "stop", "kill": "kill", "priority": "priority change", "preempt": "preempt"}
_COLUMNS = ("stop", "kill", "priority", "preempt")
_MASTER = {"we": "hadirector", "they": "keepalived"}
assert set(_COLUMNS) == set(BLOWS)


@dataclass(frozen=True, slots=True)
class MoveResult:
    """One move of a cell; `figures` in seconds."""

    what: str
    master: str  # afterwards
    figures: dict[str, float]
    findings: list[str]


@dataclass(frozen=True, slots=True)
class CellResult:
    """`error`: why it could not be run to its end."""

    cell: Cell
    moves: list[MoveResult] = field(default_factory=list)
    error: str = ""
    took: float = 0.0

    def passed(self) -> bool:
        """It was run, and nothing is wrong with it."""
        return not self.error and bool(self.moves) and not any(m.findings for m in self.moves)

    def wrong(self) -> list[str]:
        """What is, one sentence each."""
        found = [f"{move.what}: {text}" for move in self.moves for text in move.findings]
        return [*found, self.error] if self.error else found

    def as_json(self) -> dict[str, Any]:
        return {
            "cell": self.cell.name,
            "passed": self.passed(),
            "moves": [asdict(move) for move in self.moves],
            "error": self.error,
            "took": round(self.took, 1),
        }

    @classmethod
    def read(cls, data: dict[str, Any], among: list[Cell]) -> "CellResult":
        cell = next(cell for cell in among if cell.name == data["cell"])
        moves = [MoveResult(**move) for move in data["moves"]]
        return cls(cell, moves, data["error"], data["took"])


def line(result: CellResult) -> str:
    """One cell as it is told while the matrix runs."""
    verdict = "ok" if result.passed() else "FAILED"
    told = ", ".join(_brief(move) for move in result.moves)
    text = f"{result.cell.name:34} {verdict:7} {told} ({result.took:.0f} s)"
    return "\n".join([text, *(f"      {wrong}" for wrong in result.wrong())])


def markdown(results: list[CellResult], took: float) -> str:
    """The matrix, then every move with its figures, then what is wrong."""
    passed = sum(result.passed() for result in results)
    parts = [
        "# Interoperation with keepalived",
        f"{len(results)} cells, {passed} as they must be, run in {took:.0f} s."
        f" Silence between the old master's last word and the new one's first, measured on the"
        " wire; in parentheses what the formula says.",
        _matrix(results),
        "## Every move",
        _moves(results),
    ]
    wrong = [f"- {r.cell.name}: {text}" for r in results for text in r.wrong()]
    if wrong:
        parts += ["## What is wrong", "\n".join(wrong)]
    return "\n\n".join(parts) + "\n"


def as_json(results: list[CellResult], took: float) -> dict[str, Any]:
    return {
        "keepalived": KEEPALIVED,
        "passed": sum(result.passed() for result in results),
        "failed": sum(not result.passed() for result in results),
        "took": round(took, 1),
        "cells": [result.as_json() for result in results],
    }


def _matrix(results: list[CellResult]) -> str:
    found = {result.cell: result for result in results}
    rows = list(dict.fromkeys(result.cell.row for result in results))
    head = ["wire", "master", *(_TITLES[blow] for blow in _COLUMNS)]
    body = [
        [row.wire.name, _MASTER[row.master], *(_entry(found, row, blow) for blow in _COLUMNS)]
        for row in rows
    ]
    return _table(head, body)


def _entry(found: dict[Cell, CellResult], row: Row, blow: str) -> str:
    result = found.get(Cell(row, blow))
    if result is None:
        return "not asked for"
    if result.error:
        return "**not run to its end**"
    told = ", ".join(text for text in (_silence(move) for move in result.moves) if text)
    return f"{'ok' if result.passed() else '**FAILED**'} {told}"


def _silence(move: MoveResult) -> str:
    """Where a formula says it."""
    if "silence" not in move.figures:
        return "stays away" if not move.findings else ""
    return f"{_ms(move.figures['silence'])} ({_ms(move.figures['formula'])})"


def _moves(results: list[CellResult]) -> str:
    names = ("silence", "formula", "moved_after", "overlap", "unowned", "client_gap")
    head = ["cell", "what", "master then", *(f"{name.replace('_', ' ')} ms" for name in names), ""]
    body = [
        [
            result.cell.name,
            move.what,
            move.master,
            *(_ms(move.figures[n], "") if n in move.figures else "" for n in names),
            "**wrong**" if move.findings else "ok",
        ]
        for result in results
        for move in result.moves
    ]
    return _table(head, body)


def _table(head: list[str], body: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in [head, rule, *body]
    )


def _brief(move: MoveResult) -> str:
    if "silence" not in move.figures:
        return move.what
    return f"{_ms(move.figures['silence'])} ({_ms(move.figures['formula'])})"


def _ms(seconds: float, unit: str = " ms") -> str:
    return f"{1000 * seconds:.0f}{unit}"
