"""The codec and the sync interface against a real kernel: what its master thread says, and what
its backup thread takes from us."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from hadirector.core import ipvs_sync, making_way, sync_table
from hadirector.core.address import Address
from hadirector.core.ipvs import SyncRole, SyncThread
from hadirector.core.ipvs_sync import Record
from hadirector.shell import backup_socket, connection_table
from hadirector.shell.ipvs import Ipvs
from hadirector.shell.sync_wire import SyncWire
from tests.kernel.namespace import fresh_namespace, has_ipvs, run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not has_ipvs, reason="needs root and a kernel with ip_vs"),
]

T = TypeVar("T")

GROUP = Address("224.0.0.81")
PORT = 8848
ONE = Record(
    protocol=6,
    client=Address("192.0.2.100"),
    client_port=40000,
    virtual=Address("192.0.2.10"),
    virtual_port=80,
    server=Address("10.0.1.11"),
    server_port=8080,
    state=1,
    flags=0,
    timeout=700,
)
SIX = replace(
    ONE,
    client=Address("2001:db8::100"),
    virtual=Address("2001:db8::10"),
    server=Address("2001:db8:1::11"),
)
MANY = (
    ONE,
    SIX,
    replace(ONE, client_port=40001, state=4, flags=ipvs_sync.INACTIVE, timeout=100),
    replace(ONE, protocol=17, state=0, flags=ipvs_sync.INACTIVE, timeout=200),
    replace(ONE, client_port=0, flags=0x1100, timeout=300, state=1),
)


@pytest.fixture
async def ipvs() -> AsyncIterator[Ipvs]:
    """A namespace with a sync interface that leads nowhere."""
    with fresh_namespace(), Ipvs() as opened:
        run("ip", "link", "add", "hd0", "type", "dummy")
        run("ip", "address", "add", "169.254.88.1/32", "dev", "hd0")
        run("ip", "link", "set", "hd0", "up", "multicast", "on")
        yield opened


async def test_the_kernel_takes_what_we_encode_and_shows_it_again(ipvs: Ipvs) -> None:
    await ipvs.start_thread(SyncThread(SyncRole.BACKUP, "hd0", 51, GROUP, PORT))
    found = await _soon(lambda: backup_socket.find(GROUP, PORT))
    assert found.drops == 0
    ((payload, count),) = ipvs_sync.pack(map(ipvs_sync.encode, MANY), 51, 1472)
    assert count == len(MANY)
    wrong = payload[:1] + b"\x34" + payload[2:]

    _send(wrong)
    _send(payload + b"\0")
    _send(payload)

    rows = await _rows(len(MANY))
    services = sync_table.Services((await ipvs.read())[0])
    records = {ipvs_sync.decode(raw) for raw in sync_table.records(rows, services)}
    assert {replace(one, timeout=0) for one in records} == {replace(o, timeout=0) for o in MANY}
    assert all(
        one.timeout >= said.timeout - 3
        for one in records
        for said in MANY
        if replace(one, timeout=0) == replace(said, timeout=0)
    )


async def test_what_the_kernel_keeps_of_another_server_makes_way(ipvs: Ipvs) -> None:
    await ipvs.start_thread(SyncThread(SyncRole.BACKUP, "hd0", 51, GROUP, PORT))
    await _soon(lambda: backup_socket.find(GROUP, PORT))
    before = [ipvs_sync.encode(one) for one in MANY[2:]]
    after = [ipvs_sync.encode(replace(one, server=Address("10.0.1.12"))) for one in MANY[2:]]
    _say(*before)
    await _rows(3)

    _say(*after, ipvs_sync.encode(ONE))  # an active one, which shows that all were read
    assert sorted(row.split()[5] for row in await _rows(4)) == [b"0A00010B"] * 4
    _say(*(way for raw in after if (way := making_way.making_way(raw))))
    await asyncio.sleep(making_way.GONE_AFTER)
    _say(*after)

    await _soon(lambda: len(_TABLE.read_text().split("0A00010C")) == 4)


async def test_what_the_kernel_sends_is_decoded_and_its_own_socket_is_not_needed(
    ipvs: Ipvs,
) -> None:
    heard: list[tuple[bytes, bool]] = []
    run("sysctl", "-qw", "net.ipv4.vs.sync_refresh_period=4", "net.ipv4.vs.sync_threshold=0 1")
    run("ip", "address", "add", "10.9.9.9/32", "dev", "hd0")
    run("ip", "address", "add", "10.9.9.10/32", "dev", "hd0")
    run("ipvsadm", "-A", "-t", "10.9.9.9:80", "-s", "rr")
    run("ipvsadm", "-a", "-t", "10.9.9.9:80", "-r", "10.9.9.10:80", "-m")
    await ipvs.start_thread(SyncThread(SyncRole.MASTER, "hd0", 51, GROUP, PORT))
    wire = SyncWire("hd0", GROUP, PORT, lambda payload, out: heard.append((payload, out)))
    try:
        assert wire.longest == 1472
        with socket.create_server(("10.9.9.10", 80)), socket.socket() as client:
            client.settimeout(5)
            client.connect(("10.9.9.9", 80))
            port = client.getsockname()[1]
            await _soon(lambda: heard)
            (row,) = await _rows(1)
        wire.send(b"our own is not heard")
        await asyncio.sleep(0.1)
    finally:
        wire.close()

    assert all(outgoing for _, outgoing in heard)
    (raw,) = {raw for payload, _ in heard for raw in ipvs_sync.split(payload, 51)}
    said = ipvs_sync.decode(raw)
    assert (said.protocol, said.state_name, said.timeout) == (6, "ESTABLISHED", 900)
    assert (said.client_port, said.virtual, said.virtual_port) == (port, "10.9.9.9", 80)
    assert (said.server, said.server_port) == ("10.9.9.10", 80)
    (shown,) = sync_table.records([row], sync_table.Services((await ipvs.read())[0]))
    assert replace(ipvs_sync.decode(shown), timeout=900) == said


def _say(*records: bytes) -> None:
    """These, in one datagram."""
    ((payload, _),) = ipvs_sync.pack(records, 51, 1472)
    _send(payload)


def _send(payload: bytes) -> None:
    """To the backup thread of this host, and to nobody else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("169.254.88.1"))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        sock.sendto(payload, (GROUP, PORT))


async def _rows(wanted: int) -> list[bytes]:
    """The connection table, once it has so many rows."""
    found: list[bytes] = []
    for _ in range(100):
        found = [row async for rows in connection_table.rows(path=_TABLE) for row in rows]
        if len(found) >= wanted:
            break
        await asyncio.sleep(0.05)
    return found


_TABLE = Path("/proc/thread-self/net/ip_vs_conn")


async def _soon(look: Callable[[], T | None]) -> T:
    """What `look` gives, once it is something."""
    for _ in range(100):
        if found := look():
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("never")
