"""Bad input never gets a traceback: one clear line, or a clear degraded state.

Each case is a mistake an operator makes or a machine that lacks something: wrong YAML, an unknown
key, an interface that is missing, no CAP_NET_ADMIN, a kernel without ip_vs, the API's port in use,
a key file that cannot be read. hadirector either leaves at once, with a status that is not 0 and
one line that names the thing, or goes on, with that line in its log and the thing in its status.
"""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labkit import kernel
from labkit.director import HADIRECTOR, Hadirector
from labkit.drills import Figures, at_least, at_most
from labkit.lab import Lab
from labkit.setup import Setup, hadirector_yaml

RUNS = 1
PRODUCTS = ("hadirector",)
GOALS = {"cases": at_least(6), "unclear": at_most(0), "tracebacks": at_most(0)}
PATIENCE = 8.0  # a daemon still alive after this goes on without what is missing
GOOD = hadirector_yaml(Setup(pair=False))
API = "\napi: {http: 127.0.0.1:9180}\n"
KEY = "\nkey_file: /run/no-such.key\n"
WITHOUT_NET_ADMIN = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")


@dataclass(frozen=True, slots=True)
class Case:
    """A configuration, what the one line must name, and how the mistake is arranged."""

    name: str
    text: str
    names: str
    prefix: tuple[str, ...] = ()
    around: Callable[[Lab], object] | None = None
    leaves: bool | None = None  # True: must end by itself


def run(lab: Lab) -> Figures:
    cases = [
        Case("wrong YAML", GOOD + "vrrp: [\n", r":\d+:\d+: error: ", leaves=True),
        Case(
            "unknown key",
            GOOD + "virtual_service: {}\n",
            r":\d+:\d+: error: .*virtual_service",
            leaves=True,
        ),
        Case("missing interface", missing_interface(), r"nope0"),
        Case("no CAP_NET_ADMIN", GOOD, r"(?i)net_admin", prefix=WITHOUT_NET_ADMIN),
        Case("port in use", GOOD + API, r"9180", around=port_in_use),
        Case("unreadable key file", GOOD + KEY, r"no-such\.key"),
    ]
    if kernel.is_lab_kernel():  # on a host that uses IPVS nobody unloads it for a drill
        cases.append(Case("no ip_vs", GOOD, r"ip_vs", around=no_ip_vs))
    unclear = tracebacks = 0
    for case in cases:
        with (case.around or nothing)(lab):  # type: ignore[attr-defined]
            ended, output = attempt(lab, case)
        lines = [line for line in output.splitlines() if re.search(case.names, line)]
        wrong = not lines or (case.leaves and not ended) or ended == 0
        unclear += bool(wrong)
        tracebacks += "Traceback" in output
        state = "goes on" if ended is None else f"leaves with {ended}"
        print(f"    {case.name}: {state}: {lines[0] if lines else 'NO CLEAR LINE'}", flush=True)
        if wrong or "Traceback" in output:
            print("      " + "\n      ".join(output.splitlines()[-8:]), flush=True)
    return {"cases": len(cases), "unclear": unclear, "tracebacks": tracebacks}


def attempt(lab: Lab, case: Case) -> tuple[int | None, str]:
    """Starts the daemon; (exit status or None while it goes on, log and status)."""
    config = lab.directory / "case.yaml"
    log = lab.directory / "case.log"
    config.write_text(case.text)
    argv = [*case.prefix, HADIRECTOR, "run", "-c", str(config), "--node", "lb1"]
    with log.open("wb") as output:
        daemon = lab.lb1.node.spawn(argv, output)
    try:
        ended: int | None = daemon.wait(PATIENCE)
        told = ""
    except subprocess.TimeoutExpired:
        ended = None
        told = status(lab)
        daemon.terminate()
        daemon.wait(20)
    lab.lb1.kill_all()
    return ended, log.read_text(errors="replace") + told


def status(lab: Lab) -> str:
    """What `hadirector status` says."""
    assert isinstance(lab.lb1, Hadirector)
    done = lab.lb1.cli("status")
    return done.stdout + done.stderr


def missing_interface() -> str:
    return hadirector_yaml(Setup(pair=True, sync=False)).replace(
        "interface: front", "interface: nope0"
    )


@contextmanager
def nothing(lab: Lab) -> Iterator[None]:
    """The machine is as it should be."""
    yield


@contextmanager
def port_in_use(lab: Lab) -> Iterator[None]:
    """Somebody listens where the API shall."""
    with kernel.network_of(lab.lb1.node.anchor):
        squatter = socket.socket()
    with squatter:
        squatter.bind(("127.0.0.1", 9180))
        squatter.listen()
        yield


@contextmanager
def no_ip_vs(lab: Lab) -> Iterator[None]:
    """A kernel without the module: unloaded, and loading is switched off."""
    loader = Path("/proc/sys/kernel/modprobe")
    before = loader.read_text()
    lab.lb1.node.run("ipvsadm", "-C")
    schedulers = [f"ip_vs_{name}" for name in loaded_schedulers()]
    for _ in range(20):  # connections of the cases before must be gone first
        done = subprocess.run(["modprobe", "-r", *schedulers, "ip_vs"], capture_output=True)
        if done.returncode == 0:
            break
        time.sleep(0.5)
    loader.write_text("/bin/false")
    try:
        if Path("/proc/net/ip_vs").exists():
            print("    (ip_vs could not be unloaded here)", file=sys.stderr)
        yield
    finally:
        loader.write_text(before)
        subprocess.run(["modprobe", "-a", "ip_vs", *schedulers], check=True)


def loaded_schedulers() -> list[str]:
    return re.findall(r"^ip_vs_(\w+) ", Path("/proc/modules").read_text(), re.MULTILINE)
