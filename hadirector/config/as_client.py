"""`as_client: true` of a check: its probes go where clients' packets go.

Under direct routing and tunnels a server has the virtual address itself, on a loopback. A probe of
the server's own address does not show whether that address is missing. A check as a client asks at
the virtual address, through the same forwarding (core/as_client), and so it is another check for
each service and address: here they are made.
"""

from dataclasses import replace

from hadirector.config.reader import Section
from hadirector.core.address import Endpoint
from hadirector.core.ipvs import Forward
from hadirector.core.settings.checks import Check, CheckRule, Combine
from hadirector.core.settings.services import VirtualService


def derive(
    section: Section, service: VirtualService, known: dict[str, Check]
) -> tuple[VirtualService, tuple[Check, ...]]:
    """The service with checks of its own in place of those as a client, and these."""
    asked = [name for name in service.check.checks if name in known and known[name].as_client]
    if not asked or not _lawful(section, service, asked[0]):
        return service, ()
    places = _places(service)
    if service.check.combine is not Combine.ALL:
        places = places[:1]  # of any and at_least each check counts once
    made = {
        name: tuple(_at(known[name], place) for place in places) if name in asked else ()
        for name in service.check.checks
    }
    names = tuple(
        one for name in service.check.checks for one in ([c.name for c in made[name]] or [name])
    )
    rule = CheckRule(service.check.combine, names, service.check.count)
    return replace(service, check=rule), tuple(c for checks in made.values() for c in checks)


def original(check: Check) -> str:
    """The name in the file of a check that was made here."""
    return check.name.partition(" at ")[0]


def _at(check: Check, place: Endpoint) -> Check:
    return replace(check, name=f"{check.name} at {place}", client=place, held=False)


def _places(service: VirtualService) -> tuple[Endpoint, ...]:
    """Each virtual address once, with its first port."""
    found: dict[str, Endpoint] = {}
    for key in service.keys:
        found.setdefault(key.address, Endpoint(key.address, key.port))
    return tuple(found.values())


def _lawful(section: Section, service: VirtualService, name: str) -> bool:
    at = section.value_at("check")
    if service.protocol != "tcp":
        text = f"{name} probes as a client, by TCP: this service is {service.protocol}"
    elif any(not key.port for key in service.keys):
        text = f"{name} probes as a client: a service of every port has none to ask at"
    elif any(server.forward is Forward.NAT for server in service.real_servers):
        text = f"{name} probes as a client, for 'forward: dr' or tun: by nat a plain check does it"
    else:
        return True
    section.error(at, "check", text)
    return False
