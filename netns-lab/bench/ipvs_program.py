"""How fast 10,000 destinations get into the kernel: hadirector beside ipvsadm and keepalived.

Needs root and ip_vs; no table of this machine is touched:

    python netns-lab/bench/ipvs_program.py [--rounds 5] [--json FILE]

They take turns with the same 200 services of 50 servers, each time in a network namespace of its
own: a cleared table is not an empty one, since the kernel searches the destinations deleted in the
last minutes with each one that is added. Ours includes planning. `ipvsadm --restore` reads a text;
keepalived reads its own configuration, without checks, and is measured from its start until the
kernel has all of it. Reading back is measured beside `ipvsadm --save -n`: the first time, when
every server is made into a value, and once more, as the daemon reads its table ever after.
Exit status 1 when a goal is missed (20 times faster than ipvsadm; programming and reading
back together faster than ipvsadm's two commands and than keepalived; reading once more faster
than ipvsadm) or the table read back is not the one asked for.
"""

import argparse
import asyncio
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hadirector.core import plan
from hadirector.core.address import Address, Endpoint
from hadirector.core.ipvs import (
    Destination,
    Entry,
    Forward,
    Protocol,
    Service,
    ServiceKey,
    Table,
)
from hadirector.shell.ipvs import Ipvs

SERVICES, SERVERS = 200, 50
WEIGHT_CHANGES = 500
GOAL = 20.0
KEEPALIVED_DEADLINE = 60.0  # seconds
CLEARED = 1.0  # seconds in which a namespace with 10,000 servers is gone for certain
_CLONE_NEWNET = 0x40000000


def table() -> Table:
    """The services: 10.9.x.1:80, each with its servers at 10.100.x.1 and up."""
    result: dict[ServiceKey, Entry] = {}
    for number in range(SERVICES):
        key = ServiceKey(4, Protocol.TCP, Address(f"10.9.{number}.1"), 80)
        endpoints = [Endpoint(Address(f"10.100.{number}.{n + 1}"), 8080) for n in range(SERVERS)]
        result[key] = Entry(
            Service(key, "wlc"),
            {each: Destination(each, Forward.NAT, 1) for each in endpoints},
        )
    return result


def restore_text(desired: Table) -> str:
    """The same table as `ipvsadm --save -n` writes it."""
    lines = []
    for key, entry in desired.items():
        vip = Endpoint(key.address, key.port)
        lines.append(f"-A -t {vip} -s {entry.service.scheduler}")
        lines += [f"-a -t {vip} -r {each} -m -w 1" for each in entry.destinations]
    return "\n".join(lines) + "\n"


async def measure_ours(times: dict[str, list[float]]) -> None:
    """Adds seconds: program, read back, delete; and those of single weight changes."""
    desired = table()
    with Ipvs() as ipvs:
        begun = time.perf_counter()
        failures = await ipvs.apply(plan.plan(desired, {}, frozenset()))
        times["program"].append(time.perf_counter() - begun)

        begun = time.perf_counter()
        actual, _ = await ipvs.read()
        times["read"].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        again, _ = await ipvs.read()
        times["read_again"].append(time.perf_counter() - begun)
        if failures or not actual == desired == again:
            sys.exit(f"the table read back is not the one asked for; {len(failures)} failures")

        times["weight"] += await _change_weights(ipvs, desired)

        begun = time.perf_counter()
        await ipvs.apply([plan.DeleteService(key) for key in desired])
        times["delete"].append(time.perf_counter() - begun)


async def _change_weights(ipvs: Ipvs, desired: Table) -> list[float]:
    key, entry = next(iter(desired.items()))
    before = next(iter(entry.destinations.values()))
    times = []
    for number in range(WEIGHT_CHANGES):
        after = replace(before, weight=2 + number % 7)
        begun = time.perf_counter()
        await ipvs.apply([plan.EditDestination(key, after, before)])
        times.append(time.perf_counter() - begun)
        before = after
    return times


def measure_ipvsadm(times: dict[str, list[float]]) -> None:
    """Adds seconds of one `ipvsadm --restore`, and of one `ipvsadm --save -n` after it."""
    text = restore_text(table())
    begun = time.perf_counter()
    subprocess.run(["ipvsadm", "--restore"], input=text, text=True, check=True)
    times["restore"].append(time.perf_counter() - begun)

    begun = time.perf_counter()
    subprocess.run(["ipvsadm", "--save", "-n"], stdout=subprocess.DEVNULL, check=True)
    times["save"].append(time.perf_counter() - begun)


def keepalived_text(desired: Table) -> str:
    """The same table as keepalived is told of it, without checks: every server is in at once."""
    lines = []
    for key, entry in desired.items():
        lines.append(f"virtual_server {key.address} {key.port} {{")
        lines.append(
            f"    lvs_sched {entry.service.scheduler}\n    lvs_method NAT\n    protocol TCP"
        )
        lines += [
            f"    real_server {each.address} {each.port} {{\n        weight 1\n    }}"
            for each in entry.destinations
        ]
        lines.append("}")
    return "\n".join(lines) + "\n"


def measure_keepalived() -> float:
    """Seconds from its start until the kernel has every destination."""
    with tempfile.TemporaryDirectory(prefix="hadirector-bench-") as folder:
        path = Path(folder, "keepalived.conf")
        path.write_text(keepalived_text(table()))
        command = ["keepalived", "-n", "-C", "-f", str(path), "-p", f"{folder}/p", "-c"]
        begun = time.perf_counter()
        process = subprocess.Popen(
            [*command, f"{folder}/c"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while _destinations() < SERVICES * SERVERS:
                if process.poll() is not None or time.perf_counter() - begun > KEEPALIVED_DEADLINE:
                    sys.exit(f"keepalived: {_destinations()} destinations, and no more come")
                time.sleep(0.02)
            return time.perf_counter() - begun
        finally:
            process.kill()  # both of it: its table goes with the namespace
            process.wait()


def _destinations() -> int:
    return Path("/proc/net/ip_vs").read_bytes().count(b"  -> ") - 1  # less the heading


def enter_fresh_namespace() -> None:
    """Leaves the namespace before, which ends with its table when nobody is in it any more: a
    work of the kernel's that whoever comes next would be measured with."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        sys.exit(f"no network namespace of its own: {os.strerror(ctypes.get_errno())}")
    # Without a single address a namespace has no routing table, and no server counts as unicast.
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    time.sleep(CLEARED)


def report(ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> dict[str, float | int]:
    """Medians in seconds, by name."""
    program = statistics.median(ours["program"])
    restore = statistics.median(theirs["restore"])
    keepalived = statistics.median(theirs["keepalived"])
    weights = sorted(ours["weight"])
    return {
        "destinations": SERVICES * SERVERS,
        "rounds": len(theirs["restore"]),
        "program_s": round(program, 4),
        "ipvsadm_restore_s": round(restore, 4),
        "ratio": round(restore / program, 1),
        "keepalived_s": round(keepalived, 4),
        "ratio_keepalived": round(keepalived / program, 1),
        "read_s": round(statistics.median(ours["read"]), 4),
        "read_again_s": round(statistics.median(ours["read_again"]), 4),
        "ipvsadm_save_s": round(statistics.median(theirs["save"]), 4),
        "delete_s": round(statistics.median(ours["delete"]), 4),
        "weight_change_p50_us": round(statistics.median(weights) * 1e6, 1),
        "weight_change_p99_us": round(weights[len(weights) * 99 // 100] * 1e6, 1),
        "goal_ratio": GOAL,
    }


def show(figures: dict[str, float | int]) -> None:
    """The figures as a table."""
    for name, value in figures.items():
        print(f"{name:22} {value:>10}")


def main(arguments: Sequence[str]) -> int:
    """Measures and prints; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args(arguments)
    names = ("program", "read", "read_again", "delete", "weight")
    ours: dict[str, list[float]] = {name: [] for name in names}
    theirs: dict[str, list[float]] = {"restore": [], "save": [], "keepalived": []}
    for _ in range(options.rounds):
        enter_fresh_namespace()
        asyncio.run(measure_ours(ours))
        enter_fresh_namespace()
        measure_ipvsadm(theirs)
        enter_fresh_namespace()
        theirs["keepalived"].append(measure_keepalived())
    figures = report(ours, theirs)
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    ours_s = figures["program_s"] + figures["read_s"]
    beside = figures["ipvsadm_restore_s"] + figures["ipvsadm_save_s"]
    faster = ours_s < min(beside, figures["keepalived_s"])
    again = figures["read_again_s"] < figures["ipvsadm_save_s"]
    return 0 if figures["ratio"] >= GOAL and faster and again else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
