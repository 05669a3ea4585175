"""`hadirector plan`: what applying a file would change; `hadirector pause`: hands off IPVS."""

import argparse
import asyncio
import json
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from hadirector.cli import live
from hadirector.cli.servers import duration
from hadirector.core.duration import spell
from hadirector.shell import alone
from hadirector.shell.netlink import KernelError

if TYPE_CHECKING:
    from hadirector.core.ipvs import Table
    from hadirector.core.settings.cluster import Config

CHANGES = 3  # the exit status when something would change
_DEADLINE = 30.0  # seconds: the director plans a table of tens of thousands
_PAUSE = 600.0  # seconds

_PLAN = """\
The running director plans FILE with its verdicts and orders against the kernel as it is, and does
nothing: `hadirector reload` would do exactly that. Told are the steps in IPVS with the connections
and persistent clients they touch, the share of an mh service's clients that get another server, who
is master by the priorities, and what the peers run meanwhile: each node is reloaded by itself.
Where no daemon runs, told is what one that starts would do first.
Exit status: 0 nothing would change; 3 something would; 1 a reload would refuse FILE, with the
reason, or nobody answers."""

_PAUSE_MORE = """\
Meanwhile IPVS stays as you leave it: drift is not repaired, and verdicts, orders and reloads change
nothing in it; they are made good when the pause ends, by itself or by --end. Checks, the election
and the virtual addresses go on, but this node takes over from no healthy master. A pause outlives
a restart and a reboot. `hadirector status` tells of it."""


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add these verbs."""
    parser = live.add_verb(verbs, "plan", plan, "what applying a file would change", _PLAN)
    parser.add_argument("-c", "--config", metavar="FILE", required=True)
    parser.add_argument("--node", metavar="NAME", help="default: the daemon's")
    text = "leave IPVS alone while somebody works on it by hand"
    parser = live.add_verb(verbs, "pause", pause, text, _PAUSE_MORE)
    text = "default: 10m; 24h at most"
    parser.add_argument(
        "--for", dest="span", type=duration, metavar="TIME", default=_PAUSE, help=text
    )
    parser.add_argument("--end", action="store_true", help="end it now")
    parser.add_argument("--reason", default="", metavar="TEXT", help="for status and journal")


def plan(options: argparse.Namespace) -> int:
    """Print what would change; 3 when anything would."""
    from hadirector.config import handover

    running = _running(options)
    config = _read(options.config, options.node or running)
    if config is None:
        return 1
    if running is None:
        told = _alone(config)
    else:
        blob = handover.encode(handover.Loaded(config, ()))
        code, raw = live.ask_raw(options.socket, "POST", "/v1/plan", _DEADLINE, blob)
        if code != HTTPStatus.OK:
            print(f"hadirector: {live.error_of(raw)}", file=sys.stderr)
            return 1
        told = json.loads(raw)
    print(json.dumps(told) if options.json else "\n".join(lines(told)))
    return 0 if told["nothing"] else CHANGES


def _running(options: argparse.Namespace) -> str | None:
    """The node whose daemon runs here; None where none does."""
    try:
        return str(live.ask(options.socket, "GET", "/v1/status")[1]["node"])
    except live.Unreachable as error:
        if alone.holder() is not None:
            raise
        text = "planned against the kernel alone, and each server's weight is as the kernel has it"
        print(f"hadirector: {error}: {text}", file=sys.stderr)
        return None


def _alone(config: "Config") -> dict[str, Any]:
    """What a daemon that starts now would do at first: it has no verdicts yet."""
    from hadirector.core import plan as core_plan
    from hadirector.core.services import Services
    from hadirector.shell import owned
    from hadirector.shell.ipvs import Ipvs

    async def read() -> "Table":
        with Ipvs() as ipvs:
            return (await ipvs.read())[0]

    try:
        actual = asyncio.run(read())
    except KernelError as error:
        raise live.Unreachable(str(error)) from None
    services = Services()
    services.configure(config, actual, 0.0)
    steps = core_plan.plan(services.entries, actual, owned.load(config.state_dir))
    told = [{"text": core_plan.describe(step), "note": "", "connections": 0} for step in steps]
    return {
        "nothing": not steps,
        "changes": "the first one of a daemon that starts",
        "steps": told,
        "moved": {},
        "elections": [],
        "peers": [],
        "unwritten": "",
    }


def _read(path: str, node: str | None) -> "Config | None":
    """The file as the node runs it; what is wrong with it is told."""
    from hadirector.config.load import load
    from hadirector.config.routing import read_tables

    loaded = load(path, node, tables=read_tables())
    for problem in loaded.problems:
        print(problem, file=sys.stderr)
    return loaded.config


def lines(told: dict[str, Any]) -> list[str]:
    """A preview in words."""
    peers = [f"peer: {text}" for text in told["peers"]]
    if told["nothing"]:
        return ["nothing would change" + (" here" if peers else ""), *peers]
    found = [f"configuration: {told['changes']}"]
    steps = told["steps"]
    found.append(f"IPVS: {len(steps)} step{'' if len(steps) == 1 else 's'}")
    if told["unwritten"]:
        found.append(f"  {told['unwritten']}")
    for step in steps:
        found.append(f"  {step['text']}")
        if step["note"]:
            found.append(f"    {step['note']}")
    touched = sum(step["connections"] for step in steps if step["note"])
    if touched:
        found.append(f"  {touched} connections are touched")
    found += [
        f"{name}: about {share:.1%} of its clients get another server (mh)"
        for name, share in told["moved"].items()
    ]
    found += [f"election: {text}" for text in told["elections"]]
    return found + peers


def pause(options: argparse.Namespace) -> int:
    """Begin or end a pause."""
    seconds = 0.0 if options.end else options.span
    asked = urlencode({"seconds": seconds, "reason": options.reason})
    code, told = live.ask(options.socket, "POST", f"/v1/pause?{asked}")
    if options.json:
        print(json.dumps(told))
    elif code == HTTPStatus.OK:
        for warning in told["warnings"]:
            print(f"warning: {warning}", file=sys.stderr)
        ended = "IPVS is looked after again" if told["was"] else "was not paused"
        print(f"IPVS is left alone for {spell(seconds)}" if seconds else ended)
    else:
        print(f"hadirector: {told.get('error', code)}", file=sys.stderr)
    return 0 if code == HTTPStatus.OK else 1
