"""`hadirector doctor` on the real kernel: nothing in a healthy lab, and a few faults of those that
netns-lab/drills/40_doctor.py plants. All in one lab: its start costs more than the examinations."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from labkit import faults
from labkit.director import HADIRECTOR, Hadirector
from labkit.lab import Lab

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("hadirector") as lab:
        faults.start(lab, faults.healthy())
        yield lab


def test_a_healthy_master_and_a_healthy_standby_have_nothing_wrong(lab: Lab) -> None:
    for director in lab.directors:
        assert isinstance(director, Hadirector)
        assert faults.examine(director)["findings"] == []


def test_faults_of_servers_and_of_the_master_are_found_and_nothing_else(lab: Lab) -> None:
    assert isinstance(lab.lb1, Hadirector)
    some = [f for f in faults.SERVERS_AND_MASTER if f.code != "server-listens-elsewhere"]

    with faults.planted(lab, some):
        told = faults.examine(lab.lb1)

    assert faults.codes(told) == {fault.code for fault in some}


def test_without_root_it_says_what_it_could_not_look_at(lab: Lab) -> None:
    nobody = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all"]
    config = lab.directory / "open.yaml"
    lab.directory.chmod(0o755)
    config.write_text(lab.lb1.config.read_text())
    command = [*nobody, HADIRECTOR, "doctor", "--json", "-c", str(config), "--node", "lb1"]

    done = subprocess.run(
        command,
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
        preexec_fn=lab.lb1.node.enter,
    )

    told = json.loads(done.stdout)
    assert told["findings"] == []
    root = {e["check"] for e in told["not_checked"] if "run it as root" in e["reason"]}
    assert {
        "mh and sh with weight 0",
        "NAT servers answer by way of this node",
        "only directors answer for virtual addresses",
        "adverts get through (protocol 112)",
    } <= root
