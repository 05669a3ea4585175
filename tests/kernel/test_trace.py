"""`hadirector trace` on the real kernel: what passes, and two of the dead ends that
netns-lab/drills/41_trace.py plants. All in one lab."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.utils import rdpcap

from labkit import dead_ends, faults
from labkit.lab import Lab

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("hadirector") as lab:
        dead_ends.start(lab)
        yield lab


def test_a_connection_that_passes_is_drawn_and_kept(lab: Lab, tmp_path: Path) -> None:
    pcap = tmp_path / "web.pcap"

    told = dead_ends.trace(lab, dead_ends.PASSING[0], "--pcap", str(pcap))

    assert told["passes"], told
    assert told["server"] == dead_ends.NAT_SERVER
    assert sum("SYN ACK" in line for line in told["ladder"]) == 2
    assert len(rdpcap(str(pcap))) >= len(told["ladder"]) - 1


@pytest.mark.parametrize(
    "end",
    [e for e in dead_ends.DEAD_ENDS if "another way" in e.name or "DR server without" in e.name],
    ids=lambda end: end.name,
)
def test_the_hop_where_packets_stop_is_named(lab: Lab, end: dead_ends.DeadEnd) -> None:
    with faults.planted(lab, [end.fault]):
        told = dead_ends.trace(lab, end)

    assert dead_ends.is_right(end, told), told
