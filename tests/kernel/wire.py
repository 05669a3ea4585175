"""What is on a wire: a capture of all that a machine's interface sees, read by scapy."""

import subprocess
import time
from pathlib import Path

from scapy.layers.l2 import ARP
from scapy.packet import Packet
from scapy.utils import rdpcap

from tests.kernel.pair import Machine


class Capture:
    """Listens from the start until `packets` is called."""

    def __init__(self, machine: Machine, folder: Path, interface: str = "eth0") -> None:
        self._file = folder / f"wire-{time.monotonic_ns()}"
        self._process = machine.spawn(
            *("tcpdump", "-U", "--immediate-mode", "-s", "2048", "-B", "16384", "-Z", "root"),
            *("-i", interface, "-w", str(self._file)),
            stderr=subprocess.PIPE,
        )
        assert self._process.stderr is not None
        self._process.stderr.readline()  # it listens

    def packets(self) -> list[Packet]:
        """All there was; ends the capture."""
        time.sleep(0.3)
        self._process.terminate()
        self._process.communicate(timeout=10)
        return list(rdpcap(str(self._file)))


def gratuitous(packets: list[Packet], address: str) -> list[Packet]:
    """The ARP packets that tell everybody where an address is."""
    return [p for p in packets if ARP in p and p[ARP].psrc == p[ARP].pdst == address]
