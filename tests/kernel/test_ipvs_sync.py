"""Sync threads of a real IPVS, and the settings they start with."""

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hadirector.core import sysctls
from hadirector.core.address import Address
from hadirector.core.ipvs import SyncRole, SyncThread
from hadirector.shell import sysctl
from hadirector.shell.ipvs import Ipvs
from hadirector.shell.netlink import KernelError
from hadirector.shell.settle import Settle
from tests.core import farm, syncing
from tests.kernel.namespace import fresh_namespace, has_ipvs, run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not has_ipvs, reason="needs root and a kernel with ip_vs"),
]

MASTER = SyncThread(SyncRole.MASTER, "hd0", 51)
BACKUP = SyncThread(SyncRole.BACKUP, "hd0", 51)


@pytest.fixture
def ipvs() -> Iterator[Ipvs]:
    with fresh_namespace(), Ipvs() as opened:
        run("ip", "link", "add", "hd0", "type", "dummy")
        run("ip", "link", "set", "hd0", "up", "multicast", "on")
        run("ip", "address", "add", "169.254.88.1/32", "dev", "hd0")
        run("ip", "route", "add", "224.0.0.0/4", "dev", "hd0")
        yield opened


async def test_both_threads_run_side_by_side_and_stop_one_by_one(ipvs: Ipvs) -> None:
    assert await ipvs.threads() == ()

    await ipvs.start_thread(BACKUP)
    await ipvs.start_thread(MASTER)

    master, backup = await ipvs.threads()
    assert MASTER.satisfied_by(master)
    assert BACKUP.satisfied_by(backup)
    assert (master.group, master.port, master.ttl) == (Address("224.0.0.81"), 8848, 1)
    assert run("ipvsadm", "-L", "--daemon").splitlines() == [
        f"master sync daemon (mcast=hd0, syncid=51, maxlen={master.maxlen}, "
        "group=224.0.0.81, port=8848, ttl=1)",
        f"backup sync daemon (mcast=hd0, syncid=51, maxlen={backup.maxlen}, "
        "group=224.0.0.81, port=8848, ttl=1)",
    ]

    await ipvs.stop_thread(SyncRole.MASTER)
    assert [thread.role for thread in await ipvs.threads()] == [SyncRole.BACKUP]
    await ipvs.stop_thread(SyncRole.BACKUP)
    assert await ipvs.threads() == ()


@pytest.mark.parametrize("thread", [MASTER, BACKUP])
async def test_a_thread_stopped_as_soon_as_it_started_is_stopped(
    ipvs: Ipvs, thread: SyncThread
) -> None:
    for _ in range(5):
        await ipvs.start_thread(thread)
        await ipvs.stop_thread(thread.role)
        assert await ipvs.threads() == ()


async def test_a_thread_that_runs_as_wanted_is_left_alone_and_another_is_replaced(
    ipvs: Ipvs,
) -> None:
    full = SyncThread(SyncRole.MASTER, "hd0", 0, Address("224.0.0.99"), 8850, 4, 1000)
    await ipvs.start_thread(MASTER)
    await ipvs.start_thread(MASTER)

    await ipvs.start_thread(full)

    assert await ipvs.threads() == (full,)


async def test_a_thread_may_use_an_ipv6_group(ipvs: Ipvs) -> None:
    thread = SyncThread(SyncRole.MASTER, "hd0", 255, Address("ff02::81"))

    await ipvs.start_thread(thread)

    (running,) = await ipvs.threads()
    assert thread.satisfied_by(running)


async def test_stopping_what_does_not_run_is_no_error(ipvs: Ipvs) -> None:
    await ipvs.stop_thread(SyncRole.BACKUP)

    assert await ipvs.threads() == ()


async def test_an_interface_that_is_not_there_is_an_error_in_words(ipvs: Ipvs) -> None:
    with pytest.raises(KernelError) as caught:
        await ipvs.start_thread(SyncThread(SyncRole.MASTER, "eth99", 51))

    assert caught.value.errno == errno.ENODEV
    assert str(caught.value) == "starting an IPVS sync thread: No such device"


async def test_the_settings_are_taken_by_the_kernel_and_given_back(ipvs: Ipvs) -> None:
    wanted = [
        *sysctls.for_director({4, 6}),
        *sysctls.for_sync(await ipvs.get_timeouts()),
    ]
    names = [each.name for each in wanted if each.name != "net.core.rmem_max"]
    before = {name: sysctl.read(name) for name in names}
    loan = sysctl.Loan()

    troubles = loan.apply(wanted)

    assert [trouble.name for trouble in troubles if trouble.missing] == ["net.core.rmem_max"]
    assert len(troubles) == 1
    assert {name: sysctl.read(name) for name in names} == {
        each.name: each.value for each in wanted if each.name in names
    }
    assert loan.restore() == ()
    assert {name: sysctl.read(name) for name in names} == before


async def test_a_sync_interface_made_anew_and_a_smaller_one_are_heard_again(
    ipvs: Ipvs, tmp_path: Path
) -> None:
    sync = replace(syncing.SYNC, interface="hd0")
    config = replace(farm.CONFIG, state_dir=str(tmp_path), connection_sync=sync)
    settle = Settle(ipvs, config, lambda *_: None)
    try:
        await settle.settle(config)
        run("ip", "link", "del", "hd0")
        await settle.settle(config)
        waits = settle.troubles.get("connection_sync", "")
        run(*["ip", "link", "add", "hd0", "mtu", "1400", "type", "dummy"])
        run(*["ip", "link", "set", "hd0", "up", "multicast", "on"])
        run(*["ip", "address", "add", "169.254.88.1/32", "dev", "hd0"])
        before = run(*["ip", "maddr", "show", "dev", "hd0"])
        await settle.settle(config)

        after, threads = run(*["ip", "maddr", "show", "dev", "hd0"]), await ipvs.threads()
    finally:
        await settle.restore()

    assert "no interface hd0" in waits
    assert "224.0.0.81" not in before
    assert "224.0.0.81" in after
    assert [(t.role, t.maxlen) for t in threads] == [
        (SyncRole.MASTER, 1372),
        (SyncRole.BACKUP, 1472),
    ]
