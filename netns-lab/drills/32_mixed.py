"""Both directors work, each master of one address and standby of the other's.

Each reboots in turn and comes back: it has to be given what it is standby of, and gets its own
address back only then. In between a second of both nodes' sync datagrams is lost while connections
are opened on both: each asks, and each is sent what the other is master of. At the end one node has
been replaced by the other twice, and every connection is asked for an answer.
"""

import resource
import time
from functools import partial

from labkit import sealed, topology
from labkit.director import Hadirector
from labkit.drills import Figures, Goal, at_least, at_most
from labkit.failover import SYNC_DELAY
from labkit.lab import Lab
from labkit.server import DIRECT_PORT
from labkit.setup import Setup, direct, nat

MANY = 100  # of each kind on each address
KINDS = {"fresh": MANY, "idle": MANY, "active": MANY}
LATE = 50  # idle ones on each address whose records are lost
DESCRIPTORS = 8192
PRODUCTS = ("hadirector",)
RUNS = 3
FIRST, SECOND = topology.VIP, topology.SECOND_VIP
GOALS: dict[str, Goal] = {
    **{f"{kind}_survive": at_least(2 * MANY) for kind in KINDS},
    "late_survive": at_least(2 * LATE),
    "lost_first": at_least(2 * LATE),  # else nothing was shown
    "repair_s": at_most(15),
    "back_1_s": at_most(20),
    "back_2_s": at_most(20),
    "early_takeover": at_most(0),
}


def run(lab: Lab) -> Figures:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    services = (nat(), direct(), direct("second", address=SECOND))
    lab.start(Setup(services=services, advert_int=0.5, preempt="when-synced", second=True))
    lb1, lb2 = _ours(lab.lb1), _ours(lab.lb2)
    lb2.wait_master(address=SECOND)
    with (
        lab.hold_at(FIRST, DIRECT_PORT, 2.0, KINDS) as one,
        lab.hold_at(SECOND, DIRECT_PORT, 2.0, KINDS) as two,
    ):
        time.sleep(SYNC_DELAY)
        lab.note("lb2 reboots")
        lb2.power_off()
        lb1.wait_master(address=SECOND)
        back_2 = _comes_back(lab, lb2, SECOND)
        for director in (lb1, lb2):
            director.wait(partial(_is_ready, director), "readiness")
        lab.note("records are lost")
        for director in lab.directors:
            sealed.lose(director.node, 100)
        with (
            lab.hold_at(FIRST, DIRECT_PORT, 2.0, {"late": LATE}) as late_one,
            lab.hold_at(SECOND, DIRECT_PORT, 2.0, {"late": LATE}) as late_two,
        ):
            time.sleep(SYNC_DELAY)
            for director in lab.directors:
                sealed.lose_no_more(director.node)
            lost = len(_rows(lb1) ^ _rows(lb2))
            begun = lab.note("lb1 asks")
            lb1.post("/v1/resync")
            lab.wait(lambda: _rows(lb1) == _rows(lb2), "repair", within=30.0)
            repair = time.monotonic() - begun
            lab.note("lb1 loses power")
            lb1.power_off()
            lb2.wait_master(address=FIRST)
            back_1 = _comes_back(lab, lb1, FIRST)
            lb1.wait(partial(_is_ready, lb1), "readiness")
            lab.note("lb2 loses power")
            lb2.power_off()
            lb1.wait_master(address=SECOND)
            time.sleep(1.0)
            lab.note("connections are asked")
            found = [held.survivors() for held in (one, two, late_one, late_two)]
    survive = {f"{kind}_survive": found[0][kind] + found[1][kind] for kind in KINDS}
    return {
        **survive,
        "late_survive": found[2]["late"] + found[3]["late"],
        "lost_first": lost,
        "repair_s": repair,
        "back_1_s": back_1[0],
        "back_2_s": back_2[0],
        "early_takeover": back_1[1] + back_2[1],
    }


def _comes_back(lab: Lab, node: Hadirector, address: str) -> tuple[float, int]:
    """It starts anew and takes its own address back: after how many seconds, and whether before
    it was ready."""
    time.sleep(1.0)
    lab.note(f"{node.name} comes back")
    node.power_on()
    node.configure(node.setup)
    begun = time.monotonic()
    node.start()
    node.wait_serving()
    ready = False
    while time.monotonic() - begun < 60.0:
        holds = node.holds(address)
        ready = ready or _is_ready(node)
        if holds:
            return time.monotonic() - begun, int(not ready)
        time.sleep(0.01)
    raise RuntimeError(f"{node.name} never took its address back")


def _is_ready(director: Hadirector) -> bool:
    status = director.status()
    return bool(status["ready"] and status["sync"]["completeness"] == 100)


def _rows(director: Hadirector) -> set[str]:
    """The connections of both addresses in a node's table; those that warmed up are of another
    port."""
    lines = director.node.net("ip_vs_conn").read_text().splitlines()[1:]
    port = f"{DIRECT_PORT:04X}"
    return {" ".join(line.split()[:7]) for line in lines if line.split()[4] == port}


def _ours(director: object) -> Hadirector:
    assert isinstance(director, Hadirector)
    return director
