"""Nobody's text makes the loader raise: whatever is given, only problems come back."""

from copy import deepcopy
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hadirector.config import handover, yaml_tree
from hadirector.config.load import load
from tests.config.files import EXAMPLE

WHOLE = yaml.safe_load(EXAMPLE.read_text())
LOADERS = (yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
WORDS = [
    *("nodes", "lb1", "vrrp", "instances", "interface", "virtual_addresses", "checks", "type"),
    *("http", "virtual_services", "address", "real_servers", "check", "all", "at_least", "of"),
    *("192.0.2.10:80", "[2001:db8::1]:80", "192.0.2.1-9:80-99", "1s", "true", "-1", "010", "~"),
    *("include", "<<", "persistence", "hooks", "unicast", "authentication", "pass", "fwmark"),
]
LEAF = st.sampled_from(WORDS) | st.text(max_size=8) | st.integers() | st.none() | st.booleans()
TREE = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LEAF.map(str), inner, max_size=4),
    max_leaves=30,
)
QUICK = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def survives(path: Path, raw: bytes) -> None:
    """Load; every problem is one line, and there is one when there is no configuration."""
    path.write_bytes(raw)
    for loader in LOADERS:
        with patch.object(yaml_tree, "_LOADER", loader):
            loaded = load(str(path), host="lb1")
        assert loaded.config is not None or loaded.problems
        assert all(str(problem).isprintable() for problem in loaded.problems)
        assert handover.decode(handover.encode(loaded)) == loaded


@QUICK
@given(raw=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_give_only_problems(tmp_path: Path, raw: bytes) -> None:
    survives(tmp_path / "any.yaml", raw)


@QUICK
@given(tree=st.dictionaries(st.sampled_from(WORDS), TREE, max_size=5))
def test_any_tree_gives_only_problems(tmp_path: Path, tree: dict[str, object]) -> None:
    survives(tmp_path / "any.yaml", yaml.safe_dump(tree).encode())


@QUICK
@given(data=st.data())
def test_the_example_with_one_value_replaced_gives_only_problems(
    tmp_path: Path, data: st.DataObject
) -> None:
    tree = deepcopy(WHOLE)
    inner = tree
    while True:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = data.draw(st.sampled_from(keys))
        below = inner[key]
        if not isinstance(below, dict | list) or not below or data.draw(st.booleans()):
            break
        inner = below
    inner[key] = data.draw(TREE)

    survives(tmp_path / "any.yaml", yaml.safe_dump(tree).encode())


@QUICK
@given(data=st.data())
def test_the_example_with_a_piece_of_text_replaced_gives_only_problems(
    tmp_path: Path, data: st.DataObject
) -> None:
    text = EXAMPLE.read_text()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 20, len(text))))
    piece = data.draw(st.sampled_from([*WORDS, "\t", "- ", "{", "]", "&a ", "*a", ": ", "\n"]))

    survives(tmp_path / "any.yaml", (text[:start] + piece + text[end:]).encode())


@pytest.mark.parametrize(
    "text",
    [
        "%YAML 9.9\n---\na",
        "? a\n: b",
        "!!python/object:os.system {}",
        "\ufeffa: 1",
        "a: 'b",
        'cluster: "\\ud800"',
        '"\\ud800": 1',
        'a: "\\UFFFFFFFF"',
        'include: ["\\ud800*"]',
        'include: ["\\0"]',
        "%YAML 1.99999999999999999999999\n---\na: b",
        'checks: {"\\n": {type: tcp}}',
        "a" * 2000 + ": 1",
    ],
)
def test_odd_corners_of_yaml_give_only_problems(tmp_path: Path, text: str) -> None:
    survives(tmp_path / "any.yaml", text.encode())
