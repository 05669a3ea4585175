"""From the table there is to the table there should be, in the fewest steps.

The rules of a plan:

1. A service or destination that is right already is not touched: its connections, its counters
   and the scheduler's place in the round stay.
2. What the kernel can edit is edited. Deleting and adding again would orphan connections.
3. A service that is neither desired nor owned is somebody else's and is left alone.
4. No step leaves a service poorer than both before and after: destinations are added and their
   weights raised first, weights lowered next, destinations removed after that, services last.
5. Carried out on `actual`, a plan gives `desired` and every foreign service; planned again, it
   is empty.

The kernel executes a batch in order and goes on after a failure, so a plan in which one step
fails is still worth carrying out; the next plan holds what is left of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from hadirector.core.ipvs import (
    Destination,
    Entry,
    Forward,
    Service,
    ServiceFlags,
    ServiceKey,
    Table,
    TunnelType,
)


@dataclass(frozen=True, slots=True)
class AddService:
    """A service the kernel does not know; destinations follow as steps of their own."""

    service: Service


@dataclass(frozen=True, slots=True)
class EditService:
    """Another scheduler, other flags or persistence; destinations and connections stay."""

    service: Service
    before: Service


@dataclass(frozen=True, slots=True)
class DeleteService:
    """A service of ours that is no longer wanted; its destinations go with it."""

    key: ServiceKey


@dataclass(frozen=True, slots=True)
class AddDestination:
    """A real server for a service."""

    key: ServiceKey
    destination: Destination


@dataclass(frozen=True, slots=True)
class EditDestination:
    """Another weight, forwarding method, tunnel or threshold; connections stay."""

    key: ServiceKey
    destination: Destination
    before: Destination


@dataclass(frozen=True, slots=True)
class DeleteDestination:
    """A real server leaves; what becomes of its connections is expire_nodest_conn's matter."""

    key: ServiceKey
    destination: Destination


Operation = (
    AddService | EditService | DeleteService | AddDestination | EditDestination | DeleteDestination
)


def plan(desired: Table, actual: Table, owned: frozenset[ServiceKey]) -> tuple[Operation, ...]:
    """What turns `actual` into `desired`, in order; `owned` are the services that may go."""
    build: list[Operation] = []
    lower: list[Operation] = []
    remove: list[Operation] = []
    for key, entry in desired.items():
        assert key == entry.service.key
        present = actual.get(key)
        if present is entry:
            continue
        build += _service_steps(entry, present)
        for step in _destination_steps(entry, present):
            if isinstance(step, DeleteDestination):
                remove.append(step)
            elif isinstance(step, EditDestination) and _gives_less(step):
                lower.append(step)
            else:
                build.append(step)
    gone = sorted(key for key in owned if key in actual and key not in desired)
    remove += [DeleteService(key) for key in gone]
    return (*build, *lower, *remove)


def _service_steps(entry: Entry, present: Entry | None) -> list[Operation]:
    if present is None:
        return [AddService(entry.service)]
    if present.service != entry.service:
        return [EditService(entry.service, present.service)]
    return []


def _destination_steps(entry: Entry, present: Entry | None) -> Iterator[Operation]:
    key = entry.service.key
    there = present.destinations if present else {}
    for endpoint, wanted in entry.destinations.items():
        assert endpoint == wanted.endpoint
        found = there.get(endpoint)
        if found is None:
            yield AddDestination(key, wanted)
        elif found != wanted:
            yield EditDestination(key, wanted, found)
    for endpoint in sorted(there.keys() - entry.destinations.keys()):
        yield DeleteDestination(key, there[endpoint])


def _gives_less(step: EditDestination) -> bool:
    return step.destination.weight < step.before.weight


def apply_to(table: Table, operations: Sequence[Operation]) -> Table:
    """The table a kernel holds after the operations; KeyError where it would refuse one."""
    services = {key: entry.service for key, entry in table.items()}
    destinations = {key: dict(entry.destinations) for key, entry in table.items()}
    for operation in operations:
        match operation:
            case AddService(service):
                _must(service.key not in services, operation)
                services[service.key] = service
                destinations[service.key] = {}
            case EditService(service):
                _must(service.key in services, operation)
                services[service.key] = service
            case DeleteService(key):
                del services[key], destinations[key]
            case AddDestination(key, destination):
                _must(destination.endpoint not in destinations[key], operation)
                destinations[key][destination.endpoint] = destination
            case EditDestination(key, destination):
                _must(destination.endpoint in destinations[key], operation)
                destinations[key][destination.endpoint] = destination
            case DeleteDestination(key, destination):
                del destinations[key][destination.endpoint]
            case _:
                assert_never(operation)
    return {key: Entry(service, destinations[key]) for key, service in services.items()}


def _must(holds: bool, operation: Operation) -> None:
    if not holds:
        raise KeyError(describe(operation))


def service_of(operation: Operation) -> ServiceKey:
    """The service an operation is about."""
    match operation:
        case AddService(service) | EditService(service):
            return service.key
        case (
            DeleteService(key) | AddDestination(key) | EditDestination(key) | DeleteDestination(key)
        ):
            return key
        case _:
            assert_never(operation)


def describe(operation: Operation) -> str:
    """An operation in words, for `hadirector plan`, the journal and the log."""
    match operation:
        case AddService(service):
            return f"add service {service.key}: {_service_words(service)}"
        case EditService(service, before):
            return f"change service {service.key}: {_service_changes(before, service)}"
        case DeleteService(key):
            return f"delete service {key}"
        case AddDestination(key, destination):
            words = _destination_words(destination)
            return f"add server {destination.endpoint} to {key}: {words}"
        case EditDestination(key, destination, before):
            changes = _destination_changes(before, destination)
            return f"change server {destination.endpoint} of {key}: {changes}"
        case DeleteDestination(key, destination):
            return f"remove server {destination.endpoint} from {key}"
        case _:
            assert_never(operation)


def _service_words(service: Service) -> str:
    words = [f"scheduler {service.scheduler}"]
    if service.flags & ServiceFlags.PERSISTENT:
        words.append(f"persistence {_persistence_words(service)}")
    if service.flags & ServiceFlags.ONE_PACKET:
        words.append("one packet")
    words += _scheduler_flag_words(service)
    if service.pe_name:
        words.append(f"persistence engine {service.pe_name}")
    return ", ".join(words)


def _persistence_words(service: Service) -> str:
    if not service.flags & ServiceFlags.PERSISTENT:
        return "none"
    return f"{service.timeout} s per /{service.netmask}"


_SCHEDULER_FLAGS = (
    (ServiceFlags.SCHED1, "fallback"),
    (ServiceFlags.SCHED2, "port"),
    (ServiceFlags.SCHED3, "flag-3"),
)


def _scheduler_flag_words(service: Service) -> list[str]:
    """As ipvsadm writes them: sh-fallback, mh-port."""
    return [
        f"{service.scheduler}-{name}" for flag, name in _SCHEDULER_FLAGS if flag in service.flags
    ]


def _service_changes(before: Service, after: Service) -> str:
    return _changes(
        ("scheduler", before.scheduler, after.scheduler),
        ("persistence", _persistence_words(before), _persistence_words(after)),
        ("one packet", _yes(before), _yes(after)),
        (
            "scheduler flags",
            " ".join(_scheduler_flag_words(before)) or "none",
            " ".join(_scheduler_flag_words(after)) or "none",
        ),
        ("persistence engine", before.pe_name or "none", after.pe_name or "none"),
    )


def _yes(service: Service) -> str:
    return "yes" if ServiceFlags.ONE_PACKET in service.flags else "no"


def _destination_words(destination: Destination) -> str:
    words = [_forward_words(destination), f"weight {destination.weight}"]
    if destination.upper_threshold or destination.lower_threshold:
        words.append(f"thresholds {_threshold_words(destination)}")
    return ", ".join(words)


def _forward_words(destination: Destination) -> str:
    if destination.forward is not Forward.TUN:
        return destination.forward.name.lower()
    words = f"tun {destination.tunnel.name.lower()}"
    if destination.tunnel is TunnelType.GUE:
        words += f" port {destination.tunnel_port}"
    return words


def _threshold_words(destination: Destination) -> str:
    return f"{destination.upper_threshold}/{destination.lower_threshold}"


def _destination_changes(before: Destination, after: Destination) -> str:
    return _changes(
        ("weight", str(before.weight), str(after.weight)),
        ("forward", _forward_words(before), _forward_words(after)),
        ("tunnel flags", f"{before.tunnel_flags:#x}", f"{after.tunnel_flags:#x}"),
        ("thresholds", _threshold_words(before), _threshold_words(after)),
    )


def _changes(*differences: tuple[str, str, str]) -> str:
    words = [f"{name} {old} -> {new}" for name, old, new in differences if old != new]
    return ", ".join(words) or "details that have no effect"
