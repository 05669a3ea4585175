"""Big files are read within the bound that the daemon waits for, with or without libyaml."""

import time
from pathlib import Path

import pytest
import yaml

from hadirector.config import yaml_tree
from hadirector.config.problem import Problems
from tests.config.files import CONF, EXAMPLE, config_of

SECONDS = 2.0  # of processor time, where half a second is usual


def test_ten_thousand_servers_load_within_two_seconds(tmp_path: Path) -> None:
    lines = ["checks: {port: {type: tcp}}", "virtual_services:"]
    for service in range(10):
        lines += [f"  s{service}:", f"    address: 192.0.2.{service}:80", "    check: port"]
        lines += ["    real_servers:"]
        lines += [
            f"      - {{address: 10.{service}.{n // 250}.{n % 250 + 1}:80, weight: {n % 9}}}"
            for n in range(1000)
        ]
    begun = time.process_time()

    config = config_of(tmp_path, "\n".join(lines))

    assert sum(len(service.real_servers) for service in config.services) == 10_000
    assert time.process_time() - begun < SECONDS


@pytest.mark.parametrize("path", [EXAMPLE, CONF / "pair.yaml"], ids=lambda path: path.stem)
def test_the_parser_without_libyaml_gives_the_same_tree(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = path.read_text()
    fast = yaml_tree.parse(text, "main.yaml", Problems())

    monkeypatch.setattr(yaml_tree, "_LOADER", yaml.SafeLoader)

    assert yaml_tree.parse(text, "main.yaml", Problems()) == fast
    assert fast is not None
