"""The contract's status JSON, from the director's core.

Instants become Unix seconds here (`unix_offset` is Unix time minus CLOCK_BOOTTIME); what is not
known is null, never a guess.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hadirector.core import attendance_status, ipvs, messages, sync_status, troubles
from hadirector.core.attendance_status import Json as Json  # readers of status take it from here
from hadirector.core.director import Director
from hadirector.core.peers import Known
from hadirector.core.stance import Since
from hadirector.core.weight import ServerWeight, ServiceWeights


@dataclass(frozen=True, slots=True)
class Shell:
    """What the shell knows: sync threads, troubles by kind; of the peer channel what it refused,
    by node and flaw, and the ID of the key each peer signed with last; `unguarded`: what of the
    private interface is left open (shell/private_link)."""

    threads: tuple[ipvs.SyncThread, ...] = ()
    troubles: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    signs: Mapping[str, int] = field(default_factory=dict)
    unguarded: str = ""


def build(director: Director, shell: Shell, unix_offset: float, losses: Mapping[str, int]) -> Json:
    """The whole of `GET /v1/status`; needs a configured director. `losses` counts what was refused
    or dropped on its channels, by name."""
    config = director.config
    assert config is not None
    trouble = troubles.build(director, shell.troubles)
    return {
        "headline": troubles.headline(director, len(trouble)),
        "node": config.node,
        "cluster": config.cluster,
        "version": director.version,
        "config": {
            "digest": config.digest,
            "loaded_at": director.configured_at + unix_offset,
            "peer_digest": _peer_digest(director),
            "path": config.path,
        },
        "ready": director.readiness().ready,
        "ready_reason": director.readiness().reason,
        "standby": _since(director.operations.stance.standby, unix_offset),
        "handover": director.operations.waits(director.turned_at),
        "trouble": list(trouble),
        "instances": _instances(director, unix_offset),
        "services": {
            name: _service(director, name, weights, unix_offset)
            for name, weights in director.services.weights.items()
        },
        "overrides": [
            {
                "server": str(order.subject),
                "what": order.what,
                "by": order.by,
                "node": order.stamp.node,
                "reason": order.reason,
                "at": order.at + unix_offset,
                "expires": None if order.expires_at is None else order.expires_at + unix_offset,
            }
            for order in director.orders.overrides.in_force(director.turned_at)
        ],
        "sync": sync_status.build(director, shell.threads, shell.unguarded, unix_offset),
        "peers": _peers(director, shell, unix_offset),
        "hooks": attendance_status.hooks(director.attendance),
        "losses": {**losses, "presences": director.peers.refused if director.peers else 0},
        "processes": {
            state.process.value: {
                "pid": state.pid,
                "since": state.since + unix_offset,
                "restarts": state.restarts,
                "lag_ms_p99": state.lag_ms_p99,
                "lag_ms_max": state.lag_ms_max,
                "alive": state.alive,
            }
            for state in _processes(director)
        },
    }


def event_json(event: messages.Event, unix_offset: float) -> Json:
    """One line of `GET /v1/events`."""
    return {
        "number": event.number,
        "at": event.at + unix_offset,
        "kind": event.kind,
        "subject": event.subject,
        "reason": event.reason,
        "inputs": dict(event.inputs),
    }


def _processes(director: Director) -> tuple[messages.ProcessState, ...]:
    """The supervisor's, and our own one."""
    attendance = director.attendance
    own = attendance.runner if attendance.wanted else None
    return (*director.processes, own) if own is not None else director.processes


def _since(since: Since | None, offset: float) -> Json:
    return None if since is None else {"since": since.at + offset, "reason": since.reason}


def _instances(director: Director, offset: float) -> Json:
    config = director.config
    assert config is not None
    found: dict[str, Json] = {}
    for instance in config.instances:
        routers: dict[str, Json] = {
            f"ipv{router.family}": _router(router, offset)
            for router in director.routers
            if router.instance == instance.name
        }
        found[instance.name] = {
            "routers": routers,
            "virtual_router_id": instance.virtual_router_id,
            "interface": instance.interface,
            "hold": _since(director.operations.stance.holds.get(instance.name), offset),
            "tracked": attendance_status.tracked(director.attendance, instance.name, offset),
        }
    return found


def _router(router: messages.Router, offset: float) -> Json:
    return {
        "state": router.state.value,
        "priority": router.priority,
        "effective_priority": router.effective_priority,
        "master": router.master,
        "since": router.since + offset,
        "reason": router.reason,
        "leaving": router.leaving,
        "inputs": dict(router.inputs),
        "addresses": list(router.addresses),
        "held": list(router.held),
        "leased": router.leased,
        "rivals": list(router.rivals),
        "peers": {
            source: {
                "priority": speaker.priority,
                "interval": speaker.interval,
                "checksum": speaker.checksum,
                "key": speaker.key,
                "heard_at": speaker.heard_at + offset,
            }
            for source, speaker in router.peers.items()
        },
        "troubles": list(router.troubles),
        "refused": [_complaint_json(complaint, offset) for complaint in router.refused],
        "odd": [_complaint_json(complaint, offset) for complaint in router.odd],
        "counters": dict(router.counters),
    }


def _complaint_json(complaint: messages.Complaint, offset: float) -> Json:
    return {
        "from": complaint.source,
        "kind": complaint.kind,
        "reason": complaint.reason,
        "count": complaint.count,
        "at": complaint.at + offset,
    }


def _service(director: Director, name: str, weights: ServiceWeights, offset: float) -> Json:
    service = director.services.settings[name]
    first = service.services[0]
    return {
        "address": service.address,
        "protocol": service.protocol,
        "scheduler": first.scheduler,
        "forward": service.forward.name.lower(),
        "state": weights.state.value,
        "quorum": service.quorum,
        "up": weights.up,
        "reason": weights.reason,
        "scale": weights.scale,
        "fallback": (
            None
            if service.fallback is None
            else {
                "address": str(service.fallback.endpoint),
                "effective_weight": weights.fallback or 0,
            }
        ),
        "servers": {
            str(server.server.endpoint): _server(director, name, server, offset)
            for server in weights.servers
        },
    }


def _server(director: Director, name: str, server: ServerWeight, offset: float) -> Json:
    keys = director.services.settings[name].keys
    endpoint = server.server.endpoint
    uses = [director.kernel.usage.destinations.get((key, endpoint)) for key in keys]
    verdict = server.health.decided_by
    last = director.services.verdicts[verdict.target].last if verdict else None
    return {
        "weight": server.server.weight,
        "effective_weight": server.effective or 0,
        "present": server.effective is not None,
        "health": server.health.health.value,
        "admin": server.admin.value,
        "kept": server.kept,
        "views": director.views.about.get(f"{name}/{endpoint}"),
        "active": sum(use.active for use in uses if use),
        "inactive": sum(use.inactive for use in uses if use),
        "last_check": (
            None
            if last is None
            else {"ok": last.ok, "detail": last.detail, "ms": last.ms, "at": last.at + offset}
        ),
        "reason": server.reason,
    }


def _peer_digest(director: Director) -> Json:
    known = director.peers.known.values() if director.peers else ()
    return next((k.presence.digest for k in known if k.presence is not None), None)


def _peers(director: Director, shell: Shell, offset: float) -> Json:
    known = director.peers.known if director.peers else {}
    return {
        name: {
            **_peer(one, offset),
            "key": shell.signs.get(name),
            "refused": dict(shell.refused.get(name, {})),
        }
        for name, one in known.items()
    }


def _peer(known: Known, offset: float) -> dict[str, Json]:
    presence = known.presence
    return {
        "address": known.node.address,
        "seen": None if known.heard_at is None else known.heard_at + offset,
        "alive": known.alive,
        "state": None if presence is None else dict(presence.routers),
        "config_digest": None if presence is None else presence.digest,
        "ready": None if presence is None else presence.ready,
        "reason": None if presence is None else presence.reason,
        "version": None if presence is None else presence.version,
        "standby": None if presence is None else presence.standby,
        "sync_mtu": (presence.sync_mtu or None) if presence is not None else None,
        "trouble": known.trouble or None,
    }
