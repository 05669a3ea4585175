"""ldirectord.cf and heartbeat's files as our configuration."""

import pytest

from hadirector.cli.main import main
from hadirector.config.imports import heartbeat, ldirectord
from hadirector.config.imports.draft import Draft

SERVICES = """\
# Global Directives
checktimeout=3
checkinterval=1
fallback=127.0.0.1:80 gate
autoreload=yes
quiescent=yes
emailalert="admin@x.y.z"

virtual=192.168.6.240:80
        real=192.168.6.2:80 gate
        real=192.168.6.3->192.168.6.5:80 gate 5
        service=http
        request="index.html"
        receive="Test Page"
        virtualhost=some.domain.com.au
        scheduler=rr
        persistent=600
        netmask=255.255.255.0
        protocol=tcp
        checktype=negotiate
        maintenancedir=/etc/down

virtual=1
        real=192.168.16.5 masq
        service=http
        request="/.testpage"
        protocol=fwm
        checktype=negotiate
        checkport=8080

virtual6=[2001:db8::1]:443
        real=[2001:db8:1::2]:443 gate
        service=https
virtual=192.168.6.240:110
        real=192.168.16.3:110 masq 2
        service=pop
        login = "test"
        passwd = "s3cret"
virtual=192.168.6.240:53
        real=192.168.16.3:53 masq
        real=nameserver:53 masq
        request="some.domain"
        receive="127.0.0.1"
        protocol=udp
        quiescent=no
virtual=192.168.6.240:3306
        real=192.168.16.3:3306 masq
        checktype = external
        checkcommand = /usr/local/bin/ask
virtual=192.168.6.240:993
        real=192.168.16.3:993 masq
        checktype=4
"""


def told(draft: Draft) -> list[str]:
    return [str(each) for each in sorted(draft.told)]


def test_each_setting_of_ldirectord_is_carried_over_or_told() -> None:
    draft = ldirectord.read({"cf": SERVICES})

    timing = {"interval": "1s", "rise": 1, "fall": 1}
    assert draft.services["tcp-192.168.6.240-80"] == {
        "address": "192.168.6.240:80",
        "scheduler": "rr",
        "persistence": {"timeout": "600s", "prefix": 24},
        "fallback": {"address": "127.0.0.1:80", "forward": "dr"},
        "check": "http",
        "on_failure": "quiesce",
        "forward": "dr",
        "real_servers": [
            "192.168.6.2:80",
            *({"address": f"192.168.6.{n}:80", "weight": 5} for n in (3, 4, 5)),
        ],
    }
    assert draft.checks["http"] == timing | {
        "type": "http",
        "path": "/index.html",
        "host": "some.domain.com.au",
        "body": "Test Page",
        "timeout": "30s",
    }
    assert draft.services["fwmark-1"]["real_servers"] == ["192.168.16.5:0"]
    assert draft.checks["http-2"]["port"] == 8080
    assert "fallback" not in draft.services["tcp-2001-db8--1-443"]
    assert draft.services["udp-192.168.6.240-53"]["on_failure"] == "remove"
    assert [check["type"] for check in draft.checks.values()] == [
        *("http", "http", "https", "expect", "dns", "exec", "expect")
    ]
    assert draft.checks["expect-2"]["timeout"] == "3s"
    lines = "\n".join(told(draft))
    assert "s3cret" not in lines
    for expected in (
        "cf:7: not carried over: 'emailalert \"admin@x.y.z\"': write a hook",
        "cf:21: not carried over: 'maintenancedir /etc/down': use `hadirector disable`",
        "cf:31: its fallback, 127.0.0.1:443, is of another family: left out",
        "cf:37: login is not carried over",
        "cf:45: 'quiescent no' becomes on_failure: remove: a server that is down is removed",
        "cf:41: not carried over: 'real nameserver:53 masq': no address in numbers",
    ):
        assert expected in lines


@pytest.mark.parametrize("program", ["ldirectord", "heartbeat"])
def test_what_is_imported_passes_check(
    program: str, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    files = {"ldirectord.cf": SERVICES}
    if program == "heartbeat":
        files |= {"ha.cf": HA_CF, "haresources": RESOURCES, "authkeys": "auth 1\n1 sha1 s3cret\n"}
    for name, text in files.items():
        (folder / name).write_text(text)

    status = main(["import", program, *(str(folder / name) for name in files)])

    printed = capsys.readouterr()
    assert status == 0, printed.err
    assert "s3cret" not in printed.out + printed.err


HA_CF = """\
keepalive 1
deadtime 9
udpport 694
bcast eth1
auto_failback off
node lb1 lb2
ping 10.1.1.254
"""
RESOURCES = """\
lb1 IPaddr::10.1.1.100/24/eth0 IPaddr2::10.1.1.101/24/eth1 \\
   ldirectord::ldirectord.cf LVSSyncDaemonSwap::master
lb2 10.1.1.102 apache
"""


def test_a_preferred_node_of_haresources_has_the_higher_priority() -> None:
    draft = heartbeat.read({"ha.cf": HA_CF, "haresources": RESOURCES})

    assert draft.nodes == {"lb1": {"priority": 100}, "lb2": {"priority": 100}}
    assert draft.instances["lb1-addresses"] == {
        "interface": "eth0",
        "virtual_router_id": 51,
        "priority": {"lb1": 150, "lb2": 100},
        "virtual_addresses": [
            "10.1.1.100/24",
            {"address": "10.1.1.101/24", "interface": "eth1"},
        ],
        "advert_int": "3s",
        "preempt": "never",
    }
    assert draft.instances["lb2-addresses"]["priority"] == {"lb2": 150, "lb1": 100}
    assert told(draft)[0].startswith("ha.cf:1: not needed: 'keepalive 1'")
    assert any("ping 10.1.1.254" in line for line in told(draft))
    assert any("its services are in ldirectord.cf: name that file" in line for line in told(draft))
    assert any("resource apache: write a hook" in line for line in told(draft))


def test_what_holds_for_all_services_is_told_of_once() -> None:
    both = "".join(
        f"virtual=192.0.2.10:{port}\n\treal=10.0.1.11:{port} masq\n" for port in (80, 81)
    )

    draft = ldirectord.read({"cf": f"quiescent=no\n{both}"})

    assert [service["on_failure"] for service in draft.services.values()] == ["remove", "remove"]
    assert [one.partition(":")[2].partition(":")[0] for one in told(draft)] == ["1"]
