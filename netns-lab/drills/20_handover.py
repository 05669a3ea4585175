"""A planned handover: the standby takes over at once, and nobody notices.

An operator has lb1 give its mastership to lb2. With a key the peer's director is asked first, then
told to take over the moment the master has given up; the old master forwards until it hears its
successor, and then holds back. `keyless` and `to-keepalived`: by priority 0 alone, so the successor
waits its skew time, during which the old master goes on forwarding.
"""

from pathlib import Path

from labkit.drills import Figures, Goal, at_least, at_most
from labkit.failover import blow
from labkit.lab import Lab
from labkit.setup import Setup

PRODUCTS = ("hadirector",)
VARIANTS = {
    "1s": (1.0, True, ""),
    "100ms": (0.1, True, ""),
    "keyless-1s": (1.0, False, ""),
    "to-keepalived": (1.0, False, "keepalived"),
}
_GOALS: dict[str, Goal] = {
    "outage_ms": at_most(30),
    "failed": at_most(1),
    "takeovers": at_most(1),
    "fresh_survive_pc": at_least(100),
    "idle_survive_pc": at_least(100),
    "active_survive_pc": at_least(100),
    "held": at_least(1),
}
# A second or two, and lb1 would preempt: it is to hold back for longer than that.
GOALS = {
    "1s": _GOALS | {"took_ms": at_most(50)},
    "100ms": _GOALS | {"took_ms": at_most(50)},
    "keyless-1s": _GOALS | {"took_ms": at_most(700)},
    "to-keepalived": _GOALS | {"took_ms": at_most(700)},
}


def run(lab: Lab, variant: tuple[float, bool, str]) -> Figures:
    advert_int, keyed, successor = variant
    if successor:
        lab.swap("lb2", successor)
    lab.start(Setup(advert_int=advert_int, extra=key(lab.directory) if keyed else ""))
    told: dict[str, object] = {}

    def hand_over() -> None:
        told.update(lab.lb1.post("/v1/handover?instance=front"))

    figures = blow(lab, "lb1 hands over", hand_over, 2 + 5 * advert_int)
    assert told["verdict"] == "done", told
    held = lab.lb2.holds("192.0.2.10") and not lab.lb1.holds("192.0.2.10")
    return {**figures, "took_ms": milliseconds(told["lines"]), "held": int(held)}


def key(directory: Path) -> str:
    """A key file for both, and the line that names it."""
    path = directory / "cluster.key"
    path.write_text(f"1 {'5a' * 32}\n")
    path.chmod(0o600)
    return f"key_file: {path}\n"


def milliseconds(lines: object) -> float:
    """From `front: lb2 took over in 9 ms`, the first of them."""
    assert isinstance(lines, list)
    number, unit = str(lines[0]).rpartition(" in ")[2].split()
    return float(number) * (1 if unit == "ms" else 1000)
