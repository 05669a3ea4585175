"""Everything of the kernel that is a level without events: sysctls, IPVS timeouts, sync threads,
policies on who is answered.

`settle` makes it so and may be called again and again; what was there before is kept in a file of
the state directory until `restore` gives it back, also across a `kill -9`.
"""

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import msgspec

from hadirector.core import acceptance as core_acceptance
from hadirector.core import ipvs as values
from hadirector.core import sysctls
from hadirector.core.address import family
from hadirector.core.own_sync import LONGEST_PACKET
from hadirector.core.relay_wire import PAYLOAD
from hadirector.core.repairs import Line, Repairs
from hadirector.core.settings.cluster import Config, ConnectionSync, SyncTransport
from hadirector.core.settings.instances import Instance
from hadirector.shell import (
    acceptance,
    boot,
    child,
    ipvs,
    private_link,
    private_tap,
    state_file,
    sync_interface,
    sysctl,
)
from hadirector.shell.netlink import KernelError
from hadirector.shell.sync_wire import HEADERS

log = logging.getLogger(__name__)

BORROWED = "borrowed-settings.json"
# Other sysctls are given back at the end: what was forwarded before a reload still passes, and an
# address or a virtual MAC may be on its way out just then.
SOON = ("net.ipv4.vs.", "net.ipv4.ping_group_range", "net.ipv4.conf.all.accept_local")
STEP_PATIENCE = 2.0  # seconds for each step of giving back


@dataclass(frozen=True, slots=True)
class Before:
    """What the kernel held before us, and the sync threads it has from us. Noted with the boot: the
    next one begins with the operator's values, and ours are no longer there to be taken back."""

    boot: str
    sysctls: dict[str, str] = field(default_factory=dict)
    timeouts: values.Timeouts | None = None
    threads: tuple[values.SyncThread, ...] = ()
    policies: bool = False  # whether policies of ours may be there (core/acceptance)


class Settle:
    """The settings of one node's kernel; `notice(kind, subject, reason)` tells of trouble."""

    def __init__(
        self,
        client: ipvs.Ipvs,
        config: Config,
        notice: Callable[[str, str, str], None],
        root: Path = sysctl.ROOT,
    ) -> None:
        self.threads: tuple[values.SyncThread, ...] = ()
        self._ipvs = client
        self._file = f"{config.state_dir}/{BORROWED}"
        self._notice = notice
        self._note = state_file.StateFile(self._file)
        self._before = self._kept = _load(self._file)
        self._loan = sysctl.Loan(self._before.sysctls, root)
        self._acceptance = acceptance.Acceptance(self._before.policies)
        self._node = config.node
        self._repairs = Repairs()
        self._drifted: list[Line] = []  # in this turn
        self._wanted: set[str] = set()  # names of sysctls, in this turn
        self._timeouts_left: values.Timeouts | None = None
        self._ours_ran: tuple[values.SyncThread, ...] = ()
        self._bound: tuple[str, int] | None = None  # the sync interface and its index
        self._private: private_link.PrivateLink | None = private_link.PrivateLink()
        self.troubles: dict[str, str] = {}

    @property
    def unguarded(self) -> str:
        """What of the private interface is left open to programs of this host; empty: nothing, or
        there is none."""
        return self._private.open_way_out if self._private is not None else ""

    async def settle(self, config: Config) -> None:
        """What the addresses need, then what IPVS does; and a note of what it was before."""
        self._drifted = []
        self._wanted = set()
        await self._settle_acceptance(config)
        await self._settle_sysctls("addresses", lambda: _for_instances(config.instances))
        await self._settle_sysctls(
            "checks", lambda: sysctls.for_checks(config.services, config.checks)
        )
        await self._settle_ipvs(config)
        for subject, reason in self._repairs.tell(self._drifted, child.now()):
            self._notice("drift", subject, reason)
        await self._keep()

    async def _settle_ipvs(self, config: Config) -> None:
        """Sysctls first (sync threads read some when they start), then timeouts, then threads.

        Without IPVS there is nothing to set, and that is told by whoever reads its table.
        """
        try:
            await self._ipvs.get_info()
        except ipvs.IpvsMissing:
            return
        except KernelError as error:
            self.trouble("ipvs_settings", str(error))
            return
        await self._settle_sysctls("sysctl", lambda: self._for_ipvs(config))
        await asyncio.to_thread(self._return_unwanted)
        for kind, step in (
            ("ipvs_timeouts", self._settle_timeouts),
            ("connection_sync", self._settle_threads),
        ):
            try:
                await step(config)
                self.trouble(kind, "")
            except KernelError as error:
                self.trouble(kind, str(error))

    def trouble(self, kind: str, reason: str) -> None:
        """A level: told when it becomes another one; empty when all is well again."""
        if reason and reason != self.troubles.get(kind):
            self._notice(kind, self._node, reason)
        self.troubles[kind] = reason
        if not reason:
            del self.troubles[kind]

    async def restore(self) -> None:
        """Give everything back as it was found: each step has its time and the next ones come
        whatever it does, the sysctls before those that wait for the kernel."""
        await self._give_back("sysctls", asyncio.to_thread(self._loan.restore))
        await self._give_back("policies", self._acceptance.restore())
        await self._give_back("sync threads", self._stop_threads(self._before.threads))
        remove = private_link.PrivateLink().remove
        await self._give_back("private interface", asyncio.to_thread(remove))
        if self._before.timeouts is not None:
            await self._give_back("timeouts", self._ipvs.set_timeouts(self._before.timeouts))
        await self._give_back("note", asyncio.to_thread(_forget, self._file))

    async def _give_back(self, what: str, step: Awaitable[object]) -> None:
        try:
            async with asyncio.timeout(STEP_PATIENCE):
                await step
        except (OSError, TimeoutError, KernelError) as error:
            log.warning("leaving: %s: %s", what, str(error) or "took too long")

    async def _settle_acceptance(self, config: Config) -> None:
        policies = core_acceptance.policies(config.instances, config.services, acceptance.is_local)
        self.trouble("acceptance", await self._acceptance.settle(policies))
        if self._acceptance.repaired:
            reason = "repaired: somebody had removed policies of accept: false"
            self._drifted.append(("accept", reason))

    async def _settle_sysctls(
        self, kind: str, choose: Callable[[], tuple[sysctls.Sysctl, ...]]
    ) -> None:
        troubles, drifted = await asyncio.to_thread(self._apply, choose)
        self._drifted += drifted
        self.trouble(kind, "; ".join(map(str, troubles)))

    def _for_ipvs(self, config: Config) -> tuple[sysctls.Sysctl, ...]:
        nat = sysctls.nat_families(config.services)
        heeding = self._loan.heeding() if 6 in nat else ()
        hashing = sysctls.hashes_all(config.services)
        wanted = sysctls.for_director(nat, heeding, dict(config.ipvs), hashing)
        return wanted + (sysctls.for_sync(config.timeouts) if config.connection_sync else ())

    def _apply(
        self, choose: Callable[[], tuple[sysctls.Sysctl, ...]]
    ) -> tuple[list[sysctl.Trouble], tuple[Line, ...]]:
        """What could not be set, and what somebody had changed. Blocks.

        rmem_max is not there in a network namespace: sysctl.d is the place for it. An interface
        that is not there is told by its instance.
        """
        wanted = choose()
        self._wanted |= {setting.name for setting in wanted}
        drifted = self._loan.drifted(wanted)
        troubles = [
            trouble
            for trouble in self._loan.apply(wanted)
            if not (trouble.missing and trouble.name.startswith(("net.core.", "net.ipv4.conf.")))
        ]
        return troubles, drifted

    def _return_unwanted(self) -> None:
        """What the configuration asks for no more is given back at once, where nobody still leans
        on it. Blocks."""
        names = [n for n in self._loan.recorded if n not in self._wanted and n.startswith(SOON)]
        if names:
            self._loan.restore(names)

    async def _settle_timeouts(self, config: Config) -> None:
        wanted = config.timeouts
        if wanted == values.Timeouts():
            return
        now = await self._ipvs.get_timeouts()
        goal = values.Timeouts(
            wanted.tcp or now.tcp, wanted.tcp_fin or now.tcp_fin, wanted.udp or now.udp
        )
        left, self._timeouts_left = self._timeouts_left, goal
        if goal == now:
            return
        if left not in (None, now):
            text = f"were set to {_words(now)}, set back to {_words(goal)} (tcp, tcp_fin, udp)"
            self._drifted.append(("IPVS timeouts", text))
        if self._before.timeouts is None:
            self._before = replace(self._before, timeouts=now)
        await self._ipvs.set_timeouts(goal)

    async def _settle_threads(self, config: Config) -> None:
        """Threads of somebody else's are left alone; ours stop when nobody wants them, also those
        that a former life left."""
        wanted = await self._wanted_threads(config.connection_sync)
        sealed = any(thread.interface == private_link.NAME for thread in wanted)
        if sealed:
            await self._settle_private()
        roles = {thread.role for thread in wanted}
        await self._stop_threads([t for t in self._before.threads if t.role not in roles])
        running = await self._ipvs.threads()
        for thread in wanted:
            if not any(thread.satisfied_by(each) for each in running):
                mine = self._before.threads
                if thread not in mine:  # noted before it runs: a kill must not hide whose it is
                    self._before = replace(self._before, threads=(*mine, thread))
                    await self._keep()
                if thread in self._ours_ran:
                    self._drifted.append(
                        (f"sync thread {thread.role.name.lower()}", _gone(thread, running))
                    )
                await self._start(thread)
                others = tuple(t for t in mine if t.role is not thread.role)
                self._before = replace(self._before, threads=(*others, thread))
        self._ours_ran = wanted
        self.threads = await self._ipvs.threads() if wanted else ()
        if not sealed and self._private is not None:
            await asyncio.to_thread(self._private.remove)
            self._private = None
            self.trouble("private_interface", "")

    async def _wanted_threads(self, sync: ConnectionSync | None) -> tuple[values.SyncThread, ...]:
        """Both threads, on both nodes, all the time: roles change without restarting one. Where the
        daemons carry what they say, they say it where nobody else hears it. Threads on an interface
        that was removed speak to nobody and hear nobody, also once there is another of its name."""
        bound, self._bound = self._bound, None
        if sync is None:
            return ()
        roles = (values.SyncRole.MASTER, values.SyncRole.BACKUP)
        if sync.transport is SyncTransport.AUTHENTICATED:
            where = (private_link.NAME, sync.sync_id, private_tap.GROUP, private_tap.PORT)
            return tuple(values.SyncThread(role, *where, maxlen=PAYLOAD) for role in roles)
        self._bound = bound
        found = sync_interface.look(sync.interface)
        if not found.index:
            raise _waits_for(sync.interface)
        self._bound = (sync.interface, found.index)
        if bound is not None and bound[0] == sync.interface and bound != self._bound:
            await self._stop_threads(self._before.threads)
            self._ours_ran = ()
            text = "was removed and made anew: sync threads were started again on it"
            self._drifted.append((sync.interface, text))
        # Left to itself the kernel speaks in packets of 1500 bytes whatever the interface takes;
        # in fragments a smaller one carries them, and one that is lost costs all.
        longest = min(found.mtu, LONGEST_PACKET) - HEADERS[family(sync.group)]
        return tuple(
            values.SyncThread(
                role,
                *(sync.interface, sync.sync_id, sync.group, sync.port),
                maxlen=longest if role is values.SyncRole.MASTER else 0,
            )
            for role in roles
        )

    async def _settle_private(self) -> None:
        """The interface that leads nowhere; with a new one, threads on the old one hear nothing.
        Whatever comes of it, what was to be sealed does not go on unsealed."""
        open_ones = [t for t in self._before.threads if t.interface != private_link.NAME]
        await self._stop_threads(open_ones)
        again = self._private is not None and self._private.had
        link = self._private = self._private or private_link.PrivateLink()
        if await asyncio.to_thread(link.ensure):
            await self._stop_threads(self._before.threads)
            self._ours_ran = ()
            if again:
                self._drifted.append((private_link.NAME, "was removed by somebody; made again"))
        if link.shut_again:
            self._drifted.append(
                (private_link.NAME, "its guard was opened by somebody; shut again")
            )
        self.trouble("private_interface", link.open_gate)

    async def _stop_threads(self, ours: Sequence[values.SyncThread]) -> None:
        """Stop these, where they are still as we started them; then they are ours no more."""
        if not ours:
            return
        running = await self._ipvs.threads()
        for thread in ours:
            if any(thread.satisfied_by(each) for each in running):
                await self._ipvs.stop_thread(thread.role)
        kept = tuple(thread for thread in self._before.threads if thread not in ours)
        self._before = replace(self._before, threads=kept)

    async def _start(self, wanted: values.SyncThread) -> None:
        try:
            await self._ipvs.start_thread(wanted)
        except KernelError as error:
            if error.errno == errno.ENODEV:
                raise _waits_for(wanted.interface) from error
            raise

    async def _keep(self) -> None:
        before = replace(
            self._before,
            sysctls=dict(self._loan.recorded),
            policies=self._acceptance.holds,
        )
        if before == self._kept:
            await self._note.retry()
        else:
            self._kept = before
            await self._note.keep(partial(msgspec.json.encode, before))
        trouble = self._note.trouble
        text = f"{trouble}; make room, it is tried again" if trouble else ""
        self.trouble("settings_not_saved", text)


def _waits_for(interface: str) -> KernelError:
    text = f"no interface {interface}: connection sync waits for it"
    return KernelError("connection_sync", errno.ENODEV, text)


def _gone(thread: values.SyncThread, running: Sequence[values.SyncThread]) -> str:
    other = next((each for each in running if each.role is thread.role), None)
    if other is None:
        return "was stopped by somebody; started again"
    return f"was replaced by one on {other.interface} with id {other.sync_id}; ours started again"


def _words(timeouts: values.Timeouts) -> str:
    return f"{timeouts.tcp} {timeouts.tcp_fin} {timeouts.udp}"


def _for_instances(instances: Sequence[Instance]) -> tuple[sysctls.Sysctl, ...]:
    virtual = [v for i in instances for v in (*i.virtual_addresses, *i.excluded_addresses)]
    parents = sorted({i.interface for i in instances if i.vmac})
    return sysctls.for_addresses(virtual) + sysctls.for_vmac(parents)


def _load(path: str) -> Before:
    """What was noted in this boot."""
    now = Before(boot.identity())
    try:
        noted = msgspec.json.decode(Path(path).read_bytes(), type=Before)
    except (OSError, msgspec.MsgspecError):
        return now
    return noted if noted.boot == now.boot else now


def _forget(path: str) -> None:
    Path(path).unlink(missing_ok=True)
