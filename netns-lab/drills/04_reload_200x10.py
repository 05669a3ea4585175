"""A reload of 200 services with 10 servers each, one server replaced, costs nobody anything.

While a client uses the last service and checks run, one server of the first service is replaced
by another and the director is told to reload. Measured: until the kernel has the change, failed
client requests, the longest silence in which no check at all arrived at the servers, and by how
much the latest check of any endpoint was late (both before and after the reload).
"""

import time
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

from labkit import topology
from labkit.drills import Figures, at_most
from labkit.lab import Lab
from labkit.setup import Check, Service, Setup

SERVICES, SERVERS = 200, 10
FIRST_PORT, PORTS = 8100, 50  # 50 ports on each of the four servers
INTERVAL = 4.0
WINDOW = 1.5 * INTERVAL
GOALS = {
    "failed": at_most(0),
    "held_lost": at_most(0),
    "check_late_ms": at_most(500),
}


def run(lab: Lab) -> Figures:
    for server in lab.servers.values():
        server.ports = (*server.ports, *range(FIRST_PORT, FIRST_PORT + PORTS))
    services = [service(number) for number in range(SERVICES)]
    services[-1] = replace(services[-1], port=80)
    setup = Setup(services=tuple(services), check=Check(interval=INTERVAL, timeout=2.0), pair=False)
    lab.start(setup)
    with lab.hold(idle=25, active=25) as held, lab.load() as load:
        time.sleep(WINDOW)
        changed = replace(services[0], servers=replaced(services[0].servers))
        new = next(iter(changed.servers.keys() - services[0].servers.keys()))
        lab.lb1.configure(replace(setup, services=(changed, *services[1:])))
        began = lab.note("reload")
        lab.lb1.reload()
        key = (f"{topology.VIP}:{changed.port}", new)
        lab.wait(lambda: key in lab.lb1.endpoints(), "the change in the kernel")
        done = lab.note("the kernel has the change")
        time.sleep(WINDOW)
        survivors = held.survivors()

    return {
        "reload_ms": 1000 * (done - began),
        "failed": load.failed(),
        "held_lost": 50 - sum(survivors.values()),
        "checks_silent_before_ms": 1000 * silence(lab, began - WINDOW, began),
        "checks_silent_ms": 1000 * silence(lab, began, began + WINDOW),
        "check_late_before_ms": 1000 * latest(lab, 0.0, began),
        "check_late_ms": 1000 * latest(lab, began, began + WINDOW),
    }


def service(number: int) -> Service:
    """The number-th service: ten of the 200 endpoints, no two services start at the same one."""
    endpoints = [
        f"{topology.back(host)}:{FIRST_PORT + port}"
        for port in range(PORTS)
        for host in topology.SERVERS.values()
    ]
    chosen = [endpoints[(number + i) % len(endpoints)] for i in range(SERVERS)]
    return Service(f"s{number}", 1000 + number, dict.fromkeys(chosen, 1))


def replaced(servers: dict[str, int]) -> dict[str, int]:
    """The first server gives way to a new one."""
    first, *others = servers
    host = first.partition(":")[0]
    return dict.fromkeys([f"{host}:{FIRST_PORT + PORTS - 1}", *others], 1)


def silence(lab: Lab, since: float, until: float) -> float:
    """The longest time in [since, until] in which no check arrived at any server."""
    stamps = [
        s for server in lab.servers.values() for s, _, _ in server.probes() if since < s < until
    ]
    return max(b - a for a, b in pairwise([since, *sorted(stamps), until]))


def latest(lab: Lab, since: float, until: float) -> float:
    """By how much the latest check was late that was due in [since, until], of any endpoint."""
    late = 0.0
    for server in lab.servers.values():
        by_port: dict[int, list[float]] = defaultdict(list)
        for stamp, port, _ in server.probes():
            by_port[port].append(stamp)
        for stamps in by_port.values():
            gaps = [b - a for a, b in pairwise([*stamps, until]) if since < a + INTERVAL < until]
            late = max(late, *(gap - INTERVAL for gap in gaps), 0.0)
    return late
