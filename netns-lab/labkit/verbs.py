"""One function per verb. They run where the kernel has IPVS, but for `list` and `prepare`."""

import argparse
import ast
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from labkit import demo, drills, report, shell
from labkit.drills import Drill, Result
from labkit.guest import OUT, Order
from labkit.interop import matrix

PRODUCTS = ("hadirector", "keepalived")


@dataclass(frozen=True, slots=True)
class _DrillOrder:
    """`drill` understood."""

    drills: list[Drill]
    products: tuple[str, ...]
    runs: int | None
    json_file: str | None
    lenient: bool


def prepare(order: Order) -> str | None:
    """Refuses a wrong command line before anything is booted (exits with 2).

    Returns the file the JSON result shall be copied to, if any.
    """
    if order.verb == "drill":
        wanted = _understand(order)
        return str(Path(order.where, wanted.json_file)) if wanted.json_file else None
    if order.verb == "matrix":
        asked = matrix.understand(order.arguments)
        return str(Path(order.where, asked.json_file)) if asked.json_file else None
    if order.verb == "bench":
        _benches(order.arguments)
    if order.verb == "exec" and not order.arguments:
        print("lab: exec needs a command", file=sys.stderr)
        raise SystemExit(2)
    return None


def run(order: Order, directory: Path) -> int:
    """Does `order`; files for the host go to `directory`. Returns the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["TMPDIR"] = tempfile.tempdir = _memory()
    match order.verb:
        case "drill":
            return _drill(_understand(order), directory)
        case "matrix":
            return _matrix(order, directory)
        case "bench":
            return _bench(order.arguments)
        case "demo":
            return demo.run(order.arguments, color=order.color)
        case "shell":
            return shell.run(order.arguments)
        case "exec":
            os.chdir(order.where)
            return subprocess.run(order.arguments, check=False).returncode
    raise AssertionError(order.verb)


def list_all() -> int:
    """The drills and benches, one line each."""
    for drill in drills.find():
        print(f"drill  {drill.name:27} {drill.title}")
    for bench in _benches([]):
        title = (ast.get_docstring(ast.parse(bench.read_text())) or "").split("\n")[0]
        print(f"bench  {bench.stem:27} {title}")
    print(f"matrix {'':27} {matrix.TITLE}")
    return 0


def _memory() -> str:
    """Where a run keeps its files: in memory if there is such a place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()


def _understand(order: Order) -> _DrillOrder:
    parser = argparse.ArgumentParser(prog="lab drill")
    parser.add_argument("name", nargs="+", help="a drill's name or a part of it, or `all`")
    parser.add_argument("--runs", type=int, help="how often (default: what the drill says)")
    parser.add_argument("--director", choices=(*PRODUCTS, "both"), default="hadirector")
    parser.add_argument("--json", metavar="FILE", help="also write the result there")
    parser.add_argument(
        "--lenient",
        action="store_true",
        help="for busy machines: durations may be three times as long",
    )
    words = parser.parse_args(order.arguments)
    return _DrillOrder(
        drills.choose(words.name, drills.find()),
        PRODUCTS if words.director == "both" else (words.director,),
        words.runs,
        words.json,
        words.lenient,
    )


def _benches(arguments: list[str]) -> list[Path]:
    """The scripts of ../bench, or the one that is named; exits with 2 if there is none."""
    available = sorted((drills.HERE / "bench").glob("[a-z]*.py"))
    chosen = [path for path in available if arguments[:1] in ([], [path.stem])]
    if not chosen:
        names = " ".join(path.stem for path in available)
        print(f"lab: no bench {arguments[0]!r}; there are: {names}", file=sys.stderr)
        raise SystemExit(2)
    return chosen


def _bench(arguments: list[str]) -> int:
    """Benches are programs of their own: they measure parts of the product, so they import it."""
    status = 0
    for path in _benches(arguments):
        print(f"{path.stem}:", flush=True)
        done = subprocess.run([sys.executable, path, *arguments[1:]], check=False)
        status = status or done.returncode
    return status


def _matrix(order: Order, directory: Path) -> int:
    result = matrix.run(matrix.understand(order.arguments))
    (directory / "result.json").write_text(json.dumps(result.as_json(), indent=1) + "\n")
    failed = len(result.results) - result.passed()
    print(f"{result.passed()} passed, {failed} failed")
    return 1 if failed else 0


def _drill(order: _DrillOrder, directory: Path) -> int:
    everything: list[Result] = []
    for drill in order.drills:
        results = [
            Result(drill, p, lenient=order.lenient) for p in order.products if p in drill.products
        ]
        if not results:
            print(f"{drill.name}: not for {' '.join(order.products)}")
            continue
        if len(results) == len(PRODUCTS):
            results[0].rival = results[1]
        print(f"{drill.name}: {drill.title}", flush=True)
        began = time.monotonic()
        for number in range(order.runs or drill.runs):
            for result in results:  # side by side: what disturbs one disturbs the other
                told = drills.run_once(drill, result, number)
                print(f"  {number + 1} {result.product}: {told}", flush=True)
        print(report.table(results))
        took = time.monotonic() - began
        print(f"  picture: {report.write(results, OUT)}  ({took:.0f} s)\n", flush=True)
        everything += results
    data = [result.as_json() for result in everything]
    (directory / "result.json").write_text(json.dumps(data, indent=1) + "\n")
    passed = sum(result.passed() for result in everything)
    if passed < len(everything):
        names = dict.fromkeys(r.drill.name for r in everything if not r.passed())
        print("failed:", *names)
    print(f"{passed} passed, {len(everything) - passed} failed")
    return 0 if passed == len(everything) else 1
