"""Settings of the kernel: what is ours across lives, and what a reboot makes the operator's."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hadirector.core.address import Address
from hadirector.core.ipvs import SyncRole, SyncThread, Timeouts
from hadirector.core.settings.cluster import Config, ConnectionSync, ResyncPolicy
from hadirector.shell import boot, private_link, settle, sync_interface
from hadirector.shell.netlink import KernelError
from hadirector.shell.settle import Settle
from hadirector.shell.sync_interface import SyncInterface
from hadirector.shell.sysctl import read
from tests.core import farm, syncing

NODEST = "net.ipv4.vs.expire_nodest_conn"
SYNC = replace(syncing.SYNC, interface="eth9", resync=ResyncPolicy.NEVER)
FOREIGN = SyncThread(SyncRole.BACKUP, "eth7", 7, Address("224.0.0.81"), 8848)


class Kernel:
    """What of IPVS is asked here; it outlives the directors."""

    def __init__(self) -> None:
        self.timeouts = Timeouts(900, 120, 300)
        self.running: list[SyncThread] = []
        self.starts = 0

    async def get_info(self) -> None:
        pass

    async def get_timeouts(self) -> Timeouts:
        return self.timeouts

    async def set_timeouts(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts

    async def threads(self) -> tuple[SyncThread, ...]:
        return tuple(self.running)

    async def start_thread(self, thread: SyncThread) -> None:
        self.running = [t for t in self.running if t.role is not thread.role]
        self.starts += 1
        self.running.append(replace(thread, ttl=1, maxlen=thread.maxlen or 1472))

    async def stop_thread(self, role: SyncRole) -> None:
        self.running = [t for t in self.running if t.role is not role]


class Host:
    """A host with directors, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kernel = Kernel()
        self.interface = SyncInterface(7, 1500, "")
        self.boots("0")

    def boots(self, nodest: str) -> None:
        """The kernel begins anew, with the operator's value from sysctl.d."""
        self.kernel = Kernel()
        path = self.folder / "proc" / NODEST.replace(".", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(nodest + "\n")

    def director(self, notice: Callable[[str, str, str], None] = lambda *_: None) -> Settle:
        config = self.config()
        client = self.kernel
        return Settle(client, config, notice, self.folder / "proc")  # type: ignore[arg-type]  # what of it is used

    def config(self, sync: ConnectionSync | None = None, tcp: int = 0) -> Config:
        timeouts = Timeouts(tcp=tcp)
        return replace(
            farm.CONFIG, state_dir=str(self.folder), connection_sync=sync, timeouts=timeouts
        )

    @property
    def nodest(self) -> str:
        return read(NODEST, self.folder / "proc")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(boot, "identity", lambda: "first")
    made = Host(tmp_path)
    monkeypatch.setattr(sync_interface, "look", lambda _: made.interface)
    return made


async def test_what_a_killed_director_borrowed_is_given_back_by_the_next(host: Host) -> None:
    await host.director().settle(host.config(tcp=60))
    assert (host.nodest, host.kernel.timeouts.tcp) == ("1", 60)

    after = host.director()
    await after.settle(host.config(tcp=60))
    await after.restore()

    assert (host.nodest, host.kernel.timeouts.tcp) == ("0", 900)


async def test_after_a_reboot_the_operators_new_values_are_what_is_given_back(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.director().settle(host.config(tcp=60))  # then the power goes
    host.boots("1")
    host.kernel.timeouts = Timeouts(600, 120, 300)
    monkeypatch.setattr(boot, "identity", lambda: "second")

    after = host.director()
    await after.settle(host.config(tcp=60))
    await after.restore()

    assert (host.nodest, host.kernel.timeouts.tcp) == ("1", 600)


async def test_sync_threads_a_former_life_left_stop_when_nobody_wants_them(host: Host) -> None:
    await host.director().settle(host.config(SYNC))
    assert [t.role for t in host.kernel.running] == [SyncRole.MASTER, SyncRole.BACKUP]

    after = host.director()
    await after.settle(host.config())

    assert host.kernel.running == []


async def test_sync_threads_of_somebody_elses_are_left_alone(host: Host) -> None:
    host.kernel.running = [FOREIGN]

    director = host.director()
    await director.settle(host.config())
    await director.restore()

    assert host.kernel.running == [FOREIGN]


async def test_a_thread_that_took_the_place_of_ours_is_not_ours(host: Host) -> None:
    await host.director().settle(host.config(SYNC))
    host.kernel.running = [t for t in host.kernel.running if t.role is SyncRole.MASTER] + [FOREIGN]

    await host.director().settle(host.config())

    assert host.kernel.running == [FOREIGN]


async def test_other_settings_replace_our_threads_and_these_end_with_us(host: Host) -> None:
    director = host.director()
    await director.settle(host.config(SYNC))
    await director.settle(host.config(replace(SYNC, sync_id=52)))
    assert {t.sync_id for t in host.kernel.running} == {52}

    await director.restore()

    assert host.kernel.running == []


class Told(list[tuple[str, str, str]]):
    """What a director notices."""

    def __call__(self, kind: str, subject: str, reason: str) -> None:
        self.append((kind, subject, reason))


async def test_a_setting_that_somebody_changed_is_set_back_and_told(host: Host) -> None:
    told = Told()
    director = host.director(told)
    await director.settle(host.config(SYNC, tcp=60))
    quiet = list(told)
    (host.folder / "proc" / NODEST.replace(".", "/")).write_text("0\n")
    host.kernel.timeouts = Timeouts(3, 3, 3)
    host.kernel.running = [t for t in host.kernel.running if t.role is SyncRole.MASTER]

    await director.settle(host.config(SYNC, tcp=60))

    assert [kind for kind, _, _ in quiet if kind == "drift"] == []
    drift = [(subject, reason) for kind, subject, reason in told if kind == "drift"]
    assert [subject for subject, _ in drift] == [NODEST, "IPVS timeouts", "sync thread backup"]
    assert drift[0][1].startswith("was set to 0, set back to 1: ")
    assert drift[2][1] == "was stopped by somebody; started again"
    assert (host.nodest, host.kernel.timeouts.tcp, len(host.kernel.running)) == ("1", 60, 2)


async def test_our_own_new_settings_are_no_drift(host: Host) -> None:
    told = Told()
    director = host.director(told)
    await director.settle(host.config(SYNC, tcp=60))
    await director.settle(host.config(replace(SYNC, sync_id=52), tcp=90))

    assert [one for one in told if one[0] == "drift"] == []


@pytest.mark.parametrize("hangs", [False, True])
async def test_one_step_of_giving_back_that_fails_or_hangs_keeps_nothing_else_back(
    host: Host, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    monkeypatch.setattr(settle, "STEP_PATIENCE", 0.1)
    removed: list[bool] = []
    monkeypatch.setattr(private_link.PrivateLink, "remove", lambda _: removed.append(True))
    director = host.director()
    await director.settle(host.config(SYNC, tcp=60))
    removed.clear()

    async def no_threads() -> tuple[SyncThread, ...]:
        if hangs:
            await asyncio.sleep(60)
        raise KernelError("threads", 5, "Input/output error")

    monkeypatch.setattr(host.kernel, "threads", no_threads)
    await director.restore()

    assert (host.nodest, host.kernel.timeouts.tcp, removed) == ("0", 900, [True])


async def test_a_setting_that_a_reload_wants_no_more_is_given_back_at_once(host: Host) -> None:
    told = Told()
    director = host.director(told)
    await director.settle(host.config())
    assert host.nodest == "1"

    await director.settle(replace(host.config(), ipvs=(("expire_nodest_conn", None),)))
    assert host.nodest == "0"
    await director.settle(host.config())

    assert host.nodest == "1"
    assert [one for one in told if one[0] == "drift"] == []


async def test_threads_on_an_interface_that_was_made_anew_are_started_again(host: Host) -> None:
    told = Told()
    director = host.director(told)
    await director.settle(host.config(SYNC))
    await director.settle(host.config(SYNC))
    assert host.kernel.starts == 2

    host.interface = SyncInterface(0, 0, "sync interface eth9 is not there")
    await director.settle(host.config(SYNC))
    waits = dict(director.troubles)
    host.interface = SyncInterface(8, 1500, "")
    await director.settle(host.config(SYNC))
    await director.settle(host.config(SYNC))

    assert "no interface eth9: connection sync waits for it" in waits["connection_sync"]
    assert ("connection_sync" in director.troubles, host.kernel.starts) == (False, 4)
    drift = [(subject, reason) for kind, subject, reason in told if kind == "drift"]
    assert drift == [("eth9", "was removed and made anew: sync threads were started again on it")]


async def test_records_are_no_longer_than_the_interfaces_packets(host: Host) -> None:
    told = Told()
    director = host.director(told)
    lengths = []
    for mtu in (9000, 1500, 1400):
        host.interface = SyncInterface(7, mtu, "")
        await director.settle(host.config(SYNC))
        lengths.append({t.role: t.maxlen for t in host.kernel.running})

    whole = {SyncRole.MASTER: 1472, SyncRole.BACKUP: 1472}
    assert lengths == [whole, whole, {**whole, SyncRole.MASTER: 1372}]
    assert [one for one in told if one[0] == "drift"] == []
