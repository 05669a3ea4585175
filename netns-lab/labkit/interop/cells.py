"""The cells of the matrix, by name.

A cell is a wire (version, family, multicast or unicast, authentication), who is master there, and a
blow: `v3-ipv4-unicast-they-kill` is a keepalived master killed beside a hadirector backup. The
cells of one wire and master are a row: they are run one after the other by the same two daemons.
"""

import sys
from dataclasses import dataclass
from itertools import product

BLOWS = ("priority", "kill", "preempt", "stop")  # in the order in which a row runs them
MASTERS = ("we", "they")
PRODUCT = {"we": "hadirector", "they": "keepalived"}


@dataclass(frozen=True, slots=True)
class Wire:
    """How adverts travel."""

    version: int
    family: int
    cast: str  # multicast | unicast
    authentication: str = "none"  # none | pass | hmac

    @property
    def name(self) -> str:
        signed = "" if self.authentication == "none" else f"-{self.authentication}"
        return f"v{self.version}{signed}-ipv{self.family}-{self.cast}"

    @property
    def advert_int(self) -> float:
        """Seconds: short where the version allows it."""
        return 1.0 if self.version == 2 else 0.1


@dataclass(frozen=True, slots=True)
class Row:
    """A wire, and who has the better priority on it."""

    wire: Wire
    master: str  # we | they

    @property
    def name(self) -> str:
        return f"{self.wire.name}-{self.master}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One thing that happens in a row."""

    row: Row
    blow: str

    @property
    def name(self) -> str:
        return f"{self.row.name}-{self.blow}"


_CASTS = ("multicast", "unicast")
_CONTRACT = [Wire(v, f, c) for (v, f), c in product(((2, 4), (3, 4), (3, 6)), _CASTS)]
_PASS = [Wire(2, 4, cast, "pass") for cast in _CASTS]
_HMAC = [Wire(3, family, cast, "hmac") for family, cast in product((4, 6), _CASTS)]

MATRIX = tuple(
    Cell(Row(wire, master), blow) for wire, master, blow in product(_CONTRACT, MASTERS, BLOWS)
)
"""The 48 without authentication."""
PASS = tuple(Cell(Row(wire, master), blow) for wire, master, blow in product(_PASS, MASTERS, BLOWS))
"""The same for version 2 with a password."""
HMAC = tuple(Cell(Row(wire, master), blow) for wire, master, blow in product(_HMAC, MASTERS, BLOWS))
"""And for version 3 with signed adverts, which keepalived has since 2.4."""

EVERY = (*MATRIX, *PASS, *HMAC)
_SETS = {"matrix": MATRIX, "pass": PASS, "hmac": HMAC, "all": EVERY}


def choose(words: list[str]) -> list[Cell]:
    """A set by its name, a cell by its own, or all cells of the matrix with such a part in their
    names; without words, the matrix. Exits with 2 on a word that fits none."""
    chosen: list[Cell] = []
    for word in words or ["matrix"]:
        fits = _SETS.get(word) or [c for c in EVERY if word == c.name]
        fits = fits or [c for c in MATRIX if word in c.name]
        fits = fits or [c for c in EVERY if word in c.name]
        if not fits:
            print(f"lab: no cell {word!r}; sets: {' '.join(_SETS)}; cells:", file=sys.stderr)
            print(*(f"  {c.name}" for c in EVERY), sep="\n", file=sys.stderr)
            raise SystemExit(2)
        chosen += [cell for cell in fits if cell not in chosen]
    return chosen


def by_row(cells: list[Cell]) -> dict[Row, list[Cell]]:
    """The chosen cells of each row, in the order in which they are to be run."""
    rows: dict[Row, list[Cell]] = {}
    for cell in sorted(cells, key=lambda c: BLOWS.index(c.blow)):
        rows.setdefault(cell.row, []).append(cell)
    order = [cell.row for cell in EVERY]
    return dict(sorted(rows.items(), key=lambda item: order.index(item[0])))
