"""Trace names the hop where a client's packets stop.

Three requests pass, by NAT, direct routing and a tunnel: trace must say so, with every leg seen.
Then faults are planted one after the other, at servers, in the director, on the way: each time the
client asks once, and trace must name the right hop and the cause.
"""

from labkit import dead_ends, faults
from labkit.drills import Figures, at_least, at_most
from labkit.lab import Lab

RUNS = 1
PRODUCTS = ("hadirector",)
GOALS = {"planted": at_least(8), "wrong_hop": at_most(0), "wrong_when_fine": at_most(0)}


def run(lab: Lab) -> Figures:
    dead_ends.start(lab)
    pcap = lab.directory / "web.pcap"
    wrong_when_fine = 0
    for end in dead_ends.PASSING:
        told = dead_ends.trace(lab, end, "--pcap", str(pcap))
        wrong_when_fine += not dead_ends.is_right(end, told)
        show(end, told)
        if end is dead_ends.PASSING[0]:
            print("\n".join(f"      {line}" for line in told["ladder"]), flush=True)
    seen = lab.client.run("tcpdump", "-nr", str(pcap), check=False).count("\n")
    wrong = 0
    for end in dead_ends.DEAD_ENDS:
        with faults.planted(lab, [end.fault]):
            told = dead_ends.trace(lab, end)
        wrong += not dead_ends.is_right(end, told)
        show(end, told)
    elsewhere = dead_ends.DeadEnd(
        "the node is not master", dead_ends.NAT, "client -> director", "not master", faults.NONE
    )
    told = dead_ends.trace(lab, elsewhere, name="lb2")
    wrong += not dead_ends.is_right(elsewhere, told)
    show(elsewhere, told)
    return {
        "planted": len(dead_ends.DEAD_ENDS) + 1,
        "wrong_hop": wrong,
        "wrong_when_fine": wrong_when_fine,
        "packets_in_pcap": seen,
    }


def show(end: dead_ends.DeadEnd, told: dict[str, object]) -> None:
    mark = "" if dead_ends.is_right(end, told) else "WRONG: "
    where = "passes" if told["passes"] else f"stops {told['hop']}"
    print(f"    {end.name}: {mark}{where}: {told['what']} | {told['cause']}", flush=True)
