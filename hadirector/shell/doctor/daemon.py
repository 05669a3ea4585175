"""What the daemon's status JSON says that doctor wants to know."""

from typing import Any

from hadirector.core.address import canonical
from hadirector.core.doctor.facts import Daemon, PeerFacts
from hadirector.shell.doctor import programs


def read(status: dict[str, Any]) -> Daemon:
    """Of `GET /v1/status`, and of /proc for its processes."""
    routers = {
        f"{name}/{family}": router
        for name, instance in status["instances"].items()
        for family, router in instance["routers"].items()
    }
    return Daemon(
        states={name: router["state"] for name, router in routers.items()},
        masters={
            name: canonical(router["master"])
            for name, router in routers.items()
            if router["master"]
        },
        peers={
            name: PeerFacts(
                bool(peer["alive"]),
                peer["state"] or {},
                peer["trouble"] or "",
                peer["sync_mtu"] or 0,
            )
            for name, peer in status["peers"].items()
        },
        unguarded=status["sync"]["unguarded"] or "",
        processes=programs.processes({name: p["pid"] for name, p in status["processes"].items()}),
    )
