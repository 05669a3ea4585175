"""Plans in the real kernel: any table to any other, and the verbs of a running daemon."""

import json
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hadirector.cli.main import main
from hadirector.core import plan
from hadirector.core.address import Address, Endpoint
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
from hadirector.shell.ipvs import Ipvs
from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import fresh_namespace, has_ipvs, run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not has_ipvs, reason="needs root and a kernel with ip_vs"),
]

KEYS = (
    *(ServiceKey(4, protocol, Address("192.0.2.10"), 80) for protocol in (6, 17, 132)),
    ServiceKey(4, 6, Address("192.0.2.11"), 443),
    ServiceKey(6, 6, Address("2001:db8::10"), 443),
    ServiceKey(4, 0, Address(""), 0, fwmark=7),
)
FOREIGN = ("-t", "203.0.113.1:80")
SERVERS = {
    4: [Endpoint(Address(f"10.0.1.{n}"), 80) for n in range(1, 6)],
    6: [Endpoint(Address(f"2001:db8:1::{n}"), 443) for n in range(1, 6)],
}


@st.composite
def destinations(draw: st.DrawFn, key: ServiceKey) -> Destination:
    forward = draw(st.sampled_from((Forward.NAT, Forward.DR, Forward.TUN)))
    tunnel = draw(st.sampled_from(TunnelType)) if forward is Forward.TUN else TunnelType.IPIP
    upper = draw(st.integers(0, 3)) * 10
    return Destination(
        endpoint=draw(st.sampled_from(SERVERS[key.family])),
        forward=forward,
        weight=draw(st.integers(0, 3)),
        upper_threshold=upper,
        lower_threshold=draw(st.integers(0, upper)),
        tunnel=tunnel,
        tunnel_port=6080 if tunnel is TunnelType.GUE else 0,
    )


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Any configuration, as the table it asks for."""
    made: dict[ServiceKey, Entry] = {}
    for key in draw(st.lists(st.sampled_from(KEYS), unique=True)):
        flags = ServiceFlags.NONE
        persistent = draw(st.booleans())
        if persistent:
            flags |= ServiceFlags.PERSISTENT
        if draw(st.booleans()) and key.protocol == 17:
            flags |= ServiceFlags.ONE_PACKET
        scheduler = draw(st.sampled_from(("rr", "wlc", "mh", "sh")))
        if scheduler in ("mh", "sh") and draw(st.booleans()):
            flags |= ServiceFlags.SCHED1
        service = Service(
            key,
            scheduler,
            flags,
            timeout=draw(st.sampled_from((60, 300))) if persistent else 0,
            netmask=128 if key.family == 6 else draw(st.sampled_from((24, 32))),
        )
        servers = draw(st.lists(destinations(key), max_size=4, unique_by=lambda d: d.endpoint))
        made[key] = Entry(service, {each.endpoint: each for each in servers})
    return made


def by_ipvsadm() -> set[str]:
    """What ipvsadm says of the kernel, thresholds too."""
    return {
        *run("ipvsadm", "-Sn").splitlines(),
        *run("ipvsadm", "-Ln", "--thresholds").splitlines(),
    }


async def listed_alone(table: Table) -> set[str]:
    """The same of a kernel that was given this table from nothing."""
    with fresh_namespace(), Ipvs() as ipvs:
        run("ipvsadm", "-A", *FOREIGN, "-s", "rr")
        assert await ipvs.apply(plan.plan(table, {}, frozenset())) == ()
        return by_ipvsadm()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(before=tables(), after=tables())
async def test_any_table_becomes_any_other_as_ipvsadm_reads_it(before: Table, after: Table) -> None:
    expected = await listed_alone(after)
    with fresh_namespace(), Ipvs() as ipvs:
        run("ipvsadm", "-A", *FOREIGN, "-s", "rr")
        assert await ipvs.apply(plan.plan(before, {}, frozenset())) == ()
        actual, _ = await ipvs.read()
        owned = frozenset(before) | frozenset(after)

        steps = plan.plan(after, actual, owned)
        assert await ipvs.apply(steps) == ()

        assert by_ipvsadm() == expected
        again, _ = await ipvs.read()
        assert plan.plan(after, again, owned) == ()
    for step in steps:
        match step:
            case plan.DeleteService(key):
                assert key not in after
            case plan.DeleteDestination(key, destination):
                assert destination.endpoint not in after[key].destinations
            case _:
                pass


CONFIG = """
nodes: {lb1: {priority: 100}}
linger: 5s
virtual_services:
  web: {address: 192.0.2.10:80, scheduler: %s, real_servers: [%s]}
"""


def test_without_a_daemon_a_plan_is_what_one_that_starts_would_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lb.yaml").write_text(CONFIG % ("rr", "10.0.1.11"))
    with fresh_namespace():
        run("ipvsadm", "-A", *FOREIGN, "-s", "rr")
        socket = ("--socket", str(tmp_path / "nowhere"))

        assert main(["plan", "-c", str(tmp_path / "lb.yaml"), *socket]) == 1
        assert "none of the nodes" in capsys.readouterr().err
        assert main(["plan", "-c", str(tmp_path / "lb.yaml"), "--node", "lb1", *socket]) == 3

    assert capsys.readouterr().out.splitlines() == [
        "configuration: the first one of a daemon that starts",
        "IPVS: 2 steps",
        "  add service tcp 192.0.2.10:80: scheduler rr",
        "  add server 10.0.1.11:80 to tcp 192.0.2.10:80: nat, weight 1",
    ]


def test_reload_does_what_plan_said_and_a_pause_lets_an_operator_work(tmp_path: Path) -> None:
    with fresh_namespace(), Daemon(tmp_path, CONFIG % ("mh", "10.0.1.11, 10.0.1.12")) as daemon:
        until("it is made", lambda: "10.0.1.12:80" in run("ipvsadm", "-Ln"))
        new = tmp_path / "new.yaml"
        own = f"state_dir: {tmp_path}/state\nruntime_dir: {tmp_path}/run\n"

        same = daemon.run("plan", "-c", str(tmp_path / "hadirector.yaml"))
        assert (same.returncode, same.stdout) == (0, "nothing would change\n")

        new.write_text(own + CONFIG % ("mh", "10.0.1.11, 10.0.1.13"))
        table = run("ipvsadm", "-Sn")
        planned = daemon.run("plan", "-c", str(new), "--json")
        assert (planned.returncode, run("ipvsadm", "-Sn")) == (3, table)
        told = json.loads(planned.stdout)
        assert [step["text"] for step in told["steps"]] == [
            "add server 10.0.1.13:80 to tcp 192.0.2.10:80: nat, weight 1",
            "remove server 10.0.1.12:80 from tcp 192.0.2.10:80",
        ]
        assert 0.4 < told["moved"]["web"] < 0.7
        (tmp_path / "hadirector.yaml").write_text(new.read_text())
        assert daemon.run("reload").returncode == 0
        until("it is as planned", lambda: "10.0.1.12:80" not in run("ipvsadm", "-Ln"))
        assert "10.0.1.13:80" in run("ipvsadm", "-Ln")

        new.write_text(own + CONFIG % ("nosuch", "10.0.1.11"))
        assert daemon.run("plan", "-c", str(new)).returncode == 1
        new.write_text(f"key_file: {tmp_path}/none.key\n" + own + CONFIG % ("mh", "10.0.1.11"))
        refused = daemon.run("plan", "-c", str(new))
        assert refused.returncode == 1
        assert f"hadirector: {tmp_path}/none.key: No such file or directory\n" in refused.stderr

        assert daemon.run("pause", "--for", "1h", "--reason", "by hand").returncode == 0
        new.write_text(own + CONFIG % ("mh", "10.0.1.11"))
        assert "IPVS is paused: a reload writes" in daemon.run("plan", "-c", str(new)).stdout
        run("ipvsadm", "-C")
        assert "paused" in daemon.run("status").stdout
        old = daemon.pid("director")
        assert daemon.run("restart-director").returncode == 0
        until("another director answers", lambda: daemon.pid("director") not in (0, old))
        until("it knows", lambda: "still left alone" in daemon.run("events").stdout)
        assert "paused" in daemon.run("status").stdout
        assert run("ipvsadm", "-Sn") == ""
        assert daemon.run("pause", "--end").returncode == 0
        until("it is repaired", lambda: "10.0.1.13:80" in run("ipvsadm", "-Ln"))


def test_a_connection_to_a_server_that_leaves_goes_on_until_it_ends(tmp_path: Path) -> None:
    with fresh_namespace(), socket.create_server(("127.0.0.1", 8080)) as listener:
        run("ip", "address", "add", "192.0.2.10/32", "dev", "lo")
        here = "'127.0.0.1:8080', '10.0.1.12:8080'"
        with Daemon(tmp_path, CONFIG % ("rr", here)) as daemon:
            until("it is made", lambda: "10.0.1.12:8080" in run("ipvsadm", "-Ln"))
            run("ipvsadm", "-e", "-t", "192.0.2.10:80", "-r", "10.0.1.12:8080", "-m", "-w", "0")
            with socket.create_connection(("192.0.2.10", 80), 10) as client:
                accepted, _ = listener.accept()
                until("it is counted", lambda: uses(daemon) == 1)
                daemon.write((CONFIG % ("rr", "'10.0.1.12:8080'")).replace("5s", "10s"))

                planned = daemon.run("plan", "-c", str(tmp_path / "hadirector.yaml"))
                assert daemon.run("reload").returncode == 0

                assert "weight 0 first: 1 connections may end within 10s" in planned.stdout
                until(
                    "it is quiesced", lambda: "127.0.0.1:8080               Masq    0" in listed()
                )
                client.sendall(b"still here")
                assert accepted.recv(100) == b"still here"
            accepted.close()
            until("it has left", lambda: "127.0.0.1:8080" not in listed())
            left = "server_left      tcp 192.0.2.10:80/127.0.0.1:8080: no longer configured"
            assert left in daemon.run("events").stdout


def uses(daemon: Daemon) -> int:
    """Connections to the local server, as the daemon knows them."""
    told = daemon.ask()
    return (
        0 if told is None else int(told["services"]["web"]["servers"]["127.0.0.1:8080"]["active"])
    )


def listed() -> str:
    return run("ipvsadm", "-Ln")
