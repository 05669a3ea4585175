"""255 instances on one interface at 1 s adverts: nobody fails over, and all do when it is time.

Every VRID there is, one address each. For a minute nothing happens: measured are the CPU share of
each node's election, how far adverts are from their second, by the kernel's stamps, and whether any
instance changed hands. Then the standby stands still for longer than its master-down interval, as a
virtual machine that is moved: the adverts that came meanwhile lie ready, and nobody may fail over
for it. Then the master loses power, and the standby has to take over all of them.
"""

import re
import time
from collections import defaultdict
from itertools import pairwise

from labkit import topology
from labkit.director import Director, Hadirector
from labkit.drills import Figures, at_most
from labkit.lab import Lab
from labkit.setup import PRIORITIES
from labkit.sniffer import Heard

RUNS = 1
INSTANCES = range(1, 256)
SECONDS = 60.0
FREEZE = 5.0
PATIENCE = 20.0
MASTER_DOWN = 3.0 + (256 - PRIORITIES["lb2"]) / 256
GOALS = {
    "takeovers": at_most(0),
    "takeovers_after_freeze": at_most(0),
    "worst_gap_ms": at_most(1100),
    "gap_p999_ms": at_most(1050),
    "master_cpu_pc": at_most(10),
    "standby_cpu_pc": at_most(10),
    "not_taken_over": at_most(0),
    "last_taken_over_ms": at_most(1000 * MASTER_DOWN + 100),
    "last_address_ms": at_most(1000 * MASTER_DOWN + 200),
}


def run(lab: Lab) -> Figures:
    for director in lab.directors:
        director.configure_as(config(director))
    lab.lb1.start()
    lab.wait(lambda: held(lab.lb1) == len(INSTANCES), "master of all", within=60)
    lab.lb2.start()
    time.sleep(10)  # it has started, and the second round of announcements is over
    with lab.sniff() as sniffer:
        time.sleep(1)
        before = {director.name: cpu(director) for director in lab.directors}
        began = lab.note(f"{SECONDS:g} seconds begin")
        time.sleep(SECONDS)
        ended = lab.note("they end")
        used = {d.name: cpu(d) - before[d.name] for d in lab.directors}
        thawed = freeze(lab)
        struck = lab.note("lb1 loses power")
        lab.lb1.power_off()
        while held(lab.lb2) < len(INSTANCES) and time.monotonic() < struck + PATIENCE:
            time.sleep(0.05)  # looking costs more than it is worth to look oftener
        taken = time.monotonic() - struck
        time.sleep(1)
    frozen = [heard for heard in sniffer.heard if thawed <= heard.at < struck]
    calm = [heard for heard in sniffer.heard if began <= heard.at < ended]
    gaps = sorted(gaps_of(calm, topology.front(1)))
    first = first_adverts(sniffer.heard, topology.front(2), struck)
    return {
        "takeovers": taken_over(calm),
        "takeovers_after_freeze": taken_over(frozen),
        "adverts_per_s": len(calm) / SECONDS,
        "worst_gap_ms": 1000 * gaps[-1],
        "gap_p999_ms": 1000 * gaps[int(0.999 * len(gaps))],
        "shortest_gap_ms": 1000 * gaps[0],
        "master_cpu_pc": 100 * used["lb1"] / SECONDS,
        "standby_cpu_pc": 100 * used["lb2"] / SECONDS,
        "not_taken_over": len(INSTANCES) - len(first),
        "first_taken_over_ms": 1000 * (min(first.values()) - struck),
        "last_taken_over_ms": 1000 * (max(first.values()) - struck),
        "last_address_ms": 1000 * taken,
    }


def freeze(lab: Lab) -> float:
    """The standby's daemon stands still and goes on; when it did."""
    lab.note(f"lb2 stands still for {FREEZE:g} s")
    lab.lb2.freeze()
    time.sleep(FREEZE)
    thawed = lab.note("it goes on")
    lab.lb2.resume()
    time.sleep(MASTER_DOWN + 2)
    return thawed


def taken_over(adverts: list[Heard]) -> int:
    """How many virtual routers the standby spoke for."""
    return len({heard.vrid for heard in adverts if heard.source != topology.front(1)})


def held(director: Director) -> int:
    """How many of the addresses its kernel has."""
    text = director.node.net("fib_trie").read_text()
    return len(set(re.findall(r"\|-- (10\.9\.0\.\d+)\n +/32 host LOCAL", text)))


def cpu(director: Director) -> float:
    """Seconds of CPU its election has used so far."""
    # clock_getcpuclockid(3): the clock of a process is made of its number.
    return time.clock_gettime(~director.pid_of("election") << 3 | 2)


def gaps_of(adverts: list[Heard], source: str) -> list[float]:
    """Seconds between the adverts of each virtual router."""
    stamps: dict[int, list[float]] = defaultdict(list)
    for heard in adverts:
        if heard.source == source:
            stamps[heard.vrid].append(heard.at)
    return [b - a for each in stamps.values() for a, b in pairwise(each)]


def first_adverts(adverts: list[Heard], source: str, since: float) -> dict[int, float]:
    """By virtual router, when this node spoke first."""
    found: dict[int, float] = {}
    for heard in adverts:
        if heard.source == source and heard.at > since:
            found.setdefault(heard.vrid, heard.at)
    return found


def address(vrid: int) -> str:
    return f"10.9.0.{vrid}"


def config(director: Director) -> str:
    return yaml() if isinstance(director, Hadirector) else conf(PRIORITIES[director.name])


def yaml() -> str:
    """hadirector's file, the same on both nodes."""
    nodes = "".join(
        f"  {name}: {{priority: {priority}, address: {topology.back(topology.DIRECTORS[name])}}}\n"
        for name, priority in PRIORITIES.items()
    )
    instances = "".join(
        f"    i{vrid}: {{interface: front, virtual_router_id: {vrid},"
        f" virtual_addresses: [{address(vrid)}/32], preempt: always}}\n"
        for vrid in INSTANCES
    )
    return f"""\
cluster: lab
state_dir: /run/lab-state
runtime_dir: /run/hadirector
nodes:
{nodes}vrrp:
  defaults: {{version: 3, advert_int: 1s}}
  instances:
{instances}"""


def conf(priority: int) -> str:
    """keepalived's."""
    instances = "".join(
        f"""\
vrrp_instance i{vrid} {{
    state BACKUP
    interface front
    virtual_router_id {vrid}
    priority {priority}
    advert_int 1
    virtual_ipaddress {{
        {address(vrid)}/32
    }}
}}
"""
        for vrid in INSTANCES
    )
    return f"global_defs {{\n    router_id lab\n    vrrp_version 3\n}}\n{instances}"
