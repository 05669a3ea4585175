"""Before anything is captured: which services and servers there are, and by which interfaces."""

from dataclasses import replace
from typing import Any

from hadirector.core import ipvs
from hadirector.core.address import Address, Endpoint
from hadirector.core.doctor import wishes
from hadirector.core.doctor.case import Case
from hadirector.core.doctor.facts import Facts
from hadirector.core.errors import HadirectorError
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.services import VirtualService
from hadirector.core.trace.packets import Scene, Spot, Stage
from hadirector.core.trace.walk import Walk
from hadirector.shell.doctor import arp, daemon, kernel, network


def set_up(
    config: Config, client: Address, status: dict[str, Any] | None
) -> tuple[Scene, tuple[str, ...]]:
    """The scene, and the interfaces where it plays. OSError without the right to ask ARP."""
    wires = network.read(wishes.destinations(config), wishes.BEYOND)
    case = Case(
        config,
        Facts(
            links=wires.links,
            addresses=wires.addresses,
            paths=wires.paths,
            beyond=wires.beyond,
            daemon=None if status is None else daemon.read(status),
        ),
    )
    answers = arp.ask(wishes.arp(case), wires.links)
    macs = wires.neighbours | {answer.address: answer.mac for answer in answers}
    table = _table()
    stages = tuple(_stage(service, macs, table) for service in config.services)
    fronts = [case.interface_of(v.address) for stage in stages for v in stage.virtual]
    ways = [path.interface for path in wires.paths.values() if path is not None]
    beyond = [path.interface for path in wires.beyond.values() if path is not None]
    up = {link.name for link in wires.links.values() if link.up and link.kind != "loopback"}
    names = dict.fromkeys(name for name in (*fronts, *ways, *beyond) if name in up)
    return Scene(client, stages), tuple(name for name in names if name is not None)


def narrowed(config: Config, walk: Walk | None) -> Config:
    """Only what the connection has to do with: nothing else needs to be asked."""
    if walk is None:
        return config
    services = [s for s in config.services if s.name == walk.stage.name]
    if walk.server is not None:
        wanted = walk.server.endpoint
        services = [
            replace(
                each,
                real_servers=tuple(s for s in each.real_servers if s.endpoint == wanted),
            )
            for each in services
        ]
    return replace(config, services=tuple(services))


def _table() -> ipvs.Table:
    """What IPVS does, whatever the file says; empty where it cannot be read."""
    try:
        return kernel.table()[0]
    except HadirectorError:
        return {}


def _stage(service: VirtualService, macs: dict[Address, str], table: ipvs.Table) -> Stage:
    """With the servers of the file, and those the kernel has besides."""
    servers = [*service.real_servers, *([service.fallback] if service.fallback else [])]
    known = {server.endpoint: server.forward for server in servers}
    for key in service.keys:
        if key in table:
            known |= {e: d.forward for e, d in table[key].destinations.items()}
    return Stage(
        service.name,
        service.keys[0].protocol,
        tuple(Endpoint(key.address, key.port) for key in service.keys if key.address),
        tuple(Spot(where, how, macs.get(where.address, "")) for where, how in known.items()),
    )
