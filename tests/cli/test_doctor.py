"""doctor and trace on the command line: what is wrong before anything is looked at."""

from pathlib import Path

import pytest

from hadirector.cli import main as command

MINIMAL = """\
cluster: shop
nodes: {lb1: {priority: 150}}
virtual_services:
  web: {address: "192.0.2.10:80", real_servers: ["10.0.1.11:80"]}
  mark: {address: {fwmark: 7, family: ipv4}, real_servers: ["10.0.1.11:80"]}
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["trace"],
        ["trace", "--client", "nobody"],
        ["trace", "--client", "192.0.2.1", "--timeout", "soon"],
        ["doctor", "--fast"],
    ],
)
def test_what_is_no_command_line_exits_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        command.main(arguments)

    assert left.value.code == 2


@pytest.mark.parametrize("verb", [["doctor"], ["trace", "--client", "192.0.2.1"]])
def test_without_a_daemon_a_configuration_is_needed(
    verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = command.main([*verb, "--socket", str(tmp_path / "control.sock")])

    assert status == 1
    assert "give the configuration: -c FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("service", "told"),
    [("shop", "there is no service shop; known: web, mark"), ("mark", "are not followed")],
)
def test_trace_says_which_services_it_can_follow(
    service: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "hadirector.yaml"
    path.write_text(MINIMAL)

    status = command.main(
        ["trace", "--client", "192.0.2.1", "-c", str(path), "--node", "lb1", "--service", service]
    )

    assert status == 1
    assert told in capsys.readouterr().err


def test_doctor_tells_the_mistakes_of_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "hadirector.yaml"
    path.write_text(MINIMAL.replace("cluster", "clutser"))

    assert command.main(["doctor", "-c", str(path), "--node", "lb1"]) == 1

    assert f"{path}:1:1: error: " in capfd.readouterr().err
