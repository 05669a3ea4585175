"""What `hadirector ipvs` shows, beside the real ipvsadm on the same kernel."""

import json
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hadirector.cli.main import main
from tests.kernel.daemon import Daemon, until
from tests.kernel.namespace import fresh_namespace, has_ipvs, run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not has_ipvs, reason="needs root and a kernel with ip_vs"),
]

Hadirector = Callable[..., str]

EVERY_KIND = """\
-A -t 192.0.2.10:80 -s mh -p 300 -M 255.255.255.0 -b mh-fallback,mh-port
-a -t 192.0.2.10:80 -r 10.0.1.12:8080 -m -w 5
-a -t 192.0.2.10:80 -r 10.0.1.11:8080 -m -w 65535
-a -t 192.0.2.10:80 -r 9.255.1.11:8080 -m -w 0
-A -t 192.0.2.10:81 -s sh -b sh-port
-a -t 192.0.2.10:81 -r 10.0.1.13:81 -i -w 1 --tun-type ipip
-a -t 192.0.2.10:81 -r 10.0.1.14:81 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum
-a -t 192.0.2.10:81 -r 10.0.1.15:81 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
-a -t 192.0.2.10:81 -r 10.0.1.16:81 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
-a -t 192.0.2.10:81 -r 10.0.1.17:81 -i -w 1 --tun-type gre --tun-nocsum
-a -t 192.0.2.10:81 -r 10.0.1.18:81 -i -w 1 --tun-type gre --tun-csum
-A -t 192.0.2.10:82 -s rr -b flag-1,flag-3
-A -t 200.1.1.1:443 -s rr -p 360
-A -u 192.0.2.10:53 -s rr -o
-a -u 192.0.2.10:53 -r 10.0.1.11:53 -g -w 1
-A -u 192.0.2.10:5060 -s rr -p 60 --pe sip -o
-a -u 192.0.2.10:5060 -r 10.0.1.12:5060 -m -w 1
-A --sctp-service 192.0.2.10:80 -s wlc
-a --sctp-service 192.0.2.10:80 -r 10.0.1.11:80 -m -w 1
-A -t [2001:db8::10]:80 -s wlc -p 10 -M 48
-a -t [2001:db8::10]:80 -r [2001:db8:1::11]:8080 -m -w 1
-a -t [2001:db8::10]:80 -r 10.0.1.12:80 -i -w 1 --tun-type ipip
-A -t [2001:db8:1234:5678:9abc:def0:12:56]:8000 -s rr
-a -t [2001:db8:1234:5678:9abc:def0:12:56]:8000 -r [2001:db8:1234:5678:9abc:def0:9:9]:65000 -m -w 1
-A -u [::ffff:192.0.2.10]:80 -s rr
-A -t [2001:db8:0:1:1:1:1:1]:80 -s rr
-A -f 7 -s wlc -p 60
-a -f 7 -r 10.0.1.11:0 -g -w 1
-A -f 7 -6 -s wlc -p 60 -M 64
-A -f 2147483647 -s wlc
"""
THRESHOLDS = """\
-A -t 192.0.2.20:80 -s wlc
-a -t 192.0.2.20:80 -r 10.0.1.12:80 -m -w 5 -x 100 -y 50
-a -t 192.0.2.20:80 -r 10.0.1.13:80 -m -w 5 -x 65535
"""
VIEWS = ("", "--stats", "--rate", "--thresholds", "--persistent-conn", "--tun-info")


@pytest.fixture
def hadirector(capsys: pytest.CaptureFixture[str]) -> Iterator[Hadirector]:
    """What a verb prints; each test has a table of its own."""

    def say(*arguments: str) -> str:
        assert main(list(arguments)) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    with fresh_namespace():
        run("ip", "address", "add", "192.0.2.10/32", "dev", "lo")
        run("ip", "address", "add", "2001:db8::10/128", "dev", "lo", "nodad")
        yield say


def restore(rules: str) -> None:
    subprocess.run(["ipvsadm", "--restore"], input=rules, text=True, check=True, timeout=20)


def test_every_view_of_every_kind_of_service_is_ipvsadms_byte_for_byte(
    hadirector: Hadirector,
) -> None:
    restore(EVERY_KIND + THRESHOLDS)

    for view in VIEWS:
        for extra in ("", "--exact"):
            options = [each for each in (view, extra) if each]
            assert hadirector("ipvs", "--ipvsadm", *options) == run("ipvsadm", "-Ln", *options)
    assert hadirector("ipvs", "--ipvsadm", "--sort", "none") == run("ipvsadm", "-Ln", "--nosort")
    assert hadirector("ipvs", "--ipvsadm", "192.0.2.10:5060", "--stats") == run(
        "ipvsadm", "-Ln", "-u", "192.0.2.10:5060", "--stats"
    )
    assert hadirector("ipvs", "--ipvsadm", "--timeouts") == run("ipvsadm", "-Ln", "--timeout")


def test_any_table_is_in_ipvsadms_order(hadirector: Hadirector) -> None:
    dice = random.Random(2)

    def address() -> str:
        if dice.random() < 0.5:
            first = dice.choice((2, 9, 10, 100, 223))
            return f"{first}.{dice.randrange(256)}.0.{dice.randrange(1, 9)}"
        return f"[2001:{dice.choice(('db8', '1db8', '0'))}::{dice.randrange(1, 0xFFFF):x}]"

    rules: list[str] = []
    for _ in range(60):
        switch = dice.choice(("-t", "-u", "--sctp-service"))
        vip = f"{switch} {address()}:{dice.choice((1, 80, 443, 8080, 65535))}"
        if dice.random() < 0.2:
            vip = f"-f {dice.randrange(1, 4)}" + dice.choice(("", " -6"))
        if any(f"-A {vip} " in rule for rule in rules):
            continue
        rules.append(f"-A {vip} -s wlc ")
        six = "[" in vip or "-6" in vip
        servers = {address() for _ in range(6)}
        rules += [f"-a {vip} -r {s}:99 -m" for s in servers if ("[" in s) is six]
    restore("\n".join(rules) + "\n")

    assert hadirector("ipvs", "--ipvsadm") == run("ipvsadm", "-Ln")
    assert hadirector("export", "ipvsadm") == run("ipvsadm", "-Sn")


def test_what_is_exported_restores_the_same_table_with_its_thresholds(
    hadirector: Hadirector,
) -> None:
    restore(EVERY_KIND)
    assert hadirector("export", "ipvsadm") == run("ipvsadm", "-Sn")
    restore(THRESHOLDS)
    before, exported = hadirector("ipvs", "--json"), hadirector("export", "ipvsadm")
    run("ipvsadm", "-C")

    restore(exported)

    assert hadirector("ipvs", "--json") == before
    servers = {s["address"]: s for each in json.loads(before)["services"] for s in each["servers"]}
    assert servers["10.0.1.13"]["upper_threshold"] == 65535


def test_connections_are_listed_as_ipvsadm_lists_them(hadirector: Hadirector) -> None:
    restore(
        "-A -t 192.0.2.10:80 -s rr -p 100\n-a -t 192.0.2.10:80 -r 192.0.2.10:8080 -m\n"
        "-A -t [2001:db8::10]:80 -s rr\n-a -t [2001:db8::10]:80 -r [2001:db8::10]:8080 -m\n"
        "-A -u 192.0.2.10:53 -s rr\n-a -u 192.0.2.10:53 -r 192.0.2.10:5353 -m\n"
        "-A -u 192.0.2.10:5060 -s rr -p 60 --pe sip -o\n"
        "-a -u 192.0.2.10:5060 -r 192.0.2.10:5061 -m\n"
    )
    with (
        socket.create_server(("192.0.2.10", 8080)),
        socket.create_server(("2001:db8::10", 8080), family=socket.AF_INET6),
        socket.create_connection(("192.0.2.10", 80)) as first,
        socket.create_connection(("2001:db8::10", 80)),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.sendto(b"x", ("192.0.2.10", 53))
        datagrams.sendto(b"INVITE sip:x SIP/2.0\r\nCall-ID: abc@def\r\n\r\n", ("192.0.2.10", 5060))

        same_second(hadirector, "--connections", "-c")
        same_second(hadirector, ("--connections", "--persistent-conn"), "-c", "--persistent-conn")
        own = first.getsockname()[1]
        listed = hadirector("ipvs", "--connections", "192.0.2.10:80", "--client", "192.0.2.10")
        assert {line.split()[3] for line in listed.splitlines()[2:]} == {
            f"192.0.2.10:{own}",
            "192.0.2.10:0",
        }
        told = [json.loads(line) for line in hadirector("ipvs", "-c", "--json").splitlines()]
        assert {(each["protocol"], each["engine"]) for each in told} == {
            ("TCP", ""),
            ("UDP", ""),
            ("UDP", "sip"),
        }


def same_second(hadirector: Hadirector, ours: str | tuple[str, ...], *theirs: str) -> None:
    """Both say the same; what is left of a connection's time changes each second."""
    options = (ours,) if isinstance(ours, str) else ours
    for _ in range(10):
        shown = hadirector("ipvs", "--ipvsadm", *options)
        if shown == (listed := run("ipvsadm", "-Ln", *theirs)):
            assert len(shown.splitlines()) == 7
            return
    assert shown == listed


def test_great_counters_have_ipvsadms_units_and_are_set_to_zero(hadirector: Hadirector) -> None:
    restore("-A -u 192.0.2.10:53 -s rr\n-a -u 192.0.2.10:53 -r 192.0.2.10:5353 -m\n")
    seen = set()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("192.0.2.10", 5353))
        client.connect(("192.0.2.10", 53))
        for datagrams in (2, 2000, 16000):  # to 130 MB, to 1.1 GB
            for _ in range(datagrams):
                client.send(bytes(65000))
            time.sleep(2.2)  # the kernel sums up every two seconds
            for view in ("--stats", "--rate"):
                for extra in ((), ("--exact",)):
                    shown = same(hadirector, view, *extra)
                    seen |= {unit for unit in "KM" if f"{unit}        0\n" in shown}
    assert seen == {"K", "M"}

    assert hadirector("ipvs", "--zero", "udp/192.0.2.10:53") == "counters of 1 service are zero\n"

    assert hadirector("ipvs", "--stats").splitlines()[3].split()[2:] == ["0"] * 5


def same(hadirector: Hadirector, *options: str) -> str:
    """Both say the same, though the kernel may sum up between the two."""
    for _ in range(3):
        shown = hadirector("ipvs", "--ipvsadm", *options)
        if shown == (listed := run("ipvsadm", "-Ln", *options)):
            return shown
    assert shown == listed
    return shown


def test_sync_threads_are_listed_as_ipvsadm_lists_them(hadirector: Hadirector) -> None:
    run("ip", "link", "add", "sync0", "type", "dummy")
    run("ip", "address", "add", "10.9.9.1/24", "dev", "sync0")
    run("ip", "link", "set", "sync0", "up")
    assert hadirector("ipvs", "--ipvsadm", "--daemon") == run("ipvsadm", "-L", "--daemon") == ""
    extra = ("--mcast-group", "224.0.0.99", "--mcast-port", "9000", "--mcast-ttl", "3")
    for role, more in (("master", ()), ("backup", (*extra, "--sync-maxlen", "1400"))):
        run("ipvsadm", "--start-daemon", role, "--mcast-interface", "sync0", "--syncid", "7", *more)
    time.sleep(0.2)

    assert hadirector("ipvs", "--ipvsadm", "--daemon") == run("ipvsadm", "-L", "--daemon")

    for role in ("master", "backup"):
        run("ipvsadm", "--stop-daemon", role)


def test_the_daemon_gives_the_table_its_names_and_sets_counters_to_zero(
    tmp_path: Path, hadirector: Hadirector
) -> None:
    restore("-A -t 192.0.2.99:80 -s rr\n")
    text = """
nodes: {lb1: {priority: 100}}
virtual_services:
  web: {address: 192.0.2.10:80, fallback: 10.0.1.99:80, real_servers: [10.0.1.11:80]}
"""
    with Daemon(tmp_path, text) as daemon:
        until("the service is made", lambda: "192.0.2.10:80" in run("ipvsadm", "-Ln"))

        asked = hadirector("ipvs", *daemon.where)
        services = json.loads(hadirector("ipvs", "--json", *daemon.where))["services"]
        zeroed = hadirector("ipvs", "--zero", "web", *daemon.where)

        assert asked.splitlines()[3:] == [
            "TCP  192.0.2.10:80 wlc  # web",
            "  -> 10.0.1.11:80                 Masq    1      0          0         ",
            "TCP  192.0.2.99:80 rr  # foreign",
        ]
        assert [each["name"] for each in services] == ["web", "foreign"]
        assert zeroed == "counters of 1 service are zero\n"
        assert "counters_zeroed" in daemon.run("events").stdout
        assert main(["ipvs", "nosuch", *daemon.where]) == 1
