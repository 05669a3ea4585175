"""A real server is drained, rebooted when that is safe, and nobody notices.

Eight clients hold a connection to each server, half of them busy, and 125 new requests a second
come in. rs2 is drained on the master: it must get nothing new and keep what it has, the peer must
know of it at once, and nobody may call it safe to reboot before the last of its clients has gone:
neither the master nor, after a handover half way, its successor. Then its process is killed and
started again; enabled, it serves again.

`early_safe`: it was called safe while connections were left. `new_while_drained`: requests that
rs2 got after it was drained.
"""

import time

from labkit.drills import Figures, at_least, at_most
from labkit.lab import Lab
from labkit.setup import Check, Setup

PRODUCTS = ("hadirector",)
GOALS = {
    "drained_ms": at_most(500),
    "peer_drained_ms": at_most(500),
    "new_while_drained": at_most(0),
    "kept_pc": at_least(100),
    "early_safe": at_most(0),
    "safe_after_last_ms": at_most(4000),
    "failed": at_most(0),
    "others_lost": at_most(0),
    "back": at_least(1),
}
CHECK = Check(interval=1.0, timeout=0.5, rise=2, fall=2, fast_interval=0.2)


def run(lab: Lab) -> Figures:
    path = lab.directory / "cluster.key"
    path.write_text(f"1 {'5a' * 32}\n")
    path.chmod(0o600)
    lab.start(Setup(check=CHECK, extra=f"key_file: {path}\n"))
    server = next(at for at in lab.lb1.weights() if lab.name_of(at) == "rs2")
    query = f"server={server}&by=drill&reason=reboot"
    with lab.load() as load:
        time.sleep(1)
        held = lab.hold(idle=16, active=16)
        every = sum(sum(found.values()) for found in held.opened.values())
        mine = sum(held.opened[kind]["rs2"] for kind in held.opened)
        began = lab.note("rs2 is drained")
        lab.lb1.post(f"/v1/servers/drain?{query}")
        drained = lab.wait(lambda: lab.lb1.weights()[server] == 0, "weight 0")
        peer = lab.wait(lambda: lab.lb2.weights()[server] == 0, "weight 0 at the peer")
        settled = time.monotonic() + 0.2
        early = _safe(lab, server)
        time.sleep(3)
        lab.note("lb1 hands over")
        lab.lb1.post("/v1/handover?instance=front")
        time.sleep(2)
        early += _safe(lab, server)
        answered = held.survivors_by_server()
        gone = lab.note("its clients leave")
        lab.wait(lambda: bool(_safe(lab, server)), "safe to reboot", within=30)
        safe = lab.note("safe to reboot")
        lab.servers["rs2"].kill()
        time.sleep(4)
        lab.servers["rs2"].start()
        time.sleep(2)
        lab.note("rs2 is enabled")
        lab.lb2.post(f"/v1/servers/enable?server={server}&by=drill")
        lab.wait(lambda: lab.lb2.weights().get(server, 0) > 0, "rs2's return")
        time.sleep(1)
    new = [r for r in load.poll() if r.server == "rs2" and settled < r.start < safe]
    kept = sum(answered[kind]["rs2"] for kind in answered)
    alive = sum(sum(found.values()) for found in answered.values())
    return {
        "drained_ms": 1000 * drained,
        "peer_drained_ms": 1000 * (drained + peer),
        "new_while_drained": len(new),
        "held_by_rs2": mine,
        "kept_pc": 100 * kept / max(1, mine),
        "early_safe": early,
        "safe_after_last_ms": 1000 * (safe - gone),
        "failed": load.failed(began),
        "others_lost": (every - mine) - (alive - kept),
        "back": int(load.served()["rs2"] > 0),
    }


def _safe(lab: Lab, server: str) -> int:
    """What the master says, if there is one."""
    for director in lab.directors:
        if director.holds("192.0.2.10"):
            return int(director.get(f"/v1/servers/drain?server={server}")["safe"])
    return 0
