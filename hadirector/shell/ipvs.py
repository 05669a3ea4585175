"""The kernel's IPVS table over generic netlink: read whole, changed in batches.

The kernel tells nobody when its table changes, so the table is read again and again; a read is
one dump of the services and one of each service's destinations on one socket.
"""

import errno
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from hadirector.core import plan
from hadirector.core.address import Endpoint
from hadirector.core.ipvs import (
    Counters,
    Destination,
    DestinationUse,
    Entry,
    Service,
    ServiceKey,
    SyncRole,
    SyncThread,
    Table,
    Timeouts,
    Usage,
)
from hadirector.shell import ipvs_codec as codec
from hadirector.shell import kernel_modules
from hadirector.shell.ipvs_layout import DestinationReader, Row
from hadirector.shell.netlink import (
    FIRST_OF_FAMILY,
    Conversation,
    KernelError,
    Refusal,
    Request,
    attributes,
    text_attribute,
)

_NETLINK_GENERIC = 16
_CONTROL = FIRST_OF_FAMILY  # GENL_ID_CTRL
_CONTROL_GET_FAMILY = 3
_CONTROL_FAMILY_ID, _CONTROL_FAMILY_NAME = 1, 2
_FAMILY_NAME = "IPVS"
_STOP_PATIENCE = 0.3  # seconds


class IpvsMissing(KernelError):
    """The kernel has no IPVS."""

    def __init__(self) -> None:
        super().__init__("asking for IPVS", errno.ENOENT, "the kernel has no IPVS: modprobe ip_vs")


@dataclass(frozen=True, slots=True)
class Failure:
    """A step of a plan the kernel refused, with the reason in words."""

    operation: plan.Operation
    errno: int
    text: str

    def __str__(self) -> str:
        return f"{plan.describe(self.operation)}: {self.text}"


class Ipvs:
    """IPVS of the network namespace this is made in.

    Every method raises KernelError when the kernel refuses the question as such or does not
    answer within `patience` seconds, and IpvsMissing when there is no IPVS to ask.
    """

    def __init__(self, patience: float = 2.0) -> None:
        self._conversation = Conversation(_NETLINK_GENERIC, patience)
        self._family = 0
        self._destinations = DestinationReader()

    def close(self) -> None:
        """Gives the socket back."""
        self._conversation.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- The table ---

    async def read(self) -> tuple[Table, Usage]:
        """All services and destinations with what the kernel counts of them.

        Connections are of this moment; totals and rates are the kernel's sums of every 2 s.
        """
        table: dict[ServiceKey, Entry] = {}
        services: dict[ServiceKey, Counters] = {}
        uses: dict[tuple[ServiceKey, Endpoint], DestinationUse] = {}
        for service, counters in await self._read_services():
            key = service.key
            services[key] = counters
            destinations: dict[Endpoint, Destination] = {}
            for destination, use in await self._read_destinations(key):
                destinations[destination.endpoint] = destination
                if use is not codec.UNUSED:
                    uses[key, destination.endpoint] = use
            table[key] = Entry(service, destinations)
        return table, Usage(services, uses)

    async def apply(self, operations: Sequence[plan.Operation]) -> tuple[Failure, ...]:
        """Carries out all operations in order, and goes on after a refused one.

        The destinations of a service that could not be added are not reported one by one.
        """
        family = await self._resolve()
        requests = (Request(family, codec.encode_operation(each)) for each in operations)
        refusals = await self._conversation.execute(requests, "changing IPVS")
        if any(refusal.errno == errno.EPERM for refusal in refusals):
            raise _explained(KernelError("changing IPVS", errno.EPERM))
        return tuple(_failures(operations, refusals))

    async def zero(self, key: ServiceKey | None = None) -> None:
        """Sets the counters of one service and its destinations, or of all, to zero."""
        await self._order(codec.ZERO, b"" if key is None else codec.encode_key(key))

    # --- Timeouts and facts ---

    async def get_timeouts(self) -> Timeouts:
        """How long idle connections are kept."""
        return codec.decode_timeouts(await self._ask(codec.GET_CONFIG))

    async def set_timeouts(self, timeouts: Timeouts) -> None:
        """A timeout of 0 stays as it is."""
        await self._order(codec.SET_CONFIG, codec.encode_timeouts(timeouts))

    async def get_info(self) -> codec.Info:
        """IPVS's version and the size of its connection table."""
        return codec.decode_info(await self._ask(codec.GET_INFO))

    # --- Sync threads ---

    async def threads(self) -> tuple[SyncThread, ...]:
        """The sync threads that run, master first."""
        request = await self._request(codec.GET_DAEMON)
        bodies = await self._dump(request, "reading IPVS sync threads")
        return tuple(sorted(map(codec.decode_thread, bodies), key=lambda each: each.role))

    async def start_thread(self, thread: SyncThread) -> None:
        """Afterwards this thread runs; one of its role with other settings was stopped first."""
        for running in await self.threads():
            if thread.satisfied_by(running):
                return
            if running.role is thread.role:
                await self.stop_thread(thread.role)
        await self._order(codec.NEW_DAEMON, codec.encode_thread(thread))

    async def stop_thread(self, role: SyncRole) -> None:
        """Afterwards no thread of this role runs.

        A thread stopped before it ever ran is stopped, but the kernel never says so: after a
        short wait the list of threads tells.
        """
        try:
            await self._order(codec.DEL_DAEMON, codec.encode_role(role), _STOP_PATIENCE)
        except KernelError as error:
            if error.errno == errno.ESRCH:
                return
            if error.errno != errno.ETIMEDOUT:
                raise
            if any(running.role is role for running in await self.threads()):
                raise

    # --- Netlink ---

    async def _read_services(self) -> list[tuple[Service, Counters]]:
        """ENOENT means that ip_vs was unloaded and loaded again: its family has a new number."""
        what = "reading IPVS services"
        try:
            bodies = await self._dump(await self._request(codec.GET_SERVICE), what)
        except KernelError as error:
            if error.errno != errno.ENOENT or isinstance(error, IpvsMissing):
                raise
            self._family = 0
            bodies = await self._dump(await self._request(codec.GET_SERVICE), what)
        return [codec.decode_service(body) for body in bodies]

    async def _read_destinations(self, key: ServiceKey) -> Iterator[Row]:
        request = await self._request(codec.GET_DEST, codec.encode_key(key))
        what, page = "reading IPVS destinations", self._destinations.page
        try:
            found = await self._conversation.read(request, what, page)
        except KernelError as error:
            raise _explained(error) from error
        return (
            codec.decode_destination(each, key.family) if isinstance(each, memoryview) else each
            for each in found
        )

    async def _request(self, command: int, *parts: bytes) -> Request:
        return Request(await self._resolve(), codec.command(command, *parts))

    async def _dump(self, request: Request, what: str) -> list[memoryview]:
        try:
            return await self._conversation.dump(request, what)
        except KernelError as error:
            raise _explained(error) from error

    async def _ask(self, command: int) -> memoryview:
        try:
            return await self._conversation.get(await self._request(command), "asking IPVS")
        except KernelError as error:
            raise _explained(error) from error

    async def _order(self, command: int, body: bytes, patience: float | None = None) -> None:
        """One request that is refused as a whole or not at all."""
        request = await self._request(command, body)
        what = _ORDERS[command]
        for refusal in await self._conversation.execute([request], what, patience):
            raise _explained(KernelError(what, refusal.errno, refusal.text))

    async def _resolve(self) -> int:
        """The number the kernel gave the family IPVS when ip_vs was loaded."""
        if not self._family:
            body = codec.command(
                _CONTROL_GET_FAMILY, text_attribute(_CONTROL_FAMILY_NAME, _FAMILY_NAME)
            )
            try:
                reply = await self._conversation.get(Request(_CONTROL, body), "looking for IPVS")
            except KernelError as error:
                if error.errno == errno.ENOENT:
                    raise IpvsMissing from error
                raise
            found = dict(attributes(reply[codec.GENERIC_HEADER.size :]))
            number = bytes(found.get(_CONTROL_FAMILY_ID, b""))
            self._family = int.from_bytes(number, sys.byteorder)
        return self._family


_ORDERS = {
    codec.ZERO: "zeroing IPVS counters",
    codec.SET_CONFIG: "setting IPVS timeouts",
    codec.NEW_DAEMON: "starting an IPVS sync thread",
    codec.DEL_DAEMON: "stopping an IPVS sync thread",
}


def _explained(error: KernelError) -> KernelError:
    """EPERM with its cure; any other as it is."""
    if error.errno == errno.EPERM:
        return KernelError(error.operation, error.errno, "not permitted: CAP_NET_ADMIN is needed")
    return error


def _failures(
    operations: Sequence[plan.Operation], refusals: Sequence[Refusal]
) -> Iterator[Failure]:
    absent: set[ServiceKey] = set()
    for refusal in refusals:
        operation = operations[refusal.place]
        key = plan.service_of(operation)
        if isinstance(operation, plan.AddService):
            absent.add(key)
        elif refusal.errno == errno.ESRCH and key in absent:
            continue
        yield Failure(operation, refusal.errno, _reason(operation, refusal))


def _reason(operation: plan.Operation, refusal: Refusal) -> str:
    """What the kernel's bare number means for this operation (ip_vs_ctl.c)."""
    match operation, refusal.errno:
        case (plan.AddService(service) | plan.EditService(service), errno.ENOENT):
            return _missing(service)
        case (plan.AddService(), errno.EEXIST):
            return "the service exists already"
        case (plan.AddDestination(), errno.EEXIST):
            return "the server is in the service already"
        case (plan.EditDestination() | plan.DeleteDestination(), errno.ENOENT):
            return "the server is not in the service"
        case (_, errno.ESRCH):
            return "there is no such service"
        case (plan.AddDestination() | plan.EditDestination(), errno.ERANGE):
            return "a weight below 0, or the lower threshold is above the upper"
        case (plan.AddDestination(_, destination), errno.EINVAL):
            return f"the kernel does not take {destination.endpoint} as a server of this service"
    return refusal.text


def _missing(service: Service) -> str:
    """A scheduler or engine that the kernel does not have, and those it has."""
    text = f"scheduler {service.scheduler} is not in this kernel"
    there = kernel_modules.schedulers()
    if service.pe_name and (not there or service.scheduler in there):
        return f"persistence engine {service.pe_name} is not in this kernel (modprobe ip_vs_pe_sip)"
    if not there:
        return f"{text} (modprobe ip_vs_{service.scheduler})"
    return f"{text}, which has {', '.join(there)}"
