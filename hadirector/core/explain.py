"""`hadirector explain WHAT`: what holds of a subject, in one sentence, and how it came."""

from hadirector.core import attendance_status, messages
from hadirector.core.director import Director
from hadirector.core.status import Json, event_json

HISTORY = 20  # entries told


def build(director: Director, what: str, unix_offset: float) -> Json:
    """`{"subject", "now": [sentences], "history": [events]}`; empty `what` tells of everything
    that is not as configured; an unknown one lists what can be asked for."""
    now = dict(_sentences(director))
    if not what:
        return {"subject": "", "now": _lines(now), "history": []}
    chosen = {name: text for name, text in now.items() if _belongs(name, what)}
    subject = what.removesuffix("/ipv4").removesuffix("/ipv6")  # routers are told by instance
    history = list(director.journal.about(subject))[-HISTORY:]
    if not chosen and not history:
        return {"subject": what, "error": f"nothing is named {what!r}", "known": list(now)}
    return {
        "subject": what,
        "now": _lines(chosen),
        "history": [event_json(event, unix_offset) for event in history],
    }


def _sentences(director: Director) -> list[tuple[str, str]]:
    told = [line for router in director.routers for line in _router(router)]
    told += attendance_status.sentences(director.attendance)
    for name, weights in director.services.weights.items():
        told.append((name, f"{weights.state.value}: {weights.reason}"))
        told += [
            (f"{name}/{s.server.endpoint}", f"weight {s.effective or 0}: {s.reason}")
            for s in weights.servers
        ]
    for name, known in director.peers.known.items() if director.peers else ():
        if known.presence is None:
            told.append((name, "never heard on the peer channel"))
        else:
            alive = "alive" if known.alive else "silent on the peer channel; it last said"
            states = ", ".join(f"{r} {s}" for r, s in known.presence.routers.items())
            told.append((name, f"{alive}: {states or 'no instances'}; {known.presence.reason}"))
    told += [
        (p.process.value, f"{'running' if p.alive else 'dead'}, {p.restarts} restarts")
        for p in director.processes
    ]
    stance = director.operations.stance
    told += [(name, f"held back: {since.reason}") for name, since in stance.holds.items()]
    if stance.standby is not None:
        why = stance.standby.reason or "no reason given"
        told.append(("node", f"in standby: {why}"))
    ready = director.readiness()
    told.append(("ready", f"{'yes' if ready.ready else 'no'}: {ready.reason}"))
    return told


def _router(router: messages.Router) -> list[tuple[str, str]]:
    """The router, the others it hears, and whose packets something is wrong with."""
    name = f"{router.instance}/ipv{router.family}"
    told = [(name, f"{router.state.value}: {router.reason}")]
    for source, speaker in router.peers.items():
        signed = "" if speaker.key is None else f", signed with key {speaker.key}"
        text = f"priority {speaker.priority}, each {speaker.interval:g} s"
        told.append((f"{name}/{source}", f"{text}, checksum {speaker.checksum}{signed}"))
    told += [
        (f"{name}/{one.source}/{one.kind}", f"{one.reason} ({one.count} times)")
        for one in (*router.refused, *router.odd)
    ]
    return told


def _lines(sentences: dict[str, str]) -> list[Json]:
    return [f"{name}: {text}" for name, text in sentences.items()]


def _belongs(name: str, what: str) -> bool:
    return name == what or name.startswith(what + "/") or name.partition("/")[2] == what
