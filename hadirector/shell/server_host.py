"""A real server's host, as `hadirector agent --setup` finds and changes it.

Read and changed by iproute2, each change as the command that a person would type; settings by
/proc/sys. What was changed is recorded with what undoes it, before it is changed: a kill in between
leaves a record that says too much, and that is harmless.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hadirector.core.address import Address, canonical
from hadirector.core.errors import HadirectorError
from hadirector.core.server_setup import Found, Step, settings
from hadirector.shell import boot, owned, sysctl

_FILE = "agent-setup.json"
_PATIENCE = 10.0  # seconds for one command


class SetupError(HadirectorError):
    """A command that failed, with what it said."""


@dataclass(frozen=True, slots=True)
class Record:
    """What undoes the changes of this boot, the last one first."""

    boot: str
    steps: tuple[Step, ...] = ()


def read() -> Found:
    """The host as it is; SetupError without iproute2."""
    links = {one["ifname"]: "UP" in one["flags"] for one in _json("ip", "-json", "link", "show")}
    held: set[tuple[Address, str]] = set()
    elsewhere: dict[Address, str] = {}
    for link in _json("ip", "-json", "address", "show"):
        for one in link.get("addr_info", ()):
            address = canonical(str(one.get("local", "")))
            if link["ifname"] == "lo" or "NOARP" in link["flags"]:  # as dummies
                held.add((address, link["ifname"]))
            else:
                elsewhere[address] = link["ifname"]
    found = {}
    for name in settings(links):
        try:
            found[name] = sysctl.read(name)
        except OSError:  # of a device that has none, or went away
            continue
    return Found(links, frozenset(held), elsewhere, _ports(), found)


def _ports() -> frozenset[tuple[int, int]] | None:
    """Family and number of where packets of GUE are unwrapped; None where the kernel has no FOU."""
    try:
        told = _json("ip", "-json", "fou", "show")
    except SetupError:
        return None
    return frozenset(
        (6 if one.get("family") == "inet6" else 4, int(one["port"]))
        for one in told
        if "port" in one
    )


def carry_out(step: Step) -> None:
    """One step; SetupError when it is refused."""
    if step.what == "sysctl":
        try:
            sysctl.write(step.name, step.value)
        except OSError as error:
            raise SetupError(f"{step}: {error.strerror}") from None
        return
    done = _run(step.command)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        # A device that the kernel keeps comes with its module: the request for one has loaded it.
        if step.what == "link" and "File exists" in done.stderr:
            return
        raise SetupError(f"{step}: {said[-1] if said else f'status {done.returncode}'}")


def load(state_dir: str) -> Record:
    """What this boot's changes are undone by; SetupError when the record cannot be read."""
    now = boot.identity()
    try:
        noted = msgspec.json.decode((Path(state_dir) / _FILE).read_bytes(), type=Record)
    except FileNotFoundError:
        return Record(now)
    except (OSError, msgspec.MsgspecError) as error:
        raise SetupError(f"{state_dir}/{_FILE}: {error}") from None
    return noted if noted.boot == now else Record(now)


def save(state_dir: str, record: Record) -> None:
    """Keep it, or remove it when there is nothing in it."""
    path = os.path.join(state_dir, _FILE)
    try:
        if not record.steps:
            Path(path).unlink(missing_ok=True)
            return
        Path(state_dir).mkdir(parents=True, exist_ok=True)
        owned.replace_file(path, msgspec.json.encode(record))
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}") from None


def _json(*command: str) -> list[dict[str, Any]]:
    done = _run(command)
    if done.returncode != 0:
        raise SetupError(f"{' '.join(command)}: {done.stderr.strip()}")
    return [one for one in json.loads(done.stdout or "[]") if one]


def _run(command: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except FileNotFoundError:
        raise SetupError(f"{command[0]} is not installed: apt-get install iproute2") from None
    except subprocess.TimeoutExpired:
        raise SetupError(f"{' '.join(command)}: no answer in {_PATIENCE:g} s") from None
