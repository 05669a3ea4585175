"""All facts of this host for one configuration: what waits for answers does so side by side."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

from hadirector.core.address import Address
from hadirector.core.doctor import host, wishes
from hadirector.core.doctor.case import Case
from hadirector.core.doctor.facts import (
    AdvertSeen,
    ArpAnswer,
    Asked,
    Facts,
    Group,
    Managers,
    Modules,
    Port,
    Program,
)
from hadirector.core.errors import HadirectorError
from hadirector.core.settings.cluster import Config, SyncTransport
from hadirector.shell import kernel_modules
from hadirector.shell.doctor import (
    adverts,
    arp,
    daemon,
    kernel,
    managers,
    network,
    peers,
    programs,
    servers,
    sync_way,
)

T = TypeVar("T")

_ADVERTS = 3  # intervals to listen
_NO_ROOT = "not permitted: run it as root (CAP_NET_ADMIN and CAP_NET_RAW)"


def gather(config: Config, status: dict[str, Any] | None, why_not: str) -> Facts:
    """`status` is the daemon's; None: none answers, `why_not` says why. Takes some seconds."""
    with _Finding() as found:
        base, neighbours = _base(found, config, status, why_not)
        case = Case(config, base)
        waiting = _start(found, case)
        answers: tuple[ArpAnswer, ...] = found.out(
            Group.ARP, lambda: arp.ask(wishes.arp(case), base.links), ()
        )
        macs = neighbours | {answer.address: answer.mac for answer in answers}
        ways = servers.Ways(base.links, base.paths, macs)
        questions = wishes.questions(case)
        some = questions[: wishes.MOST_QUESTIONS]
        asked: tuple[Asked, ...] = found.out(Group.SERVERS, lambda: servers.ask(some, ways), ())
        facts = waiting()
    left_out = len(questions) - len(some)
    return replace(facts, arp=answers, asked=asked, left_out=left_out, unknown=found.unknown)


class _Finding(AbstractContextManager["_Finding"]):
    """Finds things out, and notes what could not be."""

    def __init__(self) -> None:
        self.unknown: dict[Group, str] = {}
        self._pool = ThreadPoolExecutor(8)

    def out(self, group: Group, how: Callable[[], T], otherwise: T) -> T:
        """What `how` brings; `otherwise` where it cannot."""
        try:
            return how()
        except PermissionError:
            self.unknown[group] = _NO_ROOT
        except (OSError, HadirectorError) as error:
            text = str(error)
            self.unknown[group] = _NO_ROOT if "not permitted" in text else text
        return otherwise

    def beside(self, group: Group, how: Callable[[], T], otherwise: T) -> "Future[T]":
        """The same in a thread."""
        return self._pool.submit(self.out, group, how, otherwise)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._pool.shutdown()


def _base(
    found: _Finding, config: Config, status: dict[str, Any] | None, why_not: str
) -> tuple[Facts, dict[Address, str]]:
    """What the other questions follow from, and the neighbours the kernel knows."""
    wires = found.out(
        Group.NETWORK,
        lambda: network.read(wishes.destinations(config), wishes.BEYOND),
        network.Network(),
    )
    if status is None:
        found.unknown[Group.DAEMON] = why_not
    facts = Facts(
        links=wires.links,
        addresses=wires.addresses,
        paths=wires.paths,
        beyond=wires.beyond,
        daemon=None if status is None else daemon.read(status),
    )
    return facts, wires.neighbours


def _start(found: _Finding, case: Case) -> Callable[[], Facts]:
    """Everything that can go on by itself; the call returned waits for it."""
    config, base = case.config, case.facts
    sync = config.connection_sync
    relayed = sync is not None and sync.transport is SyncTransport.AUTHENTICATED
    if relayed:
        found.unknown[Group.SYNC] = "records go sealed from daemon to daemon"
    seconds = _ADVERTS * max((i.advert_int for i in config.instances), default=0.0) + 0.2
    interfaces = {instance.interface for instance in config.instances}
    names = wishes.sysctls(config, frozenset(base.links))
    alive = {
        name for name, peer in (base.daemon.peers if base.daemon else {}).items() if peer.alive
    }
    silent = [(n.name, n.address) for n in config.peers if n.address and n.name not in alive]
    no_table: tuple[Any, Any] = ({}, None)

    sysctls: Future[dict[str, str]] = found.beside(
        Group.SYSCTLS, lambda: kernel.settings(names), {}
    )
    table = found.beside(Group.IPVS, kernel.table, no_table)
    modules = found.beside(Group.MODULES, kernel_modules.read, Modules())
    tracked = found.beside(Group.CONNTRACK, kernel.conntrack, None)
    rivals: Future[tuple[Program, ...]] = found.beside(
        Group.PROGRAMS, lambda: programs.look(host.RIVALS), ()
    )
    managed = found.beside(Group.MANAGERS, lambda: _managers(base), Managers())
    ports: Future[dict[str, Port]] = found.beside(
        Group.PEERS, lambda: peers.ask(silent, config.peer_port), {}
    )
    passage = found.beside(
        Group.SYNC, lambda: None if sync is None or relayed else sync_way.look(sync), None
    )
    heard: Future[tuple[AdvertSeen, ...]] = found.beside(
        Group.ADVERTS, lambda: adverts.listen(interfaces, seconds) if interfaces else (), ()
    )

    def wait() -> Facts:
        entries, usage = table.result()
        own = () if usage is None else kernel.own_connections(base.local(), usage)
        return replace(
            base,
            sysctls=sysctls.result(),
            table=entries,
            own_connections=own,
            modules=modules.result(),
            conntrack=tracked.result(),
            programs=rivals.result(),
            managers=managed.result(),
            ports=ports.result(),
            passage=passage.result(),
            adverts=heard.result(),
        )

    return wait


def _managers(base: Facts) -> Managers:
    running = {program.name for program in programs.look(managers.PROGRAMS)}
    return managers.look(running, base.links)
