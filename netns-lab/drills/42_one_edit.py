"""One server's weight is edited among 37,000, and nobody waits for the other 36,999.

37 services of 1,000 servers each, an include for each service. A client uses the service in which
a weight is edited, three times. The files are read beside everything else, and only what changed
is parsed; measured is what comes after that: from the end of reading until the kernel has the
weight (`applied_ms`, the worst of three). `parsed`: the includes that had to be parsed for an edit.
"""

import threading
import time
from pathlib import Path
from typing import Any

from labkit import ipvs, topology
from labkit.director import Hadirector
from labkit.drills import Figures, at_most
from labkit.lab import Lab

PRODUCTS = ("hadirector",)
SERVICES, PORTS = 37, 250  # of each of the four hosts: 1,000 servers
FIRST_PORT, FIRST_VIRTUAL = 8100, 1000
EDITS = (7, 3, 9)
GOALS = {
    "applied_ms": at_most(1000),
    "parsed": at_most(1),
    "failed": at_most(0),
}
_MAIN = """\
include: [conf.d/*.yaml]
cluster: lab
state_dir: /run/lab-state
runtime_dir: /run/hadirector
nodes:
  lb1: {priority: 150}
checks:
  alive: {type: tcp, port: 8080, interval: 10s}
"""


def run(lab: Lab) -> Figures:
    director = lab.lb1
    assert isinstance(director, Hadirector)
    for server in lab.servers.values():
        server.ports = (*server.ports, *range(FIRST_PORT, FIRST_PORT + PORTS))
    lab.start_servers()
    lab.give_address_to(director.node)
    folder = lab.directory / "conf.d"
    folder.mkdir()
    for number in range(SERVICES):
        _write(folder, number, {})
    director.configure_as(_MAIN)
    began = time.monotonic()
    director.start()
    director.wait(lambda: _in_service(director) == SERVICES * 4 * PORTS, "full table", 80)
    started = time.monotonic() - began
    service, server = _first(director)
    number = int(service.rpartition(":")[2]) - FIRST_VIRTUAL
    applied, reading, parsed = [], [], []
    with lab.load(every=0.02, port=FIRST_VIRTUAL + number) as load:
        time.sleep(1)
        for weight in EDITS:
            before = _parsed(director)
            _write(folder, number, {server: weight})
            began, told = lab.note("reload"), _Reload(director)
            lab.wait(lambda weight=weight: _first_weight(director) == weight, "the weight")
            done = lab.note("the kernel has the weight")
            answer = told.answer()
            applied.append(done - began - answer["read_s"])
            reading.append(answer["read_s"])
            parsed.append(len(_parsed(director) - before))
            time.sleep(1)
    return {
        "applied_ms": 1000 * max(applied),
        "parsed": max(parsed),
        "failed": load.failed(),
        "read_s": max(reading),
        "start_s": started,
    }


class _Reload:
    """A reload asked for, and what comes of it."""

    def __init__(self, director: Hadirector) -> None:
        self._told: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._ask, args=(director,))
        self._thread.start()

    def _ask(self, director: Hadirector) -> None:
        self._told = director.post("/v1/reload")

    def answer(self) -> dict[str, Any]:
        self._thread.join()
        return self._told


def _write(folder: Path, number: int, weights: dict[str, int]) -> None:
    """One service: all weights are 1 but these."""
    lines = [
        "virtual_services:",
        f"  s{number}:",
        f"    address: {topology.VIP}:{FIRST_VIRTUAL + number}",
        "    scheduler: rr",
        "    check: alive",
        "    real_servers:",
    ]
    for host in topology.SERVERS.values():
        for port in range(FIRST_PORT, FIRST_PORT + PORTS):
            at = f"{topology.back(host)}:{port}"
            lines.append(f"      - {{address: {at}, weight: {weights.get(at, 1)}}}")
    (folder / f"s{number:02}.yaml").write_text("\n".join(lines) + "\n")


def _in_service(director: Hadirector) -> int:
    time.sleep(0.5)  # so many lines cost the machine something
    return sum(d.weight > 0 for d in ipvs.read(director.node))


def _first(director: Hadirector) -> tuple[str, str]:
    """The service and the server that the kernel tells of first: it is quick to look at."""
    first = ipvs.read(director.node)[0]
    return first.service, first.server


def _first_weight(director: Hadirector) -> int:
    with director.node.net("ip_vs").open() as table:
        lines = [next(table) for _ in range(5)]
    return int(lines[4].split()[3])


def _parsed(director: Hadirector) -> set[str]:
    """The trees of includes that are kept."""
    return {path.name for path in director.node.path("/run/hadirector/parsed").iterdir()}
