"""Everything of the kernel that is a level without events: sysctls, IPVS timeouts, sync threads,
policies on who is answered.

`settle` makes it so and may be called again and again; what was there before is kept in a file of
the state directory until `restore` gives it back, also across a `kill -9`.
"""

import asyncio
import contextlib
import errno
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from hadirector.core import acceptance as core_acceptance
from hadirector.core import ipvs as values
from hadirector.core import sysctls
from hadirector.core.settings.cluster import Config, ConnectionSync
from hadirector.shell import acceptance, ipvs, owned, sysctl
from hadirector.shell.netlink import KernelError

BORROWED = "borrowed-settings.json"


@dataclass(frozen=True, slots=True)
class Before:
    """What the kernel held before us."""

    sysctls: dict[str, str]
    timeouts: values.Timeouts | None = None
    policies: bool = False  # whether policies of ours may be there (core/acceptance)


class Settle:
    """The settings of one node's kernel; `notice(kind, subject, reason)` tells of trouble."""

    def __init__(
        self, client: ipvs.Ipvs, config: Config, notice: Callable[[str, str, str], None]
    ) -> None:
        self.threads: tuple[values.SyncThread, ...] = ()
        self._ipvs = client
        self._file = f"{config.state_dir}/{BORROWED}"
        self._notice = notice
        self._before = self._kept = _load(self._file)
        self._loan = sysctl.Loan(self._before.sysctls)
        self._acceptance = acceptance.Acceptance(self._before.policies)
        self._node = config.node
        self.troubles: dict[str, str] = {}

    async def settle(self, config: Config) -> None:
        """What the addresses need, then what IPVS does; and a note of what it was before."""
        instances = config.instances
        policies = core_acceptance.policies(instances, config.services, acceptance.is_local)
        self.trouble("acceptance", await self._acceptance.settle(policies))
        if self._acceptance.repaired:
            reason = "repaired: somebody had removed policies of accept: false"
            self._notice("drift", "accept", reason)
        self._apply("vmac", sysctls.for_vmac(sorted({i.interface for i in instances if i.vmac})))
        await self._settle_ipvs(config)
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
        ipv6 = any(key.family == 6 for service in config.services for key in service.keys)
        wanted = sysctls.for_director(ipv6)
        if config.connection_sync is not None:
            wanted += sysctls.for_sync(config.timeouts)
        self._apply("sysctl", wanted)
        for kind, step in (
            ("ipvs_timeouts", self._settle_timeouts),
            ("connection_sync", self._settle_threads),
        ):
            try:
                await step(config)
                self.trouble(kind, "")
            except KernelError as error:
                self.trouble(kind, str(error))

    def _apply(self, kind: str, wanted: tuple[sysctls.Sysctl, ...]) -> None:
        """rmem_max is not there in a network namespace: sysctl.d is the place for it. An interface
        that is not there is told by its instance."""
        troubles = [
            trouble
            for trouble in self._loan.apply(wanted)
            if not (trouble.missing and trouble.name.startswith(("net.core.", "net/ipv4/conf/")))
        ]
        self.trouble(kind, "; ".join(map(str, troubles)))

    def trouble(self, kind: str, reason: str) -> None:
        """A level: told when it becomes another one; empty when all is well again."""
        if reason and reason != self.troubles.get(kind):
            self._notice(kind, self._node, reason)
        self.troubles[kind] = reason
        if not reason:
            del self.troubles[kind]

    async def restore(self) -> None:
        """Give everything back as it was found."""
        for thread in self.threads:
            with contextlib.suppress(KernelError):
                await self._ipvs.stop_thread(thread.role)
        if self._before.timeouts is not None:
            with contextlib.suppress(KernelError):
                await self._ipvs.set_timeouts(self._before.timeouts)
        self._loan.restore()
        await self._acceptance.restore()
        await asyncio.to_thread(_forget, self._file)

    async def _settle_timeouts(self, config: Config) -> None:
        wanted = config.timeouts
        if wanted == values.Timeouts():
            return
        now = await self._ipvs.get_timeouts()
        goal = values.Timeouts(
            wanted.tcp or now.tcp, wanted.tcp_fin or now.tcp_fin, wanted.udp or now.udp
        )
        if goal == now:
            return
        if self._before.timeouts is None:
            self._before = replace(self._before, timeouts=now)
        await self._ipvs.set_timeouts(goal)

    async def _settle_threads(self, config: Config) -> None:
        sync = config.connection_sync
        running = await self._ipvs.threads()
        if sync is None:
            # Threads of somebody else's are left alone; ours stop when the section goes.
            for thread in self.threads:
                await self._ipvs.stop_thread(thread.role)
            self.threads = ()
            return
        for wanted in _threads(sync):
            if not any(wanted.satisfied_by(thread) for thread in running):
                await self._start(wanted)
        self.threads = await self._ipvs.threads()

    async def _start(self, wanted: values.SyncThread) -> None:
        try:
            await self._ipvs.start_thread(wanted)
        except KernelError as error:
            if error.errno == errno.ENODEV:
                text = f"no interface {wanted.interface}: connection sync waits for it"
                raise KernelError("connection_sync", errno.ENODEV, text) from error
            raise

    async def _keep(self) -> None:
        sysctls_before = dict(self._loan.recorded)
        before = Before(sysctls_before, self._before.timeouts, self._acceptance.holds)
        if before == self._kept:
            return
        content = msgspec.json.encode(before)
        try:
            await asyncio.to_thread(owned.replace_file, self._file, content)
        except OSError as error:
            text = f"{self._file}: {error.strerror or error}; make room, it is tried again"
            self.trouble("settings_not_saved", text)
        else:
            self._kept = before
            self.trouble("settings_not_saved", "")


def _threads(sync: ConnectionSync) -> tuple[values.SyncThread, ...]:
    """Both threads, on both nodes, all the time: roles change without restarting one."""
    return tuple(
        values.SyncThread(role, sync.interface, sync.sync_id, sync.group, sync.port)
        for role in (values.SyncRole.MASTER, values.SyncRole.BACKUP)
    )


def _load(path: str) -> Before:
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Before)
    except (OSError, msgspec.MsgspecError):
        return Before({})


def _forget(path: str) -> None:
    Path(path).unlink(missing_ok=True)
