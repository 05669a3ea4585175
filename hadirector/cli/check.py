"""`hadirector check`: validate and lint a file, opening nothing but it and its includes."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from hadirector.config.problem import Problem, Severity, in_order, listed

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from hadirector.config.handover import Loaded


def add_parser(verbs: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "check",
        help="validate a configuration",
        description="Validate and lint FILE, for every node of it if none is this host. "
        "Files with keys and passwords are not opened: on the node itself `hadirector plan` "
        "does that. Problems go to stderr. Exit status: 0 fine, 1 invalid, 2 usage.",
    )
    parser.add_argument("-c", "--config", metavar="FILE", required=True)
    parser.add_argument("--node", metavar="NAME", help="the node to validate for")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Say what is wrong, and whether the file can be used."""
    from hadirector.config.load import load_for_check  # lazily: YAML, for this verb only

    loaded = load_for_check(options.config, options.node)
    problems = in_order((problem for one in loaded for problem in one.problems), options.config)
    fine = all(one.config is not None for one in loaded)
    if options.json:
        print(json.dumps(_as_json(options.config, loaded, problems, fine)))
    else:
        for problem in problems:
            print(problem, file=sys.stderr)
        print(_closing_line(options.config, loaded, problems, fine))
    return 0 if fine else 1


def _closing_line(
    path: str, loaded: "tuple[Loaded, ...]", problems: tuple[Problem, ...], fine: bool
) -> str:
    warnings = sum(problem.severity is Severity.WARNING for problem in problems)
    told = [_count(warnings, "warning")] if warnings else []
    if not fine:
        errors = len(problems) - warnings
        return f"{path}: {', '.join([_count(errors, 'error'), *told])}"
    counts = ", ".join([_count(n, what) for what, n in _counts(loaded[0]).items()] + told)
    names = listed(tuple(one.config.node for one in loaded if one.config is not None))
    return f"{path}: fine: {counts} on {names}"


def _counts(loaded: "Loaded") -> dict[str, int]:
    config = loaded.config
    assert config is not None, "only a fine file is counted"
    return {
        "instance": len(config.instances),
        "service": len(config.services),
        "server": sum(len(service.real_servers) for service in config.services),
    }


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _as_json(
    path: str, loaded: "tuple[Loaded, ...]", problems: tuple[Problem, ...], fine: bool
) -> dict[str, object]:
    nodes = {
        one.config.node: {"digest": one.config.digest}
        | {f"{what}s": number for what, number in _counts(one).items()}
        for one in loaded
        if one.config is not None
    }
    return {
        "file": path,
        "fine": fine,
        "nodes": nodes,
        "problems": [
            {
                "file": problem.file,
                "line": problem.line,
                "column": problem.column,
                "severity": problem.severity.value,
                "text": problem.text,
            }
            for problem in problems
        ],
    }
