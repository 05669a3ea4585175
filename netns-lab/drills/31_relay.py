"""Connection records carried by the daemons, sealed: `transport: authenticated`.

`power-off` and `unicast`: the master loses power, and what survives is what survives with the
kernels' own sync (drill power_off). `intruder`: a host on the sync network records what passes,
then sends it again, cut off, sealed with other keys, with another sync id, and records that are
not sealed at all, all from the master's address: none enters the standby's table, each is counted
by its reason, and the failover afterwards costs no connection. `loss`: 30 % of the sync datagrams
are lost in each direction. `killed`: the relay dies on both nodes under traffic: it is told, a new
one carries on, and nothing is ever sent unsealed.
"""

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from labkit import sealed, topology
from labkit.director import Hadirector
from labkit.drills import Figures, Goal, at_least, at_most
from labkit.failover import HELD, SURVIVAL, SYNC_DELAY, blow, survival_of
from labkit.lab import Lab
from labkit.setup import VRID, Setup

ADVERT_INT = 0.1
PRODUCTS = ("hadirector",)
FORGERIES = 10  # of each kind
VARIANTS = {name: name for name in ("power-off", "unicast", "intruder", "loss", "killed")}
_WHOLE: dict[str, Goal] = {**SURVIVAL, "outage_ms": at_most(331), "unsealed": at_most(0)}
_REASONS = ("unsigned", "wrong_key", "unknown_key", "wrong_sync_id", "truncated", "replayed")
GOALS: dict[str, dict[str, Goal]] = {
    "power-off": _WHOLE,
    "unicast": _WHOLE,
    "intruder": {
        **SURVIVAL,
        "entered": at_most(0),
        **{reason: at_least(FORGERIES) for reason in _REASONS},
    },
    "loss": {**SURVIVAL, "lost": at_most(0), "again": at_least(1), "missing": at_most(0)},
    "killed": {**SURVIVAL, "told": at_least(2), "unsealed": at_most(0), "back_ms": at_most(5000)},
}


def run(lab: Lab, variant: str) -> Figures:
    start(lab, "unicast: {lb1: 10.0.1.1, lb2: 10.0.1.2}" if variant == "unicast" else "")
    with sealed.Tap(lab.network.nodes["rs4"], lab.directory) as tap:
        figures = _STORIES.get(variant, power_off)(lab)
    return {**figures, "unsealed": tap.kinds["unsealed"] if variant != "intruder" else 0}


def start(lab: Lab, more: str) -> None:
    """A pair whose relays hear each other."""
    transport = "transport: authenticated" + (f", {more}" if more else "")
    extra = sealed.key(lab.directory)
    lab.start(Setup(advert_int=ADVERT_INT, transport=transport, extra=extra))
    for director, peer in ((lab.lb1, "lb2"), (lab.lb2, "lb1")):
        director.wait(partial(heard_since, director, peer, 0.0), "relay's beat")


def power_off(lab: Lab) -> Figures:
    return blow(lab, "lb1 loses power", lab.lb1.power_off, 1 + 4 * ADVERT_INT)


def intruder(lab: Lab) -> Figures:
    """What is recorded under traffic is turned against the standby, then the master dies."""
    host = lab.network.nodes["rs3"]
    with lab.hold(**HELD) as held:
        with lab.load(), sealed.Tap(host, lab.directory) as tap:
            time.sleep(5.0)
        recorded = [raw for raw in tap.heard if sealed.kind_of(raw) == "records"][:FORGERIES]
        talk = [raw for raw in tap.heard if sealed.kind_of(raw) == "talk"]
        assert len(recorded) == FORGERIES, f"only {len(recorded)} datagrams passed"
        lab.note("an intruder sends forgeries")
        for raws in (*forgeries(recorded).values(), talk):
            sealed.send(host, raws, topology.back(1))
        time.sleep(1.0)
        # What says of no node that it is its own counts as nobody's.
        refused = strangers(lab.lb2) | peer_of(lab.lb2, "lb1")["refused"]
        entered = sealed.entered(lab.lb2.node)
        lab.note("lb1 loses power")
        lab.lb1.power_off()
        time.sleep(1 + 4 * ADVERT_INT)
        survival = survival_of(held)
    return {**survival, "entered": entered, **{r: refused.get(r, 0) for r in _REASONS}}


def forgeries(recorded: list[bytes]) -> dict[str, list[bytes]]:
    """By the reason for which each is to be refused."""
    heads = [sealed.Head.of(raw) for raw in recorded]
    later = [sealed.Head(h.sender, h.epoch, h.sequence + 100_000) for h in heads]
    own, key_id = sealed.SECRET, sealed.KEY_ID
    other = bytes.fromhex("a5" * 32)
    strange = (VRID + 1) % 256
    return {
        "unsigned": [sealed.forged_records() for _ in heads],
        "wrong_key": [sealed.seal(h, sealed.forged_records(), key_id, other) for h in later],
        "unknown_key": [sealed.seal(h, sealed.forged_records(), key_id + 1, other) for h in later],
        # Sealed with the cluster's own key: by another cluster that shares it, say.
        "wrong_sync_id": [
            sealed.seal(h, sealed.forged_records(strange), key_id, own, strange) for h in later
        ],
        "truncated": [raw[: -1 - n] for n, raw in enumerate(recorded)],
        "replayed": recorded,
    }


def loss(lab: Lab) -> Figures:
    """The sync network loses 30 % in each direction while connections come; then lb1 dies."""
    for director in lab.directors:
        sealed.lose(director.node, 30)
    with lab.hold(**HELD) as held:
        with lab.load():
            time.sleep(4.0)
        time.sleep(SYNC_DELAY)
        lab.note("two rounds later")
        missing = len(clients(lab, lab.lb1) - clients(lab, lab.lb2))
        account = peer_of(lab.lb2, "lb1")
        lab.note("lb1 loses power")
        lab.lb1.power_off()
        time.sleep(1 + 4 * ADVERT_INT)
        survival = survival_of(held)
    figures = {"again": account["again"], "lost": account["lost"], "missing": missing}
    return {**survival, **figures}


def killed(lab: Lab) -> Figures:
    """The relays die while connections are held, and come back; then lb1 dies."""
    with lab.hold(**HELD) as held:
        time.sleep(SYNC_DELAY)
        struck, wall = lab.note("the syncers are killed"), time.time()
        for director in lab.directors:
            director.kill("syncer")
        for director, peer in ((lab.lb1, "lb2"), (lab.lb2, "lb1")):
            lab.wait(partial(heard_since, director, peer, wall + 0.2), "new relay")
        back = time.monotonic()
        told = sum(events(d, "process_died", "syncer") for d in lab.directors)
        time.sleep(5.0)
        lab.note("lb1 loses power")
        lab.lb1.power_off()
        time.sleep(1 + 4 * ADVERT_INT)
        survival = survival_of(held)
    return {**survival, "told": told, "back_ms": 1000 * (back - struck)}


def peer_of(director: object, peer: str) -> dict[str, Any]:
    """What a node's relay says of a peer's records."""
    assert isinstance(director, Hadirector)
    relay = director.status()["sync"]["relay"] or {"peers": {}}
    found: dict[str, Any] = relay["peers"].get(peer, {})
    return found


def heard_since(director: object, peer: str, wall: float) -> bool:
    """Whether a peer's relay was heard after this."""
    return (peer_of(director, peer).get("heard") or 0.0) > wall


def strangers(director: object) -> dict[str, int]:
    """What a node's relay refused of nobody it knows."""
    assert isinstance(director, Hadirector)
    found: dict[str, int] = director.status()["sync"]["relay"]["strangers"]
    return found


def events(director: object, kind: str, subject: str) -> int:
    """How often a node told of this."""
    assert isinstance(director, Hadirector)
    lines = director.cli("events", "--json", "--socket", "/run/hadirector/control.sock").stdout
    told = [json.loads(line) for line in lines.splitlines()]
    return sum(one["kind"] == kind and subject in one["subject"] for one in told)


def clients(lab: Lab, director: object) -> set[str]:
    """The held connections in a node's table: those of the load come and go."""
    assert isinstance(director, Hadirector)
    lines = director.node.net("ip_vs_conn").read_text().splitlines()[1:]
    return {" ".join(line.split()[:5]) for line in lines if "ESTABLISHED" in line}


_STORIES: dict[str, Callable[[Lab], Figures]] = {
    "intruder": intruder,
    "loss": loss,
    "killed": killed,
}
