"""Doctor finds what is planted, and nothing in a healthy lab.

The pair balances by NAT, direct routing and tunnels, and `hadirector doctor` must find nothing on
either node. Then faults are planted, those that do not hide each other at once: on real servers,
in the kernel of the directors, in filters, in a configuration, in what the daemon is allowed, by
strangers on the wire, in the switch. Each must be found, and nothing else.

No real networkd or NetworkManager runs in the lab: a program of that name and the state files they
leave in /run stand for them, which is all that doctor looks at. Not planted is what needs another
kernel: an ip_vs that is not installed at all (tests/core/test_doctor.py has its facts).
"""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from labkit import faults, kernel, sealed, topology
from labkit.director import Hadirector
from labkit.drills import Figures, at_least, at_most
from labkit.lab import Lab

RUNS = 1
PRODUCTS = ("hadirector",)
GOALS = {"planted": at_least(46), "not_found": at_most(0), "found_more": at_most(0)}
LIMITED = (
    "prlimit",
    "--memlock=65536:65536",
    "setpriv",
    "--bounding-set=-ipc_lock,-sys_nice,-sys_admin,-cap_39",  # 39: CAP_BPF, setpriv lacks its name
    "--inh-caps=-ipc_lock,-sys_nice,-sys_admin,-cap_39",
)


# Both answer for the virtual addresses, and servers answer one of the two.
OF_TWO_MASTERS = frozenset({"return-route", "arp-answered"})


class Score:
    """What was planted and what was found."""

    def __init__(self) -> None:
        self.planted = self.not_found = self.unplanted = 0

    def expect(
        self, where: str, told: dict[str, Any], wanted: Iterable[str], follow: Iterable[str] = ()
    ) -> None:
        """Exactly these, and perhaps those that follow from them."""
        expected = set(wanted)
        found = faults.codes(told, expected) - set(follow)
        self.planted += len(expected)
        self.not_found += len(expected - found)
        self.unplanted += len(found - expected)
        print(f"    {where}: found {' '.join(sorted(found & expected)) or 'nothing'}", flush=True)
        for code in sorted(expected - found):
            print(f"      NOT FOUND: {code}", flush=True)
        for finding in told["findings"]:
            names = {finding["code"], f"{finding['code']}: {finding['subject']}"}
            if names & (found - expected):
                print(f"      NOT PLANTED: {finding['code']}: {finding['what']}", flush=True)
        for each in told["not_checked"]:
            print(f"      not checked: {each['check']}: {each['reason']}", flush=True)


def run(lab: Lab) -> Figures:
    lb1, lb2 = lab.lb1, lab.lb2
    assert isinstance(lb1, Hadirector)
    assert isinstance(lb2, Hadirector)
    score = Score()
    if kernel.is_lab_kernel():
        without_ip_vs(lb2, score)
    faults.start(lab, faults.healthy())
    score.expect("healthy master", faults.examine(lb1), ())
    score.expect("healthy standby", faults.examine(lb2), ())

    on_the_wire(lab, lb1, score)
    with_another_key(lab, lb1, lb2, score)
    with_a_virtual_mac(lab, lb1, lb2, score)
    on_the_standby(lab, lb1, lb2, score)
    lb2.stop()
    lab.servers["rs4"].kill()
    with faults.planted(lab, faults.SERVERS_AND_MASTER), faults.wrong_port(lab):
        expected = {fault.code for fault in faults.SERVERS_AND_MASTER} | {"peer-port", "dr-port"}
        score.expect("master and servers", faults.examine(lb1), expected)
    without_daemon(lab, lb2, score)
    limited(lab, lb1, lb2, score)
    if kernel.is_lab_kernel():  # settings of a host that others use are not ours to change
        initial_namespace(lab, lb2, score)
        crowded(lab, lb1, score)
    return {
        "planted": score.planted,
        "not_found": score.not_found,
        "found_more": score.unplanted,
    }


def on_the_wire(lab: Lab, lb1: Hadirector, score: Score) -> None:
    with faults.advertising(lab, vrid=51, priority=10, lists=topology.VIP):
        score.expect("a second master", faults.examine(lb1), {"two-masters"})
    with faults.advertising(lab, vrid=51, priority=10, lists="203.0.113.1"):
        score.expect("our number taken", faults.examine(lb1), {"vrid-taken"})
    with faults.planted(lab, [faults.ADDRESS_TAKEN]):
        score.expect("our address taken", faults.examine(lb1), {faults.ADDRESS_TAKEN.code})
    with faults.planted(lab, [faults.VRRP_KEPT_IN]):
        told = faults.examine(lb1)
        # lb2 becomes master beside it, as in those that follow, and answers too.
        score.expect("adverts kept in", told, {faults.VRRP_KEPT_IN.code}, OF_TWO_MASTERS)
    one_master(lab)
    with faults.planted(lab, [faults.VRRP_PRUNED]):
        told = faults.examine(lb1)
        score.expect("adverts pruned", told, {faults.VRRP_PRUNED.code}, OF_TWO_MASTERS)
    one_master(lab)


def one_master(lab: Lab) -> None:
    lab.wait(lambda: not lab.lb2.holds(topology.VIP), "one master again")


def on_the_standby(lab: Lab, lb1: Hadirector, lb2: Hadirector, score: Score) -> None:
    with faults.planted(lab, [faults.PEER_FILTERED]):
        score.expect("the peer channel filtered", faults.examine(lb2), {"peer-port"})
    with faults.planted(lab, [faults.VRRP_FILTERED]):
        told = faults.examine(lb2)
        score.expect("protocol 112 filtered", told, {faults.VRRP_FILTERED.code}, OF_TWO_MASTERS)
    one_master(lab)
    with faults.planted(lab, [faults.ADDRESS_BY_HAND]):
        told = faults.examine(lb2)
        score.expect("our address put on by hand", told, {faults.ADDRESS_BY_HAND.code})
    with faults.planted(lab, [faults.SYNC_MTU]):
        score.expect("a smaller sync interface", faults.examine(lb2), {faults.SYNC_MTU.code})
        score.expect("the same from its peer", faults.examine(lb1), {faults.SYNC_MTU.code})
    some = [faults.SYNC_FILTERED, faults.NETWORK_MANAGER]
    with faults.planted(lab, some), faults.asking_itself(lab, "lb2"):
        expected = {"own-requests", *(fault.code for fault in some)}
        score.expect("standby", faults.examine(lb2), expected)


def with_another_key(lab: Lab, lb1: Hadirector, lb2: Hadirector, score: Score) -> None:
    """Datagrams of the peer channel come, and are not believed."""
    for director, secret in ((lb1, "ab"), (lb2, "cd")):
        key = lab.directory / f"{director.node.name}.key"
        key.touch(mode=0o600)
        key.write_text(f"1 {secret * 32}\n")
        director.configure(replace(faults.healthy(), extra=f"key_file: {key}\n"))
        director.reload()
    lab.wait(lambda: not answers(lb2), "the end of the peer channel", 30)
    score.expect("another key", faults.examine(lb2), {"peer-refused"})
    for director in (lb1, lb2):
        director.configure(faults.healthy())
        director.reload()
    lab.wait(lambda: answers(lb1) and answers(lb2), "the peer channel again", 30)


def with_a_virtual_mac(lab: Lab, lb1: Hadirector, lb2: Hadirector, score: Score) -> None:
    """Beside one a gateway that is a director's own address can be told."""
    for director in (lb1, lb2):
        director.configure_as(faults.virtual_mac_inside(director.config.read_text()))
        director.reload()
    lab.wait(lambda: is_master_of(lb1, "inside"), "a master inside", 30)
    time.sleep(1)  # servers learn the virtual MAC
    score.expect("a virtual MAC", faults.examine(lb1), ())
    with faults.planted(lab, [faults.GATEWAY_OF_ONE_NODE]):
        expected = {faults.GATEWAY_OF_ONE_NODE.code}
        score.expect("a gateway of one node", faults.examine(lb1), expected)
    for director in (lb1, lb2):
        director.configure(faults.healthy())
        director.reload()
    lab.wait(lambda: not is_master_of(lb1, "inside"), "its end", 30)


def is_master_of(director: Hadirector, instance: str) -> bool:
    routers = director.status()["instances"].get(instance, {"routers": {}})["routers"]
    return any(router["state"] == "master" for router in routers.values())


def without_daemon(lab: Lab, lb2: Hadirector, score: Score) -> None:
    key = lab.directory / "cluster.key"
    key.touch(mode=0o600)
    key.write_text(f"1 {'ab' * 32}\n")
    config = lab.directory / "wrong.yaml"
    config.write_text(faults.misconfigured(key))
    options = ("-c", str(config), "--node", "lb2")
    expected = {fault.code for fault in faults.WITHOUT_DAEMON} | faults.MISCONFIGURED
    with (
        faults.planted(lab, faults.WITHOUT_DAEMON),
        faults.advertising(lab, vrid=51, priority=10, lists=topology.VIP, stale=100),
    ):
        told = faults.examine(lb2, *options)
    score.expect("a wrong configuration, no daemon", told, expected | {"clocks-apart"})


def limited(lab: Lab, lb1: Hadirector, lb2: Hadirector, score: Score) -> None:
    """The daemon of a unit without LimitMEMLOCK, CAP_SYS_NICE and CAP_BPF, in a pair that seals its
    connection records."""
    seals = replace(
        faults.healthy(), extra=sealed.key(lab.directory), transport="transport: authenticated"
    )
    for director in (lb1, lb2):
        director.configure(seals)
    lb1.reload()
    log = lab.directory / "limited.log"
    with log.open("wb") as output:
        daemon = lb2.node.spawn([*LIMITED, *lb2.command()], output)
    try:
        lab.wait(lambda: answers(lb2), "daemon with limits", 30)
        lab.wait(lambda: is_unguarded(lb2), "its private interface", 30)
        expected = {"memory-not-locked", "not-realtime", "sync-unguarded"}
        told = faults.examine(lb2)
        # IPVS still remembers the connection of the program that asked from here.
        score.expect("a daemon with limits", told, expected, {"own-requests"})
    finally:
        daemon.terminate()
        daemon.wait(30)
        for director in (lb1, lb2):
            director.configure(faults.healthy())
        lb1.reload()


def is_unguarded(director: Hadirector) -> bool:
    return bool(director.status()["sync"]["unguarded"])


def answers(director: Hadirector) -> bool:
    try:
        return any(peer["alive"] for peer in director.status()["peers"].values())
    except (OSError, ValueError, KeyError):
        return False


def without_ip_vs(lb2: Hadirector, score: Score) -> None:
    """While nobody has begun to balance, the module can be taken out."""
    lb2.configure(faults.healthy())
    options = ("-c", str(lb2.config), "--node", "lb2")
    wanted = {"module-missing: ip_vs"}
    with faults.no_ip_vs():
        found = wanted <= faults.codes(faults.examine_here(*options), wanted)
    mended = not wanted & faults.codes(faults.examine_here(*options), wanted)
    score.planted += 1
    score.not_found += not found
    score.unplanted += not mended
    print(f"    ip_vs taken out: module-missing found: {found}, and mended: {mended}", flush=True)


def initial_namespace(lab: Lab, lb2: Hadirector, score: Score) -> None:
    """rmem_max is there only outside network namespaces."""
    setting = Path("/proc/sys/net/core/rmem_max")
    before = setting.read_text()
    options = ("-c", str(lb2.config), "--node", "lb2")
    try:
        setting.write_text("212992")
        small = "rmem-max" in faults.codes(faults.examine_here(*options))
        setting.write_text(str(8 << 20))
        large = "rmem-max" in faults.codes(faults.examine_here(*options))
    finally:
        setting.write_text(before)
    score.planted += 1
    score.not_found += not small
    score.unplanted += large
    print(f"    outside the nodes: rmem-max found: {small}, and when mended: {large}", flush=True)


def crowded(lab: Lab, lb1: Hadirector, score: Score) -> None:
    """No room to track connections. They are tracked here because of a service on FTP's port."""
    setting = Path("/proc/sys/net/netfilter/nf_conntrack_max")
    before = setting.read_text()
    service = f"{topology.VIP}:21"
    faults.run(lab, f"lb1: ipvsadm -A -t {service} -s rr")
    faults.run(lab, f"lb1: ipvsadm -a -t {service} -r {topology.back(11)}:21 -m")
    time.sleep(2)  # checks are tracked too
    count = lb1.node.run("cat", "/proc/sys/net/netfilter/nf_conntrack_count").strip()
    try:
        setting.write_text(count)
        found = "conntrack-full" in faults.codes(faults.examine(lb1))
    finally:
        setting.write_text(before)
        faults.run(lab, f"lb1: ipvsadm -D -t {service}")
    score.planted += 1
    score.not_found += not found
    print(f"    {count} tracked connections: conntrack-full found: {found}", flush=True)
