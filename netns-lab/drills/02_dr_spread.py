"""Direct routing: requests are spread, and answers take the short way.

A client makes 1,000 requests to a service whose servers answer the client directly. The director
sees the requests only: read back with the real ipvsadm, packets come in and none goes out.
"""

from labkit import ipvs
from labkit.drills import Figures, at_least, at_most
from labkit.lab import Lab
from labkit.server import DIRECT_PORT
from labkit.setup import Setup, direct, nat

GOALS = {
    "failed": at_most(0),
    "rr_off_by": at_most(1),
    "ipvsadm_off_by": at_most(0),
    "packets_in": at_least(4000),
    "packets_out": at_most(0),
}
REQUESTS = 1000


def run(lab: Lab) -> Figures:
    lab.start(Setup(services=(nat(), direct()), pair=False))

    with lab.load(every=0.004, port=DIRECT_PORT, count=REQUESTS) as load:
        load.wait()
    rows = [r for r in ipvs.counters(lab.lb1.node) if r.service.endswith(f":{DIRECT_PORT}")]
    counted = {lab.name_of(row.server): row.connections for row in rows}

    served = load.served()
    return {
        "failed": load.failed(),
        "rr_off_by": max(abs(served[rs] - REQUESTS / 4) for rs in lab.servers),
        "ipvsadm_off_by": max(abs(counted.get(rs, 0) - served[rs]) for rs in lab.servers),
        "packets_in": sum(row.packets_in for row in rows),
        "packets_out": sum(row.packets_out for row in rows),
    }
