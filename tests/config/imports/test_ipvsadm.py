"""Rules of ipvsadm as our configuration; tests/kernel takes them back to the kernel."""

from hadirector.config.imports import ipvsadm
from hadirector.config.imports.draft import Draft


def draft_of(text: str) -> Draft:
    return ipvsadm.read({"rules": text})


def told(draft: Draft) -> list[str]:
    return [str(each) for each in sorted(draft.told) if each.line]


def test_a_script_of_commands_counts_with_its_edits_and_deletions() -> None:
    draft = draft_of(
        "#!/bin/sh\n"
        "/sbin/ipvsadm -C\n"
        "ipvsadm -A -t 192.0.2.10:80\n"
        "ipvsadm --add-server --tcp-service 192.0.2.10:80 --real-server 10.0.1.11:8080 -m\n"
        "ipvsadm -a -t 192.0.2.10:80 -r 10.0.1.12\n"
        "ipvsadm -e -t 192.0.2.10:80 -r 10.0.1.11:8080 -m -w 5 -x 10 -y 5\n"
        "ipvsadm -d -t 192.0.2.10:80 -r 10.0.1.12\n"
        "ipvsadm -E -t 192.0.2.10:80 -s sh -b sh-port -p 60 -M 255.255.255.0\n"
        "ipvsadm -A -f 7 -6 -p\n"
        "ipvsadm -A -u 192.0.2.10:53 -o\n"
        "ipvsadm -D -u 192.0.2.10:53\n"
        "ipvsadm --set 900 0 60\n"
        "ipvsadm --start-daemon master --mcast-interface eth1 --syncid 7\n"
    )

    assert draft.services == {
        "tcp-192.0.2.10-80": {
            "address": "192.0.2.10:80",
            "scheduler": "sh",
            "scheduler_flags": ["sh-port"],
            "persistence": {"timeout": "60s", "prefix": 24},
            "real_servers": [
                {
                    "address": "10.0.1.11:8080",
                    "weight": 5,
                    "upper_threshold": 10,
                    "lower_threshold": 5,
                }
            ],
        },
        "fwmark-7-ipv6": {
            "address": {"fwmark": 7, "family": "ipv6"},
            "scheduler": "wlc",
            "persistence": {"timeout": "300s"},
            "real_servers": [],
        },
    }
    assert draft.timeouts == {"tcp": "900s", "udp": "60s"}
    assert draft.connection_sync == {"interface": "eth1", "sync_id": 7}
    assert told(draft) == []


def test_each_rule_that_is_not_understood_is_told_with_its_line() -> None:
    draft = draft_of(
        "-A -t www:http\n-A -t 192.0.2.10:80 -s nosuch\n-a -t 192.0.2.10:81 -r 10.0.1.11\n"
        "-A\n-L -n\n-A -t 192.0.2.10:80 -p 60 -M 255.0.255.0\n-A -t '\n"
        "-A -t 192.0.2.10:80\n-a -t 192.0.2.10:80 -r 10.0.1.1 -w 70000\n"
    )

    assert [line.partition(": not carried over: ")[0] for line in told(draft)] == [
        f"rules:{number}" for number in (1, 2, 3, 4, 5, 6, 7, 9)
    ]
    assert draft.services["tcp-192.0.2.10-80"]["real_servers"] == []
