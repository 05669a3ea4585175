"""The matrix as people and programs read it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from labkit.interop.cells import BLOWS, Cell, Row

_TITLES = {"stop": "stop", "kill": "kill", "priority": "priority change", "preempt": "preempt"}
_COLUMNS = ("stop", "kill", "priority", "preempt")
_MASTER = {"we": "hadirector", "they": "keepalived"}
_LEGEND = (
    "Figures: silence on the wire between the last word of the old master that counts and the first"
    " of the new one; in parentheses the protocol's rule. Priority change: the master's lowered and"
    " raised, the backup's raised and lowered, each by reload. Preempt: the better node returns and"
    " may not preempt (stays away), then returns and may."
)
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
    """`error`: why it could not be run to its end. `stood_still`: for so many seconds the lab had
    no CPU at worst; `disturbed`: the same of the tries before, which failed."""

    cell: Cell
    moves: list[MoveResult] = field(default_factory=list)
    error: str = ""
    took: float = 0.0
    stood_still: float = 0.0
    disturbed: tuple[float, ...] = ()

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
            "stood_still": round(self.stood_still, 3),
            "disturbed": list(self.disturbed),
        }

    @classmethod
    def read(cls, data: dict[str, Any], among: Sequence[Cell]) -> "CellResult":
        cell = next(cell for cell in among if cell.name == data["cell"])
        moves = [MoveResult(**move) for move in data["moves"]]
        disturbed = tuple(data["disturbed"])
        return cls(cell, moves, data["error"], data["took"], data["stood_still"], disturbed)


def line(result: CellResult) -> str:
    """One cell as it is told while the matrix runs."""
    verdict = "ok" if result.passed() else "FAILED"
    told = ", ".join(_silence(move) for move in result.moves)
    text = f"{result.cell.name:34} {verdict:7} {told} ({result.took:.0f} s)"
    if result.disturbed:
        still = " and ".join(f"{seconds:.1f} s" for seconds in result.disturbed)
        text += f" once more, after the lab stood still for {still}"
    return "\n".join([text, *(f"      {wrong}" for wrong in result.wrong())])


@dataclass(frozen=True, slots=True)
class Table:
    """Results in the matrix's order, and the seconds it took."""

    version: str  # of keepalived
    results: list[CellResult]
    took: float

    def passed(self) -> int:
        """How many cells are as they must be."""
        return sum(result.passed() for result in self.results)

    def markdown(self) -> str:
        """The matrix, then what is wrong, then every move with its figures."""
        parts = [
            f"# Interoperation with keepalived {self.version}",
            f"{len(self.results)} cells run in {self.took:.0f} s, {self.passed()} as they must"
            f" be, {len(self.results) - self.passed()} not. {_LEGEND}",
            _matrix(self.results),
        ]
        again = [r.cell.name for r in self.results if r.disturbed]
        if again:
            parts.append(f"Run again, as the lab itself stood still: {', '.join(again)}.")
        wrong = [f"- {r.cell.name}: {text}" for r in self.results for text in r.wrong()]
        if wrong:
            parts += ["## What is wrong", "\n".join(wrong)]
        return "\n\n".join([*parts, "## Every move", _moves(self.results)]) + "\n"

    def as_json(self) -> dict[str, Any]:
        return {
            "keepalived": self.version,
            "passed": self.passed(),
            "failed": len(self.results) - self.passed(),
            "took": round(self.took, 1),
            "cells": [result.as_json() for result in self.results],
        }

    @classmethod
    def read(cls, data: dict[str, Any], among: Sequence[Cell]) -> "Table":
        results = [CellResult.read(cell, among) for cell in data["cells"]]
        return cls(data["keepalived"], results, data["took"])


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
    """What was measured and what the rule is."""
    figures = move.figures
    if "silence" not in figures:
        return "stays away" if not move.findings else ""
    if "at_most" in figures:
        return f"{_ms(figures['silence'])} (<= {_ms(figures['at_most'])})"
    return f"{_ms(figures['silence'])} ({_ms(figures['formula'])})"


def _moves(results: list[CellResult]) -> str:
    names = (
        "silence",
        "formula",
        "at_most",
        "moved_after",
        "overlap",
        "unowned",
        "client_gap",
    )
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


def _ms(seconds: float, unit: str = " ms") -> str:
    return f"{1000 * seconds:.0f}{unit}"
