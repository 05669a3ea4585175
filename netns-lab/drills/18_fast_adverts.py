"""Adverts each 10 ms for a minute, and 300 checks a second on each director: nobody fails over.

The master-down interval is 36 ms then: a director that lets its own adverts wait behind its other
work, or takes the other's to be late, fails over for nothing. A sniffer in the client's network
measures the adverts by the kernel's stamps; checks are counted by the servers that got them.
"""

import time

from labkit import topology
from labkit.drills import Figures, at_least, at_most
from labkit.failover import HELD, SURVIVAL, SYNC_DELAY, survival_of
from labkit.lab import Lab
from labkit.setup import Check, Service, Setup

SECONDS = 60.0
ADVERT_INT = 0.01
INTERVAL = 0.2
CHECKS = 300  # a second, on each director
PORTS = range(8100, 8100 + round(CHECKS * INTERVAL) // len(topology.SERVERS))
GOALS = {
    "takeovers": at_most(0),
    "worst_gap_ms": at_most(36),
    "failed": at_most(0),
    "checks_per_s_lb1": at_least(0.95 * CHECKS),
    "checks_per_s_lb2": at_least(0.95 * CHECKS),
    **SURVIVAL,
}


def run(lab: Lab) -> Figures:
    for server in lab.servers.values():
        server.ports = (*server.ports, *PORTS)
    endpoints = [f"{topology.back(h)}:{p}" for p in PORTS for h in topology.SERVERS.values()]
    service = Service("web", 80, dict.fromkeys(endpoints, 1))
    check = Check("tcp", INTERVAL, timeout=INTERVAL, fast_interval=INTERVAL)
    lab.start(Setup(services=(service,), check=check, advert_int=ADVERT_INT))
    with lab.hold(**HELD) as held, lab.load(every=0.02) as load, lab.sniff() as sniffer:
        time.sleep(SYNC_DELAY)
        began = lab.note(f"{SECONDS:g} seconds begin")
        time.sleep(SECONDS)
        ended = lab.note("they end")
        survival = survival_of(held)
    done = {name: checks(lab, host, began, ended) for name, host in topology.DIRECTORS.items()}
    return {
        "takeovers": lab.takeovers(began),
        "worst_gap_ms": 1000 * sniffer.worst_gap(topology.front(1), began, ended),
        "failed": load.failed(),
        "outage_ms": 1000 * load.outage(began, ended),
        **{f"checks_per_s_{name}": count / SECONDS for name, count in done.items()},
        **survival,
    }


def checks(lab: Lab, host: int, since: float, until: float) -> int:
    """How many checks of this director reached the servers."""
    probes = (probe for server in lab.servers.values() for probe in server.probes())
    return sum(1 for at, _, prober in probes if prober == host and since <= at < until)
