"""Plans against a real IPVS, read back by ourselves, by ipvsadm and by pyroute2."""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from pyroute2 import AsyncIPVS, IPVSService

from hadirector.core import plan
from hadirector.core.address import Address, Endpoint
from hadirector.core.ipvs import (
    Destination,
    Entry,
    Forward,
    Protocol,
    Scheduler,
    Service,
    ServiceFlags,
    ServiceKey,
    Table,
    Timeouts,
    TunnelType,
)
from hadirector.shell.ipvs import Failure, Ipvs
from hadirector.shell.netlink import KernelError
from tests.kernel.namespace import fresh_namespace, has_ipvs, run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not has_ipvs, reason="needs root and a kernel with ip_vs"),
]

WEB = ServiceKey(4, Protocol.TCP, Address("192.0.2.10"), 80)
WEB6 = ServiceKey(6, Protocol.TCP, Address("2001:db8::10"), 80)
DNS = ServiceKey(4, Protocol.UDP, Address("192.0.2.10"), 53)
MARK = ServiceKey(4, 0, Address(""), 0, fwmark=7)
PERSISTENT = ServiceFlags.PERSISTENT


@pytest.fixture
def ipvs() -> Iterator[Ipvs]:
    with fresh_namespace(), Ipvs() as opened:
        yield opened


def server(address: str, port: int = 80, forward: Forward = Forward.NAT) -> Destination:
    return Destination(Endpoint(Address(address), port), forward, 1)


def entry(service: Service, *servers: Destination) -> Entry:
    return Entry(service, {each.endpoint: each for each in servers})


def table(*entries: Entry) -> Table:
    return {each.service.key: each for each in entries}


async def realise(ipvs: Ipvs, desired: Table) -> tuple[Failure, ...]:
    """One round of reconciling; everything in the table is ours."""
    actual, _ = await ipvs.read()
    return await ipvs.apply(plan.plan(desired, actual, frozenset(actual)))


A, B, C = server("10.0.1.11"), server("10.0.1.12"), server("10.0.1.13")

EVERY_KIND = table(
    entry(Service(WEB, "wlc"), A, replace(B, weight=0), replace(C, weight=65535)),
    entry(Service(DNS, "rr", ServiceFlags.ONE_PACKET), server("10.0.1.11", 53)),
    entry(Service(replace(WEB, protocol=Protocol.SCTP), "wrr"), A),
    entry(Service(replace(WEB, port=0), "wrr", PERSISTENT, 300, 24), server("10.0.1.11", 0)),
    entry(Service(replace(WEB, port=443), "rr", PERSISTENT, timeout=2_678_400)),
    # Forwarding to a port other than the service's cannot work, but the kernel keeps it.
    entry(Service(replace(WEB, port=81), "sed"), server("10.0.1.11", 8081, Forward.DR)),
    # A real server on the director itself is told apart per connection, not in the table.
    entry(Service(replace(WEB, port=82), "nq"), server("127.0.0.1"), server("127.0.0.1", 82)),
    entry(
        Service(replace(WEB, port=83), "lc"),
        server("10.0.1.11", 83, Forward.TUN),
        replace(
            server("10.0.1.12", 83, Forward.TUN),
            tunnel=TunnelType.GUE,
            tunnel_port=6080,
            tunnel_flags=1,
        ),
        replace(server("10.0.1.13", 83, Forward.TUN), tunnel=TunnelType.GRE),
        replace(server("10.0.1.14", 83), upper_threshold=5000, lower_threshold=4000),
    ),
    entry(
        Service(replace(DNS, port=5060), "rr", PERSISTENT, 60, pe_name="sip"),
        server("10.0.1.11", 5060),
    ),
    entry(Service(MARK, "wlc", PERSISTENT, 60), server("10.0.1.11", 0, Forward.DR)),
    entry(Service(WEB6, "wlc", netmask=128), server("2001:db8:1::11", 8080)),
    entry(
        Service(replace(WEB6, port=81), "rr", PERSISTENT, 60, netmask=64),
        server("2001:db8:1::11", 81, Forward.DR),
    ),
    entry(Service(replace(WEB6, port=82), "rr", netmask=128), server("10.0.1.11", 82, Forward.TUN)),
    entry(Service(replace(MARK, family=6, fwmark=8), "rr", netmask=128), server("2001:db8::1", 0)),
)


async def test_every_kind_of_service_is_read_back_as_it_was_written(ipvs: Ipvs) -> None:
    assert await realise(ipvs, EVERY_KIND) == ()

    actual, _ = await ipvs.read()

    assert actual == EVERY_KIND
    assert plan.plan(EVERY_KIND, actual, frozenset(actual)) == ()


@pytest.mark.parametrize("key", [pytest.param(key, id=str(key)) for key in EVERY_KIND])
async def test_every_kind_of_service_is_edited_into_another(ipvs: Ipvs, key: ServiceKey) -> None:
    netmask = 128 if key.family == 6 else 32
    plain = table(entry(Service(key, "rr", netmask=netmask), *_plain(EVERY_KIND[key])))
    wanted = table(EVERY_KIND[key])
    await realise(ipvs, plain)

    for there, back in ((wanted, plain), (plain, wanted)):
        actual, _ = await ipvs.read()
        assert actual == back
        steps = plan.plan(there, actual, frozenset(actual))
        assert all(isinstance(each, plan.EditService | plan.EditDestination) for each in steps)
        assert await ipvs.apply(steps) == ()
        assert (await ipvs.read())[0] == there


def _plain(found: Entry) -> list[Destination]:
    """The same endpoints with nothing special; only tunnels may cross address families."""
    return [
        Destination(
            each.endpoint,
            Forward.TUN
            if ":" in str(found.service.key.address) and ":" not in each.endpoint.address
            else Forward.NAT,
            7,
        )
        for each in found.destinations.values()
    ]


@pytest.mark.parametrize("scheduler", [each.value for each in Scheduler if each.value != "twos"])
async def test_every_scheduler_is_taken_and_changed_in_place(ipvs: Ipvs, scheduler: str) -> None:
    await realise(ipvs, table(entry(Service(WEB, "rr"), A, B)))

    assert await realise(ipvs, table(entry(Service(WEB, scheduler), A, B))) == ()

    assert run("ipvsadm", "-Sn").splitlines() == [
        f"-A -t 192.0.2.10:80 -s {scheduler}",
        "-a -t 192.0.2.10:80 -r 10.0.1.11:80 -m -w 1",
        "-a -t 192.0.2.10:80 -r 10.0.1.12:80 -m -w 1",
    ]


async def test_ipvsadm_lists_what_was_asked_for(ipvs: Ipvs) -> None:
    flags = PERSISTENT | ServiceFlags.SCHED1 | ServiceFlags.SCHED2
    await realise(
        ipvs,
        table(
            entry(Service(WEB, "mh", flags, 300, 24), replace(A, weight=5)),
            entry(Service(WEB6, "wlc", netmask=128), server("2001:db8:1::11", 8080)),
            entry(Service(MARK, "rr"), server("10.0.1.12", 0, Forward.DR)),
        ),
    )

    assert sorted(run("ipvsadm", "-Sn").splitlines()) == [
        "-A -f 7 -s rr",
        "-A -t 192.0.2.10:80 -s mh -p 300 -M 255.255.255.0 -b mh-fallback,mh-port",
        "-A -t [2001:db8::10]:80 -s wlc",
        "-a -f 7 -r 10.0.1.12:0 -g -w 1",
        "-a -t 192.0.2.10:80 -r 10.0.1.11:80 -m -w 5",
        "-a -t [2001:db8::10]:80 -r [2001:db8:1::11]:8080 -m -w 1",
    ]


async def test_pyroute2_reads_what_we_wrote(ipvs: Ipvs) -> None:
    await realise(ipvs, table(entry(Service(WEB, "wrr"), replace(A, weight=5))))

    async with AsyncIPVS() as oracle:
        await oracle.setup_endpoint()
        (service,) = await oracle.service("dump")
        key = IPVSService(addr="192.0.2.10", port=80, protocol=socket.IPPROTO_TCP)
        (destination,) = await oracle.dest("dump", service=key)

    read = dict(service.get("service")["attrs"])
    assert read["IPVS_SVC_ATTR_ADDR"] == "192.0.2.10"
    assert read["IPVS_SVC_ATTR_PORT"] == 80
    assert read["IPVS_SVC_ATTR_SCHED_NAME"] == "wrr"
    read = dict(destination.get("dest")["attrs"])
    assert read["IPVS_DEST_ATTR_ADDR"] == "10.0.1.11"
    assert read["IPVS_DEST_ATTR_PORT"] == 80
    assert read["IPVS_DEST_ATTR_FWD_METHOD"] == Forward.NAT
    assert read["IPVS_DEST_ATTR_WEIGHT"] == 5


async def test_what_ipvsadm_wrote_is_read_and_what_is_foreign_stays(ipvs: Ipvs) -> None:
    run("ipvsadm", "-A", "-u", "192.0.2.10:53", "-s", "sh", "-b", "sh-port", "-o")
    run("ipvsadm", "-a", "-u", "192.0.2.10:53", "-r", "10.0.1.11", "-g", "-w", "3", "-x", "9")
    foreign = entry(
        Service(DNS, "sh", ServiceFlags.ONE_PACKET | ServiceFlags.SCHED2),
        replace(server("10.0.1.11", 53, Forward.DR), weight=3, upper_threshold=9),
    )
    assert (await ipvs.read())[0] == table(foreign)

    for desired in (table(entry(Service(WEB, "rr"), A)), {}):
        actual, _ = await ipvs.read()
        assert await ipvs.apply(plan.plan(desired, actual, frozenset({WEB}))) == ()
        assert (await ipvs.read())[0] == {**table(foreign), **desired}


async def test_a_cleared_table_is_restored_by_the_next_plan(ipvs: Ipvs) -> None:
    await realise(ipvs, EVERY_KIND)
    run("ipvsadm", "-C")
    assert (await ipvs.read())[0] == {}

    assert await realise(ipvs, EVERY_KIND) == ()

    assert (await ipvs.read())[0] == EVERY_KIND


async def test_a_step_that_fails_is_told_alone_and_the_rest_is_done(ipvs: Ipvs) -> None:
    await realise(ipvs, table(entry(Service(WEB, "rr"), A)))
    doubled = plan.AddDestination(WEB, A)

    failures = await ipvs.apply([plan.AddDestination(WEB, B), doubled, plan.AddDestination(WEB, C)])

    assert failures == (Failure(doubled, errno.EEXIST, "the server is in the service already"),)
    assert (await ipvs.read())[0] == table(entry(Service(WEB, "rr"), A, B, C))


async def test_a_service_that_cannot_be_added_is_told_once_with_the_cure(ipvs: Ipvs) -> None:
    bad = Service(WEB, "nosuch")

    failures = await realise(ipvs, table(entry(bad, A, B), entry(Service(DNS, "rr"), A)))

    (failure,) = failures
    assert failure == Failure(
        plan.AddService(bad),
        errno.ENOENT,
        "scheduler nosuch is not in this kernel, which has rr, wrr, lc, wlc, lblc, lblcr, dh, sh, "
        "sed, nq, fo, ovf, mh",
    )
    assert str(failure).startswith("add service tcp 192.0.2.10:80: scheduler nosuch: scheduler")
    assert (await ipvs.read())[0] == table(entry(Service(DNS, "rr"), A))


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([plan.AddService(Service(WEB, "rr"))] * 2, "the service exists already"),
        ([plan.DeleteService(WEB)], "there is no such service"),
        ([plan.AddDestination(WEB, A)], "there is no such service"),
        (
            [plan.AddService(Service(WEB, "rr")), plan.DeleteDestination(WEB, A)],
            "the server is not in the service",
        ),
        (
            [
                plan.AddService(Service(WEB, "rr")),
                plan.AddDestination(WEB, replace(A, upper_threshold=1, lower_threshold=2)),
            ],
            "a weight below 0, or the lower threshold is above the upper",
        ),
        (
            [
                plan.AddService(Service(WEB6, "rr", netmask=128)),
                plan.AddDestination(WEB6, A),
            ],
            "the kernel does not take 10.0.1.11:80 as a server of this service",
        ),
    ],
)
async def test_each_refusal_has_its_reason_in_words(
    ipvs: Ipvs, steps: Sequence[plan.Operation], reason: str
) -> None:
    (failure,) = await ipvs.apply(steps)

    assert failure.operation == steps[-1]
    assert failure.text == reason


async def test_a_thousand_failures_are_all_told(ipvs: Ipvs) -> None:
    steps = [plan.DeleteDestination(WEB, A)] * 1000

    failures = await ipvs.apply(steps)

    assert [failure.errno for failure in failures] == [errno.ESRCH] * 1000


async def test_a_connection_is_counted_and_outlives_edits_of_all_kinds(ipvs: Ipvs) -> None:
    run("ip", "address", "add", "192.0.2.10/32", "dev", "lo")
    listener = socket.create_server(("192.0.2.10", 8080))
    real = server("192.0.2.10", 8080)
    await realise(ipvs, table(entry(Service(WEB, "rr"), real)))
    with listener, socket.create_connection(("192.0.2.10", 80), 5) as client:
        accepted, _ = listener.accept()
        desired = table(entry(Service(WEB, "wlc", PERSISTENT, 300), replace(real, weight=0), B))

        assert await realise(ipvs, desired) == ()

        client.sendall(b"still here")
        assert accepted.recv(100) == b"still here"
        accepted.close()
        use = (await ipvs.read())[1].destinations[WEB, real.endpoint]
        assert use.active + use.inactive == 1

        await asyncio.sleep(2.5)  # the kernel sums its totals up every two seconds
        _, usage = await ipvs.read()
        use = usage.destinations[WEB, real.endpoint]
        assert use.counters.connections == 1
        assert usage.services[WEB].packets_in > 2
        assert usage.services[WEB].bytes_in == use.counters.bytes_in > 100

        await ipvs.zero(WEB)
        _, usage = await ipvs.read()
        assert usage.services[WEB].connections == 0


async def test_timeouts_are_set_one_by_one_and_facts_are_read(ipvs: Ipvs) -> None:
    assert await ipvs.get_timeouts() == Timeouts(tcp=900, tcp_fin=120, udp=300)

    await ipvs.set_timeouts(Timeouts(tcp=12, udp=7))

    assert await ipvs.get_timeouts() == Timeouts(tcp=12, tcp_fin=120, udp=7)
    assert run("ipvsadm", "-L", "--timeout").split()[-3:] == ["12", "120", "7"]
    info = await ipvs.get_info()
    assert info.version == "1.2.1"
    assert info.table_size >= 256


async def test_two_who_ask_at_once_both_get_whole_tables(ipvs: Ipvs) -> None:
    await realise(ipvs, EVERY_KIND)

    reads = await asyncio.gather(*[ipvs.read() for _ in range(5)])

    assert [actual for actual, _ in reads] == [EVERY_KIND] * 5


def test_without_cap_net_admin_each_call_says_so() -> None:
    with fresh_namespace():
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            os._exit(asyncio.run(_count_refusals()))
        _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 4


async def _count_refusals() -> int:
    count = 0
    with Ipvs() as ipvs:
        for call in (
            ipvs.read(),
            ipvs.apply([plan.DeleteService(WEB)]),
            ipvs.get_timeouts(),
            ipvs.zero(),
        ):
            try:
                await call
            except KernelError as error:
                count += str(error).endswith("not permitted: CAP_NET_ADMIN is needed")
    return count
