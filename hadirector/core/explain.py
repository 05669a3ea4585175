"""`hadirector explain WHAT`: what holds of a subject, in one sentence, and how it came."""

from collections.abc import Callable
from dataclasses import dataclass

from hadirector.core import attendance_status
from hadirector.core.admin import Admin
from hadirector.core.director import Director
from hadirector.core.messages import Event, Health, Router, RouterStateName
from hadirector.core.overrides import subject
from hadirector.core.status import Json, event_json
from hadirector.core.weight import ServiceState

HISTORY = 20  # entries told


def build(director: Director, what: str, offset_of: Callable[[Event], float]) -> Json:
    """`{"subject", "now": [sentences], "history": [events]}`; empty `what` tells of everything
    that is not as configured; an unknown one lists what can be asked for. `offset_of` gives Unix
    time minus CLOCK_BOOTTIME when an event happened."""
    now = _sentences(director)
    if not what:
        wrong = {name: one.text for name, one in now.items() if not one.well}
        fine = {"all": "everything is as configured; name something to hear of it"}
        return {"subject": "", "now": _lines(wrong or fine), "history": []}
    chosen = {name: one.text for name, one in now.items() if _belongs(name, what)}
    subjects = [what.removesuffix("/ipv4").removesuffix("/ipv6")]  # routers are told by instance
    if not chosen and (meant := _meant(director, what)):
        chosen, subjects = {name: now[name].text for name in meant}, meant
    entries = [event for subject in subjects for event in director.journal.about(subject)]
    history = sorted(entries, key=lambda event: event.at)[-HISTORY:]
    if not chosen and not history:
        return {"subject": what, "error": f"nothing is named {what!r}", "known": list(now)}
    return {
        "subject": what,
        "now": _lines(chosen),
        "history": [event_json(event, offset_of(event)) for event in history],
    }


@dataclass(frozen=True, slots=True)
class _Sentence:
    """What holds of a thing, and whether that is as it was configured."""

    text: str
    well: bool = True


def _sentences(director: Director) -> dict[str, _Sentence]:
    told: dict[str, _Sentence] = {}
    for router in director.routers:
        told |= _router(router)
    told |= _tracked(director)
    return told | _services(director) | _peers(director) | _node(director)


def _router(router: Router) -> dict[str, _Sentence]:
    """The router, the others it hears, and whose packets something is wrong with."""
    name = f"{router.instance}/ipv{router.family}"
    well = router.state in (RouterStateName.MASTER, RouterStateName.BACKUP)
    told = {name: _Sentence(f"{router.state.value}: {router.reason}", well)}
    for source, speaker in router.peers.items():
        signed = "" if speaker.key is None else f", signed with key {speaker.key}"
        text = f"priority {speaker.priority}, each {speaker.interval:g} s"
        told[f"{name}/{source}"] = _Sentence(f"{text}, checksum {speaker.checksum}{signed}")
    for one in (*router.refused, *router.odd):
        text = f"{one.reason} ({one.count} times)"
        told[f"{name}/{one.source}/{one.kind}"] = _Sentence(text, well=False)
    return told


def _tracked(director: Director) -> dict[str, _Sentence]:
    sentences = attendance_status.sentences(director.attendance)
    return {name: _Sentence(text, well) for name, text, well in sentences}


def _services(director: Director) -> dict[str, _Sentence]:
    told = {}
    for name, weights in director.services.weights.items():
        text = f"{weights.state.value}: {weights.reason}"
        told[name] = _Sentence(text, weights.state is ServiceState.UP)
        for server in weights.servers:
            subject = f"{name}/{server.server.endpoint}"
            held = "not in IPVS" if server.effective is None else f"weight {server.effective}"
            text = f"{held}: {server.reason}"
            differs = director.views.about.get(subject)
            text += f"; {differs}" if differs else ""
            well = server.health.health is Health.UP and server.admin is Admin.ENABLED
            told[subject] = _Sentence(text, well and not differs)
        spare = director.services.settings[name].fallback
        if spare is not None:
            used = weights.fallback is not None
            text = f"fallback, weight {weights.fallback}: no server has a weight"
            waits = "fallback, not in IPVS: it waits until no server has a weight; it is not probed"
            told[f"{name}/{spare.endpoint}"] = _Sentence(text if used else waits, not used)
    return told


def _peers(director: Director) -> dict[str, _Sentence]:
    told = {}
    for name, known in director.peers.known.items() if director.peers else ():
        if known.presence is None:
            why = f": {known.trouble}" if known.trouble else ""
            told[name] = _Sentence(f"never heard on the peer channel{why}", well=False)
            continue
        alive = "alive" if known.alive else "silent on the peer channel; it last said"
        states = ", ".join(f"{r} {s}" for r, s in known.presence.routers.items())
        text = f"{alive}: {states or 'no instances'}; {known.presence.reason}"
        told[name] = _Sentence(text, known.alive and known.presence.ready)
    return told


def _node(director: Director) -> dict[str, _Sentence]:
    told = {
        p.process.value: _Sentence(
            f"{'running' if p.alive else 'dead'}, {_times(p.restarts)}", p.alive
        )
        for p in director.processes
    }
    stance = director.operations.stance
    for name, since in stance.holds.items():
        told[name] = _Sentence(f"held back: {since.reason}", well=False)
    if stance.standby is not None:
        why = stance.standby.reason or "no reason given"
        told["node"] = _Sentence(f"in standby: {why}", well=False)
    ready = director.readiness()
    text = f"{'yes' if ready.ready else 'no'}: {ready.reason}"
    return told | {"ready": _Sentence(text, ready.ready)}


def _meant(director: Director, what: str) -> list[str]:
    """The servers that the verbs about servers would take this for: an address without its port,
    or a host in every service."""
    try:
        about = subject(what)
    except ValueError:
        return []
    return [
        f"{name}/{server.server.endpoint}"
        for name, weights in director.services.weights.items()
        for server in weights.servers
        if about.concerns(name, server.server.endpoint)
    ]


def _times(restarts: int) -> str:
    return f"{restarts} restart" if restarts == 1 else f"{restarts} restarts"


def _lines(sentences: dict[str, str]) -> list[Json]:
    return [f"{name}: {text}" for name, text in sentences.items()]


def _belongs(name: str, what: str) -> bool:
    return name == what or name.startswith(what + "/") or name.partition("/")[2] == what
