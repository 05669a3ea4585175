"""Never-rule 1: the core imports only its allow-list and reads nothing from outside."""

import ast
from pathlib import Path

import pytest

import hadirector.core

ALLOWED = {
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "ipaddress",
    "itertools",
    "math",
    "struct",
    "typing",
}
OUTSIDE = {"open", "input", "print", "exec", "eval", "__import__"}
CORE = sorted(Path(hadirector.core.__file__).parent.rglob("*.py"))


def _modules(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_core_imports_only_its_allow_list(path: Path) -> None:
    modules = _modules(ast.parse(path.read_text()))

    strangers = {
        name
        for name in modules
        if name.split(".")[0] not in ALLOWED and not name.startswith("hadirector.core")
    }

    assert strangers == set()


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_core_calls_nothing_that_reaches_outside(path: Path) -> None:
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }

    assert calls & OUTSIDE == set()
