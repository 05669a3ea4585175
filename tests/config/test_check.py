"""`hadirector check` and `python -m hadirector.config` as they are called."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hadirector.config import handover
from hadirector.config.load import load
from hadirector.config.problem import Problem, Severity, brief
from tests.config.files import CONF

PAIR = str(CONF / "pair.yaml")


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout, stderr of a module."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def check(*arguments: str) -> tuple[int, str, str]:
    return run("hadirector", "check", *arguments)


def test_a_fine_file_is_told_in_one_line() -> None:
    told = f"{PAIR}: fine: 2 instances, 1 service, 2 servers on lb1\n"

    assert check("-c", PAIR, "--node", "lb1") == (0, told, "")


def test_without_a_matching_host_every_node_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "nodes: {n1: {address: 10.0.0.1}, n2: {address: 10.0.0.2, priority: 90}}\n"
        "vrrp:\n  instances:\n"
        "    a: {interface: eth0, virtual_router_id: 1, virtual_addresses: [10.1.0.1/24]}\n"
        "    b: {interface: {n1: eth1, n2: eth0}, virtual_router_id: 1,"
        " virtual_addresses: [10.2.0.1/24]}\n"
    )

    status, out, err = check("-c", str(path))

    assert (status, out) == (1, f"{path}: 1 error\n")
    assert err == (
        f"{path}:5:61: error: vrrp.instances.b.virtual_router_id: 1 is taken on eth0 by a (IPv4): "
        "take another number\n"
    )
    assert check("-c", str(path), "--node", "n1")[0] == 0


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "gone.yaml"

    assert check("-c", str(path)) == (
        1,
        f"{path}: 1 error\n",
        f"{path}: error: cannot be read: No such file or directory\n",
    )


def test_a_call_without_a_file_is_a_usage_error() -> None:
    status, out, err = check()

    assert (status, out) == (2, "")
    assert "the following arguments are required: -c/--config" in err


def test_json_has_the_counts_and_every_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("peer: {port: 0}\n")

    status, out, err = check("-c", str(path), "--json")

    assert (status, err) == (1, "")
    assert json.loads(out) == {
        "file": str(path),
        "fine": False,
        "nodes": {},
        "problems": [
            {
                "file": str(path),
                "line": 1,
                "column": 14,
                "severity": "error",
                "text": "peer.port: 0 is out of range: 1 to 65535",
            }
        ],
    }
    nodes = json.loads(check("-c", PAIR, "--json", "--node", "lb2")[1])["nodes"]
    assert {name: node["servers"] for name, node in nodes.items()} == {"lb2": 2}


@pytest.mark.parametrize(("node", "status"), [("lb2", 0), ("lb9", 1)])
def test_the_reading_process_hands_over_what_was_loaded(node: str, status: int) -> None:
    code, out, err = run("hadirector.config", PAIR, "--node", node)

    assert (code, err) == (status, "")
    assert handover.decode(out.encode()) == load(PAIR, node)


def test_the_handover_needs_no_yaml() -> None:
    code = "import sys, hadirector.config.handover; sys.exit('yaml' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_file_of_mistakes_is_its_first_error_and_a_count() -> None:
    def one(line: int, severity: Severity) -> Problem:
        return Problem("x.yaml", line, 1, severity, "wrong")

    warning, error = one(1, Severity.WARNING), one(2, Severity.ERROR)

    assert brief([warning, error]) == "x.yaml:2:1: error: wrong"
    assert brief([warning, error, *(one(n, Severity.ERROR) for n in range(3, 1003))]) == (
        "x.yaml:2:1: error: wrong (and 1000 more errors)"
    )
