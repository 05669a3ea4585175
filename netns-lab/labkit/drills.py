"""Finds the drills, runs them, and weighs their figures against their goals.

A drill is a module in ../drills whose docstring is what it does and why, with

    GOALS = {"failed": at_most(0)}        which figure must be how, by its median
    RUNS = 5                              where not said otherwise
    PRODUCTS = ("hadirector",)            only if the rival cannot do it
    def run(lab: Lab) -> Figures: ...     one run in a new lab

or, for a family of drills that differ in one thing (names are then drill-variant),

    VARIANTS = {"1s": ..., "100ms": ...}  what each is called, and what `run` is given
    GOALS = {"1s": {"failed": ...}, ...}
    def run(lab: Lab, variant) -> Figures: ...
"""

import importlib.util
import operator
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType

from labkit.lab import Lab
from labkit.story import Story

Figures = dict[str, float]
HERE = Path(__file__).resolve().parent.parent
_OPERATORS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit for the median of a figure. `beside`: with the rival in the same run, its median
    and so much more is the limit instead. `busy`: the limit where the machine has other things to
    do, if not the usual one."""

    sign: str
    limit: float
    beside: float | None = None
    busy: float | None = None

    def lenient(self) -> "Goal":
        """The goal where the machine has other things to do: catches what is broken, not slow."""
        return Goal(self.sign, 3 * self.limit + 200 if self.busy is None else self.busy)

    def against(self, rival: float | None) -> "Goal":
        """The goal once the rival's median is known."""
        if rival is None or self.beside is None:
            return self
        return Goal(self.sign, round(rival + self.beside, 1))

    def met(self, value: float) -> bool:
        return _OPERATORS[self.sign](value, self.limit)

    def __str__(self) -> str:
        return f"{self.sign} {self.limit:g}"


def at_most(limit: float, beside: float | None = None, busy: float | None = None) -> Goal:
    """The median shall not be above."""
    return Goal("<=", limit, beside, busy)


def at_least(limit: float) -> Goal:
    """The median shall not be below."""
    return Goal(">=", limit)


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill as found on disk."""

    name: str
    text: str
    goals: dict[str, Goal]
    runs: int
    products: tuple[str, ...]
    run: Callable[[Lab], Figures]

    @property
    def title(self) -> str:
        return self.text.strip().split("\n")[0]


@dataclass(slots=True)
class Result:
    """All runs of one drill with one product."""

    drill: Drill
    product: str
    runs: list[Figures] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    stories: list[Story] = field(default_factory=list)
    rival: "Result | None" = None  # run side by side
    lenient: bool = False  # durations need not be those of a quiet machine

    def median(self, figure: str) -> float:
        return statistics.median(self._values(figure))

    def summary(self) -> dict[str, dict[str, float]]:
        """min, median, max by figure, in the drill's order."""
        names = dict.fromkeys(name for run in self.runs for name in run)
        return {
            name: {
                "min": min(self._values(name)),
                "median": self.median(name),
                "max": max(self._values(name)),
            }
            for name in names
        }

    def goals(self) -> dict[str, Goal]:
        """By figure; they bind hadirector only."""
        if self.product != "hadirector":
            return {}
        rival = self.rival.summary() if self.rival else {}
        goals = {
            name: goal.against(rival[name]["median"] if name in rival else None)
            for name, goal in self.drill.goals.items()
        }
        if not self.lenient:
            return goals
        return {n: goal.lenient() if n.endswith("_ms") else goal for n, goal in goals.items()}

    def missed(self) -> list[str]:
        """Goals not met."""
        found = self.summary()
        return [
            f"{name} {goal}"
            for name, goal in self.goals().items()
            if name not in found or not goal.met(found[name]["median"])
        ]

    def passed(self) -> bool:
        return not self.errors and not self.missed()

    def as_json(self) -> dict[str, object]:
        return {
            "drill": self.drill.name,
            "director": self.product,
            "passed": self.passed(),
            "summary": self.summary(),
            "goals": {name: str(goal) for name, goal in self.goals().items()},
            "missed": self.missed(),
            "runs": self.runs,
            "errors": self.errors,
        }

    def _values(self, figure: str) -> list[float]:
        return [run[figure] for run in self.runs if figure in run]


def find() -> list[Drill]:
    """All drills, in the order of their numbers."""
    paths = sorted((HERE / "drills").glob("[0-9][0-9]_*.py"))
    return [drill for path in paths for drill in _load(path)]


def choose(words: list[str], among: list[Drill]) -> list[Drill]:
    """By name, by the beginning of one, or `all`; exits with 2 on a word that fits none."""
    chosen: list[Drill] = []
    for word in words:
        fits = [d for d in among if word in ("all", d.name)] or [d for d in among if word in d.name]
        if not fits:
            names = " ".join(d.name for d in among)
            print(f"lab: no drill {word!r}; there are: {names}", file=sys.stderr)
            raise SystemExit(2)
        chosen += [d for d in fits if d not in chosen]
    return chosen


def run_once(drill: Drill, result: Result, number: int) -> str:
    """One run in a lab of its own; what goes wrong is part of the result. Returns it in a line."""
    with Lab(result.product, number) as lab:
        try:
            figures = drill.run(lab)
            result.runs.append(figures)
            told = line(figures)
        except Exception as error:  # a drill may fail in any way, and the next one goes on
            told = f"{type(error).__name__}: {error}"
            result.errors.append(told)
        for load in lab.story.loads:
            load.poll()
        result.stories.append(lab.story)
    return told


def line(figures: Figures) -> str:
    """One run in one line."""
    return ", ".join(f"{name.replace('_', ' ')} {brief(v)}" for name, v in figures.items())


def brief(value: float) -> str:
    """Three digits are enough for anybody."""
    return f"{value:.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.3g}"


def _load(path: Path) -> list[Drill]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    plain = Drill(
        name=path.stem.partition("_")[2],
        text=module.__doc__ or "",
        goals=module.GOALS,
        runs=getattr(module, "RUNS", 5),
        products=getattr(module, "PRODUCTS", ("hadirector", "keepalived")),
        run=module.run,
    )
    if not hasattr(module, "VARIANTS"):
        return [plain]
    return [
        replace(
            plain,
            name=f"{plain.name}-{name}",
            goals=module.GOALS.get(name, {}),
            run=partial(module.run, variant=variant),
        )
        for name, variant in module.VARIANTS.items()
    ]
