"""`virtual_services:` -> VirtualService, with everything IPVS needs to know."""

from dataclasses import dataclass, field

from hadirector.config import addresses, as_client, checks, easing, scalars, servers
from hadirector.config.problem import Place, Wrong, shown
from hadirector.config.reader import Section
from hadirector.config.tree import Mapping, Sequence, Tree
from hadirector.core.address import Address
from hadirector.core.ipvs import Protocol, Scheduler, Service, ServiceFlags, ServiceKey
from hadirector.core.settings.checks import Check
from hadirector.core.settings.services import OnFailure, VirtualService

_PROTOCOLS = {protocol.name.lower(): protocol for protocol in Protocol}
_FLAGS = {
    "sh-fallback": (Scheduler.SH, ServiceFlags.SCHED1),
    "sh-port": (Scheduler.SH, ServiceFlags.SCHED2),
    "mh-fallback": (Scheduler.MH, ServiceFlags.SCHED1),
    "mh-port": (Scheduler.MH, ServiceFlags.SCHED2),
    "flag-1": (None, ServiceFlags.SCHED1),  # of a scheduler that is newer than this program
    "flag-2": (None, ServiceFlags.SCHED2),
    "flag-3": (None, ServiceFlags.SCHED3),
}
_LONGEST = 31 * 86400  # seconds; IP_VS counts persistence in jiffies, and more is a slip


@dataclass(frozen=True, slots=True)
class Scope:
    """What services may refer to, and what is taken already."""

    checks: dict[str, Check]
    derived: dict[str, Check] = field(default_factory=dict)  # made here, by name (as_client)
    keys: dict[ServiceKey, tuple[str, Place]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Persistence:
    """`timeout` 0 is none; `prefix` None is each client by itself; `engine` tells clients apart by
    something else than their address."""

    timeout: int = 0
    prefix: int | None = None
    engine: str = ""


def read(root: Section, scope: Scope) -> tuple[VirtualService, ...]:
    """Every virtual service that can be made; what is wrong is told."""
    found = [_service(name, section, scope) for name, section in root.named("virtual_services")]
    return tuple(service for service in found if service is not None)


def _service(name: str, section: Section, scope: Scope) -> VirtualService | None:
    protocol = _PROTOCOLS[section.read("protocol", scalars.word(*_PROTOCOLS), "tcp")]
    keys = _keys(section, protocol)
    scheduler = section.read("scheduler", scalars.choice(Scheduler), Scheduler.WLC)
    flags = _scheduler_flags(section, scheduler)
    persistence = _persistence(section, keys)
    if persistence.timeout:
        flags |= ServiceFlags.PERSISTENT
    if section.read("one_packet", scalars.boolean, False):
        flags |= ServiceFlags.ONE_PACKET
    rule = checks.read_rule(section, scope.checks)
    manner = servers.read_manner(section)
    real = servers.read_servers(section, manner, keys)
    service = VirtualService(
        name=name,
        address=_as_written(section),
        protocol="fwmark" if keys and keys[0].fwmark else Protocol(protocol).name.lower(),
        services=tuple(_ipvs(key, scheduler, flags, persistence) for key in keys),
        forward=manner.forward,
        check=rule,
        quorum=section.read("quorum", scalars.integer(0, 65535), 1),
        floor=section.read("floor", scalars.number(0, 1), 0.0),
        on_failure=section.read("on_failure", scalars.choice(OnFailure), OnFailure.AUTO),
        slow_start=section.read("slow_start", scalars.duration(0), 0.0),
        fallback=servers.read_fallback(section, manner, keys, real),
        real_servers=real,
        feedback=easing.read_feedback(section, rule, scope.checks, scheduler),
    )
    easing.lint(section, scheduler, service.feedback is not None)
    section.close()
    _lint(section, service, scope)
    service, made = as_client.derive(section, service, scope.checks)
    scope.derived.update((check.name, check) for check in made)
    return service if keys else None


def _ipvs(
    key: ServiceKey, scheduler: Scheduler, flags: ServiceFlags, persistence: _Persistence
) -> Service:
    most = 128 if key.family == 6 else 32
    return Service(
        key=key,
        scheduler=scheduler.value,
        flags=flags,
        timeout=persistence.timeout,
        netmask=min(persistence.prefix or most, most),
        pe_name=persistence.engine,
    )


def _keys(section: Section, protocol: Protocol) -> tuple[ServiceKey, ...]:
    """The IPVS services that `address` stands for."""
    tree = section.node.entries.get("address")
    if isinstance(tree, Mapping):
        section.find("address")
        return _fwmark(section, tree)
    if isinstance(tree, Sequence):
        if not tree.items:
            section.error(tree.at, "address", "needs addresses: [192.0.2.10:80, 192.0.2.11:80]")
        spans = section.each("address", addresses.span)
        endpoints = tuple(endpoint for span in spans for endpoint in span)
    else:
        endpoints = section.required("address", addresses.span, "192.0.2.10:80") or ()
    found = tuple(
        ServiceKey(6 if ":" in one.address else 4, protocol, one.address, one.port)
        for one in endpoints
    )
    if len(found) > addresses.EXPANDED:
        text = f"stands for more than {addresses.EXPANDED} endpoints: use a fwmark"
        section.error(section.value_at("address"), "address", text)
        return ()
    return found


def _fwmark(section: Section, tree: Mapping) -> tuple[ServiceKey, ...]:
    """`{fwmark: 7, family: ipv4}`."""
    below = Section(tree, f"{section.path}.address", section.problems)
    mark = below.required("fwmark", scalars.integer(1, 2**32 - 1), "7")
    family = below.read("family", scalars.word("ipv4", "ipv6"), "ipv4")
    below.close()
    if section.has("protocol"):
        text = "means nothing beside a fwmark, which has packets of any protocol: remove it"
        section.warn(section.key_at("protocol"), "protocol", text)
    if mark is None:
        return ()
    return (ServiceKey(6 if family == "ipv6" else 4, 0, Address(""), 0, mark),)


def _as_written(section: Section) -> str:
    """The address as the file has it, for people."""
    tree = section.node.entries.get("address")
    if isinstance(tree, Sequence):
        return ", ".join(scalars.plain(item) for item in tree.items if _is_text(item))
    if isinstance(tree, Mapping):
        mark = tree.entries.get("fwmark")
        return f"fwmark {scalars.plain(mark)}" if mark is not None and _is_text(mark) else ""
    return scalars.plain(tree) if tree is not None and _is_text(tree) else ""


def _is_text(tree: Tree) -> bool:
    return not isinstance(tree, Mapping | Sequence) and not tree.null


def _scheduler_flags(section: Section, scheduler: Scheduler) -> ServiceFlags:
    """Flags of the sh and mh schedulers, whose traps are told here too."""

    def parse(tree: Tree) -> ServiceFlags:
        word = scalars.word(*_FLAGS)(tree)
        owner, flag = _FLAGS[word]
        if owner not in (None, scheduler):
            assert owner is not None, "it is another one's"
            raise Wrong(
                f"{shown(word)} is for scheduler {owner.value}, not {scheduler.value}: remove it"
            )
        return flag

    flags = ServiceFlags.NONE
    for flag in section.each("scheduler_flags", parse):
        flags |= flag
    hashing = scheduler in (Scheduler.SH, Scheduler.MH)
    if hashing and ServiceFlags.SCHED1 not in flags:
        name = scheduler.value
        text = (
            f"{name} refuses clients whose server has weight 0 (drained, or failed and quiesced): "
            f"add 'scheduler_flags: [{name}-fallback]'"
        )
        section.warn(section.value_at("scheduler"), "scheduler", text)
    return flags


def _persistence(section: Section, keys: tuple[ServiceKey, ...]) -> _Persistence:
    """`{timeout: 5m, prefix: 32, engine: sip}`; off unless written."""
    below = section.section("persistence")
    if below is None:
        return _Persistence()
    most = 32 if any(key.family == 4 for key in keys) else 128
    persistence = _Persistence(
        timeout=below.read("timeout", scalars.whole_seconds(1, _LONGEST), 300),
        prefix=below.read("prefix", scalars.integer(1, most), None),
        engine=below.read("engine", scalars.word("sip"), ""),
    )
    if persistence.engine and any(k.protocol not in (0, Protocol.UDP) for k in keys):
        text = "sip tells calls over UDP apart: write 'protocol: udp', or remove it"
        below.error(below.value_at("engine"), "engine", text)
    below.close()
    return persistence


def _lint(section: Section, service: VirtualService, scope: Scope) -> None:
    """What only the whole service shows."""
    _lint_keys(section, service, scope)
    _lint_flags(section, service)
    written = section.node.entries.get("real_servers")
    # As written: a server that is wrong was told of, and need not make the quorum wrong too.
    count = len(written.items) if isinstance(written, Sequence) else service.quorum
    if written is None:
        text = "'real_servers' is missing: add 'real_servers: [10.0.1.11:80]'"
        section.error(section.at, "", text)
    elif not count:
        section.warn(section.value_at("real_servers"), "real_servers", "no server to balance over")
    elif service.quorum > count:
        text = f"{service.quorum} of {count} servers can never be up: lower it"
        section.error(section.value_at("quorum"), "quorum", text)
    if any(not server.endpoint.port for server in service.real_servers):
        _lint_portless(section, service, scope)


def _lint_keys(section: Section, service: VirtualService, scope: Scope) -> None:
    at = section.value_at("address")
    for key in service.keys:
        first = scope.keys.get(key)
        if first is None:
            scope.keys[key] = (service.name, at)
        else:
            name, place = first
            text = f"{key} is in {name}, line {place.line}, already: keep one"
            section.error(at, "address", text)
        persistent = any(ServiceFlags.PERSISTENT in one.flags for one in service.services)
        if not key.fwmark and not key.port and not persistent:
            text = f"{key}: every port (0) needs persistence: add 'persistence: {{timeout: 5m}}'"
            section.error(at, "address", text)


def _lint_flags(section: Section, service: VirtualService) -> None:
    one_packet = any(ServiceFlags.ONE_PACKET in one.flags for one in service.services)
    if one_packet and service.protocol not in ("udp", "fwmark"):
        text = f"is for UDP, not {service.protocol}: remove it, or write 'protocol: udp'"
        section.error(section.value_at("one_packet"), "one_packet", text)


def _lint_portless(section: Section, service: VirtualService, scope: Scope) -> None:
    """A server that takes whatever port the client asked for has none to probe."""
    for name in service.asked:
        check = scope.checks.get(name)
        if check is not None and check.port is None and checks.needs_port(check.type):
            text = f"{name} needs a 'port', as servers of this service have none of their own"
            section.error(section.value_at("check"), "check", text)
