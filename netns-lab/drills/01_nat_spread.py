"""NAT: requests are spread over the servers as the scheduler promises.

A client makes 1,000 requests to a service whose servers have the weights 3, 2, 1, 1 (wrr), then
1,000 to one that takes turns (rr). Who answered is what the client saw; how many connections
each server was given is read back with the real ipvsadm. Both must be the promised share.
"""

from collections import Counter

from labkit.drills import Figures, at_most
from labkit.lab import Lab
from labkit.setup import Setup, nat

GOALS = {
    "failed": at_most(0),
    "rr_off_by": at_most(1),
    "wrr_off_by": at_most(2),
    "ipvsadm_off_by": at_most(0),
}
REQUESTS = 1000


def run(lab: Lab) -> Figures:
    turns = nat()
    weighted = nat("weighted", 81, "wrr", rs1=3, rs2=2)
    lab.start(Setup(services=(turns, weighted), pair=False))

    before = lab.connections(lab.lb1, turns.port)
    with lab.load(every=0.004, port=turns.port, count=REQUESTS) as by_turns:
        by_turns.wait()
    with lab.load(every=0.004, port=weighted.port, count=REQUESTS) as by_weight:
        by_weight.wait()
    counted = lab.connections(lab.lb1, turns.port) - before
    counted_by_weight = lab.connections(lab.lb1, weighted.port)

    seventh = REQUESTS / 7
    shares = {"rs1": 3 * seventh, "rs2": 2 * seventh, "rs3": seventh, "rs4": seventh}
    return {
        "failed": by_turns.failed() + by_weight.failed(),
        "rr_off_by": max(abs(by_turns.served()[rs] - REQUESTS / 4) for rs in lab.servers),
        "wrr_off_by": max(abs(by_weight.served()[rs] - share) for rs, share in shares.items()),
        "ipvsadm_off_by": off(counted, by_turns.served())
        + off(counted_by_weight, by_weight.served()),
    }


def off(counted: Counter[str], seen: Counter[str]) -> float:
    """The largest difference between what was counted and what the client saw."""
    return max(abs(counted[rs] - seen[rs]) for rs in counted | seen)
